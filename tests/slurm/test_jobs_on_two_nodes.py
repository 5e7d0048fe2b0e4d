"""Trainings on a real SLURM of two nodes: started, stopped, requeued, cancelled, and out of room."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from tests.slurm.cluster import Cluster

pytest.importorskip("submitit", reason="submitit (extra: cluster) is not installed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--model.backbone", "test_resnet", "--data.num_patients", "24", "--data.image_size", "32", "--data.num_workers",
    "0", "--data.batch_size", "4", "--trainer.precision", "32-true", "--data.augment", "light",
]  # fmt: skip
# Ranks find the first by the name of its node, which no name server knows here.
HERE = "environment=MASTER_ADDR=127.0.0.1,OMP_NUM_THREADS=1"
TIME = "time=10m,signal=1m"


class Desk:
    """Where a user sits: a folder, and the command line.

    Args:
        cluster: to submit to.
        folder: to stand in.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder

    def call(self, *words: str) -> str:
        """Run ``scansuite <words>``; what it says."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCANSUITE_CACHE": str(self.folder / "cache")}
        done = subprocess.run(
            [sys.executable, "-m", "tasks.cli", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def submit(self, *words: str, settings: str = f"{TIME},check=none") -> tuple[str, Path]:
        """Queue a fit; id of the (last) job and run folder."""
        said = self.call("classify", "fit", *TINY, *words, "--slurm", settings, HERE)
        job, folder = re.findall(r"submitted job (\d+)(?:.*): (\S+)$", said, re.MULTILINE)[-1]
        return job, self.folder / folder

    def ends(self, job: str, seconds: float = 240) -> str:
        """State in which a job ends."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        self.cluster.wait_for(lambda: self.cluster.state(job) in over, seconds)
        return self.cluster.state(job)

    def epochs(self, folder: Path, count: int, seconds: float = 120) -> None:
        """Wait until so many epochs are done."""
        file = folder / "metrics.csv"
        self.cluster.wait_for(lambda: file.is_file() and len(file.read_text().splitlines()) > count, seconds)


@pytest.fixture
def desk(cluster: Cluster, tmp_path: Path) -> Desk:
    return Desk(cluster, tmp_path)


