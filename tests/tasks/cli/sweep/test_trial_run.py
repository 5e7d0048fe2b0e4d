"""A trial as a process: followed, stopped, interrupted; a short script stands for the training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from tasks.cli.command import environment
from tasks.cli.runs.running import CLAIM
from tasks.cli.sweep import trial_run
from tasks.cli.sweep.trial_run import run_trial, seconds_of, wait_for

# Writes an epoch table as a training does, and ends by SIGTERM as one does.
TRAINING = """
import os, signal, sys, time
folder, epochs, pause, status = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
def stop(number, frame):
    open(os.path.join(folder, "stopped"), "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "metrics.csv"), "w") as file:
    file.write("epoch,train/loss,val/auroc\\n")
    for epoch in range(epochs):
        file.write(f"{epoch},0.5,\\n{epoch},,{0.5 + epoch / 10}\\n")
        file.flush()
        time.sleep(pause)
if status:
    print("error: something is wrong", file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture(autouse=True)
def _script(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(task: str, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", TRAINING, *words]

    monkeypatch.setattr(trial_run, "command_line", command)
    monkeypatch.setattr(trial_run, "_LOOK", 0.05)


def never(epoch: int, value: float) -> bool:
    return False


def test_each_validated_epoch_is_told_once(tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []

    def report(epoch: int, value: float) -> bool:
        told.append((epoch, value))
        return False

    ended = run_trial("classify", [str(tmp_path / "t"), "3", "0.2", "0"], tmp_path / "t", "val/auroc", report)
    assert ended == (0, False, "")
    assert told == [(0, 0.5), (1, 0.6), (2, 0.7)]


def test_a_trial_that_is_not_worth_it_is_asked_to_stop(tmp_path: Path) -> None:
    words = [str(tmp_path / "t"), "3", "30", "0"]
    ended = run_trial("classify", words, tmp_path / "t", "val/auroc", lambda epoch, value: True)
    assert ended == (75, True, "")
    assert (tmp_path / "t/stopped").is_file()


def test_an_error_is_that_of_this_call(tmp_path: Path) -> None:
    words = [str(tmp_path / "t"), "1", "0", "2"]
    assert run_trial("classify", words, tmp_path / "t", "val/auroc", never) == (2, False, "something is wrong")
    words[-1] = "0"
    assert run_trial("classify", words, tmp_path / "t", "val/auroc", never) == (0, False, "")


@pytest.mark.parametrize("status", [75, 130])
def test_a_trial_that_somebody_has_ended_ends_the_sweep(tmp_path: Path, status: int) -> None:
    words = [str(tmp_path / "t"), "1", "0", str(status)]
    with pytest.raises(KeyboardInterrupt):
        run_trial("classify", words, tmp_path / "t", "val/auroc", never)


def test_a_sweep_that_ends_stops_the_trials_of_all_its_workers(tmp_path: Path) -> None:
    ending = threading.Event()
    threading.Timer(1.0, ending.set).start()
    with pytest.raises(KeyboardInterrupt):
        run_trial("classify", [str(tmp_path / "t"), "1", "30", "0"], tmp_path / "t", "val/auroc", never, ending)
    assert (tmp_path / "t/stopped").is_file()


def test_seconds_before_an_interruption_count_and_those_of_a_lost_beginning_do_not(tmp_path: Path) -> None:
    words, ending = [str(tmp_path / "t"), "1", "0.3", "0"], threading.Event()
    assert seconds_of(tmp_path / "t") == 0
    (tmp_path / "t").mkdir()  # what it has saved
    ending.set()
    with pytest.raises(KeyboardInterrupt):
        run_trial("classify", words, tmp_path / "t", "val/auroc", never, ending)
    (tmp_path / "t.seconds.txt").write_text("1000.0\n")  # as if that had been longer
    run_trial("classify", words, tmp_path / "t", "val/auroc", never)
    assert seconds_of(tmp_path / "t") > 1000
    shutil.rmtree(tmp_path / "t")
    run_trial("classify", words, tmp_path / "t", "val/auroc", never)
    assert 0 < seconds_of(tmp_path / "t") < 1000


def test_seconds_of_an_interrupted_trial_are_noted(tmp_path: Path) -> None:
    ending = threading.Event()

    def report(epoch: int, value: float) -> bool:
        ending.set()
        return False

    with pytest.raises(KeyboardInterrupt):
        run_trial("classify", [str(tmp_path / "t"), "1", "30", "0"], tmp_path / "t", "val/auroc", report, ending)
    assert seconds_of(tmp_path / "t") > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only there a child hears of its parent's end")
def test_the_trial_of_a_killed_sweep_is_asked_to_stop(tmp_path: Path) -> None:
    sweep = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tasks.cli.sweep import trial_run
        folder, script = Path(sys.argv[1]), sys.argv[2]
        trial_run.command_line = lambda task, words: [sys.executable, "-c", script, *words]
        trial_run._LOOK = trial_run._NOTED = 0.1
        trial_run.run_trial("classify", [str(folder), "1", "60", "0"], folder, "val/auroc", lambda epoch, value: False)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", sweep, str(tmp_path / "t"), TRAINING], env=environment())
    for file in ("t/metrics.csv", "t.seconds.txt"):
        _until(tmp_path / file, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _until(tmp_path / "t/stopped")
    assert seconds_of(tmp_path / "t") > 0


def _until(file: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + 120
    while not file.is_file():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.05)


def test_a_folder_that_is_still_written_to_is_waited_for(tmp_path: Path) -> None:
    wait_for(tmp_path)  # nobody has ever written to it
    held = threading.Event()
    freed: list[float] = []

    def write() -> None:
        with FileLock(tmp_path / CLAIM, thread_local=False):
            held.set()
            time.sleep(0.5)
            freed.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    assert held.wait(30)
    wait_for(tmp_path)
    assert freed
    writer.join()
