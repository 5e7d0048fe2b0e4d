"""``--data.include`` and ``--data.exclude`` choose among the images of each format that walks folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.base import DetectionData
from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.readers.raster import write_png
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import noise, pictures, write_coco, write_voc, write_yolo


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_maps(root: Path) -> Path:
    for one in pictures():
        for top, array in (("images", noise(one)), ("masks", np.eye(*one.size, dtype=np.uint8))):
            (root / top).mkdir(parents=True, exist_ok=True)
            write_png(root / top / f"{one.name}.png", array)
    (root / "masks" / "scan7.png").unlink()
    return root


@pytest.mark.parametrize(
    ("data_class", "write"),
    [
        (Voc, lambda root: write_voc(root, pictures())),
        (Voc, lambda root: write_voc(root, pictures(), sets=False)),
        (Yolo, lambda root: write_yolo(root, pictures())),
        (InstanceMasks, write_maps),
    ],
    ids=["sets", "voc", "yolo", "maps"],
)
def test_images_are_chosen_before_anything_is_said_of_them(
    data_class: type[DetectionData], write: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = write(tmp_path)
    names = data_class(str(root), exclude="scan7.*,scan1.png").table.cases["case_id"]
    assert sorted(names.str.rpartition("/")[2]) == [f"scan{number}" for number in (0, 2, 3, 4, 5, 6, 8, 9)]
    with pytest.raises(
        SuiteError, match=r"--data\.include scan_1: fits none of the 10 files in .*: the nearest is scan1"
    ):
        _ = data_class(str(root), include="scan_1").table


def test_what_a_file_lists_is_not_chosen_among(tmp_path: Path) -> None:
    root = write_coco(tmp_path, pictures())
    with pytest.raises(SuiteError, match=r"--data\.include scan1: no use to Coco, which walks"):
        _ = Coco(str(root), include="scan1").table
