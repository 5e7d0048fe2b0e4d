"""Faults planted in copies of real scans are found, each by its kind and case, and nothing else is an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.classification.image_table import ImageTable
from datamodules.detection.voc import Voc
from datamodules.readers import raster
from datamodules.readers.volume import read_volume, write_volume
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.checks.checking import errors, findings, pairs


@pytest.fixture(scope="module")
def chests(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Findings in 120 chest X-rays, one of each patient, with eleven faults."""
    root = tmp_path_factory.mktemp("chests")
    source = shared_data / "nih_cxr64"
    frame = pd.read_csv(source / "labels.csv", dtype={"patient_id": "str"}).drop_duplicates("patient_id")
    frame = frame[["path", "patient_id", "patient_sex"]].head(120).reset_index(drop=True)
    for path in frame["path"]:
        shutil.copy(source / path, root / Path(path).name)
    frame["path"] = [Path(path).name for path in frame["path"]]
    frame["case_id"] = [f"c{row:03d}" for row in range(len(frame))]
    frame["label"] = np.where(frame["patient_sex"] == "F", "female", "male")
    frame["split"] = ["train"] * 80 + ["val"] * 20 + ["test"] * 20

    def picture(case: int) -> np.ndarray:
        array = raster.read(root / frame["path"][case]).array
        return array if array.ndim == 2 else array[:, :, 0]

    def put(case: int, array: np.ndarray) -> None:
        raster.write_png(root / frame["path"][case], array)

    (root / frame["path"][0]).write_bytes((root / frame["path"][0]).read_bytes()[:900])  # cut off
    (root / frame["path"][1]).unlink()
    put(2, np.full((64, 64), 90, np.uint8))
    shutil.copy(root / frame["path"][3], root / frame["path"][100])  # train and test
    put(101, np.clip(picture(4) * 0.9 + 9, 0, 255).astype(np.uint8))  # looks like one of train
    frame["patient_id"] = [frame["patient_id"][5 if row == 81 else row] for row in range(len(frame))]
    frame.loc[6, "label"] = "femal"
    frame.loc[7, "label"] = ""
    put(8, np.zeros((200, 150), np.uint8) + np.arange(150, dtype=np.uint8))
    frame.loc[119, "label"] = "other"  # in test only
    put(9, np.stack([picture(9)] * 3 + [np.full((64, 64), 255, np.uint8)], axis=2))
    put(10, (picture(10) // 80).astype(np.uint8))
    put(11, np.where(picture(11) > np.median(picture(11)), 255, picture(11)).astype(np.uint8))
    frame.drop(columns="patient_sex").to_csv(root / "labels.csv", index=False)
    data = ImageTable(str(root), num_workers=0, class_names=["female", "male", "other"])
    return findings(data, tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        ("unreadable", "c000"), ("constant", "c002"), ("duplicate_leak", "c003"), ("near_duplicate", "c004"),
        ("patient_leak", "c005"), ("unknown_label", "c006"), ("empty_label", "c007"), ("odd_size", "c008"),
        ("odd_channels", "c009"), ("faint", "c010"), ("saturated", "c011"),
    ],
)  # fmt: skip
def test_faults_of_chests(chests: pd.DataFrame, kind: str, case: str) -> None:
    assert (kind, case) in pairs(chests)


def test_chests_have_no_other_error(chests: pd.DataFrame) -> None:
    found = errors(chests)
    assert {kind for kind, _ in found} == {
        "unreadable", "missing_file", "duplicate_leak", "patient_leak", "unknown_label", "empty_label", "class_missing",
    }  # fmt: skip
    assert len(found) == 7
    missing = chests[chests["kind"] == "class_missing"]
    assert "'other'" in missing["detail"].iloc[0]


def test_findings_name_case_path_and_part(chests: pd.DataFrame) -> None:
    row = chests[chests["kind"] == "duplicate_leak"].iloc[0]
    assert (row["case_id"], row["split"], row["severity"]) == ("c003", "train", "error")
    assert row["detail"] == "c003 (train) = c100 (test)"
    assert row["path"].endswith(".png")
    assert list(chests["severity"]) == sorted(chests["severity"], key=["error", "warning", "note"].index)


def test_faults_of_nuclei(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "nuclei"
    names = sorted(file.name for file in (shared_data / "dsb2018_nuclei" / "images").iterdir())[:14]
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(shared_data / "dsb2018_nuclei" / folder / name, root / folder / name)
    stems = [Path(name).stem for name in names]

    def mask(case: int) -> np.ndarray:
        return raster.read(root / "labels" / names[case]).array

    raster.write_png(root / "labels" / names[0], mask(0)[:-3])
    (root / "labels" / names[1]).unlink()
    raster.write_png(root / "labels" / names[2], np.zeros_like(mask(2)))
    (root / "labels" / names[3]).write_bytes(b"no picture")
    raster.write_png(root / "labels" / names[4], np.ones_like(mask(4)))
    found = findings(MaskFolder(str(root), masks="labels", num_workers=0), tmp_path / "report")
    assert {
        ("grid_mismatch", stems[0]), ("mask_empty", stems[2]), ("mask_unreadable", stems[3]), ("mask_full", stems[4]),
    } <= pairs(found)  # fmt: skip
    assert errors(found) == {
        ("grid_mismatch", stems[0]), ("mask_pair", f"images/{names[1]}"), ("mask_unreadable", stems[3]),
    }  # fmt: skip


def test_faults_of_blood_smears(shared_data: Path, tmp_path: Path) -> None:
    source, root = shared_data / "bccd" / "BCCD", tmp_path / "bccd"
    stems = sorted(file.stem for file in (source / "Annotations").iterdir())[:12]
    for folder, suffix in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
        (root / folder).mkdir(parents=True)
        for stem in stems:
            shutil.copy(source / folder / f"{stem}{suffix}", root / folder / f"{stem}{suffix}")

    def edit(case: int, old: str, new: str) -> None:
        file = root / "Annotations" / f"{stems[case]}.xml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def thing(*corners: int, name: str = "RBC") -> str:
        tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        return f"<object><name>{name}</name><bndbox>{''.join(f'<{t}>{v}</{t}>' for t, v in tags)}</bndbox></object>"

    end = "</annotation>"
    edit(0, end, thing(10, 10, 10, 40) + end)
    edit(1, end, thing(900, 10, 940, 40) + end)
    edit(2, end, thing(11, 12, 40, 50) + thing(11, 12, 40, 50) + end)
    edit(3, end, thing(1, 1, 40, 50, name="RCB") + end)
    edit(4, end, "")
    edit(5, "<width>640</width>", "<width>320</width>")
    edit(6, "<xmin>", "<xmin>nan")
    edit(7, end, thing(200, 200, 260, 260) + thing(201, 200, 260, 260) + end)
    (root / "JPEGImages" / f"{stems[8]}.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    data = Voc(str(root), classes=["RBC", "WBC", "Platelets"], num_workers=0, folds=2, test_fraction=0.3)
    found = findings(data, tmp_path / "report")
    assert {
        ("box_empty", stems[0]), ("box_outside", stems[1]), ("box_twice", stems[2]), ("unknown_label", stems[3]),
        ("size_mismatch", stems[5]), ("box_overlap", stems[7]), ("unreadable", stems[8]),
    } <= pairs(found)  # fmt: skip
    assert errors(found) == {
        ("unknown_label", stems[3]), ("annotation", f"Annotations/{stems[4]}.xml"), ("size_mismatch", stems[5]),
        ("bad_box", f"Annotations/{stems[6]}.xml"), ("unreadable", stems[8]),
    }  # fmt: skip


def test_faults_of_volumes(shared_data: Path, tmp_path: Path) -> None:
    source, root = shared_data / "msd_hippocampus", tmp_path / "hippocampus"
    names = sorted(file.name for file in (source / "imagesTr").iterdir())[:10]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(source / folder / name, root / folder / name)
    cases = [name.removesuffix(".nii.gz") for name in names]
    image, mask = (read_volume(root / folder / names[0]) for folder in ("imagesTr", "labelsTr"))
    broken = image.array.astype(np.float32)
    broken[3, 3, 3] = np.nan
    write_volume(root / "imagesTr" / names[0], broken, image)
    mask = read_volume(root / "labelsTr" / names[1])
    labels = mask.array.copy()
    labels[:4, 0, 0] = 7
    write_volume(root / "labelsTr" / names[1], labels, mask)
    shutil.copy(source / "labelsTr" / names[9], root / "labelsTr" / names[2])  # of another volume
    file = root / "imagesTr" / names[3]
    file.write_bytes(file.read_bytes()[:2000])
    shutil.copy(root / "imagesTr" / names[4], root / "imagesTr" / names[5])
    shutil.copy(root / "labelsTr" / names[4], root / "labelsTr" / names[5])
    (root / "labelsTr" / names[6]).unlink()
    split = pd.DataFrame({"case_id": cases, "split": ["train"] * 5 + ["test"] * 2 + ["val"] * 3})
    split[split["case_id"] != cases[6]].to_csv(root / "split.csv", index=False)
    data = Volumes(
        str(root), classes=["background", "anterior", "posterior"], num_workers=0, split_file=str(root / "split.csv")
    )
    found = findings(data, tmp_path / "report")
    assert errors(found) == {
        ("not_finite", cases[0]), ("unknown_value", cases[1]), ("grid_mismatch", cases[2]), ("unreadable", cases[3]),
        ("duplicate_leak", cases[4]), ("mask_pair", f"imagesTr/{names[6]}"),
    }  # fmt: skip
