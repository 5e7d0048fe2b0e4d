"""Export of segmentation models: their graphs, and what an exported file says of them."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import Tensor, nn

from tasks.export.exporter import Exporter
from tasks.export.feeding import Said
from tasks.export.graph import Levels
from tasks.export.tally import Tally
from tasks.exported.description import Member
from tasks.padding import MULTIPLE
from tasks.segment.ensemble import SegmentationModel
from tasks.segment.task import SegmentationTask


class SegmenterGraph(nn.Module):
    """A segmentation model as it is exported.

    Args:
        model: trained.
    """

    def __init__(self, model: SegmentationTask) -> None:
        super().__init__()
        # An image is standardised before it is filled up, and it is filled up outside.
        self.normalize: nn.Module = nn.Identity() if model.normalize.per_image else model.normalize
        self.backbone, self.decoder = Levels(model.backbone), model.decoder

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, C, H, W) in [0, 1], both sides multiples of 32 -> (B, K, H, W) logits."""
        image = self.normalize(image)
        return (self.decoder(image, self.backbone(image))[0],)


class SegmentationExporter(Exporter[SegmentationTask]):
    """Export of a segmentation model; see :class:`~tasks.export.exporter.Exporter`."""

    multiple: ClassVar[int] = MULTIPLE

    def unfit(self, member: SegmentationTask) -> str:
        """All can be exported."""
        return ""

    def own(self, member: SegmentationTask) -> dict[str, Any]:
        """Whether mirror images are averaged."""
        return {"tta": member.tta}

    def network(self, member: SegmentationTask) -> nn.Module:
        """See :class:`SegmenterGraph`."""
        return SegmenterGraph(member)

    def outputs(self, member: SegmentationTask) -> list[str]:
        """``logits``."""
        return ["logits"]

    def member(self, member: SegmentationTask, prefix: str) -> Member:
        """See :class:`~tasks.exported.description.Member`."""
        return Member(prefix)

    def facts(self) -> dict[str, Any]:
        """What masks are like, and how they are cleaned."""
        model = cast("SegmentationModel", self.model)
        return {"overlapping": model.overlapping, "cleanup": model.cleanup.to_dict()}

    def reference(self, member: SegmentationTask, image: Tensor) -> dict[str, Tensor]:
        """See :meth:`~tasks.export.exporter.Exporter.reference`."""
        return {"logits": member(image)}

    def output(self, member: SegmentationTask, found: Said, image: Tensor) -> Tensor:
        """See :meth:`~tasks.export.exporter.Exporter.output`."""
        return found["logits"]

    def compare_member(self, tally: Tally, member: SegmentationTask, image: Tensor, found: Said) -> None:
        """``logits``, and the ``masks`` that they call."""
        wanted = self.reference(member, image)["logits"]
        tally.largest("logits", wanted, found["logits"], relative=True)
        ours, theirs = (member.predictions(logits) for logits in (wanted, found["logits"]))
        tally.share("masks", float((ours != theirs).sum()), ours.numel())
