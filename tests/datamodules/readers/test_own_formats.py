"""A file format of the user's: read like ours, within limits, and named in one line where it is wrong."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.caching.reading_version import behaviour
from datamodules.classification.image_folder import ImageFolder
from datamodules.readers import format_table, formats, own_formats
from datamodules.readers.format_table import FORMATS, Format, by_name
from datamodules.readers.limits import Limits
from datamodules.readers.own_formats import load_readers, own_version, register
from datamodules.readers.raster import write_png
from datamodules.readers.volume import read_grid, read_volume
from datamodules.segmentation.volumes import Volumes
from scansuite import own_parts
from scansuite.errors import SuiteError
from tests.datamodules.readers.fuzz_damage import damage
from tests.datamodules.readers.fuzz_seeds import Seed
from tests.datamodules.readers.fuzzing import read_case

PACKAGE = "own_formats_pkg"
HEAD = """
import numpy as np
from datamodules.readers.format_table import Format
from datamodules.readers.grid import volume_of
from datamodules.readers.own_formats import register
from datamodules.types import ScanInfo
from . import kinds
"""
IMAGES = """
def decode(file, limits, frame, *, labels):
    count, height, width = np.frombuffer(file.read(16), "<u4", 3, 4).tolist()
    limits.check_pixels(width, height)
    if frame is None and count > 1:
        raise ValueError(f"it has {count} images")
    file.seek((frame or 0) * 2 * height * width, 1)
    return np.frombuffer(file.read(2 * height * width), kinds.PIXELS).reshape(height, width), ScanInfo()

def count(file):
    return int(np.frombuffer(file.read(16), "<u4", 1, 4)[0])

register(Format("R16", (".r16",), (b"R16\\0",), image=decode, frames=count))
"""
VOLUMES = """
def decode_volume(path, opened, limits, *, decode, labels):
    shape = np.frombuffer(opened.stream.read(16), "<u4", 3, 4).tolist()
    limits.check_bytes(2 * shape[0] * shape[1] * shape[2])
    values = np.frombuffer(opened.stream.read(), kinds.PIXELS).reshape(shape, order="F")
    return volume_of(path, values, np.diag([2.0, 2.0, 3.0, 1.0]))

register(Format("V16", (".v16",), volume=decode_volume))
"""


def r16(array: np.ndarray, count: int = 1) -> bytes:
    return b"R16\0" + np.array([count, *array.shape], "<u4").tobytes() + count * array.astype("<u2").tobytes()


def v16(array: np.ndarray) -> bytes:
    return b"V16\0" + np.array(array.shape, "<u4").tobytes() + array.astype("<u2").tobytes(order="F")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with two formats, importable and not yet allowed."""
    folder = tmp_path / "site" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "kinds.py").write_text('PIXELS = "<u2"\n')
    (folder / "formats.py").write_text(HEAD + IMAGES + VOLUMES)
    monkeypatch.syspath_prepend(folder.parent)
    for name, empty in (("_allowed", set()), ("_given", {})):
        monkeypatch.setattr(own_parts, name, empty)
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    format_table.forget_own()
    own_formats._registering.clear()
    own_formats._loaded.clear()
    own_version.cache_clear()
    for module in [one for one in sys.modules if one.split(".")[0] == PACKAGE]:
        del sys.modules[module]


@pytest.fixture
def loaded(package: Path) -> Path:
    own_parts.allow([PACKAGE])
    load_readers([f"{PACKAGE}.formats"])
    return package


def test_a_data_class_reads_them(package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "data" / name / f"{number}.r16").write_bytes(r16(rng.integers(0, 999, (5, 7))))
    with pytest.raises(SuiteError, match=f"--data.readers {PACKAGE}.formats: .*--allow_import {PACKAGE}"):
        ImageFolder(str(tmp_path / "data"), readers=f"{PACKAGE}.formats")
    own_parts.allow([PACKAGE])
    data = ImageFolder(str(tmp_path / "data"), readers=f"{PACKAGE}.formats", cache_dir=str(tmp_path / "cache"))
    assert sorted(data.table.cases["case_id"]) == [f"{name}/{number}" for name in "ab" for number in range(3)]
    image = data.dataset(np.arange(6))[0]["image"]
    assert image.shape[-2:] == (5, 7)


