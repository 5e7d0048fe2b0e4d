"""A kind of annotation that the package does not know goes all the way into a batch; torch's loaders take samples."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.phantoms import boxes, labels, masks
from datamodules.preprocess import Preprocess
from datamodules.samples.annotation import Annotation, Crop
from datamodules.samples.boxes import Boxes
from datamodules.samples.ignored_boxes import IgnoredBoxes
from datamodules.samples.masks import Masks
from datamodules.samples.mosaic import mosaic
from datamodules.samples.patches import PatchPlace
from datamodules.samples.sources import Shown
from datamodules.transforms.names import AugmentArgs
from datamodules.types import Draw, Scan, ScanInfo
from scansuite.errors import SuiteError

Points = NDArray[Any]  # (N, 2) x and y in pixels


class KeyPoints(Annotation[Points]):
    """Key points; the augmentation moves a box of a pixel about each."""

    names: ClassVar[tuple[str, ...]] = ("keypoints",)

    def __init__(self, points: Mapping[int, Points]) -> None:
        self.points = points

    def read(self, image: int, scan: Scan) -> Points:
        return self.points[image]

    def scale(self, value: Points, stored: tuple[int, int], preprocess: Preprocess) -> Points:
        height, width = preprocess.content_size(stored)
        scaled: Points = value * np.array([width / stored[1], height / stored[0]])
        return scaled

    def crop(self, value: Points, crop: Crop) -> Points:
        moved = value - np.array([crop.left, crop.top])
        height, width = crop.content
        inside: Points = moved[(moved >= 0).all(axis=1) & (moved < np.array([width, height])).all(axis=1)]
        return inside

    def join(self, values: Sequence[Points], corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Points:
        return np.concatenate([value + np.array(corner[::-1]) for value, corner in zip(values, corners, strict=True)])

    def arrays(self, value: Points) -> dict[str, Any]:
        around = np.concatenate([value - 0.5, value + 0.5], axis=1).astype(np.float32)
        return {"boxes": around, "labels": np.arange(len(value))}

    def tensors(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        corners = torch.from_numpy(arrays["boxes"])
        return {"keypoints": (corners[:, :2] + corners[:, 2:]) / 2}


class Marked(ScanDataModule):
    """Images with bright pixels, each of them a key point."""

    has_boxes: ClassVar[bool] = True  # the augmentation is handed boxes

    def __init__(self, root: str, patch: tuple[int, int] | None = None, mosaic: float = 0.0, **settings: Any) -> None:
        super().__init__(root, **{"num_workers": 0, "batch_size": 4, "channels": 1, **settings})
        self.patch = None if patch is None else PatchPlace(patch)
        self.mosaic = mosaic
        self.points = {int(file.stem): points_of(int(file.stem)) for file in Path(root).glob("*.png")}

    def build_table(self) -> CaseTable:
        return table_of_images(pd.DataFrame({"path": [f"{number}.png" for number in sorted(self.points)]}))

    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        return (KeyPoints(self.points),)


def points_of(number: int) -> Points:
    rng = np.random.default_rng(number)
    places = rng.choice(48 * 64, size=6 * (number % 5), replace=False)  # some images have none
    return np.stack([places % 64, places // 64], axis=1) + 0.5


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))
    for number in range(15):
        image = np.full((48, 64), 10 + number, np.uint8)  # no two are the same
        for x, y in points_of(number).astype(int):
            image[y, x] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    return str(tmp_path)


def bright(image: Tensor) -> set[tuple[float, ...]]:
    rows, columns = np.nonzero((image[0] > 0.9).numpy())
    return {(column + 0.5, row + 0.5) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}


def as_set(points: Tensor | Points) -> set[tuple[float, ...]]:
    """Without what float32 rounds off."""
    return {tuple(np.round(point, 3)) for point in points.tolist()}


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"patch": (20, 30)}, {"mosaic": 0.7}, {"patch": (50, 70)}, {"patch": (20, 30), "mosaic": 0.7}],
    ids=str,
)
def test_a_new_kind_of_annotation_needs_no_change_in_the_package(
    settings: dict[str, Any], memory: bool, folder: str
) -> None:
    mirrors = AugmentArgs(horizontal_flip=True, vertical_flip=True)
    data = Marked(
        folder, augment="none", augment_args=mirrors, cache="memory" if memory else "none", normalize="none", **settings
    )
    beyond = settings.get("patch", (0, 0))[0] > 48  # where the last pixels are repeated, key points are not
    seen = 0
    mirrored = 0
    loader: Any = data.train_dataloader()
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            assert isinstance(batch["keypoints"], list)
            for image, points, scan in zip(batch["image"], batch["keypoints"], batch["scan"], strict=True):
                assert beyond or as_set(points) == bright(image)
                seen += len(points)
                mirrored += as_set(points) != as_set(points_of(int(scan["case_id"])))
    assert seen > 50
    assert mirrored > 10
    for batch in data.val_dataloader():
        for image, points in zip(batch["image"], batch["keypoints"], strict=True):
            assert beyond or as_set(points) == bright(image)


def test_key_points_are_scaled_with_their_image(folder: str) -> None:
    data = Marked(folder, image_size="24,128")
    dataset = data.dataset(np.arange(15))
    for number in range(15):
        sample: Any = dataset[number]
        case = int(sample["scan"]["case_id"])
        np.testing.assert_allclose(sample["keypoints"], points_of(case) * [2, 0.5])


def test_nothing_about_a_data_set_changes(folder: str) -> None:
    dataset = Marked(folder).single_images(np.arange(4))
    for name in ("source", "patch", "mosaic", "augment"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(dataset, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.source.annotations = ()  # type: ignore[misc]
    kept = dataset.in_memory()
    assert kept.in_memory().source is kept.source
    assert dataset.source is not kept.source


# What the package knows.


def test_masks_are_cropped_and_joined_like_images() -> None:
    rng = np.random.default_rng(0)
    annotation = Masks(lambda *_: np.zeros((1, 1)))
    parts = []
    for _ in range(4):
        mask = rng.integers(0, 9, (2, 30, 40))
        parts.append(Shown(mask.transpose(1, 2, 0).astype(np.float32), (mask,), ScanInfo(), (30, 40)))
    for seed in range(5):
        whole = mosaic(parts, [annotation], (seed,))
        np.testing.assert_array_equal(whole.values[0], whole.image.transpose(2, 0, 1))
    part = annotation.crop(mask, Crop(20, 30, size=(16, 16), content=(10, 10)))
    np.testing.assert_array_equal(part[:, :10, :10], mask[:, 20:, 30:])
    assert (part[:, 10:, :] == part[:, 9:10, :]).all()
    assert not np.shares_memory(part, mask)


def test_ignored_boxes_of_a_mosaic_stay_with_their_image() -> None:
    annotation = IgnoredBoxes(lambda _: (np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool)))
    plain = Boxes(lambda _: (np.zeros((0, 4)), np.zeros(0, np.int64)))
    box, number, mark = np.array([[2.0, 3, 9, 12]]), np.array([1]), np.array([True])
    part = Shown(np.zeros((20, 20, 1), np.float32), ((box, number, mark), (box, number)), ScanInfo(), (20, 20))
    for seed in range(10):
        ignored, found = mosaic([part] * 4, [annotation, plain], (seed,)).values
        np.testing.assert_array_equal(ignored[0], found[0])
        np.testing.assert_array_equal(annotation.arrays(ignored)["ignored"][:, 4:], 1)


# Loaders of torch's own.


def test_the_default_collate_of_torch_makes_our_batches() -> None:
    settings: dict[str, Any] = {"num_patients": 8, "image_size": 32, "num_workers": 0, "test_fraction": 0.0, "folds": 3}
    for data in (
        labels.Phantoms(**settings),
        masks.Phantoms(**settings),
        boxes.Phantoms(**settings),
        labels.Phantoms(**settings, bags=True),
    ):
        dataset = data.dataset(np.arange(8))
        wanted: Any = dataset.collate([dataset[case] for case in range(4)])
        for own in (DataLoader(dataset, batch_size=4), DataLoader(dataset, batch_size=4, num_workers=1)):
            batch: Any = next(iter(own))
            assert batch.keys() == wanted.keys()
            assert [scan["case_id"] for scan in batch["scan"]] == [scan["case_id"] for scan in wanted["scan"]]
            for name in ("image", "label", "mask"):
                assert name not in batch or torch.equal(batch[name], wanted[name])
            if "boxes" in batch:
                assert all(map(torch.equal, batch["boxes"], wanted["boxes"]))
    both: Any = ConcatDataset([Subset(dataset, [0, 1]), Subset(dataset, [2, 3])])
    assert len(next(iter(DataLoader(both, batch_size=4)))["bags"]) == 4


def test_samples_do_not_carry_their_data_set_between_processes() -> None:
    dataset = labels.Phantoms(num_patients=8, image_size=32, test_fraction=0.0, folds=3).dataset(np.arange(4))
    sample: Any = dataset[0]
    for other in (pickle.loads(pickle.dumps(sample)), copy.copy(sample)):
        assert type(other) is dict
        assert torch.equal(other["image"], sample["image"])


def test_numbers_are_augmented_anew_each_time_and_draws_repeat() -> None:
    data = labels.Phantoms(num_patients=6, image_size=32, augment="strong", test_fraction=0.0, folds=3)
    dataset = data.dataset(np.arange(4), augmented=True)
    torch.manual_seed(0)
    first, second = dataset[0]["image"], dataset[0]["image"]
    torch.manual_seed(0)
    again = dataset[0]["image"]
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert torch.equal(dataset[Draw(0, (1, 2))]["image"], dataset[Draw(0, (1, 2))]["image"])


def test_what_batches_on_a_gpu_cannot_move_keeps_the_augmentation_on_the_cpu(
    folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = Marked(folder)
    data.prepare_data()
    data.setup("fit")
    with caplog.at_level("INFO"):
        assert data.settle_augmentation(cuda=True) == "cpu"
    assert "KeyPoints is moved by Albumentations alone" in caplog.text
    asked = Marked(folder, augment_on="gpu")
    asked.prepare_data()
    asked.setup("fit")
    with pytest.raises(SuiteError, match=r"--data\.augment_on gpu: KeyPoints is moved by Albumentations alone"):
        asked.check_augmentation(cuda=True)
