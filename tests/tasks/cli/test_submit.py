"""`fit --slurm`: everything is looked at before a job is queued, and the folder is there when its number is printed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.cli.planning import planner
from tasks.cli.planning.planner import machine_of
from tasks.cluster.job_file import read_job
from tasks.planning.machine import Machine
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.cluster.fakes import SBATCH, calls, fake_slurm

pytest.importorskip("submitit", reason="submitit (extra: cluster) is not installed")

FLAGS = [
    *(word for word in TINY if not word.startswith("--trainer.acc") and word != "cpu"),
    "--data.num_patients",
    "24",
]
TIME = "time=1h"


@pytest.fixture(autouse=True)
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("slurm") / "fake"
    for name, value in fake_slurm(folder, squeue="cat $FAKE/queue 2>/dev/null || true\n", scancel="exit 0\n").items():
        monkeypatch.setenv(name, value)
    return folder


def queued(folder: Path, job: str) -> list[list[str]]:
    """The commands of a job: at its first start, and where it goes on."""
    with (folder / "slurm" / f"{job}_submitted.pkl").open("rb") as file:
        function = pickle.load(file).function
    return [function.first, function.again]


def test_a_fit_is_looked_at_and_queued(run: Run, fake: Path) -> None:
    status, out, _ = run("fit", *FLAGS, "--judge_test", "false", "--slurm", f"{TIME},nodes=2,processes=2", "signal=5m")
    assert status == 0
    folder = Path("runs/classify/1")
    assert "submitted job 100: runs/classify/1" in out
    assert not (folder / "config.yaml").exists()  # the job's own
    job = read_job(folder)
    assert job is not None
    assert (job.job, job.kind, job.nodes, job.processes, job.minutes) == ("100", "fit", 2, 2, 60)
    first, again = queued(folder, "100")
    end = ["--run_dir", str(folder.absolute()), "--ckpt_path", "last", "--trainer.num_nodes", "2"]
    end += ["--trainer.devices", "2", "--trainer.accelerator", "cpu"]
    assert first[1:5] == ["-m", "tasks.cli", "classify", "fit"]
    assert "--slurm" not in first
    assert first[-10:] == again[-10:] == end
    assert again[5:-10] == ["--judge_test", "false"]  # the rest stands in config.yaml
    assert first[5:-10] == [*FLAGS, "--judge_test", "false"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.lrr", "1"], "unknown flag --model.lrr"),
        (["--model.lr", "abc"], "--model.lr abc: expected a number"),
        (["--model.backbone", "resnett18"], "resnett18"),
        (["--data", "ImageFolder", "--data.root", "nowhere"], "nowhere"),
        (["--trainer.devices", "2"], "--slurm gpus=N"),
        (["--trainer.num_nodes", "2"], "--slurm nodes=N"),
        (["--trainer.fast_dev_run", "true"], "run it here"),
        (["--memory", "20GiB"], "--memory with --slurm gpus=0,nodes=1: tried on one GPU"),
    ],
)
def test_mistakes_cost_no_place_in_the_queue(run: Run, fake: Path, words: list[str], said: str) -> None:
    data = [] if "--data" in words else FLAGS
    status, _, err = run("fit", *data, *words, "--slurm", TIME)
    assert status == 2
    assert said in one_line(err)
    assert calls(fake, "sbatch") == []
    assert not Path("runs").exists()


def test_a_refused_job_leaves_no_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_REFUSES", "invalid account")
    status, _, err = run("fit", *FLAGS, "--slurm", f"{TIME},check=flags")
    assert status == 2
    assert "sbatch says: invalid account" in one_line(err)
    assert "sbatch: error" not in err  # said once
    assert list(Path("runs/classify").iterdir()) == []


def test_flags_alone_where_the_data_are_not_here(run: Run, fake: Path) -> None:
    words = ["fit", "--data", "ImageFolder", "--data.root", "/on/the/nodes/alone"]
    assert run(*words, "--slurm", f"{TIME},check=flags")[0] == 0
    status, _, err = run(*words, "--model.lrr", "1", "--slurm", f"{TIME},check=flags")
    assert (status, "lrr" in one_line(err)) == (2, True)
    assert len(calls(fake, "sbatch")) == 1


def test_without_a_look_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from tasks.cli.main import main\n"
        "assert main('classify', ['fit', '--slurm', 'time=1h', 'check=none']) == 0\n"
        "print(sorted({'torch', 'pandas', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_files_of_settings_are_found(run: Run, fake: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("time: 2h\npartition: long\n")
    assert run("fit", "--slurm", "mine.yaml", "check=none")[0] == 0
    assert run("fit", "--slurm", "four_nodes", "check=none,partition=big")[0] == 0
    scripts = [(fake / f"script_{number}.sh").read_text() for number in (0, 1)]
    assert "--partition=long" in scripts[0]
    assert all(word in scripts[1] for word in ("--partition=big", "--nodes=4", "--gpus-per-node=4"))
    status, _, err = run("fit", "--slurm", "for_nodes")
    assert (status, "did you mean 'four_nodes'" in one_line(err)) == (2, True)


def test_a_run_that_stopped_is_queued_again_but_not_beside_its_job(run: Run, fake: Path) -> None:
    assert run("fit", "--run_dir", "mine", "--slurm", f"{TIME},check=none")[0] == 0
    status, _, err = run("fit", "--run_dir", "mine", "--slurm", f"{TIME},check=none")
    assert (status, "exists already" in one_line(err)) == (2, True)
    (fake / "queue").write_text("100|RUNNING|1:00|None\n")
    status, _, err = run("fit", "--run_dir", "mine", "--ckpt_path", "last", "--slurm", f"{TIME},check=none")
    assert (status, "job 100 of it is RUNNING" in one_line(err)) == (2, True)
    (fake / "queue").unlink()
    assert run("fit", "--run_dir", "mine", "--ckpt_path", "last", "--slurm", f"{TIME},check=none")[0] == 0
    first, _ = queued(Path("mine"), "101")
    assert first.count("--ckpt_path") == first.count("--run_dir") == 1


def test_folds_are_drawn_then_queued_as_an_array(run: Run, fake: Path) -> None:
    status, out, _ = run("fit", *FLAGS, "--folds", "3", "--slurm", TIME)
    assert status == 0
    folder = Path("runs/classify/1")
    assert "submitted job 100: 3 of 3 folds" in out
    assert all((folder / f"fold_{fold}" / "split.csv").is_file() for fold in range(3))
    jobs = [read_job(one) for one in (folder, *(folder / f"fold_{fold}" for fold in range(3)))]
    assert [(job.job, job.kind) for job in jobs if job is not None] == [
        ("101", "pool"), ("100_0", "fold"), ("100_1", "fold"), ("100_2", "fold"),
    ]  # fmt: skip
    first, again = queued(folder, "100_1")
    assert "--data.fold" in first
    assert first[first.index("--run_dir") + 1] == str((folder / "fold_1").absolute())
    assert again[again.index("--judge_test") + 1] == "false"
    pool, _ = queued(folder, "101")
    assert pool[5:] == ["--folds", "3", "--run_dir", str(folder.absolute()), "--ckpt_path", "last"]
    status, _, err = run("fit", *FLAGS, "--folds", "3", "--slurm", f"{TIME},check=flags")
    assert (status, "leave it out" in one_line(err)) == (2, True)


def test_folds_are_planned_for_the_machine_of_their_jobs(run: Run, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which this one is not: no steps are tried here, and each job has time and memory for itself."""
    monkeypatch.setenv("SCANSUITE_PLAN", "auto")
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: False)
    machines: list[Machine] = []

    def noted(*words: Any) -> Machine:
        machines.append(machine_of(*words))
        return machines[-1]

    monkeypatch.setattr(planner, "machine_of", noted)
    monkeypatch.setattr(planner, "trial_of", None)
    limits = ["--time", "10m", "--memory", "20GiB"]
    status, _, err = run("fit", *FLAGS, *limits, "--folds", "3", "--slurm", f"{TIME},gpus=1,memory=9G")
    assert status == 0
    assert (machines[0].device, machines[0].memory) == ("cuda", 9 * 2**30)
    assert "for the machine of each fold's job: 1 GPU" in err
    first, _ = queued(Path("runs/classify/1"), "100_2")
    assert [first[first.index(flag) + 1] for flag in ("--time", "--memory")] == ["600s", "20GiB"]


