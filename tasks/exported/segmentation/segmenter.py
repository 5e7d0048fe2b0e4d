"""Probability maps of images, by an exported segmentation model."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.exported.classification.scores import sigmoid, softmax
from tasks.exported.images import FloatArray, Runnable, fed, run_images
from tasks.exported.segmentation.maps import averaged


class Segmenter:
    """An exported segmentation model.

    Args:
        model: that runs.
    """

    def __init__(self, model: Runnable) -> None:
        self.model, self.about = model, model.description
        self._by_mode: dict[str, list[str]] = {}  # prefixes of the members that see the same mirror images
        for member in self.about.members:
            self._by_mode.setdefault(str(member.own.get("tta", self.about.tta)), []).append(member.prefix)

    def probabilities(self, images: FloatArray) -> FloatArray:
        """(B, C, H, W) images -> (B, K, H, W) probabilities, the mean of those of the members and of mirror images.

        Raises:
            SuiteError: the graph does not take them.
        """
        sums = [
            averaged(lambda some, own=prefixes: self._sum(some, own), images, mode)  # type: ignore[misc]
            for mode, prefixes in self._by_mode.items()
        ]
        total = sums[0]
        for one in sums[1:]:
            total += one
        if len(self.about.members) > 1:
            total /= len(self.about.members)
        return total

    def _sum(self, images: FloatArray, prefixes: Sequence[str]) -> FloatArray:
        """The sum of the probabilities of some members."""
        height, width = images.shape[2:]
        asked = [f"{prefix}logits" for prefix in prefixes]
        outputs = run_images(self.model, fed(self.about, images), asked)
        total: FloatArray | None = None
        for name in asked:
            logits = outputs.pop(name)[..., :height, :width]
            own = sigmoid(logits) if self.about.overlapping else softmax(logits, axis=1)
            total = own if total is None else total + own
        assert total is not None  # an ensemble has members
        return total
