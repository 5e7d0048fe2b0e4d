"""Scores of images and of cases of many images, by an exported classifier."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.exported.classification.pooling import pool_logits
from tasks.exported.classification.scores import probabilities
from tasks.exported.classification.spread import spread
from tasks.exported.description import IMAGE, Member
from tasks.exported.images import FloatArray, Runnable, fed, refuse_size, run_images

ATTENTION = "attention"


class Scored(NamedTuple):
    """What a classifier says of B cases.

    Attributes:
        scores: (B, C) probabilities, or (B, 1) numbers of a regression target.
        spread: (B,) how far the members of an ensemble are apart; None of one model.
        weights: (n,) of the images of the one case, where they are weighed.
    """

    scores: NDArray[np.float64]
    spread: NDArray[np.float64] | None
    weights: FloatArray | None = None


class Classifier:
    """An exported classifier.

    Args:
        model: that runs.
        batch_size: images of a case that go through at once.
    """

    def __init__(self, model: Runnable, batch_size: int = 32) -> None:
        self.model, self.about, self.batch_size = model, model.description, batch_size
        names = self.about.class_names
        self.target = self.about.target or ("binary" if len(names) == 2 else "multiclass")
        positive = self.about.positive_class
        self.positive = names.index(positive) if positive in names else 1

    def images(self, images: FloatArray) -> Scored:
        """(B, C, H, W) images, each a case -> their scores.

        Raises:
            SuiteError: the graph does not take them.
        """
        asked = [f"{member.prefix}logits" for member in self.about.members]
        outputs = run_images(self.model, fed(self.about, images), asked)
        return self._together([outputs[name] for name in asked])

    def case(self, images: FloatArray) -> Scored:
        """(n, C, H, W) images of one case -> its scores, and the weights of its images.

        Raises:
            SuiteError: the graph does not take them.
        """
        images = fed(self.about, images)
        members = self.about.members
        pooled = [member for member in members if self._own(member, "aggregate") != ATTENTION]
        weighing = [member for member in members if self._own(member, "aggregate") == ATTENTION]
        single: dict[str, list[FloatArray]] = {member.prefix: [] for member in pooled}
        if pooled:
            for start in range(0, len(images), self.batch_size):
                some = images[start : start + self.batch_size]
                outputs = run_images(self.model, some, [f"{member.prefix}logits" for member in pooled])
                for member in pooled:
                    single[member.prefix].append(outputs[f"{member.prefix}logits"])
        weighed: dict[str, FloatArray] = {}
        if weighing:
            refuse_size(self.model, images)
            asked = [f"{member.prefix}{name}" for member in weighing for name in ("logits", "weights")]
            weighed = self.model.run({IMAGE: images}, asked)
        logits = [
            weighed[f"{member.prefix}logits"]
            if self._own(member, "aggregate") == ATTENTION
            else pool_logits(
                np.concatenate(single[member.prefix]),
                self._own(member, "aggregate"),
                self._own(member, "topk"),
                self.target,
                self.positive,
            )
            for member in members
        ]
        weights = [weighed[f"{member.prefix}weights"].ravel() for member in weighing]
        mean: FloatArray | None = np.stack(weights).mean(axis=0) if weights else None
        return self._together(logits)._replace(weights=mean)

    def _own(self, member: Member, name: str) -> Any:
        return member.own.get(name, getattr(self.about, name))

    def _together(self, logits: list[FloatArray]) -> Scored:
        """The mean of the members' probabilities."""
        every = np.stack(
            [
                probabilities(one, self.target, ordinal=member.ordinal)
                for one, member in zip(logits, self.about.members, strict=True)
            ]
        )
        return Scored(every.mean(axis=0), spread(every, self.target) if len(every) > 1 else None)
