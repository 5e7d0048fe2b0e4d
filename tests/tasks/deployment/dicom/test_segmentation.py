"""Segmentations lie on the images that they were made from, for every reader, and pass the standard's own checks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from datamodules.readers.dicom.seg import read_on_grid, segment_labels
from datamodules.readers.dicom.series import read_grid
from scansuite.errors import SuiteError
from tasks.deployment.dicom.codes import CodeTable
from tasks.deployment.dicom.result import CaseResult, ModelFacts, SegmentationType
from tasks.deployment.dicom.segmentation import segmentation
from tests.datamodules.dicom_on_disk import AXIAL, CORONAL, SAGITTAL, blob, write, write_enhanced, write_series
from tests.tasks.deployment.dicom.made import FACTS, SHAPE, assert_valid, drawn, on_grid, program, saved

DIRECTIONS: dict[str, dict[str, Any]] = {
    "axial": {"direction": AXIAL},
    "coronal": {"direction": CORONAL},
    "sagittal": {"direction": SAGITTAL},
    "oblique": {"direction": (0.96, 0.28, 0.0, 0.0, 0.0, -1.0)},
    "feet first": {"direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
}


def made_of(folder: Path, case: CaseResult, facts: ModelFacts = FACTS, kind: SegmentationType = "binary") -> Path:
    return saved(segmentation(case, case.source(), facts, CodeTable(), kind), folder / "seg.dcm")


def by_instance(seg: Any, files: list[Path]) -> NDArray[np.uint8]:
    """(slices, rows, columns) of class numbers by the images that highdicom says the frames were made from."""
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    pixels = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    return np.asarray(pixels, np.uint8)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("step", [2.5, -2.5])
def test_masks_lie_on_their_images_for_three_readers(tmp_path: Path, name: str, step: float) -> None:
    """Highdicom by source instance and in space, our reader, and files in whatever order."""
    import highdicom

    files = write_series(tmp_path / "series", blob(SHAPE), step=step, SliceThickness=2.5, **DIRECTIONS[name])
    mask = drawn()
    # The grid's slices follow the normal, whatever the order of files and instance numbers.
    ordered = mask if step > 0 else mask[::-1]
    seg = made_of(tmp_path, CaseResult("case", tmp_path / "series", mask=on_grid(ordered), volume=True))
    read = highdicom.seg.segread(seg)
    assert np.array_equal(by_instance(read, files), mask)
    grid = read_grid(tmp_path / "series")
    assert np.array_equal(read_on_grid(seg, grid).array, on_grid(ordered))
    assert segment_labels(seg) == {1: "left kidney", 2: "blob"}
    # In space: each voxel of highdicom's volume is one of the grid's with the same class.
    volume = read.get_volume(combine_segments=True)
    places = np.argwhere(volume.array > 0)
    lps = np.c_[places, np.ones(len(places))] @ volume.affine.T
    ras = lps * [-1, -1, 1, 1]
    index = np.rint(ras @ np.linalg.inv(grid.affine).T)[:, :3].astype(int)
    assert len(places) == np.count_nonzero(mask)
    assert np.array_equal(on_grid(ordered)[tuple(index.T)], volume.array[tuple(places.T)])
    assert read.FrameOfReferenceUID == pydicom.dcmread(files[0]).FrameOfReferenceUID
    assert_valid([seg])


def test_dcmqi_reads_the_same_mask(tmp_path: Path) -> None:
    convert = program("segimage2itkimage")
    write_series(tmp_path / "series", blob(SHAPE), direction=CORONAL)
    seg = made_of(tmp_path, CaseResult("case", tmp_path / "series", mask=on_grid(drawn()), volume=True))
    subprocess.run(
        [convert, "--inputDICOM", str(seg), "--outputDirectory", str(tmp_path), "--outputType", "nii"],
        check=True, capture_output=True,
    )  # fmt: skip
    grid = read_grid(tmp_path / "series")
    for number in (1, 2):
        (file,) = tmp_path.glob(f"*{number}.nii*")
        theirs = nibabel.load(file)
        places = np.argwhere(np.asarray(theirs.dataobj) > 0)
        ras = np.c_[places, np.ones(len(places))] @ theirs.affine.T
        index = np.rint(ras @ np.linalg.inv(grid.affine).T)[:, :3].astype(int)
        found = np.zeros(grid.shape, bool)
        found[tuple(index.T)] = True
        assert np.array_equal(found, on_grid(drawn() == number))
    meta = json.loads((tmp_path / "meta.json").read_text())
    first = meta["segmentAttributes"][0][0]
    assert first["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "64033007"
    assert first["SegmentedPropertyTypeModifierCodeSequence"]["CodeMeaning"] == "Left"
    assert first["SegmentAlgorithmType"] == "AUTOMATIC"


@pytest.mark.parametrize("turned", [False, True])
def test_frames_of_one_file_keep_their_order(tmp_path: Path, turned: bool) -> None:
    """The grid's order is that of positions; frames may be stored the other way round."""
    import highdicom

    file = write_enhanced(tmp_path / "x.dcm", blob(SHAPE), step=-2.5 if turned else 2.5)
    mask = drawn()
    ordered = mask[::-1] if turned else mask
    seg = made_of(tmp_path, CaseResult("case", file, mask=on_grid(ordered), volume=True))
    assert np.array_equal(read_on_grid(seg, read_grid(file)).array, on_grid(ordered))
    read = highdicom.seg.segread(seg)
    pixels = read.get_pixels_by_source_frame(
        pydicom.dcmread(file).SOPInstanceUID, list(range(1, len(mask) + 1)),
        combine_segments=True, ignore_spatial_locations=True, assert_missing_frames_are_empty=True,
    )  # fmt: skip
    assert np.array_equal(pixels, mask)
    assert_valid([seg])


