"""Lesion metrics: connected components of the truth that were found, and of the prediction that are false positives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from tasks.evaluation.segmentation.overlap import BoolArray, crop_to_both


@dataclass(frozen=True)
class Lesions:
    """Counts of connected components.

    Attributes:
        true: in the truth.
        predicted: in the prediction.
        found: true ones that share at least one voxel with the prediction.
        matched: pairs of a true and a predicted one, each in one pair at most, that overlap well enough.
    """

    true: int
    predicted: int
    found: int
    matched: int

    @property
    def sensitivity(self) -> float:
        """Share of true lesions found by any overlap; NaN without a true lesion.

        Source: lesion true positive rate of A. Carass et al., Longitudinal multiple sclerosis lesion segmentation,
        NeuroImage 148:77-102, 2017.
        """
        return self.found / self.true if self.true else math.nan

    @property
    def f1(self) -> float:
        """2 matched / (true + predicted); NaN where there is neither.

        Source: J. C. Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl,
        Nature Methods 16:1247-1253, 2019.
        """
        return 2 * self.matched / (self.true + self.predicted) if self.true + self.predicted else math.nan


def match_lesions(
    truth: BoolArray,
    prediction: BoolArray,
    iou_above: float = 0.5,
    connectivity: Literal["face", "full"] = "face",
) -> Lesions:
    """Split two masks into connected components and pair these.

    Pairs are one to one, and as many as can be. From an IoU of 0.5 on there is no choice: two components of a mask do
    not overlap, so at most one has more than half in common with a component of the other mask (A. Kirillov et al.,
    Panoptic segmentation, CVPR 2019).

    Args:
        truth: ``(H, W)`` or ``(I, J, K)``.
        prediction: the same for the model's mask.
        iou_above: two components may be paired when their IoU is above this, 0..1.
        connectivity: voxels of a component touch by a ``face``, or by an edge or corner too (``full``).

    Raises:
        ValueError: the shapes differ.
    """
    truth, prediction = crop_to_both(truth, prediction)
    structure = ndimage.generate_binary_structure(truth.ndim, 1 if connectivity == "face" else truth.ndim)
    of_truth, true = ndimage.label(truth, structure)
    of_prediction, predicted = ndimage.label(prediction, structure)

    both = truth & prediction
    # One number for a pair of components, counted over their common voxels.
    pairs, common = np.unique(
        of_truth[both].astype(np.int64) * (predicted + 1) + of_prediction[both], return_counts=True
    )
    rows, columns = np.divmod(pairs, predicted + 1)
    true_sizes = np.bincount(of_truth.ravel(), minlength=true + 1)
    predicted_sizes = np.bincount(of_prediction.ravel(), minlength=predicted + 1)
    good = common / (true_sizes[rows] + predicted_sizes[columns] - common) > iou_above
    graph = csr_array((np.ones(int(good.sum())), (rows[good], columns[good])), shape=(true + 1, predicted + 1))
    matched = np.count_nonzero(maximum_bipartite_matching(graph) >= 0)
    return Lesions(true=true, predicted=predicted, found=len(np.unique(rows)), matched=int(matched))
