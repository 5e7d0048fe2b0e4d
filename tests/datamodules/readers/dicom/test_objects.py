"""Which DICOM files are images of a scan, and which are made from one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import EnhancedSRStorage, RTDoseStorage

from datamodules.readers.dicom.header import is_scan
from datamodules.readers.dicom.series import find_series, may_be_volume, read_grid
from tests.datamodules.dicom_on_disk import blob, image, write, write_series
from tests.datamodules.seg_on_disk import write_seg

SHAPE = (3, 8, 6)


def test_segmentations_doses_and_reports_are_no_scans(tmp_path: Path) -> None:
    files = write_series(tmp_path, blob(SHAPE))
    seg = write_seg(tmp_path / "seg.dcm", files, (blob(SHAPE) > 0).astype(np.uint8), {1: "Liver"})
    dose = write(tmp_path / "dose.dcm", blob(SHAPE)[0].astype(np.uint16), SOPClassUID=RTDoseStorage, Modality="RTDOSE")
    report = image(blob(SHAPE)[0], SOPClassUID=EnhancedSRStorage, Modality="SR")
    del report.PixelData
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    (tmp_path / "notes.txt").write_text("x")
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(files[0].read_bytes()[:144] + b"1.2.840.10008.1.2.1.99 but not deflated")
    assert all(map(is_scan, files))
    assert is_scan(damaged)  # reading it says what is wrong
    damaged.unlink()
    others = [seg, dose, tmp_path / "report.dcm", tmp_path / "notes.txt", tmp_path, tmp_path / "none"]
    assert not any(map(is_scan, others))
    assert [len(series.slices) for series in find_series(tmp_path)] == [3]
    assert read_grid(tmp_path).shape == (6, 8, 3)
    for name in ("dose.dcm", "report.dcm", "seg.dcm"):
        alone = tmp_path / name.split(".")[0]
        alone.mkdir()
        pydicom.dcmread(tmp_path / name).save_as(alone / "x")
        assert not may_be_volume(alone)
