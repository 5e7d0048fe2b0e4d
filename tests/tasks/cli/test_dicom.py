"""From DICOM series and DICOM-SEG to metrics and masks, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch

from datamodules.readers.dicom.seg import read_on_grid
from datamodules.readers.volume import read_grid, read_volume, same_grid
from tests.datamodules.dicom_on_disk import CORONAL, write, write_series
from tests.datamodules.seg_on_disk import write_seg
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.deployment.dicom.made import assert_valid

TINY_UNET = [*TINY, "--data.folds", "2", "--model.decoder_args", '{"decoder_channels": [16, 16, 8, 8, 8]}']


def draw_study(root: Path, count: int = 8) -> None:
    """Bright blocks in CT series, two of a patient, with their segmentations."""
    rng = np.random.default_rng(0)
    for case in range(count):
        mask = np.zeros((6, 24, 20), np.uint8)
        top, left = rng.integers(2, 10, 2)
        mask[1:5, top : top + 9, left : left + 8] = 1
        image = rng.normal(-100 + 300.0 * mask, 20).astype(np.int16)
        files = write_series(
            root / "imagesTr" / f"ct{case}",
            image,
            uid=f"1.2.3.{case}",
            PatientID=f"SECRET-{case // 2}",
            FrameOfReferenceUID=f"1.2.4.{case}",
            PatientSex="FM"[case // 2 % 2],
        )
        write_seg(root / "labelsTr" / f"ct{case}.dcm", files, mask, {1: "lesion"})


def texts(value: Any) -> Iterator[str]:
    """Every text in what a checkpoint holds, keys included; bytes as text."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (*texts(key), *texts(item))
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from texts(item)
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, str):
        yield value


def names_in(text: str) -> list[str]:
    return [name for name in ("SECRET", "Doe") if name in text]


