"""The benchmark of the plan: shares of a training part, and the rows of its table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import plan
from benchmarks.plan import SETS, Set, Trained, against_fixed, against_hand, share_file
from tasks.cli.flags import shipped_configs

PHANTOMS = Set("tiny", "classify", "auroc", ("--data", "Phantoms", "--data.num_patients", "30"))


def test_a_share_takes_whole_patients_of_the_training_part_alone(tmp_path: Path) -> None:
    flags = share_file(PHANTOMS, tmp_path, 0.3, 0, tmp_path)
    whole = share_file(PHANTOMS, tmp_path, 1, 0, tmp_path)
    assert whole == []
    assert flags[2:] == ["--data.new_cases", "leave_out"]
    some = pd.read_csv(flags[1])
    every = pd.read_csv(share_file(PHANTOMS, tmp_path, 0.999, 0, tmp_path)[1])
    for part in ("val", "test"):
        assert set(some.case_id[some.split == part]) == set(every.case_id[every.split == part])
    patients = [len({case.split("_")[0] for case in table.case_id[table.split == "train"]}) for table in (some, every)]
    assert patients[0] < patients[1]
    again = share_file(PHANTOMS, tmp_path, 0.3, 0, tmp_path / "again")
    assert Path(again[1]).read_text() == Path(flags[1]).read_text()
    assert Path(share_file(PHANTOMS, tmp_path, 0.3, 1, tmp_path)[1]).read_text() != Path(flags[1]).read_text()


def test_rows_have_means_over_seeds_differences_and_ratios_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(one: Set, folder: Path, flags: list[str]) -> Trained:
        planned = flags[flags.index("--plan") + 1] == "auto"
        seed = int(flags[-1])
        return Trained((0.9 if planned else 0.8) + seed / 100, 0.7, 0.95, 90 if planned else 60)

    monkeypatch.setattr(plan, "trained", train)
    text = against_hand([PHANTOMS], tmp_path, [0, 2], tmp_path)
    assert "| tiny | auroc | 0.910 [0.900, 0.920] (0.700-0.950) | 0.810 [0.800, 0.820] (0.700-0.950) (fixed) |" in text
    assert "| +0.100 | 1.5 | 1.0 | 1.50 |" in text
    text = against_fixed([PHANTOMS], tmp_path, [1.0], [0], tmp_path)
    assert "| tiny | 100% | auroc | 0.900 (0.700-0.950) | 0.800 (0.700-0.950) | +0.100 | 1.5 | 1.0 |" in text


def test_a_run_that_is_there_is_not_repeated(tmp_path: Path) -> None:
    run = tmp_path / "tiny-plan-0"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps({"test/auroc": {"value": 0.9, "low": None, "high": None, "n": 9}}))
    (tmp_path / "tiny-plan-0.json").write_text(json.dumps({"seconds": 12.0}))
    done = plan.trained(PHANTOMS, run, [])
    assert (done.value, done.seconds) == (0.9, 12.0)


def test_names_of_configs_made_by_hand_are_shipped() -> None:
    configs = shipped_configs()
    assert all(f"experiment/{one.hand}" in configs for one in SETS if one.hand)
    assert len({one.name for one in SETS}) == len(SETS)
