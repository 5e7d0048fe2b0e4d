"""What maps of a segmentation model explain: a class, over the pixels that are called it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from scansuite.errors import SuiteError
from tasks.explain.explainer import Explainer, of_classes
from tasks.explain.targets import Scorer, Target
from tasks.segment.assemble import call_classes
from tasks.segment.task import SegmentationTask


class SegmentationExplainer(Explainer[SegmentationTask]):
    """One image as a segmentation model sees it.

    The number of a class is the sum of its logits over a region, the pixels that are called it in this image; the
    region stays while the image changes. Source: Vinogradova, Dibrov and Myers, "Towards interpretable semantic
    segmentation via gradient-weighted class activation mapping", AAAI 2020.

    Args:
        model: with its weights.
        images: see :class:`~tasks.explain.explainer.Explainer`.
    """

    pads = True

    @classmethod
    def targets(cls, members: Sequence[Self], asked: Sequence[str | Target] | None) -> list[Target]:
        """The classes that are called in the image but the background, or those asked for."""
        model = members[0].model
        names, overlapping = model.class_names, model.overlapping
        with torch.no_grad():
            scores = torch.stack([one.model.scores(one.forward(one.images[:1])).cpu() for one in members]).mean(dim=0)
        called = call_classes(scores, overlapping=overlapping)[0].numpy()

        def region(number: int) -> np.ndarray:
            return np.asarray(called[number] == 1 if overlapping else called == number)

        found: list[Target] = []
        for one in range(0 if overlapping else 1, len(names)) if asked is None else asked:
            if isinstance(one, Target):
                found.append(one)
                continue
            number = one if isinstance(one, int) else of_classes(names, one)
            if (pixels := region(number)).any():
                found.append(Target(names[number], names[number], region=pixels))
            elif asked is not None:
                raise SuiteError(f"target {one!r}: no pixel of this image is called it: name another class")
        return found

    def scorer(self, target: Target) -> Scorer:
        """The target as functions of (B, K, H, W) logits.

        Raises:
            SuiteError: it has no region.
        """
        number = of_classes(self.model.class_names, target.label)
        if target.region is None or not target.region.any():
            raise SuiteError(f"target {target.name!r}: it has no pixels: give the region whose class is explained")
        region = torch.from_numpy(target.region).to(self.images.device)
        return Scorer(
            lambda output: output[:, number][:, region].sum(dim=1),
            lambda output: self.model.scores(output)[:, number][:, region].mean(dim=1),
        )

    def layers(self) -> list[str]:
        """The levels of the backbone that the decoder reads."""
        return ["backbone"]

    def forward(self, images: Tensor, index: int = 0) -> Tensor:
        """(B, K, H, W) logits."""
        output: Tensor = self.model(images)
        self.model._coarser = []  # under deep supervision they would keep the graph
        return output
