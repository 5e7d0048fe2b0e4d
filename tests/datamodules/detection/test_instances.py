"""Boxes around the objects of instance maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks, boxes_of_instances
from datamodules.readers.raster import write_png
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import truth_of


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_each_number_is_one_tight_box(kind: type[np.generic]) -> None:
    array = np.zeros((12, 20), kind)
    array[2:5, 3:9] = 40000 if kind is not np.int32 else 2_000_000_000
    array[5, 9] = 7
    array[0, 0] = array[11, 19] = 9  # one object in two pieces
    assert boxes_of_instances(array, "x").tolist() == [[9, 5, 10, 6], [0, 0, 20, 12], [3, 2, 9, 5]]


def test_maps_without_background_or_objects() -> None:
    assert boxes_of_instances(np.zeros((4, 5), np.uint8), "x").shape == (0, 4)
    assert boxes_of_instances(np.full((4, 5), 3, np.uint8), "x").tolist() == [[0, 0, 5, 4]]
    for array in (np.full((4, 5), 0.5, np.float32), np.full((4, 5), -1, np.int16)):
        with pytest.raises(SuiteError, match="x: an instance map holds whole numbers from 0"):
            boxes_of_instances(array, "x")


def test_images_are_paired_with_maps(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c", "d", "e", "f"):
        write_png(tmp_path / "images" / f"{name}.png", np.full((9, 9), ord(name), np.uint8))
        array = np.zeros((9, 9), np.uint16)
        array[1:4, 2:6] = 300
        write_png(tmp_path / "masks" / f"{name}_mask.png", array if name != "b" else array * 0)
    data = InstanceMasks(str(tmp_path), classes="nucleus")
    truth = truth_of(data)
    assert truth["case_id"].tolist() == ["a", "c", "d", "e", "f"]
    assert truth[["label", "x1", "y1", "x2", "y2"]].drop_duplicates().to_numpy().tolist() == [["nucleus", 2, 1, 6, 4]]
    assert len(data.table) == 6
    (tmp_path / "masks" / "c_mask.png").unlink()
    with pytest.raises(SuiteError, match=r"c\.png: no map of this name in"):
        _ = InstanceMasks(str(tmp_path)).table
    with pytest.raises(SuiteError, match="instance maps have one class"):
        InstanceMasks(str(tmp_path), classes="a,b")


@pytest.mark.parametrize("values", [(255, 255, 255), (1, 1, 2), (1, 2, 1)])
def test_masks_of_classes_are_asked_about(values: tuple[int, ...], tmp_path: Path) -> None:
    """All cells of a mask with 0 and 255 became one box."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        array = np.zeros((30, 40), np.uint8)
        for row in range(3):
            for column, value in enumerate(values):
                array[row * 10 + 1 : row * 10 + 6, column * 12 + 2 : column * 12 + 8] = value
        write_png(tmp_path / "images" / f"{number}.png", np.full((30, 40), 40 * number, np.uint8))
        write_png(tmp_path / "masks" / f"{number}.png", array)
    with pytest.raises(SuiteError, match=r"separate pieces.*--data\.mask_kind binary.*--data\.mask_kind instances"):
        _ = InstanceMasks(str(tmp_path)).table
    assert len(truth_of(InstanceMasks(str(tmp_path), mask_kind="binary"))) == 6 * 9
    each = InstanceMasks(str(tmp_path), mask_kind="instances")
    assert len(truth_of(each)) == 6 * len(set(values))


def test_nuclei_have_the_boxes_of_their_json(shared_data: Path) -> None:
    root = str(shared_data / "dsb2018_nuclei")
    maps = truth_of(InstanceMasks(root, classes="nucleus", split_file="splits/nuclei"))
    json = truth_of(Coco(root, split_file="splits/nuclei"))
    columns = ["case_id", "x1", "y1", "x2", "y2"]
    both = maps[columns].merge(json[columns], how="inner")
    # Four pixels of three cases lay in two masks, of which the maps keep one.
    assert (len(maps), len(json)) == (7581, 7581)
    assert len(both) >= 7581 - 4
