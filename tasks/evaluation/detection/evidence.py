"""What each metric of detection rests on, and the intervals that have a closed form: shares of boxes and AUROC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.evaluation.classification.weighted_scores import Ranking
from tasks.evaluation.detection.boxes import IntArray
from tasks.evaluation.detection.calls import Calls
from tasks.evaluation.detection.coco_map import METRICS as COCO_METRICS
from tasks.evaluation.detection.froc import FALSE_POSITIVES, Froc
from tasks.evaluation.intervals.auroc import auroc_interval, clustered_auroc
from tasks.evaluation.intervals.evidence import Evidence
from tasks.evaluation.intervals.ratios import ratios
from tasks.evaluation.intervals.share import share_intervals

_CURVE = ("froc", *(f"sensitivity@{rate:g}fp" for rate in FALSE_POSITIVES), "patient_froc", "patient_sensitivity@1fp")


def box_evidence(
    whole: Froc,
    curves: Sequence[Froc],
    rankings: Sequence[Ranking],
    calls: Calls | None,
    groups: IntArray,
    class_names: Sequence[str],
) -> dict[str, Evidence]:
    """What is behind the metrics of each class, and behind those of all classes together.

    Args:
        whole: curve of all classes together; its lesions are the true boxes.
        curves: of each class.
        rankings: of the images, of all classes together and of each.
        calls: at the operating points; None = no metrics ``@op``.
        groups: ``(n,)`` patient number of each image, 0..G-1.
        class_names: in class order.
    """
    found: dict[str, Evidence] = {}
    for name, curve, ranking in zip(["", *class_names], (whole, *curves), rankings, strict=True):
        behind = len(np.unique(groups[curve.lesions > 0]))
        own = f"/{name}" if name else ""
        lesions = Evidence(None, behind, int(curve.lesions.sum()))
        found |= {f"{metric}{own}": lesions for metric in (*_CURVE, *(COCO_METRICS if name else ()), "f1@op")}
        area = clustered_auroc(ranking, groups)
        found[f"image_auroc{own}"] = Evidence(
            auroc_interval(area), area.smaller, int(ranking.positive.sum()), area.patients
        )
    if calls is not None:
        there = calls.tp + calls.fn
        for metric, units in (("sensitivity@op", there), ("precision@op", calls.tp + calls.fp)):
            ratio = ratios(np.nan_to_num(calls.tp), np.nan_to_num(units), groups)
            for k, (name, ends) in enumerate(zip(class_names, share_intervals(ratio), strict=True)):
                boxes = int(np.nan_to_num(there[:, k]).sum())
                found[f"{metric}/{name}"] = Evidence(ends, int(ratio.patients[k]), boxes)
    return found
