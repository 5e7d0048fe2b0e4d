"""A calibration and an operating point by rule: of validation, in the checkpoint, and used by test and predict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.tables import fit_on
from tasks.evaluation.evaluated import read_evaluated
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line
from tests.tasks.cli.test_fit import fitted

RULE = "sensitivity>=0.9"


def test_what_is_chosen_on_validation_is_used_elsewhere(run: Run, table_root: Path) -> None:
    flags = ["--model.operating_point", "Sensitivity >= 0.9", "--model.calibration", "temperature", "--data.folds", "2"]
    metrics = fitted(run, table_root, "binary", "run", *flags)
    assert metrics["val/sensitivity@op"]["value"] >= 0.9
    checkpoint = torch.load("run/checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["operating_point"] == "Sensitivity >= 0.9"
    about = json.loads(Path("run/task.json").read_text())
    assert about["operating_points"] == checkpoint["scansuite"]["operating_points"]
    assert about["operating_point"] == RULE
    assert about["calibration"] == "temperature"
    assert about["calibrated_by"] == checkpoint["scansuite"]["calibration"]
    calibration = Calibration.from_dict(about["calibrated_by"])
    assert fit_on(read_evaluated("run").part("val"), "temperature").calibration == calibration
    own = pd.read_csv("run/predictions.csv").set_index("case_id")
    scores, raw = ([f"{name}_{label}" for label in ("healthy", "ill")] for name in ("score", "uncalibrated"))
    np.testing.assert_allclose(own[scores], calibration.apply(own[raw]), atol=1e-12)
    assert not np.allclose(own[scores], own[raw], atol=1e-3)
    assert ((own["prediction"] == "ill") == (own["score_ill"] > own["score_healthy"])).all()
    point = about["operating_points"]["ill"]

    best = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    status, out, err = run("test", *best, "--run_dir", "again")
    assert status == 0, err
    assert (
        f"scores are calibrated: temperature {1 / calibration.maps['ill'].to_dict()['present']:.3g}, fitted on " in out
    )
    assert f"called at (@op): ill from {point:.3g}; chosen by {RULE} on validation" in out
    again = json.loads(Path("again/metrics.json").read_text())
    assert again["test/sensitivity@op"] == metrics["test/sensitivity@op"]
    assert again["test/brier"] == metrics["test/brier"]
    tested = pd.read_csv("again/predictions.csv").set_index("case_id")
    pd.testing.assert_frame_equal(tested[scores + raw], own.loc[tested.index, scores + raw])

    status, _, err = run("predict", *best, "--input", table_root / "images", "--output", "out")
    assert status == 0, err
    rows = pd.read_csv("out/predictions.csv")
    assert ((rows["score_ill"] >= point) == (rows["prediction_op"] == "ill")).all()
    predicted = rows.assign(case_id="images/" + rows["case_id"]).set_index("case_id").loc[tested.index]
    np.testing.assert_allclose(predicted[scores + raw], tested[scores + raw], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "rule", "names"),
    [
        ("binary", "sensitvity>=0.9", "is no rule; rules are"),
        ("multilabel", "fp<=1", "cases are called, not boxes"),
        ("multiclass", RULE, "a multiclass target is called by its most likely class"),
        ("regression", RULE, "a regression target is called by its value"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(run: Run, table_root: Path, kind: str, rule: str, names: str) -> None:
    words = ["--data", "ImageTable", "--data.root", table_root, *KINDS[kind], *TINY, "--model.operating_point", rule]
    status, _, err = run("fit", *words, "--run_dir", "run")
    assert status == 2
    assert f"--model.operating_point {rule}: " in one_line(err)
    assert names in err
    assert not Path("run").exists()
