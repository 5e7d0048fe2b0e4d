"""Every entry against scikit-learn (and torchmetrics for the calibration error), values and intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import group_cases, resample_weights
from tasks.evaluation.classification.metrics import METRICS, Kind, classification_metrics, confusion_matrix
from tasks.evaluation.metric_values import BIASED, NO_SPREAD, TOO_FEW_REST, WITHHELD
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

RATES = ("sensitivity", "specificity", "precision", "npv", "f1")
Reference = dict[str, float]


def quiet(function: Callable[..., float], *arguments: object, **keywords: object) -> float:
    """scikit-learn's entry without its warning about undefined ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*arguments, **keywords))


def two_class_reference(y: np.ndarray, called: np.ndarray, score: np.ndarray) -> Reference:
    """One class against the rest by scikit-learn; undefined = NaN."""
    both = 0 < y.sum() < len(y)
    nan = {"zero_division": np.nan}
    return {
        "auroc": quiet(sk.roc_auc_score, y, score) if both else math.nan,
        "auprc": quiet(sk.average_precision_score, y, score) if y.any() else math.nan,
        "sensitivity": quiet(sk.recall_score, y, called, **nan),
        "specificity": quiet(sk.recall_score, 1 - y, 1 - called, **nan),
        # 0, as scikit-learn has it by default, where there is something to be called and nothing is.
        "precision": quiet(sk.precision_score, y, called, zero_division=0 if y.any() else np.nan),
        "npv": quiet(sk.precision_score, 1 - y, 1 - called, zero_division=np.nan if y.all() else 0),
        "f1": quiet(sk.f1_score, y, called, **nan),
    }


def label_reference(y: np.ndarray, called: np.ndarray, score: np.ndarray) -> Reference:
    """What a label has beyond a class of many."""
    both = 0 < y.sum() < len(y)
    return {
        **two_class_reference(y, called, score),
        "accuracy": quiet(sk.accuracy_score, y, called) if len(y) else math.nan,
        "balanced_accuracy": quiet(sk.balanced_accuracy_score, y, called) if both else math.nan,
        "mcc": quiet(sk.matthews_corrcoef, y, called) if both else math.nan,
        "kappa": quiet(sk.cohen_kappa_score, y, called),
        "brier": quiet(sk.brier_score_loss, y, score, pos_label=1) if len(y) else math.nan,
        "ece": calibration_reference(torch.tensor(score), torch.tensor(y)),
        "squared_ece": squared_reference(score, y),
    }


def calibration_reference(score: torch.Tensor, target: torch.Tensor) -> float:
    if not len(target):
        return math.nan
    if score.ndim == 1:
        return float(binary_calibration_error(score, target, n_bins=15, norm="l1"))
    return float(multiclass_calibration_error(score, target, score.shape[1], n_bins=15, norm="l1"))