def test_folds_that_nobody_would_put_together_are_taken_back(run: Run, fake: Path) -> None:
    refuses_the_second = '[ -e "$FAKE/script_0.sh" ] && FAKE_REFUSES="too many jobs"\n'
    fake_slurm(fake, sbatch=refuses_the_second + SBATCH, scancel="exit 0\n")
    status, _, err = run("fit", *FLAGS, "--folds", "3", "--slurm", TIME)
    assert (status, "sbatch says: too many jobs" in one_line(err)) == (2, True)
    assert calls(fake, "scancel") == ["100"]
    assert list(Path("runs/classify").iterdir()) == []


def test_a_memory_that_is_no_size_is_not_queued(run: Run, fake: Path) -> None:
    status, _, err = run("fit", *FLAGS, "--memory", "20", "--slurm", f"{TIME},gpus=1,check=flags")
    assert (status, "--memory 20: a size such as 20GiB" in one_line(err)) == (2, True)
    assert calls(fake, "sbatch") == []


def test_a_config_submits_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("slurm: [time=1h]\n")
    status, _, err = run("fit", *FLAGS, "--config", "mine.yaml")
    assert (status, "type --slurm" in one_line(err)) == (2, True)


def test_help_names_the_flag(run: Run) -> None:
    status, out, _ = run("fit", "--slurm", TIME, "--help")
    assert (status, "--slurm" in out) == (0, True)


