"""Tables and annotations stay in their folder, unless the user says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.cases.containment import refuse_outside
from datamodules.classification.image_table import ImageTable
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.inputs import InputFiles
from datamodules.readers.raster import write_png
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set, and a secret beside it that links lead to."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    write_png(tmp_path / "secret" / "a.png", np.zeros((8, 8), np.uint8))
    write_png(root / "images" / "a.png", np.zeros((8, 8), np.uint8))
    (root / "images" / "link.png").symlink_to(tmp_path / "secret" / "a.png")
    (root / "images" / "own.png").symlink_to(root / "images" / "a.png")
    (root / "folder").symlink_to(tmp_path / "secret")
    return root


def leading_out(root: Path) -> list[str]:
    return [
        "../secret/a.png", "images/../../secret/a.png", str(root.parent / "secret" / "a.png"), "images/link.png",
        "folder/a.png", "/etc/passwd", "..", "../set2/a.png",
    ]  # fmt: skip


def test_what_leads_out_and_what_does_not(root: Path) -> None:
    inside = ["images/a.png", "images/own.png", str(root / "images" / "a.png"), "images/../images/a.png", "missing.png"]
    refuse_outside(root, inside, "t.csv")
    (root.parent / "linked").symlink_to(root)  # a root that is a link itself
    refuse_outside(root.parent / "linked", inside, "t.csv")
    for name in leading_out(root):
        with pytest.raises(SuiteError, match=r"^t\.csv: .* \(number 2\) is outside of .*--data\.allow_outside true$"):
            refuse_outside(root, ["images/a.png", name], "t.csv")
        refuse_outside(root, [name], "t.csv", allow=True)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000, "\ud800.png", "x" * 300 + ".png"])
def test_what_is_no_path_is_refused_always(root: Path, name: str) -> None:
    for allow in (False, True):
        with pytest.raises(SuiteError, match=r"^t\.csv: .* \(number 1\) is no path"):
            refuse_outside(root, [name], "t.csv", allow=allow)


def image_table(root: Path, name: str, **kwargs: Any) -> Any:
    pd.DataFrame({"path": ["images/a.png", name], "label": ["x", "y"]}).to_csv(root / "labels.csv", index=False)
    return ImageTable(str(root), **kwargs).build_table()


def mask_table(root: Path, name: str, **kwargs: Any) -> Any:
    pd.DataFrame({"path": ["images/a.png"], "mask": [name]}).to_csv(root / "t.csv", index=False)
    return MaskFolder(str(root), table="t.csv", **kwargs).build_table()


def coco(root: Path, name: str, **kwargs: Any) -> Any:
    content = {
        "images": [{"id": 1, "file_name": "images/a.png"}, {"id": 2, "file_name": name}],
        "annotations": [], "categories": [{"id": 1, "name": "x"}],
    }  # fmt: skip
    (root / "all.json").write_text(json.dumps(content))
    return Coco(str(root), **kwargs).build_table()


def voc(root: Path, name: str, **kwargs: Any) -> Any:
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "Annotations" / "b.xml").write_text(f"<annotation><filename>{name}</filename></annotation>")
    return Voc(str(root), images=".", classes="x", **kwargs).build_table()


def yolo(root: Path, name: str, **kwargs: Any) -> Any:
    (root / "train.txt").write_text(f"images/a.png\n{name}\n")
    (root / "data.yaml").write_text("names: [x]\ntrain: train.txt\n")
    return Yolo(str(root), **kwargs).build_table()


def predict_table(root: Path, name: str, **kwargs: Any) -> Any:
    pd.DataFrame({"path": ["images/a.png", name]}).to_csv(root / "in.csv", index=False)
    return InputFiles(**kwargs).table([str(root / "in.csv")])


@pytest.mark.parametrize("build", [image_table, mask_table, coco, voc, yolo, predict_table])
def test_every_file_that_names_files(root: Path, build: Callable[..., Any]) -> None:
    for name in leading_out(root)[:6]:
        if name == "/etc/passwd" and build is yolo:
            continue  # the same as any other absolute path
        with pytest.raises(SuiteError, match=r"--data\.allow_outside true$"):
            build(root, name)
    assert len(build(root, "../secret/a.png", allow_outside=True)) > 0


def test_folders_of_yolo_and_tables_of_volumes(root: Path) -> None:
    (root / "data.yaml").write_text("names: [x]\ntrain: folder\n")
    with pytest.raises(SuiteError, match=r"data\.yaml: train: .* is outside of"):
        Yolo(str(root)).build_table()
    Yolo(str(root), allow_outside=True).build_table()
    write_nifti(root.parent / "secret" / "v.nii.gz", np.zeros((3, 3, 3), np.uint8))
    write_nifti(root / "v.nii.gz", np.zeros((3, 3, 3), np.uint8))
    pd.DataFrame({"path": ["v.nii.gz"], "label": ["../secret/v.nii.gz"]}).to_csv(root / "t.csv", index=False)
    with pytest.raises(SuiteError, match=r"t\.csv, column 'label': \.\./secret/v\.nii\.gz .* is outside of"):
        Volumes(str(root), table="t.csv").build_table()