def log(folder: Path, rank: int = 0) -> str:
    (file,) = (folder / "slurm").glob(f"*_{rank}_log.out")
    return file.read_text(errors="replace")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_two_nodes_train_one_model(desk: Desk) -> None:
    """With all flags and the data looked at before it is queued."""
    job, folder = desk.submit("--trainer.max_epochs", "1", settings=f"{TIME},nodes=2")
    assert desk.ends(job) == "COMPLETED", log(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["trainer"]["num_nodes"], config["trainer"]["devices"]) in ((2, 1), (2, "1"))
    cases = int((pd.read_csv(folder / "split.csv")["split"] == "train").sum())
    steps = int(pd.read_csv(folder / "metrics.csv")["step"].iloc[-1])
    assert steps in (cases // 8, -(-cases // 8))  # four cases a rank and step
    assert "Traceback" not in log(folder) + log(folder, 1)
    assert desk.cluster.field(job, "NumNodes") == "2"
    listed = desk.call("jobs", "--runs", str(folder.parent))
    assert re.search(rf"^{job} +COMPLETED +1/1 ", listed, re.MULTILINE)
    assert "written to" in desk.call("jobs", "tail", job, "--runs", str(folder.parent))


def test_five_folds_are_an_array_and_put_together(desk: Desk) -> None:
    job, folder = desk.submit("--trainer.max_epochs", "1", "--folds", "5", settings=TIME)
    assert desk.ends(job, 390) == "COMPLETED", desk.call("jobs", "--runs", str(folder.parent))
    assert pd.read_csv(folder / "predictions.csv")["fold"].nunique() == 5
    assert (folder / "ensemble.json").is_file()
    assert any(name.startswith("test/") for name in json.loads((folder / "ensemble" / "metrics.json").read_text()))
    assert desk.call("jobs", "--runs", str(folder)).count("COMPLETED") == 6


def test_a_requeued_job_ends_in_the_weights_of_an_uninterrupted_one(desk: Desk) -> None:
    """On two nodes, told to stop as SLURM does before the limit, within an epoch; and once the other way."""
    words = ("--trainer.max_epochs", "8")
    whole, undisturbed = desk.submit(*words, settings=f"{TIME},check=none,nodes=2")
    assert desk.ends(whole) == "COMPLETED", log(undisturbed)
    job, folder = desk.submit(*words, settings=f"{TIME},check=none,nodes=2")
    for restart, sent in enumerate(("USR2", "USR1"), 1):
        desk.epochs(folder, restart)
        desk.cluster.ask("scancel", f"--signal={sent}", job)
        desk.cluster.wait_for(lambda restart=restart: desk.cluster.field(job, "Restarts") == str(restart), 60)  # type: ignore[misc]
    assert desk.ends(job) == "COMPLETED", log(folder)
    assert "Traceback" not in log(folder) + log(folder, 1)
    assert same_weights(undisturbed, folder)
    epochs = [pd.read_csv(one / "metrics.csv")["epoch"].tolist() for one in (undisturbed, folder)]
    assert epochs[0] == epochs[1] == list(range(8))


def test_a_job_goes_on_beyond_its_time_limit(desk: Desk) -> None:
    """SLURM's own signal, 20 seconds before a limit of a minute, as often as it takes."""
    words = ("--trainer.max_epochs", "400", "--data.num_patients", "40")
    job, folder = desk.submit(*words, settings="time=1m,signal=20s,check=none")
    desk.cluster.wait_for(lambda: int(desk.cluster.field(job, "Restarts") or 0) >= 1, 150)
    table = folder / "metrics.csv"  # not yet there where it was stopped within the first epoch
    before = len(table.read_text().splitlines()) if table.is_file() else 0
    desk.epochs(folder, before + 1, 240)
    desk.call("jobs", "cancel", str(folder))
    assert desk.ends(job) == "CANCELLED"
    epochs = pd.read_csv(folder / "metrics.csv")["epoch"].tolist()
    assert epochs == list(range(len(epochs)))  # none lost, none repeated


def test_scancel_leaves_a_checkpoint_to_go_on_from(desk: Desk) -> None:
    job, folder = desk.submit("--trainer.max_epochs", "60", "--data.num_workers", "2", settings=f"{TIME},check=none")
    desk.epochs(folder, 2)
    desk.call("jobs", "cancel", job, "--runs", str(folder.parent))
    assert desk.ends(job) == "CANCELLED"
    assert "stopped by SIGTERM" in log(folder)
    done = len((folder / "metrics.csv").read_text().splitlines()) - 1
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 60", f"max_epochs: {done + 1}"))
    said = desk.call("classify", "fit", "--run_dir", str(folder), "--ckpt_path", "last", "--slurm", TIME, HERE)
    job = re.findall(r"submitted job (\d+)", said)[0]
    assert desk.ends(job) == "COMPLETED"
    assert pd.read_csv(folder / "metrics.csv")["epoch"].tolist() == list(range(done + 1))


def test_a_drained_node_is_left(desk: Desk) -> None:
    job, folder = desk.submit("--trainer.max_epochs", "8", settings=f"{TIME},check=none")
    desk.epochs(folder, 1)
    first = desk.cluster.field(job, "NodeList")
    desk.cluster.ask("scontrol", "update", f"nodename={first}", "state=drain", "reason=test")
    try:
        desk.cluster.ask("scancel", "--signal=USR2", job)
        desk.cluster.wait_for(lambda: desk.cluster.field(job, "Restarts") == "1", 60)
        assert desk.ends(job) == "COMPLETED", log(folder)
        assert desk.cluster.field(job, "NodeList") == ({"n1", "n2"} - {first}).pop()
    finally:
        desk.cluster.ask("scontrol", "update", f"nodename={first}", "state=resume")
    assert pd.read_csv(folder / "metrics.csv")["epoch"].tolist() == list(range(8))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which logs have room, and checkpoints have none."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_fails_the_job_with_one_line(desk: Desk, small_disk: Path) -> None:
    run = small_disk / "run"
    job, folder = desk.submit("--trainer.max_epochs", "2", "--run_dir", str(run), settings=f"{TIME},check=none")
    assert desk.ends(job) == "FAILED"
    said = log(folder)
    assert len(re.findall("^error: .*No space left on device: make room", said, re.MULTILINE)) == 1
    assert "Traceback" not in said
    listed = desk.call("jobs", "--runs", str(small_disk))
    assert re.search(rf"^{job} +FAILED .*error: .*No space left", listed, re.MULTILINE)
