"""DICOM segmentations, written by highdicom, on the grid of a series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from datamodules.readers.dicom.seg import is_segmentation, read_on_grid, segment_labels
from datamodules.readers.dicom.series import read_grid
from datamodules.readers.volume import Volume
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import CORONAL, blob, write_series
from tests.datamodules.seg_on_disk import write_seg

SHAPE = (8, 16, 12)
LABELS = {1: "Liver", 2: "tumour"}


def drawn() -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 3:9, 4:11] = 1
    mask[4:7, 10:15, 2:6] = 2
    return mask


def on_grid(mask: NDArray[Any]) -> NDArray[Any]:
    """As a series' voxels lie: (columns, rows from below, slices)."""
    return mask[:, ::-1].transpose(2, 1, 0)


def fractions(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.where(np.stack([mask == 1, mask == 2], axis=-1), 0.6, 0.3)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("direction", [None, CORONAL])
def test_masks_lie_where_they_were_drawn(tmp_path: Path, kind: str, direction: Any) -> None:
    place = {} if direction is None else {"direction": direction}
    files = write_series(tmp_path / "series", blob(SHAPE), **place)
    mask = drawn()
    seg = write_seg(tmp_path / "seg.dcm", files, fractions(mask) if kind == "FRACTIONAL" else mask, LABELS, kind)
    grid = read_grid(tmp_path / "series")
    volume = read_on_grid(seg, grid)
    assert np.array_equal(volume.array, on_grid(mask))
    assert np.array_equal(volume.affine, grid.affine)
    assert is_segmentation(seg)
    assert not is_segmentation(files[0])
    assert {number: label for number, label in segment_labels(seg).items() if number} == LABELS
    # By name, whatever the number; by number where no name fits.
    assert np.array_equal(
        read_on_grid(seg, grid, {"background": 0, "TUMOUR": 1, "liver": 7}).array, np.array([0, 7, 1])[on_grid(mask)]
    )
    assert np.array_equal(read_on_grid(seg, grid, {"background": 0, "organ": 1, "core": 2}).array, on_grid(mask))
    with pytest.raises(SuiteError, match=r"its segment 1 'Liver' is no class: name it in --data\.classes"):
        read_on_grid(seg, grid, {"background": 0, "tumour": 1})


def test_frames_without_a_position_go_to_the_image_they_were_drawn_on(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", blob(SHAPE))
    seg = write_seg(tmp_path / "seg.dcm", files, drawn(), LABELS)
    dataset = pydicom.dcmread(seg)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    dataset.save_as(seg)
    assert np.array_equal(read_on_grid(seg, read_grid(tmp_path / "series")).array, on_grid(drawn()))
    other = write_series(tmp_path / "other", blob(SHAPE), uid="1.2.3")
    assert other
    with pytest.raises(SuiteError, match="neither where it lies nor which image"):
        read_on_grid(seg, read_grid(tmp_path / "other"))


def test_another_grid_is_resampled_by_nearest_neighbour(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", blob(SHAPE))
    seg = write_seg(tmp_path / "seg.dcm", files, drawn(), LABELS)
    # Twice as fine, its voxels centred on quarters of the coarse ones.
    shift = (-50 - 0.7 / 4, -40 - 0.8 / 4, 30 - 2.5 / 4)
    fine = tuple(2 * size for size in SHAPE)
    write_series(tmp_path / "fine", blob(fine), origin=shift, spacing=(0.4, 0.35), step=1.25)  # type: ignore[arg-type]
    expected = np.kron(on_grid(drawn()), np.ones((2, 2, 2), np.uint8))
    assert np.array_equal(read_on_grid(seg, read_grid(tmp_path / "fine")).array, expected)


def test_what_cannot_be_a_mask_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", blob(SHAPE))
    grid = read_grid(tmp_path / "series")
    both = np.stack([drawn() > 0, drawn() == 2], axis=-1).astype(np.uint8)
    seg = write_seg(tmp_path / "overlap.dcm", files, both, LABELS)
    with pytest.raises(SuiteError, match="its segments 'Liver' and 'tumour' overlap"):
        read_on_grid(seg, grid)
    write_series(tmp_path / "elsewhere", blob(SHAPE), FrameOfReferenceUID="1.2.3.4")
    with pytest.raises(SuiteError, match="frame of reference is not that of the image"):
        read_on_grid(seg, read_grid(tmp_path / "elsewhere"))
    with pytest.raises(SuiteError, match="it is no DICOM segmentation"):
        read_on_grid(files[0], grid)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(seg.read_bytes()[:-40])
    with pytest.raises(SuiteError, match=r"cut.dcm: .* end after"):
        read_on_grid(cut, grid)


def test_volumes_take_series_and_segmentations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    masks = {}
    for case in range(5):
        folder = tmp_path / "data" / "imagesTr" / f"case.{case}"
        files = write_series(
            folder, blob(SHAPE, case), uid=f"1.2.3.{case}", PatientID=f"P{case // 2}", FrameOfReferenceUID=f"1.9.{case}"
        )
        mask = np.roll(drawn(), case, axis=2)
        # The second scanner numbers the same segments the other way round.
        numbered, labels = (
            (mask, LABELS) if case % 2 == 0 else (np.array([0, 2, 1], np.uint8)[mask], {1: "tumour", 2: "Liver"})
        )
        where = tmp_path / "data" / "labelsTr"
        write_seg(where / f"case.{case}" / "a.dcm" if case else where / f"case.{case}.dcm", files, numbered, labels)
        masks[f"case.{case}"] = on_grid(mask)
    data = Volumes(str(tmp_path / "data"), num_workers=0, test_fraction=0, folds=3, value_range=[-1000, 1000])
    assert len(data.table) == 5
    assert list(data.stored_classes) == ["background", "Liver", "tumour"]
    for row, case in enumerate(data.table.cases["case_id"]):
        assert np.array_equal(data.true_mask(row), masks[case])
        volume = data.grid(row)
        assert volume.shape == SHAPE[::-1]
    planes = np.stack([data.read_classes(image) for image in range(SHAPE[0])])
    assert np.array_equal(data.to_grid(0, planes), masks["case.0"])
    assert data.read(3).array.dtype == np.int16
    cases = data.table.cases
    assert cases["patient_id"].nunique() == 3  # hashed, and kept together
    assert (cases.groupby("patient_id")["split"].nunique() == 1).all()
    assert {"modality", "sex", "age", "series_uid"} <= set(cases.columns)


def test_the_result_is_a_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", blob(SHAPE))
    seg = write_seg(tmp_path / "seg.dcm", files, drawn(), LABELS)
    assert isinstance(read_on_grid(seg, read_grid(tmp_path / "series")), Volume)
