"""Data at URLs as local copies: whole, up to date, fetched once, and gone on with after a kill."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules import remote
from datamodules.remote import as_typed, is_url, local, local_input, was_fetched
from scansuite.errors import SuiteError
from scansuite.files import IN_USE

fsspec = pytest.importorskip("fsspec", reason="the extra remote is not installed")
URL = "memory://set"


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An empty storage in memory."""
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "default"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    remote._named.clear()
    yield system
    system.store.clear()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are fetched."""
    names: list[str] = []
    fetch = remote._Mirror._fetch_one

    def noted(self: remote._Mirror, system: Any, file: Any) -> int:
        names.append(file.path)
        return fetch(self, system, file)

    monkeypatch.setattr(remote._Mirror, "_fetch_one", noted)
    return names


def copy_of(tmp_path: Path, url: str = URL) -> Path:
    return local(url, tmp_path / "cache", "--data.root")


def held(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refusal(tmp_path: Path, url: str = URL) -> str:
    with pytest.raises(SuiteError) as error:
        copy_of(tmp_path, url)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_paths_stay_as_they_are(tmp_path: Path) -> None:
    assert local("a/b", tmp_path, "--data.root") == Path("a/b")
    assert not any(map(is_url, ("a/b", "/a:b", "C:/x", ".", "a b://", None)))
    assert all(map(is_url, ("s3://b/x", "https://h/x", "file:///x", "simplecache::s3://b")))
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_brought_up_to_date(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    memory.pipe({"/set/a/1.png": b"one", "/set/2.csv": b"two", "/other/3": b"no"})
    copy = copy_of(tmp_path)
    assert copy.name == "set"
    assert held(copy) == {"a/1.png": b"one", "2.csv": b"two"}
    fetched.clear()
    assert copy_of(tmp_path, URL + "/") == copy
    assert fetched == []
    memory.pipe({"/set/2.csv": b"owt", "/set/b/4": b""})  # the same size
    memory.rm("/set/a/1.png")
    assert held(copy_of(tmp_path)) == {"2.csv": b"owt", "b/4": b""}
    assert sorted(fetched) == ["2.csv", "b/4"]
    assert not (copy / "a").exists()


def test_what_does_not_change_keeps_its_time(memory: Any, tmp_path: Path) -> None:
    """By it other caches know their files; a copy made anew has it too."""
    memory.pipe({"/set/1": b"one"})
    before = (copy_of(tmp_path) / "1").stat().st_mtime_ns
    assert (local(URL, tmp_path / "elsewhere", "--data.root") / "1").stat().st_mtime_ns == before
    os.utime(copy_of(tmp_path) / "1", ns=(before, before // 10**9 * 10**9))  # as a file system of whole seconds has it
    assert (copy_of(tmp_path) / "1").stat().st_mtime_ns == before // 10**9 * 10**9


def test_one_file_alone(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    memory.pipe({"/set/split.csv": b"x", "/set/more": b"y"})
    file = copy_of(tmp_path, "memory://set/split.csv")
    assert (file.name, file.read_bytes(), fetched) == ("split.csv", b"x", [""])
    memory.pipe({"/set/split.csv": b"z"})
    assert copy_of(tmp_path, "memory://set/split.csv").read_bytes() == b"z"


def test_a_table_of_inputs_comes_with_its_folder(memory: Any) -> None:
    memory.pipe({"/set/t.csv": b"path\n1.png\n", "/set/1.png": b"one"})
    table = local_input("memory://set/t.csv", "--input")
    assert held(table.parent) == {"t.csv": b"path\n1.png\n", "1.png": b"one"}
    alone = local_input("memory://set/t.csv", "--input", alone=True)
    assert set(held(alone.parent)) == {"t.csv", "whole", ".lock", IN_USE}


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,2}(/[A-Zé ]{1,3}){1,2}", fullmatch=True), st.binary(max_size=8), min_size=1)
)
def test_any_files_arrive_as_they_are(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    files = {name: data for name, data in files.items() if not any(other.startswith(f"{name}/") for other in files)}
    files = {
        name: data for name, data in files.items() if name == name.strip() and " /" not in name and "/ " not in name
    }
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe({"/set/here": b"x"} | {f"/set/{name}": data for name, data in files.items()})
    assert held(local(URL, tmp_path_factory.mktemp("any"), "--data.root")) == {"here": b"x"} | files


def test_a_fetch_that_was_cut_off_goes_on(
    memory: Any, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"/set/{number:03d}": bytes([number]) * 100 for number in range(60)}
    memory.pipe(files)
    get, calls = type(memory).get_file, iter(range(60))

    def cut(self: Any, key: str, place: str, **_: Any) -> None:
        if next(calls) >= 20:
            Path(place).write_bytes(b"half")
            raise KeyboardInterrupt
        get(self, key, place)

    with monkeypatch.context() as broken:
        broken.setattr(type(memory), "get_file", cut)
        with pytest.raises(KeyboardInterrupt):
            copy_of(tmp_path)
    fetched.clear()
    copy = copy_of(tmp_path)
    assert len(held(copy)) == 60
    assert all(data == files[f"/set/{name}"] for name, data in held(copy).items())
    assert len(fetched) <= 40


def test_what_a_killed_process_left_is_removed(memory: Any, tmp_path: Path) -> None:
    memory.pipe({"/set/1": b"one"})
    (copy_of(tmp_path) / ".1.77-abc.tmp").write_bytes(b"on")
    assert held(copy_of(tmp_path)) == {"1": b"one"}


def test_a_file_that_comes_short_is_refused(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe({"/set/1": b"one"})
    monkeypatch.setattr(type(memory), "get_file", lambda self, key, place, **_: Path(place).write_bytes(b"o"))
    assert "was cut off: 1 of 3 bytes came" in refusal(tmp_path)
    assert not any(tmp_path.rglob("1"))


def test_several_at_once_fetch_once(memory: Any, tmp_path: Path, fetched: list[str]) -> None:
    memory.pipe({f"/set/{number}": b"x" for number in range(50)})
    threads = [threading.Thread(target=copy_of, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 50


def test_keys_that_lead_away_are_refused(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe({"/set/1": b"one"})
    info = {"name": "/set/../../evil", "size": 1, "type": "file"}
    monkeypatch.setattr(type(memory), "walk", lambda *_, **__: iter([("/set", {}, {"evil": info})]))
    assert "'../../evil' is no path that a file can have" in refusal(tmp_path)


def test_what_is_not_there_is_said(memory: Any, tmp_path: Path) -> None:
    memory.mkdir("/set")
    assert refusal(tmp_path) == f"--data.root {URL}: no such bucket, folder or file, or nothing in it"
    assert "--data.root memory://nowhere: no such bucket" in refusal(tmp_path, "memory://nowhere")
    assert "no such protocol" in refusal(tmp_path, "xyz://a/b")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError("Access Denied"), "may not be read (Access Denied)"),
        (ConnectionError("nobody answers"), "cannot be reached: nobody answers"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"), "no credentials"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full: make room, or name another folder"),
        (RuntimeError("what\nelse"), "cannot be fetched: RuntimeError: what else"),
    ],
)
def test_mistakes_are_one_line(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    memory.pipe({"/set/1": b"one"})

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(type(memory), "get_file", fail)
    line = refusal(tmp_path)
    assert line.startswith(f"--data.root {URL}: ")
    assert said in line


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    memory: Any, tmp_path: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe({"/set/1": b"one"})
    free = type("Usage", (), {"free": 10})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    assert "make room, or name another folder with --data.cache_dir" in refusal(tmp_path)
    assert fetched == []


def test_a_whole_copy_serves_where_the_network_is_away(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.pipe({"/set/1": b"one"})
    copy = copy_of(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise TimeoutError("nobody answers")

    monkeypatch.setattr(type(memory), "info", fail)
    with caplog.at_level(logging.WARNING):
        assert copy_of(tmp_path) == copy
    assert "cannot be reached: the copy of " in caplog.text
    (copy.parent / "whole").unlink()
    assert "cannot be reached: nobody answers" in refusal(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(memory: Any, tmp_path: Path) -> None:
    memory.pipe({"/set/1": b"one"})
    (tmp_path / "cache").write_text("a file")
    assert f"cannot be kept in {tmp_path / 'cache'}" in refusal(tmp_path)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from pathlib import Path; from datamodules.remote import local\n"
        f"local('s3://b/set', Path({str(tmp_path)!r}), '--data.root')"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'scansuite[remote]' brings fsspec and s3fs" in end.stderr.splitlines()[-1]


def test_texts_name_the_url(memory: Any, tmp_path: Path) -> None:
    memory.pipe({"/set/a/1.png": b"one"})
    copy = copy_of(tmp_path)
    assert as_typed(f"{copy / 'a' / '1.png'}: cannot be read") == f"{URL}/a/1.png: cannot be read"


def test_who_has_asked_is_known(memory: Any, tmp_path: Path) -> None:
    memory.pipe({"/set/1": b"one"})
    assert not was_fetched(URL)
    copy_of(tmp_path)
    assert was_fetched(URL)
    assert was_fetched(URL + "/")
    assert not was_fetched(URL + "2")
