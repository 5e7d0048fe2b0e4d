"""Folds that calibrate: out of fold with one calibration for all, which is the ensemble's too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.tables import fit_on
from tasks.evaluation.evaluated import read_evaluated
from tests.tasks.cli.conftest import KINDS, TINY
from tests.tasks.cli.folds.test_folds import command, metrics, table

SCORES, RAW = ([f"{name}_{label}" for label in ("healthy", "ill")] for name in ("score", "uncalibrated"))


@pytest.mark.slow
def test_one_calibration_of_all_folds(tmp_path: Path, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], "--model.calibration", "platt"]
    command(tmp_path, "classify", "fit", "--folds", 2, "--run_dir", "f", *TINY, *data)
    run_dir = tmp_path / "f"
    predictions, record = table(run_dir), json.loads((run_dir / "ensemble.json").read_text())
    calibration = Calibration.from_dict(record["calibration"])
    np.testing.assert_allclose(predictions[SCORES], calibration.apply(predictions[RAW]), atol=1e-12)
    # Fitted on what each fold's model says of the cases that it did not train on.
    folds = pd.concat([table(run_dir / f"fold_{fold}") for fold in (0, 1)]).set_index("case_id")
    np.testing.assert_array_equal(predictions[RAW], folds.loc[predictions["case_id"], RAW])
    assert fit_on(read_evaluated(run_dir).part("val"), "platt").calibration == calibration
    assert calibration.cases == len(predictions)
    about = json.loads((run_dir / "task.json").read_text())
    assert about["calibrated_by"] == record["calibration"]
    brier = ((predictions["score_ill"] - (predictions["target"] == "ill")) ** 2).mean()
    assert metrics(run_dir)["val/brier"]["value"] == pytest.approx(brier)

    for run in (run_dir / "ensemble", run_dir):
        own = table(run)
        point = record["operating_points"]["ill"]
        assert ((own["prediction_op"] == "ill") == (own["score_ill"] >= point)).all()
    together = table(run_dir / "ensemble").set_index("case_id")
    np.testing.assert_allclose(together[SCORES], calibration.apply(together[RAW]), atol=1e-12)
    members = []
    for fold in (0, 1):
        command(tmp_path, "classify", "test", "--ckpt_path", f"f/fold_{fold}", "--run_dir", f"m{fold}")
        members.append(table(tmp_path / f"m{fold}").set_index("case_id").loc[together.index, RAW])
    np.testing.assert_allclose(together[RAW], (members[0] + members[1]) / 2, atol=1e-6)

    # Members by name, without a validation part that no member has seen: the mean of their calibrations.
    images = ["--input", table_root / "images", "--output", "out", "--data.num_workers", "0"]
    checkpoints = [f"f/fold_{fold}/checkpoints/best.ckpt" for fold in (1, 0)]
    (run_dir / "ensemble.json").rename(tmp_path / "kept.json")
    command(tmp_path, "classify", "predict", "--ckpt_paths", *checkpoints, *images)
    both = [json.loads((run_dir / f"fold_{fold}" / "task.json").read_text())["calibrated_by"] for fold in (0, 1)]
    named = table(tmp_path / "out")
    expected = sum(Calibration.from_dict(one).apply(named[RAW]) for one in both) / 2
    np.testing.assert_allclose(named[SCORES], expected, atol=1e-9)