@pytest.mark.parametrize("kind", ["labelmap", "fractional"])
def test_other_kinds_of_segmentation(tmp_path: Path, kind: SegmentationType) -> None:
    import highdicom

    files = write_series(tmp_path / "series", blob(SHAPE))
    mask = on_grid(drawn())
    chances = np.stack([np.where(mask == number, 0.75, 0.25) for number in (1, 2)])
    case = CaseResult("case", tmp_path / "series", mask=mask, probabilities=chances, volume=True)
    seg = made_of(tmp_path, case, kind=kind)
    assert np.array_equal(read_on_grid(seg, read_grid(tmp_path / "series")).array, mask)
    read = highdicom.seg.segread(seg)
    if kind == "labelmap":
        assert np.array_equal(by_instance(read, files), drawn())
        return  # dciodvfy of Debian 12 is older than label maps
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    pixels = read.get_pixels_by_source_instance(uids, ignore_spatial_locations=True, rescale_fractional=True)
    expected = np.stack([np.where(drawn() == number, 0.75, 0.25) for number in (1, 2)], axis=-1)
    assert np.abs(pixels - expected).max() <= 0.5 / 255 + 1e-6
    assert_valid([seg])


def test_regions_may_overlap(tmp_path: Path) -> None:
    import highdicom

    files = write_series(tmp_path / "series", blob(SHAPE))
    layers = np.stack([drawn() > 0, drawn() == 2]).astype(np.uint8)
    facts = ModelFacts("regions", "segment", ("tumour", "necrosis"), overlapping=True, run="12" * 32)
    mask = np.stack([on_grid(layer) for layer in layers])
    case = CaseResult("case", tmp_path / "series", mask=mask, volume=True)
    seg = made_of(tmp_path, case, facts)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    pixels = highdicom.seg.segread(seg).get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels, layers.transpose(1, 2, 3, 0))
    assert_valid([seg])
    with pytest.raises(SuiteError, match="--dicom_seg labelmap: the model's regions overlap"):
        made_of(tmp_path, case, facts, "labelmap")
    with pytest.raises(SuiteError, match="--dicom_seg fractional: there are no probabilities"):
        made_of(tmp_path, case, facts, "fractional")


@pytest.mark.parametrize("colour", [False, True])
def test_an_image_that_lies_nowhere_has_a_mask_all_the_same(tmp_path: Path, colour: bool) -> None:
    """An ultrasound, an X-ray: the mask belongs to the one image, pixel by pixel."""
    import highdicom

    grey = np.full(SHAPE[1:], 7, np.uint8)
    file = write(
        tmp_path / "us.dcm", np.stack([grey] * 3, axis=-1) if colour else grey, Modality="US",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1", FrameOfReferenceUID=None,
    )  # fmt: skip
    mask = drawn()[3]
    seg = made_of(tmp_path, CaseResult("case", file, mask=mask))
    read = highdicom.seg.segread(seg)
    assert "FrameOfReferenceUID" not in read
    assert np.array_equal(by_instance(read, [file])[0], mask)
    assert_valid([seg])


def test_nothing_found_is_a_segmentation_too(tmp_path: Path) -> None:
    write_series(tmp_path / "series", blob(SHAPE))
    empty = np.zeros_like(on_grid(drawn()))
    seg = made_of(tmp_path, CaseResult("case", tmp_path / "series", mask=empty, volume=True))
    assert not read_on_grid(seg, read_grid(tmp_path / "series")).array.any()
    assert_valid([seg])


def test_the_same_result_has_the_same_uids_and_no_other_has(tmp_path: Path) -> None:
    write_series(tmp_path / "series", blob(SHAPE))
    mask = on_grid(drawn())
    case = CaseResult("case", tmp_path / "series", mask=mask, volume=True)

    def uids(case: CaseResult, facts: ModelFacts = FACTS) -> tuple[str, str, str]:
        made = segmentation(case, case.source(), facts, CodeTable())
        dimensions = made.DimensionOrganizationSequence[0].DimensionOrganizationUID
        assert made.DimensionIndexSequence[0].DimensionOrganizationUID == dimensions
        return made.SeriesInstanceUID, made.SOPInstanceUID, dimensions

    first = uids(case)
    assert uids(CaseResult("other name", tmp_path / "series", mask=mask.copy(), volume=True)) == first
    other = mask.copy()
    other[0, 0, 0] = 1
    changed = uids(CaseResult("case", tmp_path / "series", mask=other, volume=True))
    assert changed[0] == first[0]
    assert changed[1] != first[1]
    of_another_model = uids(case, ModelFacts("kidneys", "segment", FACTS.class_names, run="ba" * 32))
    assert len({*first, *changed[1:], *of_another_model}) == 8


def test_what_cannot_be_placed_is_refused_in_one_line(tmp_path: Path) -> None:
    files = write_series(tmp_path / "gap", blob(SHAPE))
    files[2].unlink()
    mask = on_grid(drawn())
    with pytest.raises(SuiteError, match="1 slice is missing between"):
        CaseResult("case", tmp_path / "gap", mask=mask, volume=True).source()
    write_series(tmp_path / "lost", blob(SHAPE), FrameOfReferenceUID=None)
    case = CaseResult("case", tmp_path / "lost", mask=mask, volume=True)
    with pytest.raises(SuiteError, match="says no frame of reference"):
        made_of(tmp_path, case)
    write_series(tmp_path / "good", blob(SHAPE))
    with pytest.raises(ValueError, match="a mask of shape"):
        made_of(tmp_path, CaseResult("case", tmp_path / "good", mask=mask[:-1], volume=True))