def test_a_job_file_is_small(run: Run) -> None:
    assert run("fit", "--slurm", f"{TIME},check=none")[0] == 0
    held = json.loads(Path("runs/classify/1/job.json").read_text())
    assert set(held) == {"job", "kind", "task", "submitted", "minutes", "nodes", "processes", "logs"}


def test_a_job_begins_in_its_folder_as_a_run_begins(run: Run) -> None:
    assert run("fit", "--run_dir", "mine", "--slurm", f"{TIME},check=none")[0] == 0
    status, out, err = run("fit", *FLAGS, "--run_dir", "mine", "--ckpt_path", "last", "--trainer.fast_dev_run", "true")
    assert (status, "one batch went through" in out) == (0, True)
    assert "split" not in err.replace("validation", "")


def as_yaml(text: str) -> str:
    """A config of the user's."""
    Path("mine.yaml").write_text(text)
    return "mine.yaml"


def test_what_needs_a_gpu_is_asked_of_the_job(run: Run, fake: Path) -> None:
    """The machine that submits may have none."""
    flags = [*FLAGS, "--data.augment_on", "gpu"]
    assert run("fit", *flags, "--slurm", f"{TIME},gpus=1")[0] == 0
    assert run("fit", *flags, "--folds", "3", "--slurm", f"{TIME},gpus=1")[0] == 0
    status, _, err = run("fit", *flags, "--slurm", TIME)
    assert (status, "does not run on a CUDA GPU" in one_line(err)) == (2, True)


def test_the_best_quality_of_a_config_is_an_array_of_folds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_PLAN", "auto")
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: False)
    config = ["--config", as_yaml("quality: best\n")]
    status, out, _ = run("fit", *FLAGS, *config, "--slurm", TIME)
    assert (status, "5 of 5 folds" in out) == (0, True)
    status, out, _ = run("fit", *FLAGS, *config, "--data.folds", "3", "--data.fold", "1", "--slurm", TIME)
    assert (status, "submitted job 102: " in out) == (0, True)  # the one fold that is named
    status, _, err = run("fit", *FLAGS, *config, "--slurm", f"{TIME},check=none")
    assert (status, "folds are drawn before they are queued" in one_line(err)) == (2, True)