def squared_reference(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Squared gap of each bin less the variance of its mean, bin by bin; each case a patient of its own."""
    if not len(right):
        return math.nan
    total = 0.0
    for number in range(bins + 1):
        gaps = (right - confidence)[np.floor(confidence * bins + 1e-9) == number]
        if len(gaps) > 1:
            total += len(gaps) / len(right) * (gaps.mean() ** 2 - gaps.var(ddof=1) / len(gaps))
    return max(0.0, total)


def single_reference(
    frame: pd.DataFrame, names: Sequence[str], positive: str | None, *, ordered: bool = False
) -> Reference:
    frame = frame[frame["target"].notna()]
    target = pd.Index(names).get_indexer(pd.Index(frame["target"]))
    called = pd.Index(names).get_indexer(pd.Index(frame["prediction"]))
    score = frame[[f"score_{name}" for name in names]].to_numpy()
    own = {
        name: two_class_reference((target == k).astype(int), (called == k).astype(int), score[:, k])
        for k, name in enumerate(names)
    }
    reference = {f"{metric}/{name}": value for name, values in own.items() for metric, value in values.items()}
    several = len(set(target)) > 1
    reference |= {
        "accuracy": sk.accuracy_score(target, called),
        "mcc": quiet(sk.matthews_corrcoef, target, called) if several else math.nan,
        "kappa": quiet(sk.cohen_kappa_score, target, called),
    }
    if ordered:
        reference["qwk"] = quiet(sk.cohen_kappa_score, target, called, weights="quadratic", labels=range(len(names)))
    if positive is None:
        for metric in own[names[0]]:
            reference[metric] = quiet(np.nanmean, [own[name][metric] for name in names])
        reference["balanced_accuracy"] = quiet(sk.balanced_accuracy_score, target, called)
        reference["brier"] = sk.brier_score_loss(target, score, labels=range(len(names)), scale_by_half=False)
        reference["ece"] = calibration_reference(torch.tensor(score), torch.tensor(target))
        reference["squared_ece"] = squared_reference(score.max(axis=1), score.argmax(axis=1) == target)
    else:
        chance = score[:, names.index(positive)]
        truth = target == names.index(positive)
        reference |= own[positive]
        reference["balanced_accuracy"] = quiet(sk.balanced_accuracy_score, target, called) if several else math.nan
        reference["brier"] = sk.brier_score_loss(truth, chance, pos_label=True)
        reference["ece"] = calibration_reference(torch.tensor(chance), torch.tensor(truth.astype(int)))
        reference["squared_ece"] = squared_reference(chance, truth)
    return reference


def multilabel_reference(frame: pd.DataFrame) -> Reference:
    reference: Reference = {}
    own = {}
    for name in LABELS:
        known = frame[f"target_{name}"].notna()
        y, score = frame[f"target_{name}"][known].to_numpy(int), frame[f"score_{name}"][known].to_numpy()
        own[name] = label_reference(y, frame[f"prediction_{name}"][known].to_numpy(), score)
        chosen = label_reference(y, frame[f"prediction_op_{name}"][known].to_numpy(), score)
        own[name] |= {f"{m}@op": chosen[m] for m in (*RATES, "accuracy", "balanced_accuracy", "mcc")}
        reference |= {f"{metric}/{name}": value for metric, value in own[name].items()}
    for metric in own[LABELS[0]]:
        reference[metric] = quiet(np.nanmean, [own[name][metric] for name in LABELS])
    return reference


def assert_equal(found: Reference, expected: Reference) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance(name), nan_ok=True), name


def tolerance(name: str) -> float:
    """torchmetrics takes the confidence of many classes to float32 on its way."""
    return 1e-6 if name == "ece" else 1e-9


def values(frame: pd.DataFrame, kind: Kind, names: Sequence[str], positive: str | None = None) -> Reference:
    return {k: f.value for k, f in classification_metrics(frame, kind, names, positive, resamples=0).items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("positive", ["benign", "malignant"])
def test_binary_equals_scikit_learn(seed: int, positive: str) -> None:
    frame = single_label(200, ["malignant", "benign"], seed)
    names = ["malignant", "benign"]
    assert_equal(values(frame, "binary", names, positive), single_reference(frame, names, positive))


def test_the_last_class_is_positive_by_default() -> None:
    frame = single_label(100, ["malignant", "benign"], 0)
    names = ["malignant", "benign"]
    assert values(frame, "binary", names) == values(frame, "binary", names, "benign")
    assert values(frame, "binary", names)["sensitivity"] == values(frame, "binary", names)["sensitivity/benign"]
    assert values(frame, "binary", names, "malignant")["auprc"] == values(frame, "binary", names)["auprc/malignant"]


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
@pytest.mark.parametrize("absent", [(), ("grade 1",), ("grade 0", "grade 3"), ("grade 0", "grade 1", "grade 3")])
@pytest.mark.parametrize("seed", range(3))
def test_multiclass_and_ordinal_equal_scikit_learn(kind: Kind, absent: tuple[str, ...], seed: int) -> None:
    names = ["grade 0", "grade 1", "grade 2", "grade 3"]
    frame = single_label(150, names, seed, absent)
    assert_equal(values(frame, kind, names), single_reference(frame, names, None, ordered=kind == "ordinal"))


def test_quadratic_kappa_stands_only_where_classes_are_ordered() -> None:
    names = ["adipose", "mucus"]
    for kind in ("binary", "multiclass"):
        assert "qwk" not in values(single_label(60, names, 0), kind, names)
    assert "qwk" in values(single_label(60, names, 0), "ordinal", names)


@pytest.mark.parametrize("seed", range(4))
def test_macro_precision_counts_a_class_that_is_never_called_as_nothing(seed: int) -> None:
    """Left out of the mean, ignoring a rare class would raise it."""
    names = ["common", "usual", "rare"]
    frame = single_label(120, names, seed).dropna()
    ignoring = frame.assign(prediction=np.where(frame["prediction"] == "rare", "common", frame["prediction"]))
    for table in (frame, ignoring):
        found = classification_metrics(table, "multiclass", names, resamples=0)
        target, called = table["target"], table["prediction"]
        macro = quiet(sk.precision_score, target, called, average="macro", zero_division=0)
        assert found["precision"].value == pytest.approx(macro)
        assert found["precision"].classes == 3
    assert found["precision/rare"].value == 0
    # A class that is neither there nor called is still none of the mean's.
    fourth = classification_metrics(frame.assign(score_none=0.0), "multiclass", [*names, "none"], resamples=0)
    assert math.isnan(fourth["precision/none"].value)
    assert fourth["precision"].classes == 3


def test_npv_is_nothing_where_everything_is_called() -> None:
    names = ["benign", "malignant"]
    frame = single_label(80, names, 1).dropna().assign(prediction="malignant")
    found = values(frame, "binary", names)
    assert found["npv"] == found["specificity"] == 0
    assert found["precision"] > 0


def test_ordinal_takes_the_calls_of_the_table_not_the_top_score() -> None:
    names = ["none", "mild", "severe"]
    frame = single_label(150, names, 0).assign(prediction="mild")
    found = values(frame, "ordinal", names)
    assert_equal(found, single_reference(frame, names, None, ordered=True))
    assert found["mcc"] == 0  # a constant call is chance, not unknown


@pytest.mark.parametrize("seed", range(5))
def test_multilabel_with_unknowns_equals_scikit_learn(seed: int) -> None:
    frame = multilabel(200, seed)
    assert_equal(values(frame, "multilabel", LABELS), multilabel_reference(frame))


def test_regression_equals_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(50, 10, 100).round(1)
    frame = pd.DataFrame({"case_id": range(100), "target": target, "prediction": target + generator.normal(0, 5, 100)})
    expected = {
        "mae": sk.mean_absolute_error(frame["target"], frame["prediction"]),
        "rmse": sk.root_mean_squared_error(frame["target"], frame["prediction"]),
        "r2": sk.r2_score(frame["target"], frame["prediction"]),
    }
    unknown = pd.DataFrame({"case_id": ["x"], "target": [np.nan], "prediction": [3.0]})
    metrics = classification_metrics(pd.concat([frame, unknown]), "regression", [], resamples=0)
    assert_equal({name: entry.value for name, entry in metrics.items()}, expected)
    assert metrics["mae"].n == 100
    # The table gives numbers as text.
    as_text = frame.assign(target=frame["target"].map(repr), prediction=frame["prediction"].map(repr))
    assert_equal(values(as_text, "regression", []), expected)


def test_r2_of_equal_targets_is_undefined() -> None:
    frame = pd.DataFrame({"case_id": range(12), "target": 0.1, "prediction": np.linspace(0, 1, 12)})
    metrics = classification_metrics(frame, "regression", [], resamples=50)
    assert math.isnan(metrics["r2"].value)
    assert metrics["rmse"].low < metrics["rmse"].value < metrics["rmse"].high


@pytest.mark.parametrize("certain", [0.0, 0.3])
def test_calibration_error_equals_torchmetrics_at_edges_of_bins(certain: float) -> None:
    generator = np.random.default_rng(1)
    score = np.round(generator.random(500) * 15) / 15  # on the edges themselves
    score[generator.random(500) < certain] = 1.0
    names = ["no", "yes"]
    frame = pd.DataFrame({"case_id": range(500), "score_no": 1 - score, "score_yes": score, "prediction": "no"})
    truth = generator.random(500) < 0.4
    frame["target"] = np.where(truth, "yes", "no")
    expected = calibration_reference(torch.tensor(score), torch.tensor(truth.astype(int)))
    assert values(frame, "binary", names)["ece"] == pytest.approx(expected, abs=1e-9)


def test_undefined_figures_are_nan_and_counted() -> None:
    frame = multilabel(200, 0)
    metrics = classification_metrics(frame, "multilabel", LABELS, resamples=20)
    for name in ("auroc/hernia", "auprc/hernia", "sensitivity/hernia", "balanced_accuracy/hernia", "mcc/hernia"):
        assert math.isnan(metrics[name].value), name
        assert math.isnan(metrics[name].low), name
        assert metrics[name].classes is None
    assert metrics["auroc"].classes == 3
    assert metrics["specificity"].classes == 4
    assert metrics["sensitivity@op"].classes == 3
    assert metrics["auroc/mass"].n == frame["target_mass"].notna().sum()
    assert metrics["auroc"].n == frame[[f"target_{name}" for name in LABELS]].notna().any(axis=1).sum() < 200

    names = ["a", "b", "c"]
    many = classification_metrics(single_label(90, names, 0, absent=("b",)), "multiclass", names, resamples=20)
    assert math.isnan(many["auroc/b"].value)
    assert many["auroc"].classes == many["balanced_accuracy"].classes == many["sensitivity"].classes == 2
    assert many["accuracy"].classes is None
    assert many["accuracy"].n == 80

    one = classification_metrics(single_label(90, ["a", "b"], 0, absent=("b",)), "binary", ["a", "b"], resamples=20)
    for name in ("auroc", "auprc", "sensitivity", "balanced_accuracy", "mcc", "f1@op"):
        assert math.isnan(one[name].value) if name in one else name == "f1@op"
    assert one["specificity"].value > 0


@pytest.mark.parametrize("kind", ["binary", "multilabel", "regression", "ordinal"])
def test_a_table_without_known_targets_gives_undefined_figures(kind: Kind) -> None:
    if kind == "multilabel":
        names: Sequence[str] = LABELS
        frame = multilabel(10, 0).assign(**{f"target_{name}": np.nan for name in LABELS})
    else:
        names = ["a", "b"]
        frame = single_label(10, list(names), 0).assign(target=pd.Series([None] * 10, dtype="str"))
        if kind == "regression":
            frame["prediction"] = "1.5"
    metrics = classification_metrics(frame, kind, names, resamples=10)
    assert metrics
    assert all(math.isnan(entry.value) and entry.n == 0 for entry in metrics.values())


def test_binary_figures_at_the_operating_point() -> None:
    names = ["benign", "malignant"]
    frame = single_label(200, names, 3)
    called = frame["score_malignant"] >= 0.3
    frame["prediction_op"] = np.where(called, "malignant", "benign")
    found = values(frame, "binary", names)
    known = frame["target"].notna()
    y = (frame["target"] == "malignant")[known].to_numpy(int)
    reference = label_reference(y, called[known].to_numpy(int), frame["score_malignant"][known].to_numpy())
    chosen = {name.removesuffix("@op"): value for name, value in found.items() if "@" in name}
    expected = {name: reference[name] for name in (*RATES, "accuracy", "balanced_accuracy", "mcc")}
    assert_equal(chosen, expected)
    assert found["sensitivity@op"] > found["sensitivity"]


def test_a_label_without_operating_point_is_left_out_there() -> None:
    frame = multilabel(100, 0)
    frame["prediction_op_mass"] = np.nan
    metrics = classification_metrics(frame, "multilabel", LABELS, resamples=0)
    assert math.isnan(metrics["f1@op/mass"].value)
    assert metrics["f1@op/mass"].n == 0
    assert metrics["accuracy@op"].classes == 3
    assert metrics["accuracy"].classes == 4


def test_names_come_in_order_and_are_promised() -> None:
    metrics = classification_metrics(multilabel(50, 0), "multilabel", LABELS, resamples=0)
    bare = [name for name in metrics if "/" not in name and "@" not in name]
    assert bare == [name for name in METRICS if name in bare]
    assert list(metrics)[: len(bare)] == bare
    assert {name.partition("/")[2] for name in metrics} == {"", *LABELS}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_percentile_intervals_equal_a_plain_loop_of_scikit_learn(kind: Kind) -> None:
    names = {"binary": ["b", "a"], "multiclass": ["a", "b", "c"], "multilabel": list(LABELS)}[kind]
    frame = multilabel(61, 4).iloc[1:] if kind == "multilabel" else single_label(60, names, 4).dropna()
    frame = frame.reset_index(drop=True)
    patients = pd.Series([f"p{i // 3}" if i % 7 else None for i in range(len(frame))], dtype="str")
    metrics = classification_metrics(frame, kind, names, None, patients, resamples=12, seed=5, percentile=True)
    metrics = {name: metric for name, metric in metrics.items() if not name.startswith("squared_ece")}

    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for weights in resample_weights(group_cases(frame["case_id"], patients), 12, seed=5):
        for row in weights:
            again = frame.iloc[np.repeat(np.arange(len(frame)), row.astype(int))]
            if kind == "multilabel":
                reference = multilabel_reference(again)
            else:
                reference = single_reference(again, names, "a" if kind == "binary" else None)
            for name in metrics:
                drawn[name].append(reference[name])
    for name, entry in metrics.items():
        low, high = quiet_percentiles(drawn[name])
        if math.isnan(entry.value) or entry.withheld:
            low = high = math.nan
        assert entry.low == pytest.approx(low, abs=tolerance(name), nan_ok=True), name
        assert entry.high == pytest.approx(high, abs=tolerance(name), nan_ok=True), name


def test_what_is_behind_a_figure() -> None:
    names = ["a", "b"]
    frame = single_label(90, names, 1)
    patients = pd.Series([f"p{i // 3}" for i in range(90)])
    metrics = classification_metrics(frame, "binary", names, None, patients)
    known = frame["target"].notna()
    for name, metric in metrics.items():
        assert (metric.n, metric.patients) == (known.sum(), patients[known].nunique()), name
        assert metric.positives == (frame["target"] == (name.partition("/")[2] or "b")).sum(), name
        if name != "ece":
            assert metric.low <= metric.value <= metric.high, name
            assert metric.high > metric.low, name
    assert (metrics["ece"].withheld, math.isnan(metrics["ece"].low)) == (BIASED, True)


def test_a_perfect_model_has_intervals_with_a_width() -> None:
    frame = single_label(90, ["a", "b"], 1).dropna(subset="target").reset_index(drop=True)
    there = frame["target"] == "b"
    frame = frame.assign(prediction=frame["target"], score_a=1.0 - there, score_b=there.astype(float))
    metrics = classification_metrics(frame, "binary", ["a", "b"])
    for name in ("auroc", "sensitivity", "specificity", "precision", "accuracy", "f1", "mcc", "kappa", "auprc"):
        assert (metrics[name].value, metrics[name].high) == pytest.approx((1, 1), abs=1e-12)
        assert 0.5 < metrics[name].low < 0.97, name
    assert metrics["brier"].withheld == NO_SPREAD


def test_few_patients_withhold_intervals_and_say_so() -> None:
    frame = single_label(90, ["a", "b", "c"], 1, absent=("c",))
    patients = pd.Series([f"p{i % 9}" for i in range(90)])
    few = classification_metrics(frame, "multiclass", ["a", "b", "c"], None, patients)
    assert {metric.withheld for metric in few.values() if not math.isnan(metric.value)} == {WITHHELD}
    frame.loc[frame.index[[1, 2, 3, 4]], "target"] = "c"
    rare = classification_metrics(frame, "multiclass", ["a", "b", "c"])
    assert rare["auroc"].withheld == rare["sensitivity/c"].withheld == TOO_FEW_REST
    assert rare["specificity/c"].low < rare["specificity/c"].value
    assert rare["accuracy"].withheld is None
    unasked = classification_metrics(frame, "multiclass", ["a", "b", "c"], resamples=0)["accuracy"]
    assert (unasked.withheld, math.isnan(unasked.low)) == (None, True)


def quiet_percentiles(drawn: list[float]) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def test_scans_of_one_patient_widen_the_interval() -> None:
    frame = single_label(60, ["a", "b"], 0).dropna()
    frame = pd.concat([frame] * 6).reset_index(drop=True)
    patients = frame["case_id"]
    frame["case_id"] = [f"scan{i}" for i in range(len(frame))]
    together = classification_metrics(frame, "binary", ["a", "b"], None, patients)["auroc"]
    apart = classification_metrics(frame, "binary", ["a", "b"])["auroc"]
    assert together.value == apart.value
    # Six copies of a case are one witness: the width falls with the square root of 6 only if they were six.
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(math.sqrt(6), rel=0.15)


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    names = ["a", "b", "c"]
    frame = single_label(120, names, 2, absent=("b",))
    known = frame.dropna()
    found = confusion_matrix(frame, names)
    assert found.loc["c", "b"] == ((known["target"] == "c") & (known["prediction"] == "b")).sum() > 0
    assert found.to_numpy().tolist() == sk.confusion_matrix(known["target"], known["prediction"], labels=names).tolist()


def replaced(column: str, cell: object) -> pd.DataFrame:
    frame = single_label(20, ["a", "b"], 0)
    cells = frame[column].tolist()
    return frame.assign(**{column: pd.Series([*cells[:4], cell, *cells[5:]], dtype=object)})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (single_label(20, ["a", "b"], 0).drop(columns="score_b"), "no column 'score_b'"),
        (single_label(20, ["a", "b"], 0).drop(columns="prediction"), "no column 'prediction'"),
        (replaced("target", "c"), "target 'c' in row 5 (case4) is none of the model's classes (a, b)"),
        (replaced("prediction", None), "prediction in row 5 (case4) is empty"),
        (replaced("score_a", float("nan")), "score_a in row 5 (case4) is no probability"),
        (replaced("score_a", 1.5), "score_a 1.5 in row 5 (case4) is no probability"),
        (replaced("score_a", "high"), "score_a 'high' in row 5 (case4) is no finite number"),
    ],
)
def test_bad_single_label_tables_are_named(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(SuiteError) as raised:
        classification_metrics(frame, "binary", ["a", "b"], resamples=0)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bad_multilabel_tables_are_named() -> None:
    frame = multilabel(20, 0)
    with pytest.raises(SuiteError, match=r"target_mass 2\.0 in row 4 .* is not 0, 1 or empty"):
        classification_metrics(frame.assign(target_mass=[0.0] * 3 + [2.0] * 17), "multilabel", LABELS)
    with pytest.raises(SuiteError, match=r"prediction_mass in row .* is empty"):
        classification_metrics(frame.assign(prediction_mass=np.nan), "multilabel", LABELS)
    with pytest.raises(SuiteError, match="'op_x' and 'x' share the column prediction_op_x"):
        classification_metrics(frame, "multilabel", ["x", "op_x"])


def test_bad_arguments_are_named() -> None:
    frame = single_label(20, ["a", "b"], 0)
    with pytest.raises(SuiteError, match=r"positive_class 'c' is none of the classes \(a, b\)"):
        classification_metrics(frame, "binary", ["a", "b"], "c")
    with pytest.raises(SuiteError, match="two classes, not 3"):
        classification_metrics(frame, "binary", ["a", "b", "c"])
    with pytest.raises(ValueError, match="3 patients for 20 cases"):
        classification_metrics(frame, "binary", ["a", "b"], None, pd.Series(["p", "p", "q"]))
