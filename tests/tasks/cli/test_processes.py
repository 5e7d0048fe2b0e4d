"""Runs in processes of their own: killed and resumed, and on two ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from tests.tasks.cli.conftest import KINDS, TINY, draw_table

ROOT = Path(__file__).resolve().parents[3]


def start(folder: Path, *words: object, task: str = "classify") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"tasks.{task}", *(str(word) for word in words)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
        # A shell has what runs in the background, and its children, ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out[-3000:]
    return out


def test_a_killed_run_goes_on_to_the_same_weights(table_root: Path, tmp_path: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"]]
    more = ["--model.dropout", "0.3", "--trainer.max_epochs", "6", "--seed_everything", "3", "--data.augment", "medium"]
    # With all that has a state of its own beside the weights: an average, a plateau, half-filled gradients, a stage.
    more += ["--model.ema", "0.9", "--model.mixup", "0.4", "--trainer.accumulate_grad_batches", "3"]
    more += [
        "--model.schedule",
        "plateau",
        "--model.schedule_args.patience",
        "0",
        "--model.schedule_args.factor",
        "0.5",
    ]
    more += ["--model.freeze", "backbone", "--model.unfreeze", "1,3"]
    more += ["--data.num_workers", "1"]  # reads ahead of the training
    flags = ["fit", *data, *TINY, *more]
    whole = start(tmp_path, *flags, "--run_dir", "whole")
    cut = start(tmp_path, *flags, "--run_dir", "cut")
    table = tmp_path / "cut" / "metrics.csv"
    deadline = time.monotonic() + 200
    while not (table.is_file() and len(table.read_text().splitlines()) >= 3):
        assert cut.poll() is None, cut.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    assert len(table.read_text().splitlines()) < 7, "the run was over before it could be killed"
    finish(whole)

    finish(start(tmp_path, *flags, "--run_dir", "cut", "--ckpt_path", "last"))
    saved = [torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("whole", "cut")]
    for part in ("state_dict", "current_model_state"):  # the average, and the weights that train
        states = [checkpoint[part] for checkpoint in saved]
        assert states[0].keys() == states[1].keys()
        for name, tensor in states[0].items():
            torch.testing.assert_close(states[1][name], tensor, rtol=1e-5, atol=1e-7, msg=f"{part} {name}")
    assert any(not torch.equal(saved[0]["state_dict"][name], tensor)
               for name, tensor in saved[0]["current_model_state"].items())  # fmt: skip
    epochs = [pd.read_csv(tmp_path / name / "metrics.csv").drop(columns="seconds") for name in ("whole", "cut")]
    pd.testing.assert_frame_equal(epochs[0], epochs[1], rtol=1e-5)
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]


def test_two_ranks_train_and_evaluate_like_one(table_root: Path, tmp_path: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", str(table_root), *KINDS["binary"], "--data.num_workers", "0"]
    two = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    finish(start(tmp_path, "fit", *data, *TINY, *two, "--run_dir", "fit"))
    odd = draw_table(tmp_path / "odd", cases=27, seed=5, site="b")
    data[3] = str(odd)
    checkpoint = ["--ckpt_path", "fit/checkpoints/best.ckpt", "--data.batch_size", "4", "--data.split", "all_test"]
    one = start(tmp_path, "test", *data, *checkpoint, "--run_dir", "one", "--trainer.accelerator", "cpu")
    finish(start(tmp_path, "test", *data, *checkpoint, "--run_dir", "two", *two))
    finish(one)
    tables = [pd.read_csv(tmp_path / name / "predictions.csv") for name in ("one", "two")]
    assert len(tables[0]) % 2 == 1, "the test is about an uneven part"
    assert tables[1]["case_id"].is_unique
    assert tables[0]["case_id"].tolist() == tables[1]["case_id"].tolist()
    stored = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert stored[0].keys() == stored[1].keys()
    for name, entry in stored[0].items():
        for part in ("value", "low", "high", "n"):
            ours, theirs = entry[part], stored[1][name][part]
            assert (ours is None) == (theirs is None), name
            assert ours is None or abs(ours - theirs) < 1e-6, name
