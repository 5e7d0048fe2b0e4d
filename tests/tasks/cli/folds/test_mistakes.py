"""What is wrong with folds is one line before the first is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line
from tests.tasks.cli.folds.test_folds import PATIENTS


def test_a_class_of_one_patient_is_told_before_any_fold_is_trained(run: Run, tmp_path: Path) -> None:
    root = draw_table(tmp_path / "table", cases=24)
    table = pd.read_csv(root / "labels.csv")
    table["finding"] = ["rare" if patient == table["patient_id"][0] else "common" for patient in table["patient_id"]]
    table.to_csv(root / "labels.csv", index=False)
    status, _, err = run(
        "fit", "--data", "ImageTable", "--data.root", root, *KINDS["binary"], *TINY, "--folds", "3",
        "--data.test_fraction", "0.1", "--run_dir", "run",
    )  # fmt: skip
    assert status == 2
    assert "--folds 3: fold" in one_line(err)
    assert "class 'rare' has no training case" in one_line(err)
    assert not list(Path("run").glob("fold_*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--folds", "1"], ["--folds 1", "at least 2"]),
        (["--folds", "many"], ["--folds many", "whole number"]),
        (["--folds", "3", "--data.fold", "1"], ["--folds 3 with --data.fold"]),
        (["--folds", "3", "--data.folds", "3"], ["--folds 3 with --data.folds"]),
        (["--folds", "40"], ["--folds 40", "patients", "fewer folds"]),
        (["--folds", "2", "--data.test_fraction", "0"], ["--folds 2", "at least 3"]),
        (
            ["--folds", "3", "--data.test_fraction", "0", "--judge_test", "false"],
            ["--folds 3 with --judge_test false", "--data.test_fraction 0"],
        ),
        (["--folds", "2", "--find_lr", "true"], ["--find_lr", "--model.lr"]),
        (["--folds", "2", "--memory", "20"], ["--memory 20", "20GiB"]),
        (["--folds", "2", "--ckpt_path", "last"], ["--run_dir"]),
        (["--folds", "2", "--judge_test", "perhaps"], ["--judge_test perhaps"]),
        (["--folds", "2", "--model.backbone", "resnet81"], ["resnet81"]),
        (["--folds", "2", "--model.optimizer", "adamx"], ["adamx", "--model.optimizer"]),
    ],
)
def test_mistakes(run: Run, flags: list[str], said: list[str]) -> None:
    status, _, err = run("fit", *TINY, *PATIENTS, *flags)
    assert status == 2
    line = one_line(err)
    for part in said:
        assert part in line, line
    assert not Path("runs").exists()
