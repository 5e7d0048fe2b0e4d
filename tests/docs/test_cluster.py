"""The ten lines of docs/cluster.md run as they stand, on a SLURM of two nodes without GPUs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tasks.cluster.settings import JobSettings, settings_of
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import cluster  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
LINES = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0].splitlines()
# Small, on CPUs, and where no name server knows the nodes.
SMALL = [
    "--model.backbone", "test_resnet", "--data.num_patients", "24", "--data.image_size", "32", "--trainer.max_epochs",
    "1", "--data.num_workers", "0", "--data.batch_size", "8", "--trainer.precision", "32-true",
]  # fmt: skip
HERE = ["gpus=0", "processes=1", "cpus=1", "environment=MASTER_ADDR=127.0.0.1,OMP_NUM_THREADS=1"]


def test_the_page_has_ten_lines() -> None:
    assert len(LINES) == 10
    assert [sum(word in line for line in LINES) for word in ("--slurm", "torchrun", "scansuite jobs")] == [5, 1, 3]


def test_the_table_names_every_setting() -> None:
    table = PAGE[PAGE.index("| key | meaning") : PAGE.index("A file:")]
    assert {one.name for one in fields(JobSettings)} <= set(re.findall(r"`(\w+)`", table))


def test_the_file_that_is_shown_is_one() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    settings = settings_of(["shown"], lambda name: yaml.safe_load(block))
    assert (settings.gpus, settings.environment) == (4, {"NCCL_SOCKET_IFNAME": "ib0"})


def here(line: str) -> list[str]:
    """The line's words, with what this machine has in place of GPUs and four nodes."""
    words = shlex.split(line)
    program = {"scansuite": ["-m", "tasks.cli"], "torchrun": ["-m", "torch.distributed.run"]}[words[0]]
    if "fit" not in words:
        return [*program, *words[1:]]
    small = [] if "last" in words else SMALL
    if "--slurm" not in words:
        return [*program, *words[1:], *small, "--trainer.accelerator", "cpu"]
    at = words.index("--slurm")
    nodes = ["nodes=2"] if "four_nodes" in words else []
    return [*program, *words[1:at], *small, *words[at:], *HERE, *nodes]


def completed(cluster: Cluster, jobs: list[str]) -> None:  # noqa: F811
    """Wait until jobs are done."""
    cluster.wait_for(lambda: all(cluster.state(job) in ("COMPLETED", "CANCELLED") for job in jobs), 300)


@pytest.mark.slow
def test_from_a_laptop_to_four_nodes(cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("submitit", reason="submitit (extra: cluster) is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCANSUITE_CACHE": str(tmp_path / "cache")}
    queued: list[str] = []
    for line in LINES:
        if "jobs tail" in line:
            completed(cluster, queued[-1:])
        done = subprocess.run(
            [sys.executable, *here(line)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        queued += re.findall(r"submitted job (\d+)", done.stdout)
        if "jobs tail" in line:
            assert "written to" in done.stdout
    completed(cluster, queued)
    assert (tmp_path / "runs/classify/5/metrics.json").is_file()  # what was cancelled went on
    assert (tmp_path / "runs/classify/6/ensemble.json").is_file()