def test_pixels_frames_and_kinds(loaded: Path, tmp_path: Path) -> None:
    array = np.arange(35, dtype=np.uint16).reshape(5, 7)
    file = tmp_path / "scan.R16"
    file.write_bytes(r16(array, count=3))
    assert formats.is_image(file)
    assert formats.is_stack(file)
    assert formats.count_frames(file) == 3
    scan = formats.read(file, frame=2)
    np.testing.assert_array_equal(scan.array, array)
    assert scan.info["original_size"] == (5, 7)
    with pytest.raises(SuiteError, match=r"scan\.R16: cannot be decoded: it has 3 images"):
        formats.read(file)


def test_first_bytes_say_which_image_it_is(loaded: Path, tmp_path: Path) -> None:
    """Also where its name speaks of another one; a name that says volume or DICOM is believed."""
    array = np.arange(35, dtype=np.uint16).reshape(5, 7)
    (tmp_path / "really.png").write_bytes(r16(array))
    write_png(tmp_path / "plain.r16", array)
    for name in ("really.png", "plain.r16"):
        np.testing.assert_array_equal(formats.read(tmp_path / name).array, array)
    (tmp_path / "text.r16").write_bytes(b"no image")
    with pytest.raises(SuiteError, match=r"text\.r16: cannot be decoded: it is not a PNG, JPEG, TIFF, BMP or R16 file"):
        formats.read(tmp_path / "text.r16")


