"""Label masks keep the values that they were stored with, whatever their file says of how to show them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import tifffile
from numpy.typing import NDArray
from PIL import Image

from datamodules.detection.instance_masks import InstanceMasks
from datamodules.readers.dicom import image as dicom
from datamodules.readers.raster import write_png
from datamodules.readers.volume import read_volume
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.masks import read_label_file
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import blob, image, write, write_series
from tests.datamodules.seg_on_disk import write_seg

LABELS = np.array([[0, 0, 1, 2], [0, 3, 1, 2], [0, 0, 3, 3]], np.uint8)
# What a label map may carry along from the image that it was drawn on.
SHOWN: list[dict[str, Any]] = [
    {"PixelPaddingValue": 0},
    {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 2},
    {"PhotometricInterpretation": "MONOCHROME1"},
    {"PresentationLUTShape": "INVERSE"},
    {"WindowCenter": 1, "WindowWidth": 1},
]


def with_palette(**tags: Any) -> dict[str, Any]:
    ramp = (np.arange(256) * 257).astype("<u2").tobytes()
    red = {"RedPaletteColorLookupTableDescriptor": [256, 0, 16], "RedPaletteColorLookupTableData": ramp}
    rest = {key.replace("Red", name): value for key, value in red.items() for name in ("Green", "Blue")}
    rest["BluePaletteColorLookupTableData"] = ramp[::-1]
    return {"PhotometricInterpretation": "PALETTE COLOR", **red, **rest, **tags}


@pytest.mark.parametrize("tags", [*SHOWN, with_palette()])
def test_a_dicom_label_map_is_neither_filled_nor_turned_nor_coloured(tmp_path: Path, tags: dict[str, Any]) -> None:
    file = write(tmp_path / "mask.dcm", LABELS, Modality="OT", **tags)
    assert np.array_equal(read_label_file(file), LABELS)
    stored = image(LABELS, Modality="OT", **tags).pixel_array
    assert np.array_equal(dicom.read(file, labels=True).array, stored)


def test_rescale_is_part_of_a_label_and_is_applied(tmp_path: Path) -> None:
    # A label map that was exported as a CT: the labels are what slope and intercept make of it.
    stored = LABELS.astype(np.uint16) + 1024
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": 1024, "BitsStored": 12, "HighBit": 11}
    file = write(tmp_path / "mask.dcm", stored, **tags)
    assert np.array_equal(read_label_file(file), LABELS)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))[0], LABELS)


@pytest.mark.parametrize("tags", [{**SHOWN[0], **SHOWN[2]}, with_palette()])
def test_volumes_of_dicom_label_maps_keep_their_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: dict[str, Any]
) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    labels = np.zeros((4, 8, 6), np.int16)
    labels[1:3, 2:5, 1:4] = 1
    labels[2:, 5:, 3:] = 2
    for case in range(2):
        mask = np.roll(labels, case, axis=2)
        patient: dict[str, Any] = {"PatientID": f"P{case}"}
        write_series(tmp_path / "imagesTr" / f"c{case}", blob((4, 8, 6), case), uid=f"1.2.3.{case}", **patient)
        plain = {"Modality": "OT", "RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
        stored = (mask - 1024).astype(np.int16)  # write_series adds 1024
        write_series(tmp_path / "labelsTr" / f"c{case}", stored, uid=f"1.2.4.{case}", **{**plain, **tags})
    shared: dict[str, Any] = {"num_workers": 0, "split": "all_test"}
    data = Volumes(str(tmp_path), classes=["background", "a", "b"], **shared)
    for case in range(2):
        expected = np.roll(labels, case, axis=2)[:, ::-1].transpose(2, 1, 0)
        assert np.array_equal(data.true_mask(case), expected)
        planes = np.stack([data.read_classes(case * 4 + index) for index in range(4)])
        assert np.array_equal(data.to_grid(case, planes), expected)
    found = Volumes(str(tmp_path), **shared)
    assert len(found.table) == 2
    assert found.stored_classes == ("background", "1", "2")


def _png(file: Path, labels: NDArray[np.uint8], bits: int) -> None:
    """A grey PNG of 1, 2 or 4 bits, which Pillow and libpng do not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel()).tobytes() for row in labels]
    head = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def _coloured(file: Path, labels: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0, 0, 0, 250])
    picture.save(file)


