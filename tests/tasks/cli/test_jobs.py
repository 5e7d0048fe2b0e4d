"""`scansuite jobs`: what SLURM and the run folders say of jobs; logs; cancelling."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tasks.cli.main import script
from tasks.cluster.job_file import JobFile, note_end
from tests.tasks.cli.conftest import one_line
from tests.tasks.cluster.fakes import calls, fake_slurm

QUEUE = "echo '12|RUNNING|1:02:03|None'\necho '13_0|PENDING|5:00|Resources'\necho '14|PENDING|5:00|Dependency'\n"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs: one that computes, folds that wait, one that has failed."""
    monkeypatch.chdir(tmp_path)
    for folder, job, kind in (
        ("1", "12", "fit"), ("2", "14", "pool"), ("2/fold_0", "13_0", "fold"), ("10", "15", "fit"),
    ):  # fmt: skip
        made = tmp_path / "runs" / "classify" / folder
        (made / "slurm").mkdir(parents=True)
        JobFile(job, kind, "classify", "2026-01-01T00:00:00+00:00", 60, 1, 1, str(made / "slurm")).write(made)  # type: ignore[arg-type]
    first = tmp_path / "runs/classify/1"
    (first / "metrics.csv").write_text("epoch,step,val/loss\n0,10,0.5\n6.0,70,0.4\n")
    (first / "config.yaml").write_text("trainer: {max_epochs: 20}\n")
    (first / "slurm" / "12_0_log.out").write_text("".join(f"line {k}\n" for k in range(30)))
    (first / "slurm" / "12_1_log.out").write_text("of rank 1\n")
    failed = tmp_path / "runs/classify/10"
    (failed / "slurm" / "15_0_log.out").write_text("error: --data.root: no such folder\nsrun: error: task 0\n")
    note_end(failed, 2, "15")
    return tmp_path / "runs"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in fake_slurm(tmp_path / "fake", squeue=QUEUE, scancel="exit 0\n").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "fake"


def jobs(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["scansuite", "jobs", *words])
    status = script()
    out, err = capfd.readouterr()
    return status, out, err


def test_the_list(runs: Path, fake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = jobs(capfd, monkeypatch)
    assert status == 0
    rows = [line.split() for line in out.splitlines()[1:]]
    assert rows[0] == ["12", "RUNNING", "7/20", "1:02:03", "runs/classify/1"]
    assert rows[1][:3] == ["14", "PENDING", "runs/classify/2"]
    assert out.splitlines()[2].endswith("puts the folds together; Dependency")
    assert rows[2][:4] == ["13_0", "PENDING", "runs/classify/2/fold_0", "Resources"]
    assert rows[3][:3] == ["15", "FAILED", "runs/classify/10"]
    assert out.splitlines()[4].endswith("error: --data.root: no such folder")


def test_without_slurm_the_folders_speak(
    runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, err = jobs(capfd, monkeypatch, "list")
    assert status == 0
    assert "squeue is not on PATH" in err
    assert len(err.splitlines()) == 1
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["UNKNOWN", "UNKNOWN", "UNKNOWN", "FAILED"]
    status, _, err = jobs(capfd, monkeypatch, "cancel", "12")
    assert (status, "scancel is not on PATH" in one_line(err)) == (2, True)


def test_logs_by_id_folder_and_rank(
    runs: Path, fake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs(capfd, monkeypatch, "tail", "12", "--lines", "2")[1] == "line 28\nline 29\n"
    assert jobs(capfd, monkeypatch, "tail", "runs/classify/1", "--rank", "1")[1] == "of rank 1\n"
    status, _, err = jobs(capfd, monkeypatch, "tail", "13_0")
    assert (status, "it waits, or has fewer ranks" in one_line(err)) == (2, True)
    fake_slurm(fake)  # the queue knows the job no more: the log is read to its end
    assert jobs(capfd, monkeypatch, "tail", "12", "--follow", "--lines", "1")[1] == "line 29\n"


def test_cancelling_a_run_of_folds_takes_all_of_them(
    runs: Path, fake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = jobs(capfd, monkeypatch, "cancel", "runs/classify/2")
    assert (status, len(out.splitlines())) == (0, 2)
    jobs(capfd, monkeypatch, "cancel", "13")  # the whole array
    assert calls(fake, "scancel") == ["14 13_0", "13_0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tale"], "invalid choice"),
        (["tail"], "name a job's id or a run folder"),
        (["cancel", "99"], "no job of that id below runs"),
        (["list", "99"], "leave it out"),
        (["tail", "12", "--lines", "0"], "--lines 0: must be at least 1"),
        (["--run", "x"], "see scansuite jobs --help"),
    ],
)
def test_mistakes(
    words: list[str],
    said: str,
    runs: Path,
    fake: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, _, err = jobs(capfd, monkeypatch, *words)
    assert (status, said in one_line(err)) == (2, True)


def test_a_controller_that_does_not_answer_is_no_fault_of_ours(
    runs: Path, fake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(fake, scancel="exec sleep 5\n")
    monkeypatch.setattr("tasks.cluster.scheduler._WAIT", 0.2)
    status, _, err = jobs(capfd, monkeypatch, "cancel", "12")
    assert (status, "scancel: no answer within" in one_line(err)) == (2, True)


def test_a_damaged_job_file_is_named(
    runs: Path, fake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "classify" / "1" / "job.json").write_text("{")
    status, _, err = jobs(capfd, monkeypatch)
    assert (status, "classify/1/job.json: cannot be read" in one_line(err)) == (2, True)
