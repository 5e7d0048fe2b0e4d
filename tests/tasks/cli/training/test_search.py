"""Learning rate and batch size found before the training, and used in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tasks.classify.task import ClassificationTask
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line


def test_what_is_found_is_trained_with_and_kept(run: Run, table_root: Path) -> None:
    flags = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], *TINY]
    status, out, err = run(
        "fit", *flags, "--find_lr", "true", "--find_batch_size", "true", "--run_dir", "run", "--model.warmup", "0",
        "--model.schedule", "constant",
    )  # fmt: skip
    assert status == 0, err
    lr = re.search(r"learning rate (\S+) found \(instead of 0.001\): --model.lr \1", out)
    size = re.search(r"batch size (\d+) found \(instead of 16\): --data.batch_size \1", out)
    assert lr is not None
    assert size is not None
    assert 1e-6 <= float(lr.group(1)) <= 1
    assert int(size.group(1)) == 32  # of 58 training cases, on a CPU
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["model"]["lr"] == float(lr.group(1))
    assert config["data"]["init_args"]["batch_size"] == int(size.group(1))
    assert "find_lr" not in config
    table = Path("run/metrics.csv").read_text().splitlines()
    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert float(row["lr"]) == pytest.approx(float(lr.group(1)))
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert status == 0, err  # a constant rate may go on


def test_a_search_is_asked_for_with_true(run: Run) -> None:
    status, _, err = run("fit", *TINY, "--find_lr", "perhaps")
    assert status == 2
    assert "--find_lr perhaps: expected true or false" in one_line(err)


def test_a_schedule_with_an_end_keeps_it(run: Run, table_root: Path) -> None:
    flags = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], *TINY]
    status, _, err = run("fit", *flags, "--run_dir", "run")
    assert status == 0, err
    for flag, value, length in (
        ("--trainer.max_epochs", 2, "for 1"),
        ("--trainer.max_steps", 3, "without it"),
        ("--trainer.accumulate_grad_batches", 2, "for 1"),
        ("--data.batch_size", 8, "for 16"),
    ):
        status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", flag, value)
        assert status == 2
        assert f"{flag} {value}: the schedule cosine was laid out {length}: " in one_line(err)


def test_a_search_steps_with_each_part_s_share_of_the_learning_rate(
    run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backbone was searched for with the whole rate, whatever its factor."""
    shares: list[float] = []
    configure_optimizers = ClassificationTask.configure_optimizers

    def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        shares.append(min(rates) / max(rates))

    def watched(self: ClassificationTask) -> Any:
        made: Any = configure_optimizers(self)
        made[0][0].register_step_pre_hook(note)
        return made

    monkeypatch.setattr(ClassificationTask, "configure_optimizers", watched)
    flags = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], *TINY]
    flags += ["--model.schedule", "constant", "--model.warmup", "0", "--model.backbone_lr_factor", "0.01"]
    status, out, err = run("fit", *flags, "--find_lr", "true", "--run_dir", "run", "--judge_test", "false")
    assert status == 0, err
    assert "learning rate " in out
    assert len(shares) > 20  # the search, and an epoch
    assert shares == pytest.approx([0.01] * len(shares))