def _indexed_tiff(file: Path, labels: NDArray[np.uint8]) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(file, labels, photometric="palette", colormap=colours)


WRITERS: dict[str, Callable[[Path], object]] = {
    "2.png": lambda file: _png(file, LABELS, 2),
    "4.png": lambda file: _png(file, LABELS, 4),
    "16.png": lambda file: write_png(file, LABELS.astype(np.uint16)),
    "palette.png": lambda file: _coloured(file, LABELS),
    "palette.bmp": lambda file: _coloured(file, LABELS),
    "palette.tif": lambda file: _indexed_tiff(file, LABELS),
    "inverting.tif": lambda file: tifffile.imwrite(file, LABELS, photometric="miniswhite"),
    "inverting16.tif": lambda file: tifffile.imwrite(file, LABELS.astype(np.uint16), photometric="miniswhite"),
    "4.tif": lambda file: tifffile.imwrite(file, LABELS, bitspersample=4, photometric="minisblack"),
    "float.tif": lambda file: tifffile.imwrite(file, LABELS.astype(np.float32)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_pictures_of_labels_are_neither_coloured_nor_turned_nor_spread(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert np.array_equal(read_label_file(tmp_path / name), LABELS)
    if name.endswith(".tif"):
        pages = tmp_path / "pages.tif"
        shown = tifffile.TiffFile(tmp_path / name).pages.first
        colours = {} if shown.colormap is None else {"colormap": shown.colormap}
        with tifffile.TiffWriter(pages) as writer:
            for _ in range(3):
                writer.write(
                    shown.asarray(), photometric=shown.photometric, bitspersample=shown.bitspersample, **colours
                )
        volume = read_volume(pages, labels=True)
        assert np.array_equal(volume.array, np.repeat(LABELS.T[:, :, None], 3, axis=2))


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "white.tif", "black.tif"])
def test_of_one_bit_black_is_0_and_white_1(tmp_path: Path, name: str) -> None:
    binary = LABELS > 0
    if name.endswith(".tif"):
        stored, kind = (~binary, "miniswhite") if name == "white.tif" else (binary, "minisblack")
        tifffile.imwrite(tmp_path / name, stored, photometric=kind)
    else:
        Image.fromarray(binary).convert("1").save(tmp_path / name)
    assert np.array_equal(read_label_file(tmp_path / name), binary)


def test_flat_data_classes_read_masks_as_labels(tmp_path: Path) -> None:
    for case in range(6):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_png(tmp_path / "images" / f"{case}.png", np.full((3, 4), 40 * case, np.uint8))
        tags = {"Modality": "OT", "PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}
        write(tmp_path / "masks" / f"{case}.dcm", LABELS, **tags)
    shared: dict[str, Any] = {"num_workers": 0, "cache_dir": str(tmp_path / "cache"), "image_size": 32}
    data = MaskFolder(str(tmp_path), classes=["background", "a", "b", "c"], **shared)
    assert len(data.table) == 6
    assert np.array_equal(data.read_classes(0), LABELS)
    boxes = InstanceMasks(str(tmp_path), **shared).read_annotations().boxes
    assert boxes.corners[:3] == [(2, 0, 3, 2), (3, 0, 4, 2), (1, 1, 4, 3)]


def test_a_segmentation_is_no_image_but_may_be_a_mask(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", blob((1, 8, 6)))
    mask = (blob((1, 8, 6), 1) > 0).astype(np.uint8)
    mask[0, 2, 2] = 1
    seg = write_seg(tmp_path / "seg.dcm", files, mask, {1: "Liver"})
    with pytest.raises(SuiteError, match=r"seg\.dcm: .*it is no scan, but was made from one \(SEG\): leave it out"):
        dicom.read(seg)
    assert np.array_equal(read_label_file(seg), mask[0])
