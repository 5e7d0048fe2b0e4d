"""AUROC out of fold: the mean of the folds' own, whose scales do not mix."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from tasks.evaluation.classification.metrics import classification_metrics
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

NAMES = ["benign", "malignant"]


def binary(seed: int, folds: int = 3, shift: float = 0.0, n: int = 120) -> pd.DataFrame:
    """Scores of one quality in all folds, each fold's on a scale of its own."""
    generator = np.random.default_rng(seed)
    fold, truth = np.arange(n) % folds, generator.random(n) < 0.4
    score = 1 / (1 + np.exp(-(generator.standard_normal(n) + 1.5 * truth + shift * fold)))
    frame = pd.DataFrame({"case_id": [f"c{i}" for i in range(n)], "fold": fold})
    for name, chance, there in (("benign", 1 - score, ~truth), ("malignant", score, truth)):
        frame[f"score_{name}"] = chance
        frame.loc[there, "target"] = name
    return frame.assign(prediction=np.where(score >= 0.5, "malignant", "benign"))


def of_folds(frame: pd.DataFrame, name: str) -> list[float]:
    return [float(sk.roc_auc_score(own["target"] == name, own[f"score_{name}"])) for _, own in frame.groupby("fold")]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_mean_of_the_folds(seed: int) -> None:
    frame = binary(seed)
    found = classification_metrics(frame, "binary", NAMES)
    assert found["fold_auroc"].value == pytest.approx(np.mean(of_folds(frame, "malignant")), abs=1e-12)
    assert found["fold_auroc/benign"].value == pytest.approx(np.mean(of_folds(frame, "benign")), abs=1e-12)
    assert found["fold_auroc"].low < found["fold_auroc"].value < found["fold_auroc"].high
    assert (found["fold_auroc"].n, found["fold_auroc"].patients) == (120, 120)
    assert found["fold_auroc"].positives == (frame["target"] == "malignant").sum()
    assert list(found)[:2] == ["auroc", "fold_auroc"]


def test_scales_of_their_own_lower_the_pooled_area_alone() -> None:
    plain, shifted = (classification_metrics(binary(0, shift=shift), "binary", NAMES) for shift in (0, 3))
    assert shifted["fold_auroc"] == plain["fold_auroc"]
    assert shifted["auroc"].value < plain["auroc"].value - 0.1


def test_the_variance_is_that_of_a_mean_of_independent_areas() -> None:
    frame = binary(4)
    alone = [
        classification_metrics(own.drop(columns="fold"), "binary", NAMES)["auroc"] for _, own in frame.groupby("fold")
    ]
    together = classification_metrics(frame, "binary", NAMES)["fold_auroc"]
    assert together.high - together.low < min(one.high - one.low for one in alone)
    # As wide as one area of as many cases, nearly: folds of one quality lose little.
    whole = classification_metrics(binary(4), "binary", NAMES)["auroc"]
    assert together.high - together.low == pytest.approx(whole.high - whole.low, rel=0.25)


def test_there_is_none_without_folds_without_classes_and_of_one_fold() -> None:
    frame = binary(1)
    for other in (frame.drop(columns="fold"), frame.assign(fold=0)):
        assert not any(name.startswith("fold_auroc") for name in classification_metrics(other, "binary", NAMES))
    nobody = classification_metrics(frame.assign(target="benign"), "binary", NAMES)
    assert math.isnan(nobody["fold_auroc"].value)
    numbers = frame.assign(target=np.arange(len(frame)), prediction=1.0)
    assert "fold_auroc" not in classification_metrics(numbers, "regression", [])


def test_several_classes_and_labels_have_their_mean() -> None:
    names = ["a", "b", "c"]
    frame = single_label(150, names, 0).assign(fold=np.arange(150) % 2)
    known = frame[frame["target"].notna()]
    found = classification_metrics(frame, "multiclass", names)
    own = [np.mean(of_folds(known, name)) for name in names]
    assert found["fold_auroc"].value == pytest.approx(np.mean(own), abs=1e-12)
    assert found["fold_auroc"].classes == 3
    labels = classification_metrics(multilabel(150, 0).assign(fold=np.arange(150) % 2), "multilabel", LABELS)
    assert math.isnan(labels["fold_auroc/hernia"].value)
    mean = np.mean([labels[f"fold_auroc/{name}"].value for name in LABELS if name != "hernia"])
    assert labels["fold_auroc"].value == pytest.approx(mean, abs=1e-12)
    assert labels["fold_auroc"].classes == 3


def test_too_few_patients_of_a_fold_withhold_the_interval() -> None:
    frame = binary(2, n=40)
    few = frame[(frame["fold"] > 0) | (frame["target"] == "benign") | (frame["case_id"] == "c0")]
    target = few["target"].mask(few["case_id"] == "c0", "malignant")
    found = classification_metrics(few.assign(target=target), "binary", NAMES)["fold_auroc"]
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert found.withheld == "rests on fewer than 5 patients"
    assert math.isnan(classification_metrics(frame, "binary", NAMES, resamples=0)["fold_auroc"].low)
