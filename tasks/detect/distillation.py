"""Distillation of dense detectors: distance of a student's classification maps from a teacher's."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from tasks.compression.divergence import sigmoid_divergence
from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.interface import Detector, Raw
from tasks.detect.losses import shares


def unlike(detector: Detector, teacher: Detector) -> str:
    """Why the outputs of two detectors cannot be compared place by place; empty where they can."""
    kinds = [type(one).__name__ for one in (detector, teacher)]
    if not isinstance(detector, DenseDetector) or not isinstance(teacher, DenseDetector):
        return f"the regions of {kinds[0]} and {kinds[1]} are not the same ones: take --model.distill_alpha 0 with " \
               "--model.distill_features 1"  # fmt: skip
    if kinds[0] != kinds[1]:
        return f"it is a {kinds[1]} and the student a {kinds[0]}: take the same --model.detector"
    if detector.strides != teacher.strides:
        return f"its levels have strides {teacher.strides}, the student's {detector.strides}: see --model.small_lesions"
    if detector.anchors != teacher.anchors:
        return f"its anchors differ: give them to the student: --model.anchors '{teacher.anchors}'"
    return ""


def imitation(raw: Raw, wanted: Raw, teacher: Detector, *, temperature: float) -> Tensor:
    """The divergence of each class at each place, weighted by how far the two scores are apart.

    The weight |p - q| is that of the quality focal loss (Li et al., NeurIPS 2020) as Wang et al. (CrossKD, CVPR 2024)
    use it for teachers: where student and teacher agree on background, which is nearly everywhere, nothing is paid. The
    sum is divided by the teacher's quality: its highest score at each place (in FCOS with centerness), added up over
    the places of all ranks' images, and at least 1.

    Args:
        raw: of the student.
        wanted: of the teacher, for the same anchors.
        teacher: which says what a score is.
        temperature: by which logits are divided; the divergence is multiplied by its square.

    Returns:
        () float32.
    """
    own, target = cast("DenseRaw", raw.float()), cast("DenseRaw", wanted.detach().float())
    student, guide = own.logits / temperature, target.logits / temperature
    weight = (student.sigmoid() - guide.sigmoid()).abs()
    total = (weight * sigmoid_divergence(student, guide)).sum() * temperature**2
    quality = cast("DenseDetector", teacher).scores(target).amax(dim=2).sum()
    return total / shares(quality[None])[0]
