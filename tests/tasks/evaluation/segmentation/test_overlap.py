from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from tasks.evaluation.segmentation.overlap import Overlap, count_overlap, crop_to_both, overlap_metrics
from tests.tasks.evaluation.masks import blobs


@pytest.mark.parametrize("shape", [(17, 23), (9, 12, 7)])
def test_counts_and_metrics_equal_scikit_learn(shape: tuple[int, ...]) -> None:
    truth, prediction = blobs(shape, 0), blobs(shape, 1, share=0.4)
    counts = count_overlap(truth, prediction)
    tn, fp, fn, tp = confusion_matrix(truth.ravel(), prediction.ravel()).ravel()
    assert counts == Overlap(tp=tp, fp=fp, fn=fn, tn=tn)
    assert all(type(count) is int for count in counts)
    values, pair = overlap_metrics(counts), (truth.ravel(), prediction.ravel())
    assert values["dice"] == values["f1"] == pytest.approx(f1_score(*pair), abs=1e-12)
    assert values["iou"] == pytest.approx(jaccard_score(*pair), abs=1e-12)
    assert values["sensitivity"] == pytest.approx(recall_score(*pair), abs=1e-12)
    assert values["specificity"] == pytest.approx(recall_score(~pair[0], ~pair[1]), abs=1e-12)
    assert values["precision"] == pytest.approx(precision_score(*pair), abs=1e-12)
    assert values["volume_difference"] == pytest.approx(prediction.sum() / truth.sum() - 1, abs=1e-12)


def test_unknown_voxels_count_nowhere() -> None:
    truth, prediction, known = blobs((20, 20), 0), blobs((20, 20), 1), ~blobs((20, 20), 2)
    assert count_overlap(truth, prediction, known) == count_overlap(truth[known], prediction[known])
    assert sum(count_overlap(truth, prediction, known)) == known.sum()


def test_by_hand() -> None:
    truth = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    prediction = np.array([[0, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    counts = count_overlap(truth, prediction)
    assert counts == (2, 3, 1, 2)
    assert overlap_metrics(counts) == {
        "dice": 4 / 8, "iou": 2 / 6, "sensitivity": 2 / 3, "specificity": 2 / 5, "precision": 2 / 5, "f1": 4 / 8,
        "volume_difference": 2 / 3,
    }  # fmt: skip


def test_what_is_undefined_is_nan() -> None:
    none, some, full = np.zeros((3, 3), bool), np.eye(3, dtype=bool), np.ones((3, 3), bool)
    nothing = overlap_metrics(count_overlap(none, none))
    assert nothing.pop("specificity") == 1
    assert all(np.isnan(value) for value in nothing.values())
    in_vain = overlap_metrics(count_overlap(none, some))
    assert (in_vain["dice"], in_vain["iou"], in_vain["precision"]) == (0, 0, 0)
    assert np.isnan([in_vain["sensitivity"], in_vain["volume_difference"]]).all()
    missed = overlap_metrics(count_overlap(some, none))
    assert (missed["dice"], missed["sensitivity"], missed["volume_difference"]) == (0, 0, -1)
    assert missed["precision"] == 0
    assert np.isnan(overlap_metrics(count_overlap(full, full))["specificity"])


def test_box_holds_both_masks_and_nothing_more() -> None:
    truth, prediction = np.zeros((8, 9, 10), bool), np.zeros((8, 9, 10), bool)
    truth[2, 3, 4] = prediction[5, 3, 9] = True
    cropped = crop_to_both(truth, prediction)
    assert cropped[0].shape == (4, 1, 6)
    assert [tuple(np.argwhere(mask)[0]) for mask in cropped] == [(0, 0, 0), (3, 0, 5)]
    assert crop_to_both(truth & False, truth & False)[0].size == 0


def test_masks_of_two_grids_are_refused() -> None:
    row, square = np.ones((1, 3), bool), np.ones((3, 3), bool)
    for evaluate in (count_overlap, crop_to_both):
        with pytest.raises(ValueError, match=r"\(1, 3\) and prediction \(3, 3\)"):
            evaluate(row, square)
