"""How many patches of an image an epoch has: by its area, a number, or one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.loading.patch_counts import patch_counts
from datamodules.loading.sampling import TrainSampler
from datamodules.phantoms.boxes import Phantoms as BoxPhantoms
from datamodules.readers.raster import write_png
from datamodules.samples.patches import PatchPlace
from datamodules.segmentation.mask_folder import MaskFolder
from scansuite.errors import SuiteError

SIDES = [(16, 16), (64, 64), (40, 20), (8, 8)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate([*SIDES, *SIDES]):
        part = "train" if number < len(SIDES) else "val"
        for top, most in (("images", 256), ("masks", 2)):
            file = tmp_path / "set" / top / part / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(file, random.integers(0, most, (height, width)).astype(np.uint8))
    return tmp_path / "set"


def masks(root: Path, **settings: Any) -> MaskFolder:
    return MaskFolder(str(root), **{"num_workers": 0, "batch_size": 2, "augment": "none", "patch_size": 16, **settings})


def test_an_epoch_has_as_many_patches_as_cover_an_image(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = masks(root)
    assert data.table.cases["split"].tolist() == ["train"] * 4 + ["val"] * 4
    with caplog.at_level(logging.INFO):
        loader = data.train_dataloader()
    assert isinstance(loader.sampler, TrainSampler)
    assert np.bincount([draw.case for draw in loader.sampler]).tolist() == [1, 16, 3, 1]
    assert "an epoch has 21 patches of 16 x 16 pixels, 1 to 16 of each of 4 images by its area" in caplog.text
    batches = list(loader)
    assert sum(len(batch["image"]) for batch in batches) in (20, 21)  # a last one of a single patch is dropped
    assert len(data.val_dataloader()) == 2  # evaluation sees each image once


def test_patches_of_one_image_differ(root: Path) -> None:
    loader = masks(root).train_dataloader()
    large = [draw for draw in loader.sampler if draw.case == 1]
    shown = {bytes(loader.dataset.sample(draw)["image"].numpy()) for draw in large}  # type: ignore[attr-defined]
    assert len(shown) == len(large)


@pytest.mark.parametrize(("patches", "counts"), [(1, None), (3, [3, 3, 3, 3])])
def test_a_number_is_of_every_image(root: Path, patches: int, counts: list[int] | None) -> None:
    found = patch_counts(masks(root, patches=patches), 2)
    assert (None if found is None else found.tolist()) == counts


def test_zoom_enlarges_the_image_that_is_covered(root: Path) -> None:
    found = patch_counts(masks(root, zoom=2.0), 8)
    assert found is not None
    assert found.tolist() == [4, 64, 13, 1]


def test_whole_images_have_no_patches(root: Path) -> None:
    assert patch_counts(masks(root, patch_size=None, image_size=16), 2) is None


def test_detection_counts_by_what_annotations_say() -> None:
    data = BoxPhantoms(num_patients=10, image_size=64, patch_size=16, num_workers=0, augment="none")
    found = patch_counts(data, 32)
    assert found is not None
    assert set(found.tolist()) == {16}


@given(
    sides=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=30),
    most=st.integers(1, 3000),
)
def test_every_image_has_one_patch_and_no_epoch_is_endless(sides: list[tuple[int, int]], most: int) -> None:
    counts = PatchPlace((64, 64), an_image="auto").by_area(np.array(sides), most)
    assert counts.min() >= 1
    assert counts.sum() <= max(most, 0) + len(sides)
    areas = np.array(sides).prod(axis=1)
    assert (np.diff(counts[np.argsort(areas, kind="stable")]) >= 0).all()  # a larger image never has fewer


@pytest.mark.parametrize("patches", [0, -2])
def test_an_image_without_patches_is_refused(root: Path, patches: int) -> None:
    with pytest.raises(SuiteError, match=r"--data.patches .*: at least 1, or auto"):
        masks(root, patches=patches)
