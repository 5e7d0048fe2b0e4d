"""What is pickled for a cluster: it starts a command, hands signals on, requeues, and says how the command ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.cluster.command_job import STOPPED, CommandJob
from tasks.cluster.job_file import noted_state
from tasks.training.stopping.signals import EX_TEMPFAIL
from tests.tasks.cluster.fakes import calls, fake_slurm, start_job

pytest.importorskip("submitit", reason="submitit (extra: cluster) is not installed")

# A stand-in for a training: it says which signals reach it, saves, and ends as `fit` does.
TRAINING = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
got = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
print("ignored" if signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN else "heard", sys.argv[2:], flush=True)
(folder / "config.yaml").touch()
(folder / "ready").touch()
end = time.time() + 20
while not got and time.time() < end:
    time.sleep(0.02)
time.sleep(0.3)
print("got", got, flush=True)
sys.exit(75)
"""


def training(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", TRAINING, str(folder), *words]


def job(folder: Path, first: list[str], again: list[str] | None = None) -> CommandJob:
    folder.mkdir(exist_ok=True)
    return CommandJob(first, again or first, folder, folder / "config.yaml", ["HIDDEN"])


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return fake_slurm(tmp_path / "fake", scontrol="exit 0\n")


def test_the_status_is_that_of_a_stopped_training() -> None:
    assert STOPPED == EX_TEMPFAIL


def test_a_signal_before_the_limit_stops_saves_and_requeues(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    process = start_job(job(run, training(run, "first"), training(run, "again")), tmp_path / "logs", environment)
    wait_for((run / "ready").exists)
    os.kill(process.pid, signal.SIGUSR2)
    said, _ = process.communicate(timeout=20)
    assert "ignored ['first']" in said
    assert "got ['SIGUSR1']" in said
    assert calls(tmp_path / "fake", "scontrol") == ["requeue 7"]
    assert process.returncode != 0
    assert noted_state(run, "7") == "REQUEUED"
    # Started anew it goes on, by the pickle that submitit has written meanwhile.
    (run / "ready").unlink()
    process = start_job(job(run, ["false"]), tmp_path / "logs", environment)
    wait_for((run / "ready").exists)
    os.kill(process.pid, signal.SIGUSR1)
    said, _ = process.communicate(timeout=20)
    assert "ignored ['again']" in said
    assert len(calls(tmp_path / "fake", "scontrol")) == 2


def test_another_rank_ends_well_and_leaves_the_requeue_to_the_first(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    run = tmp_path / "run"
    process = start_job(job(run, training(run)), tmp_path / "logs", environment, rank=1)
    wait_for((run / "ready").exists)
    os.kill(process.pid, signal.SIGUSR2)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert calls(tmp_path / "fake", "scontrol") == []


def test_what_was_cancelled_is_not_requeued(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    process = start_job(job(run, training(run)), tmp_path / "logs", environment)
    wait_for((run / "ready").exists)
    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert "got ['SIGTERM']" in said
    assert process.returncode == STOPPED
    assert calls(tmp_path / "fake", "scontrol") == []
    assert noted_state(run, "7") == "STOPPED"


def test_a_signal_before_training_has_begun_requeues_too(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"]
    process = start_job(job(run, command), tmp_path / "logs", environment)
    process.communicate(timeout=20)
    assert calls(tmp_path / "fake", "scontrol") == ["requeue 7"]


def test_a_command_that_fails_fails_the_job_without_a_traceback(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "import sys; sys.exit('error: --model.lr abc: expected a number')"]
    process = start_job(job(run, command), tmp_path / "logs", environment)
    said, _ = process.communicate(timeout=20)
    assert "error: --model.lr abc" in said
    assert "Traceback" not in said
    assert process.returncode == 1
    assert noted_state(run, "7") == "FAILED"


def test_a_command_that_is_done_completes_the_job(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "import os; print('HIDDEN' in os.environ)"]
    process = start_job(job(run, command), tmp_path / "logs", {**environment, "HIDDEN": "1"})
    said, _ = process.communicate(timeout=20)
    assert "False\n" in said
    assert process.returncode == 0
    assert noted_state(run, "7") == "COMPLETED"


def test_a_queue_that_takes_it_no_more_is_named(tmp_path: Path) -> None:
    environment = fake_slurm(tmp_path / "fake", scontrol="echo 'Requested operation is disabled' >&2; exit 1\n")
    run = tmp_path / "run"
    command = [sys.executable, "-c", "import sys; sys.exit(75)"]
    process = start_job(job(run, command), tmp_path / "logs", environment)
    said, _ = process.communicate(timeout=20)
    assert "error: saved, but not requeued" in said
    assert f"--run_dir {run} --ckpt_path last" in said
    assert process.returncode == STOPPED
    assert noted_state(run, "7") == "STOPPED"


def test_a_job_on_its_node_imports_no_torch() -> None:
    code = "import sys, tasks.cluster.command_job, submitit; print(sorted({'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
