"""Several processes of one command: each prints in its place, one that fails ends all, any launcher will do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.tasks.cli.test_processes import ROOT, finish, start

# Layer norms and SGD: the weights of one process to the last digits.
FLAGS = [
    "--data.num_patients", "40", "--data.image_size", "32", "--data.num_workers", "0", "--data.total_batch_size", "8",
    "--data.augment", "none", "--model.backbone", "test_vit", "--model.optimizer", "sgd", "--model.lr", "0.01",
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "1",
]  # fmt: skip
TWO = ["--trainer.devices", "2"]
FAILING = """
import os

from pytorch_lightning import Callback

from scansuite.errors import SuiteError


class Fails(Callback):
    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        print(f"batch {batch_idx} on rank {trainer.global_rank}", flush=True)
        if batch_idx == 1 and trainer.global_rank == self.rank:
            if self.how == "mistake":
                raise SuiteError("this cannot be: mend it")
            if self.how == "fault":
                raise ZeroDivisionError("a fault")
            os.kill(os.getpid(), 9)
"""


def fail(folder: Path, rank: int, how: str) -> tuple[int, str, float]:
    """Exit status, what stands on the terminal, and seconds that a run took on which a rank fails."""
    (folder / "failing.py").write_text(FAILING)
    began = time.monotonic()
    process = start(
        folder, "fit", *FLAGS, *TWO, "--run_dir", "run", "--allow_import", "failing",
        "--trainer.callbacks", "failing.Fails", "--trainer.callbacks.rank", rank, "--trainer.callbacks.how", how,
    )  # fmt: skip
    out, _ = process.communicate(timeout=240)
    return process.returncode, out, time.monotonic() - began


def test_a_mistake_on_one_rank_names_it_and_ends_all(tmp_path: Path) -> None:
    status, out, _ = fail(tmp_path, 1, "mistake")
    assert status == 2
    assert "error: rank 1: this cannot be: mend it" in out
    assert "Traceback" not in out
    assert "batch 0 on rank 0" in out
    assert "on rank 1" not in out
    log = (tmp_path / "run" / "logs" / "rank_1.log").read_text()
    assert "batch 0 on rank 1" in log
    assert "error: rank 1: this cannot be: mend it" in log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "how", "line"),
    [
        (1, "fault", "error: rank 1: ZeroDivisionError: a fault ("),
        (1, "kill", "rank 1 (killed by signal 9) ended before its time"),
        (0, "mistake", "error: rank 0: this cannot be: mend it"),
        (0, "fault", "ZeroDivisionError: a fault"),
    ],
)
def test_whatever_ends_one_rank_ends_all_and_is_said(rank: int, how: str, line: str, tmp_path: Path) -> None:
    status, out, seconds = fail(tmp_path, rank, how)
    assert status not in (0, 75)
    assert seconds < 200
    assert line in out
    if rank == 1 and how == "fault":
        assert "Traceback" in (tmp_path / "run" / "logs" / "rank_1.log").read_text()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_training_that_waits_for_ranks_that_are_not_there_ends_when_it_is_asked_to(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    process = start(tmp_path, "fit", *FLAGS, "--trainer.num_nodes", "2", "--run_dir", "run")
    while not (tmp_path / "run" / "config.yaml").is_file() and process.poll() is None:
        time.sleep(0.2)
    time.sleep(5)  # it writes that shortly before it waits
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == status, out
    assert out.splitlines()[-1].startswith("interrupted" if status == 130 else f"stopped by {number.name}")


@pytest.mark.slow
def test_any_launcher_gives_the_weights_of_one_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    finish(start(tmp_path, "fit", *FLAGS, "--run_dir", "one"))
    out = finish(start(tmp_path, "fit", *FLAGS, *TWO, "--run_dir", "own"))
    assert "2 processes: DDP with gradients as views of its buckets, static graph" in out
    assert "4 cases a device x 2 devices x 1 batch accumulated = 8 cases a step; learning rate 0.01, as given" in out
    port = free_port()
    words = ["fit", *FLAGS, *TWO]
    for run in ("1", "2"):  # at the same address, without a name for the folder
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
        process = subprocess.run(
            [*launch, "-m", "tasks.classify", *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr[-3000:]
        assert (tmp_path / "runs" / "classify" / run / "logs" / "rank_1.log").is_file()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tasks.classify", *words], cwd=tmp_path,
            env={
                **environment, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    expected = weights(tmp_path / "one")
    table = pd.read_csv(tmp_path / "one" / "predictions.csv")
    for name in ("own", "runs/classify/1", "runs/classify/2", "runs/classify/3"):
        for key, tensor in weights(tmp_path / name).items():
            torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-5, msg=f"{name} {key}")
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / name / "predictions.csv"), table, rtol=1e-4, atol=1e-5)
