"""Counts and training metrics of masks against scikit-learn, image by image."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score
from torch import Tensor

from tasks.evaluation.segmentation.metrics import case_rows
from tasks.segment.metrics import SegmentationMetrics, count_pixels

IGNORED = 255
CLASSES = ["background", "organ", "lesion"]


def masks(seed: int, regions: bool = False, images: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape, values = ((images, 3, 9, 7), 2) if regions else ((images, 9, 7), 3)
    prediction = torch.randint(values, shape, generator=generator)
    mask = torch.randint(values, shape, generator=generator)
    mask[torch.rand(shape, generator=generator) < 0.2] = IGNORED
    return prediction, mask


def planes(prediction: Tensor, mask: Tensor, regions: bool) -> list[list[tuple[Any, Any]]]:
    """(truth, call) of the known pixels of each image and class."""
    found = []
    for image in range(len(mask)):
        row = []
        for k in range(0 if regions else 1, 3):
            truth = mask[image, k] if regions else mask[image]
            called = prediction[image, k] if regions else prediction[image]
            known, number = truth != IGNORED, 1 if regions else k
            row.append(((truth[known] == number).numpy(), (called[known] == number).numpy()))
        found.append(row)
    return found


@pytest.mark.parametrize("regions", [False, True])
def test_counts_are_those_of_scikit_learn(regions: bool) -> None:
    prediction, mask = masks(0, regions)
    counts = count_pixels(prediction.to(torch.uint8), mask, 3, overlapping=regions)
    assert counts.shape == (5, 3 if regions else 2, 4)
    for image, row in enumerate(planes(prediction, mask, regions)):
        for k, (truth, called) in enumerate(row):
            (tn, fp), (fn, tp) = confusion_matrix(truth, called, labels=[False, True])
            assert counts[image, k].tolist() == [tp, fp, fn, tn]


@pytest.mark.parametrize("regions", [False, True])
def test_figures_are_means_over_images_where_defined(regions: bool) -> None:
    prediction, mask = masks(1, regions)
    if regions:
        prediction[0, 1], mask[0, 1] = 0, 0
        mask[1, 2] = 0
    else:
        prediction[0], mask[0] = 0, 0
        mask[1][mask[1] == 2] = 0
    metric = SegmentationMetrics(CLASSES, overlapping=regions)
    metric.update(prediction[:2], mask[:2])
    metric.update(prediction[2:], mask[2:])
    values = metric.compute()
    references = {
        "dice": f1_score,
        "iou": lambda truth, called, zero_division: (
            jaccard_score(truth, called) if (truth | called).any() else zero_division
        ),
        "sensitivity": recall_score,
        "precision": precision_score,
        "specificity": lambda truth, called, zero_division: recall_score(~truth, ~called, zero_division=zero_division),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, reference in references.items():
            metrics = np.array(
                [
                    [reference(truth, called, zero_division=np.nan) for truth, called in row]
                    for row in planes(prediction, mask, regions)
                ]
            )
            by_class = np.nanmean(metrics, axis=0)
            assert values[name].item() == pytest.approx(by_class.mean(), abs=1e-6)
            for label, value in zip(CLASSES if regions else CLASSES[1:], by_class, strict=True):
                assert values[f"{name}/{label}"].item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("regions", [False, True])
def test_slices_of_a_case_count_together(regions: bool) -> None:
    prediction, mask = masks(2, regions)
    metric = SegmentationMetrics(CLASSES, overlapping=regions)
    metric.update(prediction[:3], mask[:3], ["a", "b", "a"])
    metric.update(prediction[3:], mask[3:], ["b", "a"])
    joined = SegmentationMetrics(CLASSES, overlapping=regions)
    for slices in ([0, 2, 4], [1, 3]):
        # Side by side, the slices of a case are one large image.
        called, true = (torch.cat(list(planes_[slices]), dim=-1)[None] for planes_ in (prediction, mask))
        joined.update(called, true)
    torch.testing.assert_close(metric.compute(), joined.compute())
    alone = SegmentationMetrics(CLASSES, overlapping=regions)
    alone.update(prediction, mask)
    assert metric.compute()["dice"] != alone.compute()["dice"]


def test_empty_and_empty_is_undefined_but_a_false_call_is_not() -> None:
    metric = SegmentationMetrics(["background", "lesion"])
    metric.update(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
    values = metric.compute()
    assert set(values) == {"dice", "iou", "sensitivity", "specificity", "precision"}
    assert math.isnan(values["dice"])
    assert values["specificity"] == 1
    called = torch.zeros(1, 4, 4)
    called[0, 0, 0] = 1
    metric.update(called, torch.zeros(1, 4, 4, dtype=torch.int64))
    assert metric.compute()["dice"] == 0


def test_precision_of_a_lesion_that_is_missed_is_nothing_in_epoch_and_table() -> None:
    """Left out of the mean over cases, missing a lesion altogether would raise it."""
    mask = torch.zeros(2, 4, 4, dtype=torch.int64)
    mask[:, 0] = 1
    called = mask.clone()
    called[1] = 0
    metric = SegmentationMetrics(["background", "lesion"])
    metric.update(called, mask)
    assert metric.compute()["precision"] == 0.5
    pairs = zip(mask.numpy(), called.numpy(), strict=True)
    rows = [case_rows(f"c{n}", true, said, ["background", "lesion"])[0] for n, (true, said) in enumerate(pairs)]
    assert [row["precision"] for row in rows] == [1, 0]


def test_nothing_seen_says_nothing_and_reset_forgets() -> None:
    metric = SegmentationMetrics(CLASSES)
    metric.update(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.int64))
    assert metric.compute() == {}
    metric.update(*masks(3))
    assert metric.compute()
    metric.reset()
    metric.update(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.int64))
    assert metric.compute() == {}