def test_volumes(loaded: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 3, (6, 5, 4)).astype(np.uint16)
    for folder, values in (("imagesTr", array * 100), ("labelsTr", array // 2)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "data" / folder / f"case{number}.v16").write_bytes(v16(np.roll(values, number)))
    file = tmp_path / "data" / "imagesTr" / "case0.v16"
    np.testing.assert_array_equal(read_volume(file).array, array * 100)
    assert read_grid(file).spacing == (2.0, 2.0, 3.0)
    assert formats.count_frames(file) == 4, "its slices are images"
    data = Volumes(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert len(data.table) == 8


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None, ScanInfo()", "R16 gives NoneType, not an array of numbers"),
        ("return np.array(['a']), ScanInfo()", "R16 gives <U1, not an array of numbers"),
        ("return np.zeros((2, 3, 4, 5)), ScanInfo()", r"R16 gives an array of shape \(2, 3, 4, 5\)"),
        ("return np.zeros((0, 3)), ScanInfo()", r"array of shape \(0, 3\)"),
        ("return np.zeros((100, 100)), ScanInfo()", "100 x 100 pixels are more than the 64 allowed"),
        ("return np.zeros((8, 8, 99)), ScanInfo()", "more than the 8 KiB allowed"),
        ("raise KeyError('header')", "cannot be decoded: 'header'"),
        ("raise MemoryError", "does not fit into memory"),
        ("return 1 / 0", "cannot be decoded: division by zero"),
    ],
)
def test_whatever_a_decoder_does_is_one_line_that_names_the_file(
    package: Path, tmp_path: Path, body: str, said: str
) -> None:
    text = f"def decode(file, limits, frame, *, labels):\n    {body}\n"
    register_ = 'register(Format("R16", (".r16",), image=decode))\n'
    (package / "formats.py").write_text(HEAD + text + register_)
    own_parts.allow([PACKAGE])
    load_readers([f"{PACKAGE}.formats"])
    (tmp_path / "scan.r16").write_bytes(b"anything")
    with pytest.raises(SuiteError, match=rf"^\S*scan\.r16: .*{said}") as stopped:
        formats.read(tmp_path / "scan.r16", Limits(64, 8192))
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (Format("PNG", (".abc",), image=print), "the suite reads one of this name"),
        (Format("Mine", (".png",), image=print), "the suffix .png is that of PNG"),
        (Format("Mine", (".gz",), image=print), "the suffix .gz is that of what is packed"),
        (Format("Mine", (".ABC",), image=print), "lower-case letters"),
        (Format("Mine", ("abc",), image=print), "lower-case letters"),
        (Format("Mine", (".7",), image=print), "lower-case letters"),
        (Format("Mine", (), image=print), "lower-case letters"),
        (Format("Mine", (".abc",)), "needs the decoder"),
        (Format("Mine", (".abc",), image=print, volume=print), "not both"),
        (Format("Mine", (".abc",), (b"",), image=print), "bytes tell a format"),
        (Format("Mine", (".abc",), (b"BMP",), image=print), "BMP begins with"),
        (Format("Mine", (".abc",), (b"\x89PNG",), image=print), "PNG begins with"),
    ],
)
def test_a_format_that_cannot_be_is_refused(new: Format, said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        register(new)
    assert not format_table.own_formats()


def test_a_module_that_registers_nothing(package: Path) -> None:
    own_parts.allow([PACKAGE])
    with pytest.raises(SuiteError, match=f"--data.readers {PACKAGE}.kinds: registers no file format"):
        load_readers(f"{PACKAGE}.kinds")


def test_kept_hashes_go_stale_when_a_reader_changes(package: Path) -> None:
    """Or a module of its package that it imports; other modules leave them alone."""
    plain = behaviour()
    own_parts.allow([PACKAGE])
    load_readers([f"{PACKAGE}.formats"])
    seen = [behaviour()]
    (package / "losses.py").write_text("# another part of the package\n")
    own_version.cache_clear()
    assert behaviour() == seen[0] != plain
    for name in ("formats.py", "kinds.py", "__init__.py"):
        with (package / name).open("a") as file:
            file.write("\n# mended\n")
        own_version.cache_clear()
        seen.append(behaviour())
    assert len(set(seen)) == 4
    format_table.forget_own()
    own_version.cache_clear()
    assert behaviour() == plain


def test_a_process_that_knows_nothing_learns_of_them(loaded: Path, tmp_path: Path) -> None:
    """Loader processes are spawned where the system does not fork; limits come with the work."""
    file = tmp_path / "scan.r16"
    file.write_bytes(r16(np.zeros((5, 7))))
    limits = Limits(readers=load_readers([f"{PACKAGE}.formats"]))
    assert repr(limits) == repr(Limits())
    work = pickle.dumps((limits, file))
    code = (
        f"import pickle; limits, file = pickle.loads({work!r})\n"
        "from datamodules.readers import formats\nprint(formats.read(file, limits).array.shape)"
    )
    paths = os.pathsep.join([str(loaded.parent), str(Path(formats.__file__).parents[2])])
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert result.stdout == "(5, 7)\n", result.stderr


def test_damaged_files_are_refused_by_name(loaded: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 900, (29, 37))
    seeds = [
        Seed("R16", "image", ".r16", r16(array)),
        Seed("R16", "image", ".r16", r16(array, 2)),
        Seed("V16", "volume", ".v16", v16(array[:, :, None])),
    ]
    endings = set()
    for number in range(300):
        rng = np.random.default_rng([0, number])
        chosen = seeds[number % len(seeds)]
        endings.add(read_case(chosen, damage(chosen, seeds, rng), tmp_path))
    assert endings == {"read", "refused"}


@given(st.sampled_from([suffix for one in FORMATS for suffix in one.suffixes]), st.from_regex(r"[\w .-]{0,12}\Z"))
def test_the_longest_suffix_counts_and_ours_stay_ours(suffix: str, stem: str) -> None:
    found = by_name(f"{stem}{suffix}")
    assert found in FORMATS
    assert found is not None
    assert suffix in found.suffixes
    assert by_name(f"{stem}{suffix}x") is None
