"""Masks that were saved as JPEG: black and white is told, all else is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import label

from datamodules.detection.instance_masks import InstanceMasks, boxes_of_instances
from datamodules.readers.raster import write_png
from datamodules.segmentation.jpeg_masks import black_and_white
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.masks import read_label_file
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import truth_of

SIZE = (72, 90)
SPOILT = "JPEG has changed the values of this mask: save it as PNG again"
Mask = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def ellipses(seed: int, values: tuple[int, ...] = (255,), background: int = 0) -> Mask:
    """An ellipse of each value, side by side."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", SIZE[::-1], background)
    width = SIZE[1] / len(values)
    for number, value in enumerate(values):
        x, y = (number + 0.5) * width + rng.uniform(-2, 2), SIZE[0] / 2 + rng.uniform(-5, 5)
        across, down = width * rng.uniform(0.3, 0.4), SIZE[0] * rng.uniform(0.25, 0.35)
        ImageDraw.Draw(image).ellipse((x - across, y - down, x + across, y + down), fill=value)
    return np.asarray(image)


def outline(mask: Mask) -> int:
    """How many sides of pixels part foreground and background."""
    inside = mask > 0
    return int((inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum())


def save_jpeg(file: Path, mask: NDArray[Any], quality: int = 75) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(file, "JPEG", quality=quality)


def tinted(mask: Mask) -> Mask:
    """The mask in three channels that differ by a grade or two."""
    return np.dstack([np.clip(mask.astype(int) + grade, 0, 255).astype(np.uint8) for grade in (0, -2, 1)])


def dataset(root: Path, mask_of: Callable[[int], NDArray[Any]], quality: int = 75, suffix: str = ".jpg") -> Path:
    (root / "images").mkdir(parents=True)
    for case in range(8):
        image = np.random.default_rng(case).integers(0, 256, SIZE, dtype=np.uint8)
        write_png(root / "images" / f"{case}.png", image)
        save_jpeg(root / "masks" / f"{case}{suffix}", mask_of(case), quality)
    return root


def data_of(root: Path, **settings: Any) -> MaskFolder:
    return MaskFolder(str(root), **{"num_workers": 0, "batch_size": 4, "augment": "none", **settings})


def refused(root: Path, **settings: Any) -> str:
    with pytest.raises(SuiteError) as caught:
        _ = data_of(root, split="all_test", **settings).table
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("kind", ["auto", "binary"])
@pytest.mark.parametrize(
    "stored", [lambda mask: mask, lambda mask: np.dstack([mask] * 3), tinted], ids=["grey", "rgb", "tinted"]
)
def test_binary_masks_in_jpeg_are_those_of_the_png(
    stored: Callable[[Mask], Mask], kind: str, quality: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, lambda case: stored(ellipses(case)), quality)
    with Image.open(root / "masks" / "0.jpg") as image:
        assert len(np.unique(np.asarray(image))) > 2  # JPEG has left its noise
    with caplog.at_level(logging.INFO):
        data = data_of(root, mask_kind=kind)
        assert data.class_names == ["background", "foreground"]
    (line,) = [record.getMessage() for record in caplog.records if "JPEG" in record.getMessage()]
    assert "blurred their outlines: they are split at 128; PNG keeps them" in line
    for case in range(8):
        found, want = data.true_mask(case), ellipses(case) > 0
        assert set(np.unique(found)) == {0, 1}
        assert (found != want).sum() <= 0.02 * outline(ellipses(case))


def test_all_that_trains_sees_the_same_split(tmp_path: Path) -> None:
    data = data_of(dataset(tmp_path, ellipses))
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            for mask, scan in zip(batch["mask"], batch["scan"], strict=True):
                row = data.table.cases["case_id"].tolist().index(scan["case_id"])
                np.testing.assert_array_equal(mask, data.true_mask(row))
    total = sum(data.true_mask(int(row)).sum() for row in data.rows("train"))
    assert data.class_counts[1] == total


@pytest.mark.parametrize("quality", [10, 30, 60, 85, 100])
def test_thin_small_and_resized_structures_are_black_and_white(quality: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(quality)
    image = Image.new("L", (160, 120))
    for _ in range(6):
        draw = ImageDraw.Draw(image)
        draw.line([tuple(rng.uniform(0, 120, 2)) for _ in range(3)], fill=255, width=2)
        x, y = rng.uniform(0, 120, 2)
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=255)
    thin = np.asarray(image)
    save_jpeg(tmp_path / "thin.jpg", thin, quality)
    found = read_label_file(tmp_path / "thin.jpg")
    assert set(np.unique(found)) == {0, 255}
    assert (found != thin).sum() <= 0.1 * outline(thin)
    with Image.open(tmp_path / "thin.jpg") as again:  # compressed, made smaller, and compressed again
        save_jpeg(tmp_path / "again.jpg", np.asarray(again.resize((111, 83), Image.Resampling.BICUBIC)), quality)
    assert set(np.unique(read_label_file(tmp_path / "again.jpg"))) == {0, 255}


@pytest.mark.parametrize("level", [0, 255])
def test_masks_of_one_value(level: int, tmp_path: Path) -> None:
    for quality in (35, 75, 95):
        save_jpeg(tmp_path / "m.jpg", np.full(SIZE, level, np.uint8), quality)
        np.testing.assert_array_equal(read_label_file(tmp_path / "m.jpg"), np.full(SIZE, level))


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("values", [(1, 2), (1,), (128, 255), (85, 170, 255), (200, 255), (40, 255), (128,), (20, 255)])
def test_other_values_are_refused(values: tuple[int, ...], quality: int, tmp_path: Path) -> None:
    root = dataset(tmp_path, lambda case: ellipses(case, values), quality)
    for settings in ({}, {"mask_kind": "binary"}, {"mask_kind": "index", "classes": "a,b,c,d"}):
        message = refused(root, **settings)
        assert message.startswith(f"{root}/masks/")
        assert SPOILT in message
        assert "instances" not in message


def test_masks_that_jpeg_has_erased_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of low numbers strong compression leaves nothing, and an empty mask is no mistake by itself."""
    root = dataset(tmp_path, lambda case: ellipses(case, (1,)), quality=47)
    assert not data_of(root).true_mask(0).any()
    assert "no white in masks that are saved as JPEG (8 looked at)" in caplog.text
    assert "split at" not in caplog.text
    save_jpeg(root / "masks" / "5.jpg", ellipses(5))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert data_of(root).class_names == ["background", "foreground"]
    assert "(5.jpg), which has blurred their outlines" in caplog.text


def test_photographs_and_colours_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    slope = np.linspace(0, 255, SIZE[1]).astype(np.uint8)[None].repeat(SIZE[0], axis=0)
    red = np.dstack([ellipses(0), ellipses(0) * 0, ellipses(0) * 0])
    for array in (noise, slope, red):
        with pytest.raises(SuiteError, match=f"m.jpg: {SPOILT}"):
            black_and_white(array, "m.jpg")


def test_kinds_that_need_values_are_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path, ellipses)
    (root / "palette.json").write_text('{"background": "#000000", "polyp": "#ffffff"}')
    for settings in (
        {"mask_kind": "instances"}, {"classes": "a,b,c"}, {"palette": "palette.json"}, {"ignore_value": 128},
        {"classes": {"a": 0, "b": 1}},
    ):  # fmt: skip
        assert SPOILT in refused(root, **settings), settings
    named = data_of(root, classes={"polyp": 255, "normal": 0})  # white is named: nothing else is meant
    assert named.class_names == ["normal", "polyp"]
    np.testing.assert_array_equal(named.true_mask(1), data_of(root).true_mask(1))


def test_beside_masks_in_png(tmp_path: Path) -> None:
    root = dataset(tmp_path, ellipses)
    (root / "masks" / "3.jpg").unlink()
    write_png(root / "masks" / "3.png", (ellipses(3) > 0).astype(np.uint8))
    data = data_of(root)
    np.testing.assert_array_equal(data.true_mask(3), ellipses(3) > 0)
    assert data.true_mask(2).max() == 1
    write_png(root / "masks" / "3.png", ellipses(3, (1, 2)))
    message = refused(root)
    assert SPOILT in message
    assert "instances" not in message


def test_a_file_for_each_class(tmp_path: Path) -> None:
    root = dataset(tmp_path, ellipses)
    (root / "masks").rename(root / "polyp")
    (root / "masks").mkdir()
    (root / "polyp").rename(root / "masks" / "polyp")
    data = data_of(root)
    assert data.class_names == ["background", "polyp"]
    assert (data.true_mask(4) != (ellipses(4) > 0)).sum() <= 0.02 * outline(ellipses(4))
    assert SPOILT in refused(root, ignore_value=128)


def test_the_bytes_tell_not_the_name(tmp_path: Path) -> None:
    """A PNG that is called .jpg keeps its values, and a JPEG that is called .png has lost them."""
    root = dataset(tmp_path, ellipses, suffix=".png")
    assert data_of(root).class_names == ["background", "foreground"]
    for case in range(8):
        (root / "masks" / f"{case}.png").unlink()
        write_png(root / "masks" / f"{case}.jpg", ellipses(case, (1, 2)))
    data = data_of(root, classes="background,organ,tumour")
    np.testing.assert_array_equal(data.true_mask(5), ellipses(5, (1, 2)))


def test_boxes_are_around_what_was_drawn(tmp_path: Path) -> None:
    """The noise around an object was foreground too."""
    root = dataset(tmp_path, lambda case: ellipses(case, (255, 255)), quality=50)
    boxes = truth_of(InstanceMasks(str(root), mask_kind="binary"))
    assert boxes.groupby("case_id").size().tolist() == [2] * 8
    for case in range(8):
        drawn = boxes_of_instances(label(ellipses(case, (255, 255)))[0], "drawn")
        found = boxes.loc[boxes["case_id"] == str(case), ["x1", "y1", "x2", "y2"]].to_numpy()
        np.testing.assert_allclose(found, drawn, atol=1)
    save_jpeg(root / "masks" / "2.jpg", ellipses(2, (1, 2)), 95)
    with pytest.raises(SuiteError, match=f"2.jpg: {SPOILT}"):
        _ = InstanceMasks(str(root), mask_kind="binary").table