def test_a_flag_that_only_the_plan_gives_a_use_is_queued(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_PLAN", "auto")
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: False)
    flags = [*FLAGS, "--data.num_patients", "240", "--model.early_stopping_median", "5"]
    at = flags.index("--trainer.max_epochs")
    status, _, err = run("fit", *flags[:at], *flags[at + 2 :], "--slurm", TIME)
    assert status == 0, err
    assert "plan: " not in err  # the job makes its own
    first, _ = queued(Path("runs/classify/1"), "100")
    assert "--config" not in first
    status, _, err = run("fit", *flags, "--slurm", TIME)
    assert (status, "nothing stops early" in one_line(err)) == (2, True)


def test_what_a_config_says_of_the_command_reaches_every_start(run: Run) -> None:
    config = ["--config", as_yaml("judge_test: false\nprofile: true\n")]
    assert run("fit", *FLAGS, *config, "--time", "10m", "--slurm", TIME)[0] == 0
    _, again = queued(Path("runs/classify/1"), "100")
    said = {flag: again[again.index(flag) + 1] for flag in again[5::2]}
    assert said.items() >= {"--judge_test": "false", "--profile": "true", "--time": "10m"}.items()
    assert said["--trainer.max_epochs"] == "1"  # else the time would be used to its end
    assert run("fit", *FLAGS, *config, "--folds", "3", "--scale_lr", "linear", "--slurm", TIME)[0] == 0
    first, again = queued(Path("runs/classify/2"), "101_1")
    assert [first[first.index(flag) + 1] for flag in ("--scale_lr", "--profile")] == ["linear", "true"]
    assert again[again.index("--profile") + 1] == "true"
    pool, _ = queued(Path("runs/classify/2"), "102")
    assert pool[pool.index("--judge_test") + 1] == "false"


def test_devices_and_memory_of_a_config_are_those_of_another_machine(run: Run, fake: Path) -> None:
    config = ["--config", as_yaml("trainer: {devices: 3, num_nodes: 2}\n")]
    assert run("fit", *FLAGS, *config, "--folds", "3", "--slurm", TIME)[0] == 0
    trainer = yaml.safe_load(Path("runs/classify/1/config.yaml").read_text())["trainer"]
    assert (trainer["devices"], trainer["num_nodes"]) == ("auto", 1)  # the job that puts them together has one
    status, _, err = run("fit", *FLAGS, "--config", as_yaml("memory: 20GiB\n"), "--slurm", f"{TIME},gpus=4")
    assert (status, "tried on one GPU" in one_line(err)) == (2, True)


def test_the_log_that_is_named_is_of_a_fold_that_trains(run: Run) -> None:
    assert "scansuite jobs tail runs/classify/1/fold_0" in run("fit", *FLAGS, "--folds", "3", "--slurm", TIME)[1]


def test_a_fold_in_a_container_sees_the_folder_of_all(run: Run, tmp_path: Path) -> None:
    image, folder = tmp_path / "image.sif", tmp_path / "elsewhere" / "run"
    image.touch()
    words = ["--folds", "3", "--run_dir", str(folder), "--slurm", TIME, f"container={image}"]
    assert run("fit", *FLAGS, *words)[0] == 0
    first, _ = queued(folder, "100_0")
    assert first.count("--bind") == 2
    assert str(folder) in [first[at + 1] for at, word in enumerate(first) if word == "--bind"]


@pytest.mark.parametrize(
    ("words", "config", "said"),
    [
        (["--folds", "3"], "slurm: [time=1h]\n", "type --slurm"),
        (["--time", "30", "--slurm", f"{TIME},check=flags"], "", "--time 30"),
    ],
)
def test_further_mistakes_cost_no_place(run: Run, fake: Path, words: list[str], config: str, said: str) -> None:
    status, _, err = run("fit", *FLAGS, *words, *(["--config", as_yaml(config)] if config else []))
    assert (status, said in one_line(err)) == (2, True)
    assert calls(fake, "sbatch") == []
    assert not Path("runs").exists()


def test_a_folder_of_a_config_is_taken_without_a_look(run: Run) -> None:
    assert run("fit", "--config", as_yaml("run_dir: here\n"), "--slurm", f"{TIME},check=none")[0] == 0
    assert read_job(Path("here")) is not None
