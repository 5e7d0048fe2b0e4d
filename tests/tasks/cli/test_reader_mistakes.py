"""What readers refuse, and what a check finds of their values, on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import tifffile

from datamodules.readers.raster import write_png
from tests.datamodules.dicom_on_disk import blob, write_series
from tests.datamodules.seg_on_disk import write_seg
from tests.tasks.cli.conftest import TINY, Run, one_line

SHAPE = (4, 8, 6)


def two_time_points(root: Path) -> str:
    """Images of a second time point between those of the first."""
    for case in range(3):
        folder = root / "imagesTr" / f"c{case}"
        files = write_series(folder, blob(SHAPE), uid=f"1.2.{case}", step=5.0, TemporalPositionIdentifier=1)
        write_seg(root / "labelsTr" / f"c{case}.dcm", files, (blob(SHAPE) > 0).astype(np.uint8), {1: "Liver"})
        place = (-50.0, -40.0, 32.5)
        late = write_series(folder / "late", blob(SHAPE), uid=f"1.2.{case}", step=5.0, origin=place,
                            TemporalPositionIdentifier=2)  # fmt: skip
        for file in late:
            file.rename(folder / f"{file.name}b")
    return (
        r"imagesTr/c0: series 2 \(CT, 8 images\) has 2 time points, in IM\w+ and IM\w+ for instance: keep one of them"
    )


def two_frames_at_one_position(root: Path) -> str:
    for case in range(3):
        files = write_series(root / "imagesTr" / f"c{case}", blob(SHAPE), uid=f"1.2.{case}", PatientID=f"P{case}")
        seg = write_seg(root / "labelsTr" / f"c{case}.dcm", files, np.ones(SHAPE, np.uint8), {1: "Liver"})
        dataset = pydicom.dcmread(seg)
        frames = dataset.PerFrameFunctionalGroupsSequence
        frames[2].PlanePositionSequence = frames[1].PlanePositionSequence
        dataset.save_as(seg)
    return r"labelsTr/c0\.dcm: .*frames 1 and 2 of segment 1 lie at one position: keep one"


def movies(root: Path) -> str:
    for case in range(12):
        file = root / "ab"[case % 2] / f"{case}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        array = np.random.default_rng(case).integers(0, 255, (5, 16, 16)).astype(np.uint8)
        tifffile.imwrite(file, array, imagej=True, metadata={"axes": "TYX"})
    return r"a/\d+\.tif: .*it has 5 time points, which are no slices: save one of them a file"


@pytest.mark.parametrize(
    ("task", "data", "draw"),
    [
        ("segment", "Volumes", two_time_points),
        ("segment", "Volumes", two_frames_at_one_position),
        ("classify", "ImageFolder", movies),
    ],
)
def test_what_readers_refuse_stops_fit_with_one_line(
    run_task: Run, task: str, data: str, draw: Callable[[Path], str]
) -> None:
    message = draw(Path("set"))
    status, _, err = run_task(task, "fit", "--data", data, "--data.root", "set", *TINY, "--run_dir", "run")
    assert status == 2
    assert re.search(message, one_line(err)), err


def test_check_finds_12_bits_in_16(run_task: Run) -> None:
    for case in range(12):
        file = Path("set") / "ab"[case % 2] / f"{case}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, np.random.default_rng(case).integers(0, 4096, (32, 32)).astype(np.uint16))
    words = ["--data", "ImageFolder", "--data.root", "set", "--data.num_workers", "0"]
    status, out, err = run_task("classify", "check", *words, "--output", "checked")
    assert status == 0, err
    found = pd.read_csv("checked/check.csv")
    assert (found["kind"] == "narrow").sum() == 12
    assert "narrow" in out
