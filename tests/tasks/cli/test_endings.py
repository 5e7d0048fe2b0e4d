"""A command ends early, or finds another at its place: one line, and nothing half-written passes for whole."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.cli.runs import running as begun
from tasks.cli.runs.running import CLAIM
from tasks.training.epoch_table import EpochTable
from tasks.training.saving import save_whole
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line
from tests.tasks.cli.test_processes import ROOT, start

GO_ON = "python -m tasks.classify fit --run_dir run --ckpt_path last"


@pytest.fixture
def fit(table_root: Path) -> list[object]:
    return ["fit", "--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], *TINY, "--run_dir", "run"]


@contextmanager
def holding(folder: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes to a folder, until the end of the block."""
    code = (
        "import sys; from pathlib import Path; from tasks.cli.runs.running import claim;"
        f"claim(Path({folder!r}), '--run_dir', '', fresh=False); print('there', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk on which larger files find no room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_of_two_fits_at_once_with_one_run_dir_one_is_refused(fit: list[object], tmp_path: Path) -> None:
    both = [start(tmp_path, *fit) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    refused = said[[process.returncode for process in both].index(2)]
    assert "error: --run_dir run: " in refused
    assert "Traceback" not in refused
    assert not (tmp_path / "run" / CLAIM).exists()


@pytest.mark.parametrize("more", [[], ["--ckpt_path", "last"]])
def test_a_run_folder_that_another_fit_writes_to_is_refused(run: Run, fit: list[object], more: list[str]) -> None:
    with holding("run") as other:
        status, _, err = run(*fit, *more)
        assert status == 2
        assert f"process {other.pid} on " in one_line(err)
        assert [file.name for file in Path("run").iterdir()] == [CLAIM]


def test_an_output_folder_that_another_command_writes_to_is_refused(run: Run, table_root: Path) -> None:
    with holding("out"):
        status, _, err = run("check", "--data", "ImageTable", "--data.root", table_root, "--output", "out")
    assert status == 2
    assert "--output out: another command" in one_line(err)


def test_the_claim_of_a_killed_command_ends_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with holding("run"):
        pass
    assert Path("run", CLAIM).exists()
    begun.claim(Path("run"), "--run_dir", "", fresh=True)
    begun.release()
    assert not Path("run", CLAIM).exists()


def test_a_folder_that_stays_empty_goes_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    for name in ("ours", "theirs"):
        begun.claim(Path(name), "--output", "", fresh=True)
    assert begun.interrupted() == "interrupted: nothing was written: run the command again"
    begun.release()
    assert [path.name for path in Path().iterdir()] == ["theirs"]


def test_ctrl_c_says_in_one_line_how_to_go_on_with_status_130(
    run: Run, fit: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(EpochTable, "on_train_epoch_end", interrupt)
        status, _, err = run(*fit)
    assert status == 130
    assert err.strip().splitlines()[-1] == f"interrupted: run is not complete: go on with: {GO_ON}"
    assert "Traceback" not in err
    assert signal.getsignal(signal.SIGINT) is handler  # Lightning switches it off
    # Without a place for temporary files: checkpoints do not come by way of it, from another disk perhaps.
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(Path("run/nowhere").absolute()))
        status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last")
    assert status == 0, err
    assert not Path("run", CLAIM).exists()


def test_a_full_disk_names_the_run_folder_and_what_is_left_there(run: Run, fit: list[object]) -> None:
    with files_of_at_most(60_000):
        status, _, err = run(*fit)
    assert status == 2
    line = one_line(err)
    assert os.strerror(errno.EFBIG) in line
    assert "run is not complete (it holds " in line
    assert "config.yaml" in line
    assert GO_ON in line
    left = [str(file.relative_to("run")) for file in Path("run").rglob("*") if file.is_file()]
    assert not [name for name in left if name.endswith((".ckpt", ".tmp")) or CLAIM in name], left


def test_a_checkpoint_that_finds_no_room_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    save_whole({"state_dict": {"weight": torch.zeros(4)}}, file)
    with files_of_at_most(1000), pytest.raises(Exception, match=r"best\.ckpt: cannot be written"):
        save_whole({"state_dict": {"weight": torch.ones(1000)}}, file)
    assert torch.load(file, weights_only=True)["state_dict"]["weight"].tolist() == [0, 0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not file.is_file():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [[], ["--folds", "2"]])
def test_ctrl_c_twice_at_a_terminal(fit: list[object], tmp_path: Path, folds: list[str]) -> None:
    process = start(tmp_path, *fit, *folds, "--trainer.max_epochs", "200", "--data.num_workers", "1")
    wait_for(tmp_path / "run" / ("fold_0" if folds else "") / "checkpoints" / "last.ckpt", process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    last = out.strip().splitlines()[-1]
    assert last.startswith("interrupted: run is not complete: go on with: python -m tasks.classify fit ")
    assert out.count("interrupted: ") == 1
    assert ("--folds 2" in last) == bool(folds)


@pytest.mark.slow
def test_ctrl_c_in_check(table_root: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "check", "--data", "ImageTable", "--data.root", table_root, *KINDS["binary"],
                    "--output", "out", "--data.num_workers", "2")  # fmt: skip
    wait_for(tmp_path / "out" / ".error.part", process)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert "Traceback" not in out
    if process.returncode == 130:  # it may have been faster
        assert out.strip().splitlines()[-1].startswith("interrupted: ")
