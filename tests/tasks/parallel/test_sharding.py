"""FSDP2 on two processes: the weights of one, in a checkpoint that opens on one device."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import distributed, multiprocessing

from tasks.loading import build_from, open_checkpoint
from tasks.training.saving import WholeCheckpoints
from tasks.training.seeding import SeedEpochs
from tasks.training.sharding import Sharding
from tests.tasks.parallel.scenarios import SEED, Scenario, data_of, model_of

RANKS = 2
SCENARIOS = {task: Scenario(task, {"backbone": "test_vit"}, epochs=2) for task in ("classify", "segment", "detect")}


def train(name: str, folder: Path, epochs: int, **settings: Any) -> Path:
    """Train, or go on where there is a checkpoint, and write one."""
    scenario, file = SCENARIOS[name], folder / f"{name}.ckpt"
    data = data_of(scenario, folder)
    data.seed = SEED
    # AdamW has a state, which a resumed training takes back.
    model = model_of(
        scenario, data, SEED, schedule="constant", optimizer="adamw", lr=1e-3, optimizer_args={"eps": 1e-3}
    )
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, precision="32-true",
        callbacks=[SeedEpochs(SEED)], **settings,
    )  # fmt: skip
    trainer.strategy.checkpoint_io = WholeCheckpoints()
    trainer.fit(model, datamodule=data, ckpt_path=str(file) if file.is_file() else None, weights_only=True)
    trainer.save_checkpoint(file)
    if epochs == 2:
        trainer.test(model, datamodule=data, verbose=False)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            torch.save(metrics, folder / f"{name}.metrics")
    return file


def one_rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("pytorch_lightning", "lightning_fabric", "datamodules"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    for name in SCENARIOS:
        for epochs in (1, 2):
            train(name, Path(folder), epochs, devices=RANKS, strategy=Sharding())
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_shared_out_weights_train_as_whole_ones_do(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        one_rank, args=(port, str(tmp_path)), nprocs=RANKS, start_method="forkserver"
    )
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in SCENARIOS:
        train(name, alone, 1)
        train(name, alone, 2)
        found, expected = (open_checkpoint(folder / f"{name}.ckpt", name) for folder in (tmp_path, alone))
        assert found["state_dict"].keys() == expected["state_dict"].keys()
        for key, tensor in expected["state_dict"].items():
            torch.testing.assert_close(found["state_dict"][key], tensor, rtol=0, atol=1e-5, msg=f"{name} {key}")
        build_from(found, name, tmp_path / f"{name}.ckpt")
        metrics = [torch.load(folder / f"{name}.metrics") for folder in (tmp_path, alone)]
        for key, value in metrics[1].items():
            if "loss" in key:
                continue  # it is divided by what a batch of one device holds
            assert metrics[0][key] == pytest.approx(value, abs=1e-5, nan_ok=True), f"{name} {key}"
