"""Zip archives that were made to harm: what they say of themselves is not believed."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")

from tasks.serving.archives import unzip
from tasks.serving.file_names import free_path
from tasks.serving.refused import RefusedError
from tasks.serving.settings import RequestLimits

LIMITS = RequestLimits(max_members=10, max_unpacked=1000)


def packed(members: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return content.getvalue()


def refused(tmp_path: Path, content: bytes, limits: RequestLimits = LIMITS) -> RefusedError:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(RefusedError) as caught:
        unzip(tmp_path / "a.zip", tmp_path / "out", limits)
    return caught.value


def test_a_list_that_its_second_form_says_is_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({f"{number}": b"" for number in range(2000)})
    count, size, start = struct.unpack_from("<HLL", content, len(content) - 12)
    second = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    leads = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(content) - 22, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, start, 0)
    whole = content[:-22] + second + leads + end
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len(archive.infolist()) == 2000  # what Python would read
    monkeypatch.setattr(zipfile, "ZipFile", lambda _: pytest.fail("it was read"))
    assert refused(tmp_path, whole).status == 413


def test_folders_that_could_not_be_removed_are_not_made(tmp_path: Path) -> None:
    error = refused(tmp_path, packed({"a/" * 200 + "x.png": b"x"}))
    assert error.status == 422
    assert "32 deep" in error.text
    assert len(list(tmp_path.rglob("*"))) <= 2


def test_archives_of_a_request_share_its_limits(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(packed({"x": bytes(600), "y": b""}))
    assert unzip(tmp_path / "a.zip", tmp_path / "1", LIMITS) == (2, 600)
    with pytest.raises(RefusedError, match="unpacks to more"):
        unzip(tmp_path / "a.zip", tmp_path / "2", LIMITS, 2, 600)
    with pytest.raises(RefusedError, match="11 files, more than the 10"):
        unzip(tmp_path / "a.zip", tmp_path / "3", LIMITS, 9, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_one_is_refused_or_unpacked(
    tmp_path_factory: pytest.TempPathFactory, how: int, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    content = bytearray(packed({"a/b.png": b"abc" * 50, "../c.dcm": bytes(200)}, how))
    for place, value in changes:
        content[place % len(content)] = value
    (folder / "a.zip").write_bytes(content)
    with suppress(RefusedError):
        unzip(folder / "a.zip", folder / "out", LIMITS)
    assert {one.name for one in folder.iterdir()} <= {"a.zip", "out"}


def test_files_of_one_name_are_named_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    exists = Path.exists

    def look(path: Path) -> bool:
        looks.append(path)
        return exists(path)

    monkeypatch.setattr(Path, "exists", look)
    taken: dict[Path, int] = {}
    for _ in range(50):
        free_path(tmp_path, "a.png", taken).touch()
    assert len(list(tmp_path.iterdir())) == 50
    assert len(looks) <= 3 * 50
