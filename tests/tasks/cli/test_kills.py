"""Whatever befalls a training, it goes on from its last save to the weights and tables of one that went through."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from tasks.cli.runs.resumed import open_last
from tests.tasks.cli.cuts import assert_same
from tests.tasks.cli.faults import SAVES, Fault, said, train

DATA = [
    "--data", "Phantoms", "--data.num_patients", "10", "--data.image_size", "32", "--data.batch_size", "2",
    "--data.augment", "light", "--model.backbone", "test_resnet", "--model.dropout", "0.2", "--model.ema", "0.9",
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "4",
    "--run_dir", "run", "--save_every_minutes", "0.01",
]  # fmt: skip
ALONE = [*DATA, "--data.num_workers", "1"]
GO_ON = ["--ckpt_path", "last"]
# Ranks that are started side by side: the last one may be the first to write to the folder.
TWO = [*DATA, *GO_ON, "--data.num_workers", "0", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
DAMAGES = ("cut off", "bit flipped", "gone")


def whole_run(folder: Path, words: list[str], ranks: int = 1) -> Path:
    folder.mkdir()
    assert train(folder, words, ranks=ranks) == [0] * ranks, said(folder)
    return folder / "run"


def assert_whole(whole: Path, run: Path) -> None:
    """Weights, epochs and predictions are those of the run that went through."""
    for name in ("last.ckpt", "best.ckpt"):
        saved = [torch.load(one / "checkpoints" / name, weights_only=True) for one in (whole, run)]
        for part in ("global_step", "state_dict", "current_model_state"):
            assert_same(saved[0].get(part), saved[1].get(part), f"{name} {part}")
    for table in ("metrics.csv", "predictions.csv", "cases.csv"):
        first, second = (pd.read_csv(one / table).drop(columns="seconds", errors="ignore") for one in (whole, run))
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert not list(run.rglob("*.tmp"))


def damage(file: Path, how: str, seed: int) -> None:
    """Let the disk have damaged a file."""
    content = bytearray(file.read_bytes())
    rng = random.Random(seed)
    if how == "gone":
        file.unlink()
        return
    if how == "cut off":
        content = content[: rng.randrange(len(content))]
    else:  # among the weights, which are nearly all of it
        content[rng.randrange(len(content) // 4, len(content) // 2)] ^= 1 << rng.randrange(8)
    file.unlink()  # another name of it is another file now
    file.write_bytes(content)


def befall(folder: Path, words: list[str], fault: Fault, ranks: int = 1) -> str:
    """Let a fault befall a training, look at what it left, and say what came of it."""
    folder.mkdir()
    statuses = train(folder, words, fault, ranks=ranks)
    text = said(folder)
    status = statuses[0]  # of several ranks the last one is killed
    # A loader process says so of itself where its parent is no more.
    assert status == -signal.SIGKILL or "Traceback" not in text, text[-3000:]
    if status == 2:
        assert text.count("error: ") == 1, text[-3000:]
    elif status == 75:
        assert "stopped by SIG" in text
    else:
        assert status in (0, -signal.SIGKILL), text[-3000:]
    saves = folder / SAVES
    steps = [int(line) for line in saves.read_text().split()] if saves.is_file() else []
    found = open_last(folder / "run" / "checkpoints", "classify")
    there = -1 if found is None else int(found[1]["global_step"])
    assert there >= max(steps, default=-1), "more is lost than since the last save"
    lines = [line for line in text.splitlines() if line.startswith(("error: ", "stopped by "))]
    return f"status {statuses}, saved up to step {there}{': ' + lines[-1] if lines else ''}"


def go_on(whole: Path, folder: Path, words: list[str], ranks: int = 1) -> None:
    """Go on to the end."""
    assert train(folder, [*words, *GO_ON], ranks=ranks) == [0] * ranks, said(folder)[-3000:]
    assert_whole(whole, folder / "run")


def test_a_few_kills(tmp_path: Path) -> None:
    """In a checkpoint's write, of a loader process, without room; and a checkpoint that the disk has damaged."""
    whole = whole_run(tmp_path / "whole", ALONE)
    faults = [
        Fault("write", file="last.ckpt", write=3, place="half"),
        Fault("worker", seconds=0.5),
        Fault("full", file="last.ckpt", write=2),
    ]
    for number, fault in enumerate(faults):
        folder = tmp_path / str(number)
        befall(folder, ALONE, fault)
        if number == 0:
            damage(folder / "run" / "checkpoints" / "last.ckpt", "bit flipped", number)
        go_on(whole, folder, ALONE)
        assert ("is damaged" in said(folder)) == (number == 0)


def drawn_faults(rng: random.Random, seconds: float) -> list[tuple[Fault, str]]:
    """Fifty faults, and what the disk does to ``last.ckpt`` after some of them."""
    faults: list[Fault] = []
    faults += [Fault("moment", rng.uniform(0.1, seconds)) for _ in range(12)]
    faults += [
        Fault("write", file=file, write=rng.randint(1, 5 if file == "last.ckpt" else 2), place=place)
        for file in ("last.ckpt", "best.ckpt", "metrics.csv", "previous.ckpt")
        for place in ("half", "name", "after")
    ]
    faults += [Fault("worker", rng.uniform(0.0, 0.7 * seconds)) for _ in range(8)]
    faults += [
        Fault("full", file=file, write=rng.randint(1, 2) if file != "predictions.csv" else 1)
        for file in ("last.ckpt", "best.ckpt", "metrics.csv", "predictions.csv")
        for _ in range(2)
    ]
    faults += [
        Fault("signal", rng.uniform(0.1, seconds), number=int(number))
        for number in (signal.SIGTERM, signal.SIGUSR1)
        for _ in range(2)
    ]
    told = [(fault, DAMAGES[number % 3] if number % 4 == 0 else "") for number, fault in enumerate(faults)]
    return [*told, *((Fault("rank", rng.uniform(0.5, seconds)), "") for _ in range(6))]


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    import time

    whole = whole_run(tmp_path / "alone", ALONE)
    start = time.monotonic()
    pair = whole_run(tmp_path / "pair", TWO, ranks=2)
    seconds = time.monotonic() - start
    faults = drawn_faults(random.Random(20), seconds)
    assert len(faults) == 50
    for number, (fault, disk) in enumerate(faults):
        ranks = 2 if fault.kind == "rank" else 1
        words, folder = TWO if ranks == 2 else ALONE, tmp_path / str(number)
        came = befall(folder, words, fault, ranks)
        last = folder / "run" / "checkpoints" / "last.ckpt"
        if disk and last.is_file() and last.with_name("previous.ckpt").is_file():
            damage(last, disk, number)
        else:
            disk = ""
        go_on(pair if ranks == 2 else whole, folder, words, ranks)
        print(f"{number + 1:2d} {fault.kind} {fault.file} {fault.place if fault.file else ''} "
              f"{fault.seconds:.2f} s {disk}: {came}; ended like the whole one")  # fmt: skip
        shutil.rmtree(folder)
