"""Raster files in every kind, held against Pillow where Pillow keeps the values."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from datamodules.readers.limits import Limits
from datamodules.readers.raster import is_grey, read, write_png
from scansuite.errors import SuiteError


def pattern(channels: int | None = None, dtype: type = np.uint8, height: int = 40, width: int = 56) -> NDArray[Any]:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_png_keeps_its_bits(tmp_path: Path, dtype: type, channels: int | None) -> None:
    array = pattern(channels, dtype)
    write_png(tmp_path / "a.png", array)
    scan = read(tmp_path / "a.png")
    assert scan.array.dtype == dtype
    np.testing.assert_array_equal(scan.array, array)
    assert scan.info["original_size"] == (40, 56)
    assert scan.info["path"] == str(tmp_path / "a.png")


def test_16_bit_colour_png_of_another_writer(tmp_path: Path) -> None:
    """Assembled by hand from the PNG standard: Pillow would make 8 bits of it."""
    array = pattern(3, np.uint16, 4, 5)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    np.testing.assert_array_equal(read(tmp_path / "a.png").array, array)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_one_bit_becomes_0_and_255(tmp_path: Path, suffix: str) -> None:
    bits = pattern() > 127
    Image.fromarray(bits).save(tmp_path / f"a.{suffix}")
    array = read(tmp_path / f"a.{suffix}").array
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, bits * np.uint8(255))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_palette_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(pattern(3)).quantize(32)
    image.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}").array, np.asarray(image.convert("RGB")))


def test_palette_with_transparency_becomes_rgba(tmp_path: Path) -> None:
    image = Image.fromarray(pattern(3)).quantize(32)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128] + [255] * 30))
    want = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))
    np.testing.assert_array_equal(read(tmp_path / "a.png").array, want)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_spread_over_the_range(tmp_path: Path, bits: int) -> None:
    levels = (pattern() % 2**bits).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", levels, bitspersample=bits)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, levels * (255 // (2**bits - 1)))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_like_pillow(tmp_path: Path, mode: str, progressive: bool) -> None:
    Image.fromarray(pattern(3)).convert(mode).save(tmp_path / "a.JPG", "JPEG", progressive=progressive)
    image = Image.open(tmp_path / "a.JPG")
    want = np.asarray(image.convert("RGB") if mode == "CMYK" else image)
    np.testing.assert_array_equal(read(tmp_path / "a.JPG").array, want)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[274] = orientation
    Image.fromarray(pattern(3)).save(tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    scan = read(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(scan.array, want)
    assert scan.info["original_size"] == want.shape[:2]


def test_damaged_side_matters_are_passed_over_in_silence(tmp_path: Path) -> None:
    """In a process of its own, because pytest catches warnings and logs."""
    Image.fromarray(pattern()).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    Image.fromarray(pattern()).save(tmp_path / "a.png", icc_profile=b"\0" * 200)
    code = (
        "import sys, pathlib; from datamodules.readers.raster import read;"
        "print(*{read(pathlib.Path(file)).array.shape for file in sys.argv[1:]})"
    )
    files = [str(tmp_path / name) for name in ("a.jpg", "a.png")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(40, 56)\n", "")


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 3, 5])
def test_tiff_keeps_its_type(tmp_path: Path, compression: str | None, dtype: type, channels: int | None) -> None:
    array: NDArray[Any] = pattern(channels, np.uint16).astype(dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    config: dict[str, Any] = {"planarconfig": "contig"} if channels else {}
    tifffile.imwrite(tmp_path / "a.tiff", array, compression=compression, photometric=photometric, **config)
    scan = read(tmp_path / "a.tiff")
    assert scan.array.dtype == dtype
    np.testing.assert_array_equal(scan.array, array)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_tiff_with_separate_planes_and_tiles(tmp_path: Path, compression: str | None) -> None:
    array = pattern(3)
    planes = np.moveaxis(array, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", tile=(16, 16), compression=compression
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inverted_grey_is_turned_round(tmp_path: Path, dtype: type) -> None:
    array = pattern(None, dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, np.iinfo(dtype).max - array)


def test_fax_scan_like_pillow(tmp_path: Path) -> None:
    Image.fromarray(pattern() > 127).save(tmp_path / "a.tif", compression="group4")
    want = np.asarray(Image.open(tmp_path / "a.tif")) * np.uint8(255)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, want)


def test_cmyk_and_jpeg_tiff_like_pillow(tmp_path: Path) -> None:
    smooth = Image.fromarray(pattern(3, height=4, width=4)).resize((64, 64), Image.Resampling.BICUBIC)
    smooth.convert("CMYK").save(tmp_path / "cmyk.tif")
    np.testing.assert_array_equal(
        read(tmp_path / "cmyk.tif").array, np.asarray(Image.open(tmp_path / "cmyk.tif").convert("RGB"))
    )
    smooth.save(tmp_path / "jpeg.tif", compression="jpeg")
    want = np.asarray(Image.open(tmp_path / "jpeg.tif").convert("RGB")).astype(int)
    assert np.abs(read(tmp_path / "jpeg.tif").array - want).max() <= 2


def test_the_pyramid_of_a_slide_is_one_page(tmp_path: Path) -> None:
    array = pattern(3, height=64, width=64)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(array, photometric="rgb", tile=(16, 16))
        writer.write(array[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=1)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize("kind", ["pages", "imagej", "shaped", "volume"])
def test_several_pages_are_refused(tmp_path: Path, kind: str) -> None:
    stack = pattern(56, height=16, width=40)
    options: dict[str, Any] = {
        "pages": {},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "shaped": {"truncate": True, "metadata": {"axes": "ZYX"}},
        "volume": {"volumetric": True, "tile": (16, 16, 16)},
    }[kind]
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **options)
    with pytest.raises(SuiteError, match=r"a\.tif: cannot be decoded: it has 16 pages, and one image is wanted"):
        read(tmp_path / "a.tif")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"compression": "tiff_deflate"} if kind == "TIFF" else {}
    Image.fromarray(pattern(3, height=120, width=120)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.98])
def test_truncated_files_are_refused(
    tmp_path: Path, kind: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(kind)
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SuiteError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: cannot be decoded: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_truncated_jpeg_in_tiff_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pattern(3, height=64, width=64), photometric="rgb", compression="jpeg")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-60])
    with pytest.raises(SuiteError, match="truncated"):
        read(tmp_path / "a.tif")


def test_flipped_bits_in_png_are_refused(tmp_path: Path) -> None:
    data = bytearray(encoded("PNG"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SuiteError, match="IDAT"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_size_is_checked_before_decoding(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(encoded(kind))
    assert read(file, Limits(max_pixels=120 * 120)).array.shape == (120, 120, 3)
    with pytest.raises(SuiteError, match="120 x 120 pixels are more than the 14399 allowed"):
        read(file, Limits(max_pixels=120 * 120 - 1))


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    data = bytearray(encoded("PNG"))
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SuiteError, match="100000 x 100000 pixels are more than"):
        read(tmp_path / "a.png")


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    array = pattern(3)
    write_png(tmp_path / "a.jpg", array)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg").array, array)


def test_user_mistakes_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")
    with pytest.raises(SuiteError, match=r"a\.dcm: not a raster image by its name: expected one of \.png \.jpg"):
        read(tmp_path / "a.dcm")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SuiteError, match=r"folder\.png: cannot be read: Is a directory"):
        read(tmp_path / "folder.png")
    (tmp_path / "text.png").write_text("path,label\n")
    with pytest.raises(SuiteError, match=r"text\.png: cannot be decoded: it is not a PNG, JPEG, TIFF or BMP file"):
        read(tmp_path / "text.png")


def test_write_png_refuses_what_png_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not float32"):
        write_png(tmp_path / "a.png", np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"not \(4, 4, 5\)"):
        write_png(tmp_path / "a.png", np.zeros((4, 4, 5), np.uint8))
    write_png(tmp_path / "a.png", np.ones((4, 4, 1), bool))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.full((4, 4), 255))


def test_is_grey() -> None:
    grey = pattern()
    assert is_grey(grey)
    assert is_grey(grey[:, :, None])
    assert is_grey(np.dstack([grey, 255 - grey]))
    assert is_grey(np.dstack([grey] * 3))
    assert is_grey(np.dstack([grey] * 3 + [255 - grey]))
    assert not is_grey(np.dstack([grey, grey, grey ^ 1]))
    assert not is_grey(np.dstack([grey] * 5))


def test_real_chest_x_rays_stored_as_rgb_and_rgba(shared_data: Path) -> None:
    files = sorted((shared_data / "nih_cxr64").rglob("*.png"))
    shapes = set()
    for file in files:
        array = read(file).array
        shapes.add(array.shape[2:])
        assert array.shape[:2] == (64, 64)
        assert is_grey(array)
        np.testing.assert_array_equal(array, np.asarray(Image.open(file)))
    assert shapes == {(3,), (4,)}
