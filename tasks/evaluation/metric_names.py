"""Metrics as readers know them: which matter first, what each is called, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

# Metrics of the whole, and those of single classes, that screen and report show where a run has them.
FIRST = {
    "classify": (
        "fold_auroc", "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity@op", "specificity@op", "mcc",
        "qwk", "mae", "rmse", "r2",
    ),
    "segment": ("dice", "hd95", "hd95_penalised", "nsd", "volume_difference", "lesion_sensitivity", "lesion_f1"),
    "detect": ("map50", "map", "froc", "sensitivity@1fp", "image_auroc", "sensitivity@op", "precision@op", "f1@op"),
}  # fmt: skip
BY_CLASS = {
    "classify": ("fold_auroc", "auroc", "sensitivity", "specificity", "precision", "f1"),
    "segment": ("dice", "hd95", "nsd", "sensitivity", "precision"),
    "detect": ("map50", "map", "froc", "sensitivity@op", "precision@op"),
}
DISTANCES = ("hd95", "assd", "hd95_penalised", "assd_penalised")
_OTHER = 8  # metrics of a task that is not ours

_LABELS = {
    "auroc": "AUROC",
    "fold_auroc": "AUROC, mean of folds",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity (recall)",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "Cohen's kappa",
    "qwk": "quadratic kappa",
    "brier": "Brier score",
    "ece": "ECE",
    "squared_ece": "squared ECE",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "assd": "ASSD",
    "hd95_penalised": "HD95, misses penalised",
    "assd_penalised": "ASSD, misses penalised",
    "nsd": "NSD",
    "volume_difference": "volume difference",
    "lesion_sensitivity": "lesion sensitivity",
    "lesion_f1": "lesion F1",
    "map": "mAP",
    "map50": "mAP50",
    "map75": "mAP75",
    "mar": "mAR",
    "froc": "FROC",
    "patient_froc": "FROC by patient",
    "patient_sensitivity": "sensitivity by patient",
    "image_auroc": "AUROC of images",
}
_MEANINGS = {
    "auroc": "chance that a random case with the finding has a higher score than one without it; 0.5 is guessing",
    "fold_auroc": "mean of each fold's own AUROC: the scores of two folds' models are on scales of their own",
    "auprc": "average precision: mean precision over all recalls; guessing gives the share of cases with the finding",
    "accuracy": "share of cases called right",
    "balanced_accuracy": "mean of the sensitivities of the classes",
    "sensitivity": "of what is there, the share that is found",
    "specificity": "of the cases without the finding, the share not called",
    "precision": "of what is called, the share that is there",
    "npv": "of the cases not called, the share without the finding",
    "f1": "harmonic mean of sensitivity and precision",
    "mcc": "correlation of calls and truth, -1 to 1; 0 is chance",
    "kappa": "agreement of calls and truth beyond chance, -1 to 1",
    "qwk": "agreement of ordered classes beyond chance, far misses weighing more",
    "brier": "mean squared error of the probabilities; lower is better",
    "ece": "mean distance of probability and frequency in 15 bins; biased upward in small samples",
    "squared_ece": "the squared calibration error without that bias; 0 is calibrated",
    "mae": "mean absolute error, in units of the target",
    "rmse": "root of the mean squared error, in units of the target",
    "r2": "share of the target's variance that is explained",
    "dice": "overlap of prediction and truth, 0 to 1",
    "iou": "shared area by joint area of prediction and truth, 0 to 1",
    "hd95": "95th percentile of the distances between the surfaces; lower is better",
    "assd": "mean distance between the surfaces; lower is better",
    "hd95_penalised": "HD95 with the image's diagonal for what is missed or falsely found, 0 where nothing is there",
    "assd_penalised": "ASSD with the image's diagonal for what is missed or falsely found, 0 where nothing is there",
    "nsd": "share of the surfaces that lie within the tolerance of each other",
    "volume_difference": "relative difference of predicted and true volume; 0 is best",
    "lesion_sensitivity": "share of the lesions that are found",
    "lesion_f1": "harmonic mean of lesion sensitivity and precision",
    "map": "average precision over IoU 0.5 to 0.95 (COCO)",
    "map50": "average precision where a box counts from IoU 0.5",
    "map75": "average precision where a box counts from IoU 0.75",
    "mar": "mean recall over IoU 0.5 to 0.95 (COCO)",
    "froc": "mean sensitivity at 1/8 to 8 false positives an image",
    "patient_froc": "the same with a patient found where any of the patient's lesions is",
    "image_auroc": "whole images told apart by their highest box",
}


def first_metrics(task: str, names: Sequence[str]) -> list[str]:
    """Of the metrics of the whole those that matter first, the most important one in front.

    Args:
        task: name of the task.
        names: of the metrics there are, without stage.
    """
    whole = [name for name in names if "/" not in name]
    return [name for name in FIRST.get(task, whole[:_OTHER]) if name in whole]


def class_metrics(task: str, names: Sequence[str]) -> tuple[str, ...]:
    """Metrics of single classes that matter first.

    Args:
        task: name of the task.
        names: of the metrics of the whole that matter first.
    """
    return BY_CLASS.get(task, tuple(names[:5]))


def is_ours(name: str) -> bool:
    """Whether a metric (``sensitivity@op/mass``) is one of the suite's, of whichever task."""
    return name.partition("/")[0].partition("@")[0] in _LABELS


def own_names() -> tuple[str, ...]:
    """Bare names of the suite's metrics, of all tasks."""
    return tuple(_LABELS)


def label_of(name: str, distance: str = "") -> str:
    """A metric as readers know it: ``sensitivity@op/mass`` -> ``sensitivity (recall) at the operating point, mass``.

    Args:
        name: of the metric, without stage.
        distance: unit of surface distances.
    """
    metric, _, own = name.partition("/")
    bare, _, point = metric.partition("@")
    label = _LABELS.get(bare, bare.replace("_", " "))
    if distance and bare in DISTANCES:
        label += f" ({distance})"
    if point == "op":
        label += " at the operating point"
    elif point.endswith("fp"):
        label += f" at {point[:-2]} false positives an image"
    elif point:
        label += f" at {point}"
    return f"{label}, {own}" if own else label


def distance_unit(cases: pd.DataFrame) -> str:
    """Unit of surface distances: mm where the spacing of each case is known, pixels where of none."""
    known = cases["spacing"].notna() & (cases["spacing"].astype(str) != "")
    return "mm" if known.all() else "mm or px" if known.any() else "px"


def meaning_of(name: str) -> str:
    """What a metric says, in a sentence without its full stop; empty for one that is not ours."""
    return _MEANINGS.get(name.partition("/")[0].partition("@")[0], "")
