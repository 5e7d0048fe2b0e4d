"""Scripts that are handed to sbatch, commands in containers, and what SLURM refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.cluster.command_job import CommandJob
from tasks.cluster.scheduler import cancel, states_of
from tasks.cluster.settings import JobSettings, settings_of
from tasks.cluster.submission import command_line, require_slurm, setup_lines, submit, unset
from tests.tasks.cluster.fakes import calls, fake_slurm

pytest.importorskip("submitit", reason="submitit (extra: cluster) is not installed")


def of(text: str) -> JobSettings:
    return settings_of([text], lambda name: None)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in fake_slurm(tmp_path / "fake").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return tmp_path / "fake"


def script(fake: Path, number: int = 0) -> list[str]:
    return (fake / f"script_{number}.sh").read_text().splitlines()


def job(folder: Path) -> CommandJob:
    return CommandJob(["true"], ["true"], folder, folder / "config.yaml")


def test_settings_reach_the_script(fake: Path, tmp_path: Path) -> None:
    settings = of(
        "partition=gpu,account=lab,qos=long,constraint=a100|h100,nodes=2,gpus=4,cpus=8,memory=64G,time=12h,signal=3m"
    )
    assert submit([job(tmp_path)], settings, tmp_path / "slurm", "segment-7") == ["100"]
    asked = {line.removeprefix("#SBATCH --") for line in script(fake) if line.startswith("#SBATCH")}
    assert {
        "partition=gpu", "account=lab", "qos=long", "constraint='a100|h100'", "nodes=2", "ntasks-per-node=4",
        "gpus-per-node=4", "cpus-per-task=8", "mem=64G", "time=720", "signal=USR2@180", "requeue", "job-name=segment-7",
    } <= asked  # fmt: skip
    assert not any(line.startswith("wckey") for line in asked)  # submitit's own, which clusters that have some refuse
    start = next(line for line in script(fake) if line.startswith("srun"))
    assert "--kill-on-bad-exit=1" in start
    assert "--cpus-per-task=8" in start
    assert f"{sys.executable} -u -m submitit.core._submit" in start


def test_folds_are_an_array_and_what_comes_after_waits(fake: Path, tmp_path: Path) -> None:
    settings = of("time=1h,parallel=2,sbatch=mail-type=END")
    assert submit([job(tmp_path)] * 5, settings, tmp_path / "slurm", "folds") == [f"100_{k}" for k in range(5)]
    assert submit([job(tmp_path)], settings, tmp_path / "slurm", "pool", after="100") == ["101"]
    assert "#SBATCH --array=0-4%2" in script(fake)
    assert "#SBATCH --mail-type=END" in script(fake)
    assert "#SBATCH --dependency=afterok:100" in script(fake, 1)
    assert "#SBATCH --kill-on-invalid-dep=yes" in script(fake, 1)
    assert len(list((tmp_path / "slurm").glob("100_*_submitted.pkl"))) == 5


def test_lines_before_the_command_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "my venv" / "bin").mkdir(parents=True)
    (tmp_path / "my venv" / "bin" / "activate").touch()
    lines = setup_lines(
        of(f"time=1h,setup=source /etc/profile,modules=cuda/12.4,venv={tmp_path}/my venv,environment=A=$B c")
    )
    assert lines[:3] == ["source /etc/profile", "module load cuda/12.4", f"source '{tmp_path}/my venv/bin/activate'"]
    assert lines[-1] == "export A='$B c'"  # literally
    assert "conda activate 'my env'" in setup_lines(of("time=1h,conda=my env"))


def test_a_container_wraps_the_command_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requeueing takes SLURM's programs, which are outside."""
    (tmp_path / "suite.sif").touch()
    monkeypatch.chdir(tmp_path)
    settings = of("time=1h,gpus=1,container=suite.sif,container_args=--bind,/data")
    words = command_line(settings, "classify", ["fit", "--model.lr", "0.1"], Path("runs/1"))
    assert words[:3] == ["apptainer", "exec", "--nv"]
    assert words[words.index("--pwd") + 1] == str(tmp_path)
    assert words[-9:] == [
        "/data", str(tmp_path / "suite.sif"), "python", "-m", "tasks.cli", "classify", "fit", "--model.lr", "0.1",
    ]  # fmt: skip
    assert f"{tmp_path}/runs/1" in words
    assert "PYTHONPATH" in unset(settings)
    assert "PYTHONPATH" not in unset(of("time=1h"))
    remote = of("time=1h,container=docker://ghcr.io/lab/suite:1")
    assert "docker://ghcr.io/lab/suite:1" in command_line(remote, "classify", ["fit"], tmp_path)
    assert "--nv" not in command_line(remote, "classify", ["fit"], tmp_path)


def test_what_sbatch_refuses_is_one_line(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_REFUSES", "invalid partition specified: gpuu")
    with pytest.raises(SuiteError, match="sbatch says: invalid partition specified: gpuu") as error:
        submit([job(tmp_path)], of("time=1h,partition=gpuu"), tmp_path / "slurm", "x")
    assert "\n" not in str(error.value)


def test_a_job_that_submits_another_does_not_hand_itself_on(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(fake, sbatch='echo "$SLURM_JOB_ID|$SLURM_CONF|$RANK" > "$FAKE/seen"\necho "Submitted batch job 1"\n')
    for name, value in {"SLURM_JOB_ID": "5", "SLURM_CONF": "/etc/other.conf", "RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    submit([job(tmp_path)], of("time=1h"), tmp_path / "slurm", "x")
    assert (fake / "seen").read_text() == "|/etc/other.conf|\n"


def test_without_slurm_or_submitit_one_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SuiteError, match="sbatch is not on PATH"):
        require_slurm()
    with pytest.raises(SuiteError, match="scancel is not on PATH"):
        cancel(["1"])
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SuiteError, match=r"scansuite\[cluster\]"):
        require_slurm()


QUEUE = "echo '12|RUNNING|1:02:03|None'\necho '13_0|PENDING|5:00|Resources'\n"


def test_states_come_from_the_queue_then_the_account_then_the_controller(fake: Path) -> None:
    fake_slurm(
        fake,
        squeue=QUEUE,
        sacct="echo '14|CANCELLED by 0'\necho '14.batch|FAILED'\n",
        scontrol='[ "$4" = 15 ] || exit 1\necho "JobId=15 JobName=x JobState=FAILED Reason=NonZeroExitCode"\n',
    )
    states = states_of(["12", "13_0", "14", "15", "16"])
    assert {job: one.state for job, one in states.items()} == {
        "12": "RUNNING", "13_0": "PENDING", "14": "CANCELLED", "15": "FAILED",
    }  # fmt: skip
    assert states["12"].left == "1:02:03"
    assert (states["13_0"].left, states["13_0"].reason) == ("", "Resources")
    assert states["13_0"].active
    assert not states["15"].active


def test_a_queue_that_does_not_answer_is_named(fake: Path) -> None:
    fake_slurm(fake, squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(SuiteError, match="squeue cannot be asked"):
        states_of(["1"])


def test_scancel_gets_all_jobs_at_once(fake: Path) -> None:
    fake_slurm(fake, scancel="exit 0\n")
    cancel(["12", "13_0"])
    assert calls(fake, "scancel") == ["12 13_0"]
    fake_slurm(fake, scancel="echo 'scancel: error: Invalid job id 99' >&2; exit 1\n")
    with pytest.raises(SuiteError, match="Invalid job id 99"):
        cancel(["99"])