def test_segmentation_from_series_with_dicom_seg(run_task: Run) -> None:
    segment = partial(run_task, "segment")
    draw_study(Path("study"))
    # A localiser lies beside the slices, as scanners put it.
    scout = np.zeros((1, 30, 30), np.int16)
    write_series(
        Path("study/imagesTr/ct0/scout"),
        scout,
        direction=CORONAL,
        uid="1.9",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    flags = ["--data", "Volumes", "--data.root", "study", "--data.window", "soft", *TINY_UNET]
    status, _, err = segment("fit", *flags, "--run_dir", "run")
    assert status == 0, err
    assert "NO PATIENTS KNOWN" not in err
    predictions = pd.read_csv("run/predictions.csv")
    assert set(predictions["class"]) == {"lesion"}
    assert (predictions[["tp", "fp", "fn", "tn"]].sum(axis=1) == 6 * 24 * 20).all()
    assert "test/dice" in json.loads(Path("run/metrics.json").read_text())
    cases = pd.read_csv("run/cases.csv")
    assert {"sex", "age", "modality", "manufacturer", "study_uid", "series_uid"} <= set(cases.columns)
    assert (cases.groupby("patient_id")["split"].nunique() == 1).all()
    for file in Path("run").rglob("*"):
        if file.suffix in (".csv", ".json", ".yaml", ".html"):
            assert not names_in(file.read_text(encoding="utf-8")), file
        elif file.suffix == ".ckpt":
            # What is written in it, not its bytes: three letters stand in millions of random weights by chance.
            assert not names_in(" ".join(texts(torch.load(file, weights_only=True)))), file

    words = ["--ckpt_path", "run/checkpoints/best.ckpt", "--input", "study/imagesTr", "--output", "out"]
    status, _, err = segment("predict", *words)
    assert status == 0, err
    rows = pd.read_csv("out/predictions.csv")
    assert len(rows) == 8
    masks = sorted(Path("out").rglob("*.nii.gz"))
    assert len(masks) == 8
    assert same_grid(read_volume(masks[3]), read_grid(Path("study/imagesTr/ct3")))
    assert nibabel.load(masks[3]).header["descrip"].item() == b""

    # The same masks as objects of each patient's study.
    words = [*words[:2], "--input", "study/imagesTr/ct3", "--output", "back", "--pictures", "false"]
    status, _, err = segment("predict", *words, "--dicom", "seg", "gsps,sr")
    assert status == 0, err
    made = {file.stem: file for file in Path("back/dicom/ct3").iterdir()}
    assert set(made) == {"seg", "sr", "gsps"}
    again = read_on_grid(made["seg"], read_grid(Path("study/imagesTr/ct3")))
    assert np.array_equal(again.array, np.asarray(nibabel.load(masks[3]).dataobj))
    source = pydicom.dcmread(next(Path("study/imagesTr/ct3").iterdir()))
    for file in made.values():
        dataset = pydicom.dcmread(file)
        assert (dataset.PatientID, dataset.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert_valid(list(made.values()))
    # A mask of a NIfTI file belongs to nobody.
    nifti = [*words[:3], str(masks[3]), "--output", "refused", "--dicom", "seg"]
    status, _, err = segment("predict", *nifti)
    assert status == 2
    assert "is no DICOM, so nothing says whose it is" in one_line(err)


def test_patients_keep_their_ids_where_it_is_asked_for(run_task: Run) -> None:
    draw_study(Path("study"), count=6)
    flags = ["--data", "Volumes", "--data.root", "study", "--data.keep_ids", "true", *TINY_UNET]
    status, _, err = run_task("segment", "fit", *flags, "--run_dir", "run")
    assert status == 0, err
    assert pd.read_csv("run/cases.csv")["patient_id"].str.startswith("SECRET-").all()


def test_classification_straight_from_dicom_files_with_a_table(run_task: Run) -> None:
    """Patients come from the headers, hashed; predict takes the files."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        bright = number // 2 % 2
        name = f"scans/{number:02d}/image.dcm"
        write(
            Path("set") / name, rng.normal(300.0 * bright, 50, (32, 28)).astype(np.int16), PatientID=f"P{number // 2}"
        )
        rows.append({"path": name, "finding": ["no", "yes"][bright]})
    pd.DataFrame(rows).to_csv("set/labels.csv", index=False)
    flags = [
        "--data",
        "ImageTable",
        "--data.root",
        "set",
        "--data.table",
        "labels.csv",
        "--data.label_columns",
        "finding",
    ]
    status, _, err = run_task("classify", "fit", *flags, "--data.window", "soft", *TINY, "--run_dir", "run")
    assert status == 0, err
    assert "NO PATIENTS KNOWN" not in err
    cases = pd.read_csv("run/cases.csv", dtype=str)
    assert cases["patient_id"].notna().all()
    assert not cases["patient_id"].str.fullmatch(r"P\d+").any()
    assert (cases.groupby("patient_id")["split"].nunique() == 1).all()
    status, _, err = run_task(
        "classify", "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "set/scans", "--output", "out"
    )
    assert status == 0, err
    assert len(pd.read_csv("out/predictions.csv")) == 40

    checkpoint = ["predict", "--ckpt_path", "run/checkpoints/best.ckpt"]
    Path("set/odd").mkdir()
    write(Path("set/odd/image.dcm"), np.zeros((32, 28), np.int16), StudyInstanceUID=None)
    inputs = ["--input", "set/scans/00", "set/scans/01", "set/odd", "--output", "back"]
    status, _, err = run_task("classify", *checkpoint, *inputs, "--dicom", "sr")
    assert status == 1
    assert "1 DICOM objects could not be made" in err
    assert len(pd.read_csv("back/dicom/errors.csv")) == 1
    reports = sorted(Path("back/dicom").rglob("sr.dcm"))
    assert len(reports) == 2
    assert_valid(reports)
    predicted = pd.read_csv("back/predictions.csv").set_index("path")
    report = highdicom.sr.srread(reports[0])
    scores = {
        group.finding_type.meaning: group.get_measurements()[0].value / 100
        for group in report.content.get_image_measurement_groups()
    }
    assert scores["yes"] == pytest.approx(predicted.loc["set/scans/00/image.dcm", "score_yes"], abs=1e-6)
    status, _, err = run_task("classify", *checkpoint, *inputs[:2], "--output", "no", "--dicom", "seg")
    assert status == 2
    assert "--dicom seg: is for masks, and the model's task is classify" in one_line(err)
