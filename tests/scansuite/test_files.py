"""Files that are whole or not there, locks that end with their process, and names that stay in their folder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from scansuite.files import (
    IN_USE,
    lock_if_possible,
    note_use,
    replacing,
    safe_name,
    safe_path,
    unused,
    write_text,
)

ROOT = Path(__file__).resolve().parents[2]


def process(code: str) -> subprocess.Popen[str]:
    """Another Python that has said ``there``; it is to be killed."""
    head = "import os, sys, time\nfrom pathlib import Path\nfrom scansuite.files import *\n"
    started = subprocess.Popen(
        [sys.executable, "-c", head + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "there\n"
    return started


def ended(some: subprocess.Popen[str]) -> None:
    some.kill()
    some.communicate()


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    write_text(file, "old")
    code = (
        f"with replacing(Path({str(file)!r})) as temporary:\n"
        "    temporary.write_text('half of the ne')\n"
        "    print('there', flush=True)\n"
        "    time.sleep(60)\n"
    )
    ended(process(code))
    assert file.read_text() == "old"
    write_text(file, "new")  # what was left does not stand in the way
    assert file.read_text() == "new"


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "0" * 100_000)
    code = (
        f"file = Path({str(file)!r})\n"
        "print('there', flush=True)\n"
        "for number in range(10_000):\n"
        "    with replacing(file, durable=False) as temporary:\n"
        "        temporary.write_text(str(number % 10) * 100_000)\n"
    )
    two = [process(code), process(code)]
    try:
        seen = {file.read_text()}
        deadline = time.monotonic() + 30
        while len(seen) < 5 and time.monotonic() < deadline:
            seen.add(file.read_text())
    finally:
        for one in two:
            ended(one)
    assert all(len(text) == 100_000 and len(set(text)) == 1 for text in seen)
    assert len(seen) > 1  # it was written meanwhile


@pytest.mark.parametrize("durable", [True, False])
def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said = r"a\.txt: cannot be written \(No space left on device\)"
    with pytest.raises(SuiteError, match=said) as caught, replacing(file, durable=durable) as temporary:
        full(temporary)
    assert isinstance(caught.value.__context__, OSError)  # the command line looks for it
    with pytest.raises(ValueError, match="No space left"), replacing(file, failed=lambda e: ValueError(e)) as temporary:
        full(temporary)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_a_disk_that_is_full_when_the_contents_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems say so late: a file that is not on the disk does not get the name."""
    asked: list[int] = []

    def full(handle: int) -> None:
        asked.append(handle)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SuiteError, match="quota"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "b.txt", durable=False) as temporary:
        temporary.write_text("text")
    assert len(asked) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(asked[0])


@pytest.mark.parametrize("where", ["/proc/a.txt", "none/a.txt"])
def test_a_folder_that_takes_no_file(tmp_path: Path, where: str) -> None:
    with pytest.raises(SuiteError, match=r"a\.txt: cannot be written \(.+\): choose a folder you may write to"):
        write_text(tmp_path / where, "text")


def test_what_stops_the_block_stops_the_caller(tmp_path: Path) -> None:
    def stopped(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        stopped(temporary)
    assert list(tmp_path.iterdir()) == []


HOLD = "with lock_if_possible(Path({!r})):\n    print('there', flush=True)\n    {}\n    time.sleep(60)\n"


def test_processes_go_one_after_the_other(tmp_path: Path) -> None:
    lock, done = tmp_path / "cache" / ".lock", tmp_path / "done"
    code = (
        f"with lock_if_possible(Path({str(lock)!r})):\n"
        "    print('there', flush=True)\n"
        "    sys.stdin.read()\n"
        f"    Path({str(done)!r}).touch()\n"
        "    time.sleep(0.1)\n"
    )
    other = process(code)
    assert other.stdin is not None
    other.stdin.close()
    with lock_if_possible(lock):
        assert done.exists()
    assert other.wait(20) == 0


def test_a_lock_ends_with_a_killed_process_even_where_its_children_live_on(tmp_path: Path) -> None:
    lock, child = tmp_path / ".lock", tmp_path / "child"
    fork = f"if os.fork() == 0: Path({str(child)!r}).write_text(str(os.getpid())); time.sleep(60)"
    other = process(HOLD.format(str(lock), fork))
    while not (child.exists() and child.read_text()):
        time.sleep(0.01)
    orphan = int(child.read_text())
    try:
        other.kill()
        other.wait()
        begun = time.monotonic()
        with lock_if_possible(lock):
            os.kill(orphan, 0)  # it is still there
        assert time.monotonic() - begun < 30
    finally:
        os.kill(orphan, signal.SIGKILL)
        other.communicate()


@pytest.mark.parametrize("why", ["a folder", "no folder", "no locks"])
def test_without_locks_the_block_runs_all_the_same(tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / ".lock"
    if why == "a folder":
        lock.mkdir()
    elif why == "no folder":
        lock = Path("/proc/none/.lock")
    else:
        import fcntl

        def none(*_: object) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", none)
    with lock_if_possible(lock):
        pass
    with pytest.raises(ZeroDivisionError), lock_if_possible(lock):
        raise ZeroDivisionError


def test_what_is_used_is_unused_when_the_last_process_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with unused(folder) as free:
        assert free  # nobody has ever used it
    code = f"note_use(Path({str(folder)!r}))\nprint('there', flush=True)\nsys.stdin.read()\n"
    users = [process(code), process(code)]  # several may
    for number, user in enumerate(users):
        with unused(folder) as free:
            assert not free, number
        user.communicate()
    with unused(folder) as free:
        assert free


def test_use_is_noted_where_a_folder_was_removed_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / IN_USE).touch()
    with unused(folder) as free:
        assert free
        waits = f"print('there', flush=True)\nnote_use(Path({str(folder)!r}))\nprint('noted', flush=True)\n"
        user = process(waits + "sys.stdin.read()\n")
        time.sleep(0.3)  # it has opened the file, and waits for it
        (folder / IN_USE).unlink()  # as whoever removes the folder does
    assert user.stdout is not None
    assert user.stdout.readline() == "noted\n"
    with unused(folder) as free:
        assert not free
    user.communicate()


def test_use_of_what_cannot_be_written_is_not_noted() -> None:
    note_use(Path("/proc/none"))


@given(st.text(max_size=200))
def test_any_text_is_one_good_file_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode()) <= 120
    assert name == Path(name).name
    assert not name.startswith(".")
    assert safe_name(name) == name
    assert not set(name) & set('<>:"|?*/\\\0')


@given(st.text(alphabet="./ab\\ \0é", max_size=30))
def test_any_case_id_stays_in_its_folder(case_id: str) -> None:
    path = safe_path(case_id)
    assert not path.is_absolute()
    assert path.parts
    assert all(safe_name(part) == part for part in path.parts)


@given(st.text(max_size=12), st.text(max_size=12))
def test_two_texts_do_not_share_a_file(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
