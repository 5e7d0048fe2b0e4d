"""A damaged file in any part is named before training begins; ``--data.skip_unreadable true`` goes on and counts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Ninety cases with a split of their own; one file of each part is cut off."""
    root = draw_table(tmp_path_factory.mktemp("damaged"))
    table = pd.read_csv(root / "labels.csv", dtype={"patient_id": "str"})
    parts = ["test" if case % 10 < 2 else "val" if case % 10 < 4 else "train" for case in range(90)]
    table.assign(split=parts).to_csv(root / "labels.csv", index=False)
    chosen = [table["path"][row] for row in (31, 62, 78)]
    for name in chosen:
        (root / name).write_bytes((root / name).read_bytes()[:-200])
    return root, chosen


def test_damaged_files_are_named_before_training(run: Run, damaged: tuple[Path, list[str]]) -> None:
    """Number 21d: a corrupt file in the test part was found after the training was over."""
    root, chosen = damaged
    data = ["--data", "ImageTable", "--data.root", str(root)]
    status, out, err = run("fit", *data, *KINDS["binary"], *TINY)
    assert status == 2
    line = one_line(err)
    assert all(name in line for name in chosen)
    for part in ("3 of 90 cases cannot be read", "check", "--data.skip_unreadable true"):
        assert part in line
    assert "train_loss" not in out
    assert not Path("runs").exists()
    # The next step that the line names finds the same.
    assert run("check", *data, *KINDS["binary"], "--data.num_workers", "0", "--output", "look")[0] == 1
    found = pd.read_csv("look/check.csv", dtype="str")
    assert sorted(found["path"][found["kind"] == "unreadable"]) == sorted(chosen)


def test_training_goes_on_without_them_and_counts_them(run: Run, damaged: tuple[Path, list[str]]) -> None:
    root, chosen = damaged
    data = ["--data", "ImageTable", "--data.root", str(root), "--data.skip_unreadable", "true"]
    status, _, err = run("fit", *data, *KINDS["binary"], *TINY, "--run_dir", "one")
    assert status == 0, err
    assert "3 of 90 cases cannot be read and are left out" in err
    gone = {name.removesuffix(".png") for name in chosen}
    split = pd.read_csv("one/split.csv")
    assert len(split) == 87
    assert not gone & set(split["case_id"])
    count = json.loads(Path("one/metrics.json").read_text())["split/unreadable_cases"]
    assert (count["value"], count["n"]) == (3, 90)
    own = ["--ckpt_path", "one/checkpoints/best.ckpt", "--run_dir"]
    assert run("test", *own, "two")[0] == 0
    assert json.loads(Path("two/metrics.json").read_text())["split/unreadable_cases"]["value"] == 3
    # Evaluating another data set wholly begins with the same look.
    other = ["--data", "ImageTable", "--data.root", str(root), *KINDS["binary"], "--data.split", "all_test"]
    other += ["--data.num_workers", "0"]
    status, _, err = run("test", *other, *own, "three")
    assert status == 2
    assert "3 of 90 cases cannot be read" in one_line(err)
    assert not Path("three").exists()
