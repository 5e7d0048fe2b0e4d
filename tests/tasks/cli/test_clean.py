"""``scansuite clean``: says what the caches hold, and removes what is its own, unused and asked for."""

from __future__ import annotations

import hashlib
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datamodules.caching.kept import KINDS, kept_in, remove
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible, note_use
from tasks.cli.verbs.clean import run

ROOT = Path(__file__).resolve().parents[3]
VOLUME = f"{'a' * 64}-{'b' * 16}.npy"
COPY = hashlib.sha256(b"s3://bucket/set").hexdigest()[:16]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder as runs leave it, and beside what is ours what is not."""
    folder = tmp_path / "cache"
    for name in (
        f"volumes/{VOLUME}",
        f"images/{'c' * 20}/about.json",
        f"images/{'c' * 20}/0.arrow",
        f"features/{'e' * 20}/0.arrow",
        f"remote/{COPY}/set/a.png",
        "medmnist/breastmnist.npz",
        "medmnist/pathmnist_224-1234-5678/train.npy",
        *NOT_OURS,
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1000)
    with sqlite3.connect(folder / "hashes.sqlite") as database:
        database.execute("CREATE TABLE hashes (path TEXT)")
    database.close()
    return folder


NOT_OURS = (
    "volumes/mine.npy",
    "images/holiday.jpg",
    "images/of_mine/a.png",
    "features/of_mine/a.npy",
    "remote/asked/1234",
    "notes.txt",
    "medmnist/x",
)


def names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_nothing_is_removed_unasked(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(cache)
    assert run(["--cache_dir", str(cache)]) == 0
    said = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n  {kind}" in said
    assert "nothing was removed: --yes removes it" in said
    assert names(cache) == before


def test_what_is_not_ours_stays(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--cache_dir", str(cache), "--yes"]) == 0
    assert "removed " in capsys.readouterr().out
    assert names(cache) == set(NOT_OURS)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_alone(cache: Path, kind: str) -> None:
    others = {one.path for one in kept_in(cache) if one.kind != kind}
    assert run([kind, "--cache_dir", str(cache), "--yes"]) == 0
    assert {one.path for one in kept_in(cache)} == others


def test_links_are_not_followed(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data.npy").write_bytes(b"x")
    (cache / "images" / ("d" * 20)).symlink_to(precious)
    (cache / "volumes" / f"{'e' * 64}-{'f' * 16}.npy").symlink_to(precious / "data.npy")
    (cache / "images" / ("c" * 20) / "inner").symlink_to(precious)
    (cache / "hashes.sqlite").unlink()
    (cache / "hashes.sqlite").symlink_to(precious / "data.npy")
    assert run(["--cache_dir", str(cache), "--yes"]) == 0
    assert capsys.readouterr().out.count("is a link: it stays") == 3
    assert names(precious) == {"data.npy"}
    assert not (cache / "images" / ("c" * 20)).exists()


def test_a_folder_of_the_cache_that_is_a_link_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / VOLUME).write_bytes(b"x")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "volumes").symlink_to(elsewhere)
    assert run(["--cache_dir", str(tmp_path / "cache"), "--yes"]) == 0
    assert "is a link" in capsys.readouterr().out
    assert names(elsewhere) == {VOLUME}


@contextmanager
def other_process(body: str) -> Iterator[None]:
    """A process that does something, says so, and waits."""
    code = f"from pathlib import Path\nimport sys\n{body}\nprint('there', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    try:
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


HOLD = "from scansuite.files import lock_if_possible, note_use\nheld = lock_if_possible(Path({!r})); held.__enter__()"
USE = "from scansuite.files import note_use\nnote_use(Path({!r}))"
WRITE = "import sqlite3\ndatabase = sqlite3.connect({!r}); database.execute('BEGIN IMMEDIATE')"


@pytest.mark.parametrize(
    ("body", "at", "kind"),
    [
        (HOLD, "volumes/.lock", "volumes"),
        (HOLD, f"images/{'c' * 20}/.lock", "images"),
        (HOLD, f"remote/{COPY}/.lock", "downloads"),
        (HOLD, ".contents-1.lock", "hashes"),
        (WRITE, "hashes.sqlite", "hashes"),
        (USE, "volumes", "volumes"),
        (USE, f"images/{'c' * 20}", "images"),
        (USE, f"remote/{COPY}", "downloads"),
    ],
)
def test_what_a_running_training_has_locked_or_uses_stays(cache: Path, body: str, at: str, kind: str) -> None:
    inside = {
        one.path for one in kept_in(cache) if one.kind == kind and ("remote" not in at or "remote" in str(one.path))
    }
    with other_process(body.format(str(cache / at))):
        assert run([kind, "--cache_dir", str(cache), "--yes"]) == 0
        assert inside <= {one.path for one in kept_in(cache)}
    assert run([kind, "--cache_dir", str(cache), "--yes"]) == 0  # a lock ends with its process
    assert not [one for one in kept_in(cache) if one.kind == kind]


def test_a_killed_process_uses_nothing_any_more(cache: Path) -> None:
    with other_process(
        USE.format(str(cache / "volumes")) + "\nprint('there', flush=True)\nimport os\nos.kill(os.getpid(), 9)"
    ):
        pass
    assert run(["volumes", "--cache_dir", str(cache), "--yes"]) == 0
    assert not (cache / "volumes" / VOLUME).exists()


def test_a_damaged_database_can_be_removed(cache: Path) -> None:
    (cache / "hashes.sqlite").write_bytes(b"no database" * 100)
    assert run(["hashes", "--cache_dir", str(cache), "--yes"]) == 0
    assert not (cache / "hashes.sqlite").exists()


def test_what_has_become_a_link_since_it_was_looked_at_stays(cache: Path, tmp_path: Path) -> None:
    (found,) = (one for one in kept_in(cache) if one.kind == "images")
    found.path.rename(tmp_path / "moved")
    found.path.symlink_to(tmp_path / "moved")
    assert remove(found) == "is a link"
    assert len(names(tmp_path / "moved")) == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["volume"], "clean volume: no kind of cache: did you mean 'volumes'?"),
        (["--cache_dir", "/nowhere"], "--cache_dir /nowhere: no such folder"),
        (["--yse"], "clean: unrecognized arguments: --yse: see scansuite clean --help"),
    ],
)
def test_mistakes(argv: list[str], said: str) -> None:
    with pytest.raises(SuiteError, match=said.replace("?", r"\?")):
        run(argv)


@pytest.mark.parametrize(("answer", "stays"), [("y", False), ("n", True), ("", True)])
def test_on_a_terminal_it_asks(cache: Path, answer: str, stays: bool) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "tasks.cli", "clean", "volumes", "--cache_dir", str(cache)])
    os.write(terminal, f"{answer}\n".encode())
    said = b""
    read: Callable[[int, int], bytes] = os.read
    while b"removed" not in said:
        said += read(terminal, 4096)
    os.close(terminal)
    os.waitpid(process, 0)
    assert b"remove all of this? [y/N]" in said
    assert (cache / "volumes" / VOLUME).exists() is stays


def test_the_locks_are_those_of_the_caches(cache: Path) -> None:
    """In this process too: what is noted is seen by others alone, so a training may clean nothing of its own."""
    note_use(cache / "volumes")
    (volume,) = (one for one in kept_in(cache) if one.kind == "volumes")
    assert remove(volume) == "in use"
    with lock_if_possible(cache / "images" / ("c" * 20) / ".lock"):
        (images,) = (one for one in kept_in(cache) if one.kind == "images")
        assert remove(images) == "in use"
