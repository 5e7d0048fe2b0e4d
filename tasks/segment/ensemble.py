"""Ensemble of segmentation models: the mean of their probability maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median_low
from typing import Any, TypeAlias

from torch import Tensor

from tasks.ensemble import Ensemble, cut
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.predictor import StepOutput
from tasks.segment.task import SegmentationTask


class SegmentationEnsemble(Ensemble[SegmentationTask]):
    """The mean of the members' probabilities, pixel by pixel, before any class is called.

    It is taken of each tile or slice, so that no more than a batch of maps is in memory. What follows is linear up to
    the call (tiles blended, maps resized to the size as stored), so the mask is that of the mean of the members' maps
    of the whole case. Each member has its own test-time augmentation. See :class:`~tasks.ensemble.Ensemble`.

    Attributes:
        overlapping: classes are regions that may overlap.
        tile: see :class:`~tasks.segment.task.SegmentationTask`.
        overlap: likewise.
        cleanup: to begin with what most members do: the largest component where more than half keep that alone, the
            (lower) median of smallest sizes.
    """

    def __init__(self, members: Sequence[SegmentationTask], names: Sequence[str]) -> None:
        super().__init__(members, names)
        first = members[0]
        self.overlapping, self.chooses_cleanup = first.overlapping, first.chooses_cleanup
        self.nsd_tolerance, self.count_lesions = first.nsd_tolerance, first.count_lesions
        self.cleanup = most_agreed([member.cleanup for member in members], self.class_names)

    def shared(self, member: SegmentationTask) -> dict[str, Any]:
        """Classes, how cases are cut, and how they are evaluated."""
        return {
            "classes": member.class_names,
            "overlapping": member.overlapping,
            "the slices of volumes": cut(member),
            "--model.window": member.tile,
            "--model.overlap": member.overlap if member.tile is not None else None,
            "--model.cleanup": "auto" if member.chooses_cleanup else "none",
            "--model.nsd_tolerance": member.nsd_tolerance,
            "--model.count_lesions": member.count_lesions,
        }

    def combined(self, said: Iterator[StepOutput[Tensor]]) -> StepOutput[Tensor]:
        """(B, K, H, W) mean probabilities as ``output``."""
        first = next(said)
        total = first["output"]
        for one in said:
            total = total + one["output"]
        return {"output": total / len(self.members), "batch": first["batch"]}

    def chosen(self) -> dict[str, Any]:
        """The clean-up too."""
        return {**super().chosen(), "cleanup": self.cleanup.to_dict()}

    def adopt(self, chosen: Mapping[str, Any]) -> None:
        """Take the clean-up back too."""
        super().adopt(chosen)
        self.cleanup = CleanUp.from_dict(chosen["cleanup"])


def most_agreed(cleanups: Sequence[CleanUp], class_names: Sequence[str]) -> CleanUp:
    """Clean-up that most members agree on, class by class."""
    largest = tuple(name for name in class_names if 2 * sum(name in one.largest for one in cleanups) > len(cleanups))
    sizes = {name: median_low([one.min_size.get(name, 0.0) for one in cleanups]) for name in class_names}
    return CleanUp(largest, {name: size for name, size in sizes.items() if size > 0})


SegmentationModel: TypeAlias = SegmentationTask | SegmentationEnsemble
