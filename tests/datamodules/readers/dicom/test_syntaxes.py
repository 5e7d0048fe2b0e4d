"""Every transfer syntax, against pydicom with GDCM, OpenJPEG, CharLS and Pillow, and against DCMTK."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from datamodules.readers.dicom import image as dicom
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import image, write

LOSSY = {"examples_ybr_color.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm"}
BROKEN = {
    "MR_truncated.dcm": "the pixel data end after 8130 bytes, but 8192 are needed",
    "no_meta.dcm": "no DICM mark",
}
NAMES = [
    "693_J2KI", "693_J2KR", "693_UNCI", "693_UNCR", "CT_small", "J2K_pixelrep_mismatch", "JPEG-LL", "JPEG2000",
    "JPEG2000_UNC", "JPGExtended", "MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit",
    "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_truncated", "RG3_J2KI", "RG3_J2KR", "SC_rgb",
    "SC_rgb_jpeg_dcmtk", "SC_rgb_rle", "SC_ybr_full_422_uncompressed", "US1_J2KR", "eCT_Supplemental", "emri_small",
    "emri_small_RLE", "emri_small_big_endian", "emri_small_jpeg_2k_lossless", "emri_small_jpeg_ls_lossless",
    "examples_jpeg2k", "examples_overlay", "examples_palette", "examples_ybr_color", "explicit_VR-UN", "image_dfl",
    "liver", "liver_1frame", "mlut_18", "no_meta", "vlut_04",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reference(dataset: pydicom.FileDataset) -> NDArray[Any]:
    """What pydicom makes of a file with its own plugins (ours is never among them), as the quantity it stands for."""
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    plugins = [name for name in decoder.available_plugins if name != "scansuite"]
    best = next((name for name in ("pylibjpeg", "pyjpegls", "gdcm", "pillow") if name in plugins), "")
    array, _ = decoder.as_array(dataset, decoding_plugin=best)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(apply_color_lut(array, dataset))
    if dataset.PhotometricInterpretation == "MONOCHROME1" and dataset.Modality != "CT":
        array = 2**dataset.BitsStored - 1 - array
    if "SharedFunctionalGroupsSequence" in dataset and dataset.Modality == "CT":  # the rescale is in a group
        group = dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
        return np.asarray(apply_modality_lut(array, group))
    return np.asarray(apply_modality_lut(array, dataset)) if array.ndim == 2 else array


def test_the_list_is_whole(shared_data: Path) -> None:
    assert sorted(file.stem for file in (shared_data / "dicom_syntaxes").glob("*.dcm")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_file_reads_as_elsewhere_or_is_refused_by_name(
    shared_data: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = shared_data / "dicom_syntaxes" / f"{name}.dcm"
    if file.name in BROKEN:
        with pytest.raises(SuiteError, match=BROKEN[file.name]) as caught:
            dicom.read(file)
        assert str(caught.value).startswith(str(file))
        assert "\n" not in str(caught.value)
        return
    ours = np.stack([scan.array for scan in dicom.read_frames(file)])
    assert capfd.readouterr() == ("", "")
    if file.name == "JPGExtended.dcm":
        return  # none of pydicom's plugins decodes 12-bit JPEG; see below
    expected = reference(pydicom.dcmread(file))
    expected = expected.reshape(ours.shape)
    if file.stem.startswith("693_"):  # round field of view, around it padding: as dark as the darkest beside it
        beside = expected != -2000 - 1024
        assert 0 < (~beside).sum() < beside.sum()
        expected[~beside] = expected[beside].min()
    difference = np.abs(ours.astype(np.float64) - expected.astype(np.float64)).max()
    assert difference <= (1 if file.name in LOSSY else 0)


def test_12_bit_jpeg_is_as_dcmtk_decodes_it(shared_data: Path, tmp_path: Path) -> None:
    decoder = shutil.which("dcmdjpeg")
    if decoder is None:
        pytest.skip("dcmdjpeg of Debian's dcmtk is not installed")
    file = shared_data / "dicom_syntaxes" / "JPGExtended.dcm"
    subprocess.run([decoder, file, tmp_path / "plain.dcm"], check=True, capture_output=True)
    expected = pydicom.dcmread(tmp_path / "plain.dcm").pixel_array
    ours = dicom.read(file).array
    assert ours.max() > 255
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


# Syntaxes and kinds of samples of which no file lies in the shared folder.
RNG = np.random.default_rng(0)
PLAIN = RNG.integers(0, 4096, (33, 47)).astype(np.uint16)


def compressed(file: Path, array: NDArray[Any], syntax: str, data: bytes | bytearray | memoryview, **tags: Any) -> Path:
    dataset = image(array, **{"Modality": "MR", **tags})
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = encapsulate([bytes(data)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file, enforce_file_format=True)
    return file


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.uint32])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_run_lengths_and_big_endian(tmp_path: Path, kind: type[np.integer[Any]], endian: str) -> None:
    array = RNG.integers(0, 100, (7, 9)).astype(kind) + np.iinfo(kind).min // 2
    if endian == "big":
        dataset = image(array.astype(array.dtype.newbyteorder(">")), Modality="MR")
        if array.itemsize == 1:  # 8-bit samples in 16-bit words: the bytes are swapped in pairs
            dataset.PixelData = np.frombuffer(array.tobytes() + b"\0", "<u2").byteswap().tobytes()
            dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(tmp_path / "x.dcm", dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    else:
        dataset = image(array, Modality="MR")
        if array.itemsize <= 2:  # pydicom writes no other ones
            dataset.compress(RLELossless, encoding_plugin="pydicom")
        dataset.save_as(tmp_path / "x.dcm")
    assert np.array_equal(dicom.read(tmp_path / "x.dcm").array, array)


def test_colour_by_run_lengths(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (8, 9, 3)).astype(np.uint8)
    dataset = image(array, Modality="US")
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(tmp_path / "x.dcm")
    assert np.array_equal(dicom.read(tmp_path / "x.dcm").array, array)


def test_jpeg_ls_jpeg_2000_and_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    import imagecodecs

    tags = {"BitsStored": 12, "HighBit": 11}
    made = {
        JPEGLSLossless: imagecodecs.jpegls_encode(PLAIN),
        JPEGLSNearLossless: imagecodecs.jpegls_encode(PLAIN, 1),
        JPEG2000Lossless: imagecodecs.jpeg2k_encode(
            PLAIN, codecformat="j2k", bitspersample=12, reversible=True, level=0
        ),
        HTJ2KLossless: imagecodecs.htj2k_encode(PLAIN, reversible=True),
        JPEGLossless: imagecodecs.ljpeg_encode(PLAIN, bitspersample=12),
    }
    for syntax, data in made.items():
        file = compressed(tmp_path / f"{syntax}.dcm", PLAIN, syntax, data, **tags)
        difference = np.abs(dicom.read(file).array.astype(int) - PLAIN).max()
        assert difference <= (1 if syntax == JPEGLSNearLossless else 0), syntax.name


def test_deflated_files_unpack_within_limits(tmp_path: Path) -> None:
    dataset = image(np.zeros((2000, 2000), np.uint16), Modality="MR")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    assert (tmp_path / "bomb.dcm").stat().st_size < 20_000
    assert dicom.read(tmp_path / "bomb.dcm").array.shape == (2000, 2000)
    with pytest.raises(SuiteError, match="unpacks to more than the 1000000 bytes"):
        dicom.read(tmp_path / "bomb.dcm", max_bytes=1_000_000)


def test_sizes_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    file = write(tmp_path / "x.dcm", PLAIN, Rows=60000, Columns=60000)
    with pytest.raises(SuiteError, match="60000 x 60000 pixels are more than the"):
        dicom.read(file)
    file = write(tmp_path / "y.dcm", PLAIN, NumberOfFrames=2**31 - 1)
    with pytest.raises(SuiteError, match="unpack to"):
        dicom.read_frames(file)
    import imagecodecs

    # The codestream is larger than the header says.
    data = imagecodecs.jpeg2k_encode(PLAIN, codecformat="j2k", reversible=True, level=0)
    file = compressed(tmp_path / "z.dcm", PLAIN[:3, :4], JPEG2000Lossless, data)
    with pytest.raises(SuiteError, match="has 47 x 33 pixels of 1 samples, but the header says 4 x 3 of 1"):
        dicom.read(file)


@pytest.mark.parametrize("name", ["JPEG-LL", "JPGExtended", "693_J2KR", "MR_small_jpeg_ls_lossless", "MR_small_RLE"])
def test_cut_off_images_are_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    dataset = pydicom.dcmread(shared_data / "dicom_syntaxes" / f"{name}.dcm")
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) * 2 // 3]])
    dataset.save_as(tmp_path / "cut.dcm")
    with pytest.raises(SuiteError, match="cannot be read as DICOM"):
        dicom.read(tmp_path / "cut.dcm")


def test_video_and_unknown_syntaxes_are_refused_by_name(tmp_path: Path) -> None:
    for syntax, words in (("1.2.840.10008.1.2.4.102", "MPEG-4 video"), ("1.2.3.4", "1.2.3.4")):
        file = compressed(tmp_path / "x.dcm", PLAIN, syntax, b"\0" * 10)
        with pytest.raises(SuiteError, match=f"its transfer syntax is not read .{words}"):
            dicom.read(file)


@pytest.mark.slow
def test_as_fast_as_plain_pydicom(shared_data: Path) -> None:
    """The same decoders on both sides where there is a choice; seconds of this process, as the machine may be busy."""
    for name in ("693_UNCR", "693_J2KR", "JPEG-LL", "RG3_J2KR", "examples_ybr_color"):
        file = shared_data / "dicom_syntaxes" / f"{name}.dcm"

        def ours(file: Path = file) -> None:
            dicom.read_frames(file)

        def plain(file: Path = file) -> None:
            assert pydicom.dcmread(file).pixel_array is not None

        best = [min(_seconds(call) for _ in range(9)) for call in (ours, plain)]
        assert best[0] < 1.2 * best[1] + 0.001, (name, best)


def _seconds(call: Any) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
