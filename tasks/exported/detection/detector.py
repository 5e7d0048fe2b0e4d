"""Boxes of images, by an exported detector."""

from __future__ import annotations

from collections.abc import Sequence

from scansuite.errors import SuiteError
from tasks.exported.description import Boxes, Member
from tasks.exported.detection.dense import decode_dense
from tasks.exported.detection.suppression import DecodeSettings, Found
from tasks.exported.detection.two_stage import decode_two_stage
from tasks.exported.images import FloatArray, Runnable, fed, run_images

FASTER_RCNN = "faster_rcnn"
_OUTPUTS = {
    "retinanet": ("logits", "codes"),
    "fcos": ("logits", "codes", "centerness"),
    FASTER_RCNN: ("objectness", "offsets"),
}


class Detector:
    """An exported detector.

    Args:
        model: that runs.

    Attributes:
        settings: of each member.

    Raises:
        SuiteError: a member is no detector that is known here.
    """

    def __init__(self, model: Runnable) -> None:
        self.model, self.about = model, model.description
        self.settings = [
            DecodeSettings(**{**self.about.decoding, **member.own.get("decoding", {})}) for member in self.about.members
        ]
        self._boxes = [_known(member, model.where) for member in self.about.members]

    def found(self, images: FloatArray) -> Sequence[Sequence[Found]]:
        """(B, C, H, W) images -> for each of them what each member found, in its pixels.

        Raises:
            SuiteError: the graph does not take them, or its output is not that of the detector.
        """
        images = fed(self.about, images)
        asked = {
            member.prefix: [*_OUTPUTS[boxes.detector], *self._maps(boxes)]
            for member, boxes in zip(self.about.members, self._boxes, strict=True)
        }
        outputs = run_images(self.model, images, [prefix + name for prefix, names in asked.items() for name in names])
        by_member = []
        for member, boxes, settings in zip(self.about.members, self._boxes, self.settings, strict=True):
            own = {name: outputs.pop(member.prefix + name) for name in asked[member.prefix]}
            by_member.append(self._decoded(own, member.prefix, boxes, settings, (images.shape[2], images.shape[3])))
        return list(zip(*by_member, strict=True))

    def _decoded(
        self, outputs: dict[str, FloatArray], prefix: str, boxes: Boxes, settings: DecodeSettings, size: tuple[int, int]
    ) -> list[Found]:
        def second(regions: FloatArray) -> tuple[FloatArray, FloatArray]:
            maps = {f"{prefix}of_{name}": outputs[name] for name in self._maps(boxes)}
            asked = [f"{prefix}region_logits", f"{prefix}region_codes"]
            said = self.model.run({f"{prefix}regions": regions, **maps}, asked)
            return said[asked[0]], said[asked[1]]

        try:
            if boxes.detector == FASTER_RCNN:
                return decode_two_stage(outputs, boxes, size, settings, second)
            return decode_dense(outputs, boxes, size, settings)
        except ValueError as error:
            raise SuiteError(f"{self.model.where}: {error}: export the model again") from None

    def _maps(self, boxes: Boxes) -> list[str]:
        """Outputs that the second stage looks at: all levels but the coarsest, which proposes alone."""
        return [f"maps.{level}" for level in range(len(boxes.strides) - 1)] if boxes.detector == FASTER_RCNN else []


def _known(member: Member, where: str) -> Boxes:
    if member.boxes is None or member.boxes.detector not in _OUTPUTS:
        named = "none" if member.boxes is None else repr(member.boxes.detector)
        raise SuiteError(f"{where}: its detector ({named}) is not known here: it was exported by a newer version")
    return member.boxes
