"""What the tags of a DICOM header make of stored samples, each against the standard's rule or pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from datamodules.preprocess import Preprocess
from datamodules.readers.dicom import image as dicom
from datamodules.readers.dicom.header import Facts
from datamodules.readers.dicom.values import quantity, stored_range
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import AXIAL, image, write

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
TWELVE = {"BitsStored": 12, "HighBit": 11, "Modality": "CR"}


def values(tmp_path: Path, array: Any, **tags: Any) -> Any:
    return dicom.read(write(tmp_path / "x.dcm", array, **tags)).array


def lut(descriptor: list[int], data: list[int]) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "US", descriptor)
    item.add_new(0x00283006, "US", data)
    return Sequence([item])


@pytest.mark.parametrize(
    ("slope", "intercept", "kind", "expected"),
    [
        (1, -1024, np.int16, RAMP.astype(int) - 1024),
        (2, 0, np.int16, 2 * RAMP.astype(int)),
        (100, -5, np.int32, 100 * RAMP.astype(int) - 5),
        (0.5, -1, np.float32, RAMP / 2 - 1),
        (None, -1024, np.int16, RAMP.astype(int) - 1024),
        (2, None, np.int16, 2 * RAMP.astype(int)),
        (0, 0, np.uint16, RAMP),
        (None, None, np.uint16, RAMP),
    ],
)
def test_rescale(tmp_path: Path, slope: Any, intercept: Any, kind: Any, expected: Any) -> None:
    array = values(tmp_path, RAMP, RescaleSlope=slope, RescaleIntercept=intercept)
    assert array.dtype == kind
    assert np.array_equal(array, expected)


def test_modality_and_voi_lookup_tables(tmp_path: Path, shared_data: Path) -> None:
    for name in ("mlut_18", "vlut_04"):
        dataset = pydicom.dcmread(shared_data / "dicom_syntaxes" / f"{name}.dcm")
        assert np.array_equal(
            dicom.read(shared_data / "dicom_syntaxes" / f"{name}.dcm").array,
            apply_modality_lut(dataset.pixel_array, dataset),
        )
    shown = apply_voi_lut(dataset.pixel_array, dataset)
    bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
    ours = dicom.read(shared_data / "dicom_syntaxes" / "vlut_04.dcm", voi=0).array
    assert np.array_equal(ours, np.rint(shown / (2**bits - 1) * 65535))
    array = values(tmp_path, RAMP, ModalityLUTSequence=lut([4, 16, 8], [9, 7, 5, 3]), **TWELVE)
    assert array[0, :6].tolist() == [9, 9, 3, 3, 3, 3]  # below the first entry the first, above the last the last


@pytest.mark.parametrize("function", [None, "LINEAR_EXACT", "SIGMOID"])
def test_windows_by_number(tmp_path: Path, function: str | None) -> None:
    file = write(tmp_path / "x.dcm", RAMP, WindowCenter=[1000, 300], WindowWidth=[400, 1500], VOILUTFunction=function)
    for number in (0, 1):
        expected = apply_voi_lut(RAMP, pydicom.dcmread(file), index=number)  # on the range of 16 stored bits
        assert np.abs(dicom.read(file, voi=number).array - expected).max() <= 1
    with pytest.raises(SuiteError, match="0 VOI LUTs and 2 windows, so there is no number 2"):
        dicom.read(file, voi=2)


def test_windows_of_the_header_are_what_preprocess_takes(tmp_path: Path) -> None:
    file = write(
        tmp_path / "x.dcm", RAMP, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 50], WindowWidth=[400, 0]
    )
    scan = dicom.read(file)
    assert scan.info["windows"] == ((39.5, 399.0),)  # one without a width is none
    model = Preprocess(windows=scan.info["windows"], channels=1)(scan)[:, :, 0]
    assert np.abs(model * 65535 - dicom.read(file, voi=0).array).max() <= 1


@pytest.mark.parametrize(
    ("tags", "turned"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME1", "Modality": "CT"}, False),  # HU stay HU
        ({}, False),
    ],
)
def test_what_is_bright_where_it_is_low_is_turned(tmp_path: Path, tags: dict[str, str], turned: bool) -> None:
    scan = dicom.read(write(tmp_path / "x.dcm", RAMP, **{**TWELVE, "WindowCenter": 1000, "WindowWidth": 501, **tags}))
    assert np.array_equal(scan.array, 4095 - RAMP if turned else RAMP)
    assert scan.info["windows"] == ((4095 - 999.5 if turned else 999.5, 500.0),)


def test_turned_with_rescale_and_with_signed_samples(tmp_path: Path) -> None:
    array = values(
        tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=10, **TWELVE
    )
    assert np.array_equal(array, 2 * (4095 - RAMP.astype(int)) + 10)
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    array = values(tmp_path, signed, PhotometricInterpretation="MONOCHROME1", **TWELVE)
    assert np.array_equal(array, -1 - signed)


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_odd_bit_depths_and_overlays_in_unused_bits(tmp_path: Path, high: int, signed: bool) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(-2048, 2048, (9, 8)) if signed else rng.integers(0, 4096, (9, 8))
    word = (true & 0xFFF) << (high - 11)
    word |= rng.integers(0, 2**16, (9, 8)) & ~(0xFFF << (high - 11)) & 0xFFFF  # overlays
    stored = word.astype(np.uint16).view(np.int16 if signed else np.uint16)
    array = values(tmp_path, stored, BitsStored=12, HighBit=high, Modality="MR")
    assert np.array_equal(array, true)


def test_overlay_planes_are_left_out(shared_data: Path) -> None:
    file = shared_data / "dicom_syntaxes" / "examples_overlay.dcm"
    dataset = pydicom.dcmread(file)
    assert 0x60003000 in dataset
    assert np.array_equal(dicom.read(file).array, dataset.pixel_array)


@pytest.mark.parametrize(
    ("tags", "padded"),
    [
        ({"PixelPaddingValue": 0}, [0]),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 32}, [0, 16, 32]),
        ({"PixelPaddingValue": 4080, "PixelPaddingRangeLimit": 4064}, [4064, 4080]),
        ({"PixelPaddingValue": 5}, []),
    ],
)
def test_padding_is_as_dark_as_the_darkest_beside_it(tmp_path: Path, tags: dict[str, int], padded: list[int]) -> None:
    array = values(tmp_path, RAMP, RescaleSlope=1, RescaleIntercept=-1024, **tags)
    mask = np.isin(RAMP, padded)
    expected = np.where(mask, RAMP[~mask].min(), RAMP).astype(int) - 1024
    assert np.array_equal(array, expected)


def test_palettes_colours_and_frames(tmp_path: Path, shared_data: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (6, 5, 3)).astype(np.uint8)
    assert np.array_equal(values(tmp_path, rgb), rgb)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    dataset = image(rgb, PlanarConfiguration=1)
    dataset.PixelData = planes.tobytes()
    dataset.save_as(tmp_path / "planes.dcm", enforce_file_format=True)
    assert np.array_equal(dicom.read(tmp_path / "planes.dcm").array, rgb)

    cine = shared_data / "dicom_syntaxes" / "examples_ybr_color.dcm"
    assert dicom.count_frames(cine) == 30
    scan = dicom.read(cine, frame=7)
    assert scan.array.shape == (240, 320, 3)
    assert scan.info["slice"] == 7
    assert scan.info["spacing"] == pytest.approx((0.51049706, 0.51049706))  # of its ultrasound region
    with pytest.raises(SuiteError, match="has 30 frames: say which one"):
        dicom.read(cine)
    with pytest.raises(SuiteError, match="so there is no number 30"):
        dicom.read(cine, frame=30)


def test_frames_of_single_bits_and_of_odd_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (3, 5, 5)).astype(np.uint8)
    dataset = image(bits[0], NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0, Modality="OT")
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset.save_as(tmp_path / "bits.dcm", enforce_file_format=True)
    assert np.array_equal(np.stack([scan.array for scan in dicom.read_frames(tmp_path / "bits.dcm")]), bits)
    assert Preprocess(channels=1)(dicom.read(tmp_path / "bits.dcm", frame=0)).max() == 1
    odd = rng.integers(0, 255, (3, 5, 5)).astype(np.uint8)
    dataset = image(odd[0], NumberOfFrames=3)
    dataset.PixelData = odd.tobytes() + b"\0"
    dataset.save_as(tmp_path / "odd.dcm", enforce_file_format=True)
    assert np.array_equal(dicom.read(tmp_path / "odd.dcm", frame=2).array, odd[2])


def test_float_pixels(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    dataset = image(RAMP, Rows=4, Columns=6, BitsAllocated=32, Modality="MR")
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, keyword)
    dataset.FloatPixelData = array.tobytes()
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert np.array_equal(dicom.read(tmp_path / "x.dcm").array, array)


def test_enhanced_images_take_each_frames_own_tags(shared_data: Path) -> None:
    scans = dicom.read_frames(shared_data / "dicom_syntaxes" / "eCT_Supplemental.dcm")
    assert [scan.array.min() for scan in scans] == [-1024, -1024]
    assert scans[0].info["spacing"] == pytest.approx((0.388672, 0.388672))
    first, second = (scan.info["affine"] for scan in scans)
    assert first is not None
    assert second is not None
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "missing",
    [
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
    ],
)
def test_tags_that_have_a_default(tmp_path: Path, missing: str) -> None:
    assert np.array_equal(values(tmp_path, RAMP, **{missing: None}), RAMP)


def test_what_has_no_default_is_refused_by_name(tmp_path: Path) -> None:
    for tag, words in (("Rows", "Rows"), ("BitsAllocated", "BitsAllocated"), ("PixelData", "it has no image")):
        dataset = image(RAMP)
        delattr(dataset, tag)
        dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
        with pytest.raises(SuiteError, match=f"x.dcm: cannot be read as DICOM: {words}"):
            dicom.read(tmp_path / "x.dcm")
    for tags in ({"PhotometricInterpretation": "HSV"}, {"BitsStored": 17}, {"BitsAllocated": 12}):
        with pytest.raises(SuiteError):
            values(tmp_path, RAMP, **tags)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": [0.5, 0.4], "ImagerPixelSpacing": [0.6, 0.6]}, (0.5, 0.4)),
        ({"ImagerPixelSpacing": [0.6, 0.7]}, (0.6, 0.7)),
        ({"NominalScannedPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_spacing(tmp_path: Path, tags: dict[str, Any], spacing: tuple[float, float] | None) -> None:
    assert dicom.read(write(tmp_path / "x.dcm", RAMP, **tags)).info["spacing"] == spacing


def test_affine_of_a_flat_image(tmp_path: Path) -> None:
    tags = {"ImagePositionPatient": [10, 20, 30], "ImageOrientationPatient": list(AXIAL), "SliceThickness": 3}
    affine = dicom.read(write(tmp_path / "x.dcm", RAMP, PixelSpacing=[0.5, 0.4], **tags)).info["affine"]
    assert affine is not None
    assert np.allclose(affine @ [1, 2, 0, 1], [-10.4, -21, 30, 1])  # LPS -> RAS
    assert np.allclose(affine[:3, 2], [0, 0, 3])
    assert dicom.read(write(tmp_path / "y.dcm", RAMP)).info["affine"] is None


def seen(tmp_path: Path, array: Any, **tags: Any) -> Any:
    """What a network sees of an image where no window is given."""
    return Preprocess(channels=1)(dicom.read(write(tmp_path / "x.dcm", array, **tags)))[:, :, 0]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_an_image_of_12_bits_uses_the_whole_range_that_a_network_sees(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    ramp = np.linspace(0, top, 256).astype(np.uint16).reshape(16, 16)
    tags = {"BitsStored": bits, "HighBit": bits - 1, "Modality": "DX"}
    expected = ramp / top
    assert np.allclose(seen(tmp_path, ramp, **tags), expected, atol=1e-6)  # divided by 65535 the highest was 0.06
    turned = seen(tmp_path, ramp, PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.allclose(turned, 1 - expected, atol=1e-6)
    rescaled = seen(tmp_path, ramp, RescaleSlope=2, RescaleIntercept=-5, **tags)
    assert np.allclose(rescaled, expected, atol=1e-6)
    halved = seen(tmp_path, ramp, RescaleSlope=-0.5, RescaleIntercept=0, **tags)
    assert np.allclose(halved, 1 - expected, atol=1e-6)
    signed = (ramp.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
    assert np.allclose(seen(tmp_path, signed, **tags), expected, atol=1e-6)
    colour = np.stack([ramp, ramp // 2, ramp], axis=-1)
    scan = dicom.read(write(tmp_path / "x.dcm", colour, **{**tags, "Modality": "OT"}))
    assert np.allclose(Preprocess(channels=3)(scan)[..., 0], expected, atol=1e-6)


@given(
    bits=st.integers(2, 16),
    signed=st.booleans(),
    slope=st.sampled_from([1.0, 2.0, -1.0, 0.1, -1.37]),
    intercept=st.integers(-3000, 3000),
)
def test_the_ends_of_what_may_be_stored_become_black_and_white(
    bits: int, signed: bool, slope: float, intercept: int
) -> None:
    facts = Facts(2, 2, 1, 1, "MONOCHROME2", 16, bits, bits - 1, signed, planar=0)
    header = Dataset()
    header.RescaleSlope, header.RescaleIntercept = slope, intercept
    low, high = facts.range
    stored = np.array([[low, high], [0, 1]], np.int16 if signed else np.uint16)
    array = quantity(stored, facts, header, 0, None)
    stated = stored_range(array, header, facts, 0)
    if bits == 16 and (signed or (slope, intercept) == (1, 0)):
        assert stated is None  # the type says as much
        return
    assert stated is not None
    seen_ = Preprocess(channels=1)(Scan(array, ScanInfo(stored_range=stated)))[:, :, 0]
    assert seen_[0].tolist() == pytest.approx([0, 1] if slope > 0 else [1, 0], abs=2e-3)


def test_a_modality_lut_has_the_range_of_its_entries(tmp_path: Path) -> None:
    table = lut([4, 16, 10], [0, 300, 900, 1023])
    assert seen(tmp_path, RAMP, ModalityLUTSequence=table, **TWELVE).max() == 1


def test_ranges_are_stated_only_where_the_header_says_more_than_the_type(tmp_path: Path) -> None:
    def stated(array: Any, **tags: Any) -> Any:
        return dicom.read(write(tmp_path / "x.dcm", array, **tags)).info.get("stored_range")

    assert stated(RAMP.astype(np.uint8), Modality="US") is None
    assert stated(RAMP, Modality="DX") is None
    assert stated(RAMP.astype(np.int16), Modality="MR") is None  # a whole word, signed: it may lie anywhere
    assert stated(RAMP, Modality="DX", BitsStored=12, HighBit=11) == (0, 4095)
    hounsfield = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": 1, "RescaleIntercept": -1024}
    assert stated(RAMP, **hounsfield) is None  # HU want a window, and are refused without one
    with pytest.raises(SuiteError, match=r"x\.dcm: int16 values have no scale of their own: give --data\.window"):
        seen(tmp_path, RAMP, **hounsfield)
    # Samples beyond the bits that are said to be stored.
    facts = Facts(16, 16, 1, 1, "MONOCHROME2", 16, 10, 9, signed=False, planar=0)
    assert stored_range(RAMP, Dataset(), facts, 0) is None


def test_models_saved_before_ranges_were_stated_go_on_seeing_what_they_were_trained_on(tmp_path: Path) -> None:
    scan = dicom.read(write(tmp_path / "x.dcm", RAMP, **TWELVE))
    saved = Preprocess(channels=1).to_dict()
    del saved["stored_range"]
    old = Preprocess.from_dict(saved)
    assert np.allclose(old(scan)[:, :, 0], RAMP / 65535)
    assert Preprocess.from_dict(old.to_dict()) == old
