from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datamodules.pictures.panels import CLASS_COLOURS
from scansuite.errors import SuiteError
from tasks.deployment.boxes import write_box_picture, write_coco

CLASSES = ["cyst", "mass"]
CASES = pd.DataFrame(
    {"case_id": ["a/1", "b"], "path": ["scans/a/1.png", "scans/b.png"], "width": [60, 80], "height": [40, 50]}
)
BOXES = pd.DataFrame(
    [("b", "mass", 0.75, 1.5, 2.0, 11.25, 22.0), ("b", "cyst", 0.5, 0.0, 0.0, 80.0, 50.0)],
    columns=["case_id", "label", "score", "x1", "y1", "x2", "y2"],
)


def test_coco_reads_what_was_found(tmp_path: Path) -> None:
    file = tmp_path / "detections.json"
    write_coco(file, CASES, BOXES, CLASSES)
    whole = json.loads(file.read_text())
    assert whole["categories"] == [{"id": 1, "name": "cyst"}, {"id": 2, "name": "mass"}]
    assert whole["images"][0] == {"id": 1, "file_name": "scans/a/1.png", "width": 60, "height": 40}
    assert whole["annotations"][0] == {
        "id": 1, "image_id": 2, "category_id": 2, "bbox": [1.5, 2.0, 9.75, 20.0], "area": 195.0, "iscrowd": 0,
        "score": 0.75,
    }  # fmt: skip

    from pycocotools.coco import COCO

    coco = COCO(str(file))
    assert coco.getImgIds() == [1, 2]
    assert coco.getAnnIds(imgIds=[1]) == []
    assert len(coco.loadRes(whole["annotations"]).getAnnIds()) == 2


def test_scores_keep_all_their_digits(tmp_path: Path) -> None:
    """Rounded to six, the highest-scoring boxes tied, and COCO's tools ranked them by chance."""
    scores = [1 - 1e-9, 1 - 2e-9]
    write_coco(tmp_path / "detections.json", CASES, BOXES.assign(score=scores), CLASSES)
    written = json.loads((tmp_path / "detections.json").read_text())["annotations"]
    assert [one["score"] for one in written] == scores


def test_pictures_show_the_boxes(tmp_path: Path) -> None:
    image = np.full((50, 80, 3), 0.5, np.float32)
    file = write_box_picture(tmp_path, "b/../../x", image, BOXES, CLASSES)
    assert file.resolve().is_relative_to(tmp_path.resolve())
    shown = np.array(Image.open(file))
    factor = 8  # 50 px on 384
    assert shown.shape[1] == 80 * factor
    assert tuple(shown[12 * factor, int(1.5 * factor)]) == CLASS_COLOURS[1]
    nothing = write_box_picture(tmp_path, "a/1", image, BOXES.iloc[:0], CLASSES)
    assert nothing == tmp_path / "a" / "1.png"
    assert Image.open(nothing).size == (80 * factor, 50 * factor)


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(SuiteError, match=r"detections\.json"):
        write_coco(Path("/proc/detections.json"), CASES, BOXES, CLASSES)
