"""What is collected of a case is what the data set hands over: pixels, masks and boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.arrays.boxes import BoxedArrays
from datamodules.arrays.labels import LabelledArrays
from datamodules.arrays.masks import MaskedArrays
from datamodules.base import ScanDataModule
from datamodules.pictures.views import View
from datamodules.segmentation.volumes import Volumes
from datamodules.showing.cases import CaseCollector
from datamodules.showing.page import model_facts
from datamodules.showing.stored_panels import viewed
from datamodules.transforms.names import AugmentArgs
from datamodules.types import Draw, Sample, Scan, ScanInfo
from tests.tasks.cli.test_segment import draw_volumes

N = 20
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 24, 20), dtype=np.uint8)
MASKS = np.zeros((N, 24, 20), np.int64)
MASKS[:, 4:12, 6:16] = 1
MASKS[:, 14:20, 2:9] = 2
MASKS[:, 0, :] = 255
BOXES = [np.array([[4, 5, 14, 16], [10, 2, 18, 12]], np.float64) for _ in range(N)]
QUICK: dict[str, Any] = {"num_workers": 0, "image_size": [24, 20], "check_files": False}


def arrays(kind: str) -> ScanDataModule:
    if kind == "masks":
        return MaskedArrays(IMAGES, MASKS, classes=["background", "organ", "core"], ignore_value=255, **QUICK)
    if kind == "boxes":
        return BoxedArrays(IMAGES, BOXES, [["a", "b"]] * N, **QUICK)
    return LabelledArrays(IMAGES, np.arange(N) % 2, **QUICK)


def like(view: View, sample: Sample) -> bool:
    """Whether a view has the pixels of a sample of one channel, to rounding."""
    wanted = sample["image"].numpy()[0] * 255
    return view.pixels.shape[:2] == wanted.shape and bool(np.abs(view.pixels[..., 0] - wanted).max() <= 0.501)


@pytest.mark.parametrize("kind", ["labels", "masks", "boxes"])
def test_views_are_the_samples(kind: str) -> None:
    data = arrays(kind)
    row = int(data.rows("train")[3])
    number = int(data.table.cases["case_id"][row])
    case = CaseCollector(data, 2, 5).collect(row)
    stored, seen, first = case.stored[0].views[0], case.seen[0].views[0], case.augmented[0].views[0]
    assert np.array_equal(stored.pixels[..., 0], IMAGES[number])
    place = int(np.flatnonzero(data.rows("train") == row)[0])
    expected = data.dataset(np.array([row])).sample(Draw(0))
    moved = data.dataset(data.rows("train"), augmented=True).sample(Draw(place, (5, 0, place)))
    for view, sample in ((seen, expected), (first, moved)):
        assert like(view, sample)
        if kind == "masks":
            mask = sample["mask"].numpy()
            assert view.layers is not None
            assert view.unknown is not None
            assert np.array_equal(view.layers, np.stack([mask == 1, mask == 2]))
            assert np.array_equal(view.unknown, mask == 255)
        elif kind == "boxes":
            assert view.boxes is not None
            assert view.labels is not None
            assert torch.equal(torch.from_numpy(view.boxes).float(), sample["boxes"])
            assert view.labels.tolist() == sample["labels"].tolist()
    if kind == "masks":
        assert stored.layers is not None
        assert np.array_equal(stored.layers[0], MASKS[number] == 1)
        assert case.label == "organ: 17 %, core: 8.8 %, left out: 4.2 %"
    if kind == "boxes":
        assert stored.boxes is not None
        assert stored.boxes.tolist() == BOXES[number].tolist()
        assert case.label == "a: 1, b: 1"


def test_planes_and_slices_of_a_volume(tmp_path: Path) -> None:
    draw_volumes(tmp_path, 6)
    data = Volumes(str(tmp_path), classes=["background", "organ", "core"], num_workers=0, cache_dir=str(tmp_path / "c"))
    row = int(data.rows("train")[-1])  # not the first: slices of other volumes come before its own
    case = CaseCollector(data, 1, 0).collect(row)
    (stored,), (seen,) = case.stored, case.seen
    assert [view.caption for view in stored.views] == ["axial", "coronal", "sagittal"]
    assert all(view.layers is not None and view.layers[0].any() for view in stored.views)
    number = int(seen.title.split()[6]) - 1
    sample = data.dataset(np.array([row])).sample(Draw(number))
    assert like(seen.views[0], sample)
    shares = [float((data.read_mask(int(image)) > 0).mean()) for image in data.table.images_by_case[row]]
    assert shares[number] == max(shares)
    first = int(np.flatnonzero(data.table.images["case"].to_numpy() == row)[0])
    train = np.concatenate(data.images_by_case(data.rows("train")))
    place = int(np.flatnonzero(train == first + number)[0])
    moved = data.dataset(data.rows("train"), augmented=True).sample(Draw(place, (0, 0, place)))
    assert like(case.augmented[0].views[0], moved)


def test_a_viewer_takes_the_window_of_the_file() -> None:
    array = np.array([[-160, 40, 240, 1000]], np.int16)
    view, said = viewed(Scan(array, ScanInfo(windows=((40.0, 400.0),))))
    assert view.pixels[0, :, 0].tolist() == [0, 128, 255, 255]
    assert said == "shown with the file's window 40:400"
    view, said = viewed(Scan(array.astype(np.uint8)))
    assert view.pixels[0, :, 0].tolist() == array.astype(np.uint8)[0].tolist()
    large, _ = viewed(Scan(np.zeros((3000, 2000), np.uint8)))
    assert max(large.pixels.shape) <= 1024
    assert large.size == (3000, 2000)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": "lung"}, "the ends of window lung -600:1500"),
        ({"window": "41:400", "gamma": 0.5}, "the ends of window 41:400, then the power of 0.5"),
        ({"value_range": [0, 200]}, "the stored values 0 and 200"),
        ({"percentiles": [1, 99]}, "the percentiles 1 and 99 of each image"),
        ({}, "the ends of the range that the file states, else of its type (0 to 255 for 8 bits)"),
    ],
)
def test_the_scale_in_words(settings: dict[str, Any], said: str) -> None:
    data = LabelledArrays(IMAGES, np.arange(N) % 2, **QUICK, **settings)
    assert dict(model_facts(data))["0 and 1 are"] == said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "with the preset light"),
        ({"augment": "none"}, "nothing"),
        ({"augment_args": AugmentArgs(rotation=5)}, "with the preset light, with the ranges of --data.augment_args"),
        ({"augment": [{"class_path": "Sharpen"}]}, "with 1 transform listed"),
        ({"sided": True}, "with the preset light, never mirrored, since classes have sides"),
    ],
)
def test_the_augmentation_in_words(settings: dict[str, Any], said: str) -> None:
    data = LabelledArrays(IMAGES, np.arange(N) % 2, **QUICK, **settings)
    assert dict(model_facts(data))["training augments"] == said
