"""The detection task: backbone, detector, loss."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from datamodules.types import Batch, ScanInfo
from datamodules.useless import Useless, left_out
from scansuite.errors import SuiteError
from scansuite.own_parts import Part, is_path, refuse_arguments
from tasks.base import Task
from tasks.batches import no_case
from tasks.detect.collect import calibrated, within_scan
from tasks.detect.detectors import DetectorName, build_detector, detector_strides
from tasks.detect.distillation import imitation, unlike
from tasks.detect.interface import DecodeSettings, Detections, Nms, Raw
from tasks.detect.losses import BoxLoss
from tasks.detect.metrics import DetectionMetrics
from tasks.detect.own_losses import OwnBoxLoss, OwnClassLoss
from tasks.evaluation.calibration.calibration import Method, read_method
from tasks.evaluation.operating_rules import F1, read_rule
from tasks.own.loader_batches import check_classes, check_shape
from tasks.own.parts import OwnPart
from tasks.padding import pad
from tasks.predictor import PartialOutput, StepOutput
from tasks.steps import Stage
from tasks.tile import evaluation_tile
from tasks.training.settings import within

log = logging.getLogger(__name__)

_NOT_FOCAL = "Faster R-CNN trains without the focal loss"


class DetectionTask(Task):
    """Find lesions, cells or organs as boxes.

    Args:
        detector: ``retinanet``, ``fcos`` or ``faster_rcnn``; or the dotted path of one of your own (docs/extending.md).
        detector_args: arguments of a detector of your own; left out: none.
        anchors: ``auto`` takes shapes from the training boxes by k-means; ``default`` are the published ones, made
            smaller for small images; or sizes in pixels, one for each level, or one for the finest.
        small_lesions: begin the pyramid at stride 4, for lesions under some 16 px, as Faster R-CNN always does.
        channels: channels of the pyramid and the heads, a multiple of 8; their cost grows with its square.
        box_loss: ``auto`` is ``giou`` in FCOS, and ``smooth_l1`` in the others; or the dotted path of one of your own
            (docs/extending.md).
        box_loss_args: arguments of a loss of boxes of your own; left out: none.
        class_loss: the dotted path of a loss of classes of your own, instead of the focal loss of RetinaNet and FCOS;
            left out: that one.
        class_loss_args: arguments of a loss of classes of your own; left out: none.
        focal_alpha: weight (0 to 1) of the boxes against the background in the focal loss.
        focal_gamma: focusing exponent of the focal loss; 0 is cross-entropy.
        nms: what becomes of overlapping boxes of a class: ``nms`` drops all but the highest-scoring, ``soft`` lowers
            their scores.
        nms_iou: overlap (IoU, 0 to 1) above which boxes of one class are one.
        score_threshold: score (0 to 1) below which boxes are left out when evaluating and predicting.
        window: side, or ``H,W``, in pixels of the tiles that large images are evaluated and predicted by, where
            training took patches; left out: the size of the patches; ``whole``: images of any size at once.
        overlap: share (0 to 1) of a tile that the next one covers again.
        froc_iou: overlap (IoU, 0 to 1) from which a box has found a lesion, in FROC.
        operating_point: rule by which the score of a call of each class is chosen, on validation, at an overlap of 0.5:
            ``f1``, ``sensitivity>=0.95``, ``precision>=0.8``, ``fp<=1`` (false boxes an image) or ``cost 1:10`` (a
            false call : a missed box), with numbers of your own.
        calibration: method by which the scores of each class become shares of boxes that are right, at an overlap of
            0.5, fitted on validation before the operating point is chosen, and kept in the checkpoint
            (docs/calibration.md).
        num_classes: number of classes, without a background; from the data.
        max_detections: boxes an image that are kept, from the data: 1.5 times the most in training, at least 100.
        box_sizes: [width, height] of training boxes, from the data; for ``anchors``.
        kwargs: network, training and further facts of the data; see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "detect"
    targets: ClassVar[tuple[str, ...]] = ("boxes", "labels")
    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("detector_args", "they are of a detector of your own", "detector", lambda name: not is_path(name)),
        Useless("box_loss_args", "they are of a loss of your own", "box_loss", lambda loss: not is_path(loss)),
        Useless("class_loss_args", "they are of a loss of your own", "class_loss", left_out),
        Useless("anchors", "FCOS has none", "detector", lambda detector: detector == "fcos"),
        Useless("focal_alpha", _NOT_FOCAL, "detector", lambda detector: detector == "faster_rcnn"),
        Useless("focal_gamma", _NOT_FOCAL, "detector", lambda detector: detector == "faster_rcnn"),
    )
    facts: ClassVar[tuple[str, ...]] = (*Task.facts, "max_detections", "box_sizes")
    unsaved: ClassVar[tuple[str, ...]] = ("box_sizes",)  # what is kept of them are the anchors
    pads: ClassVar[bool] = True
    behind_backbone: ClassVar[tuple[str, ...]] = (
        "detector", "detector_args", "channels", "small_lesions", "anchors",
    )  # fmt: skip
    own_parts: ClassVar[tuple[OwnPart, ...]] = (
        OwnPart(
            "detector",
            ("num_classes", "input_size", "channels", "anchors", "box_sizes", "focal_alpha", "focal_gamma"),
            withheld=("backbone",),
        ),
        OwnPart("box_loss"),
        OwnPart("class_loss"),
    )

    def __init__(
        self,
        *args: Any,
        detector: DetectorName | Part = "retinanet",
        detector_args: dict[str, Any] | None = None,
        anchors: str | list[Any] = "auto",
        small_lesions: bool = False,
        channels: int = 256,
        box_loss: BoxLoss | Part = "auto",
        box_loss_args: dict[str, Any] | None = None,
        class_loss: Part | None = None,
        class_loss_args: dict[str, Any] | None = None,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        nms: Nms = "nms",
        nms_iou: float = 0.5,
        score_threshold: float = 0.001,
        window: int | list[int] | str | None = None,
        overlap: float = 0.25,
        froc_iou: float = 0.5,
        operating_point: str = F1.text,
        calibration: Method = "none",
        num_classes: int = 1,
        max_detections: int = 100,
        box_sizes: Sequence[Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, num_classes=num_classes, **kwargs)
        for flag, value in (("overlap", overlap), ("nms_iou", nms_iou), ("froc_iou", froc_iou)):
            within(flag, value, "at least 0 and below 1", 0 <= value < 1)
        self.monitor = ("map", "max")
        self.operating_rule = read_rule(operating_point, "boxes")
        self.calibration_method = read_method(calibration)
        self.tile, self.overlap = evaluation_tile(window, self.input_size, self.preprocess), overlap
        self.max_detections, self.froc_iou = max_detections, froc_iou
        self.decoding = DecodeSettings(
            score_threshold=score_threshold, nms_iou=nms_iou, nms=nms, max_detections=max_detections
        )

        for flag, part, part_args in (
            ("detector", detector, detector_args), ("box_loss", box_loss, box_loss_args),
            ("class_loss", class_loss or "", class_loss_args),
        ):  # fmt: skip
            if not is_path(part):
                refuse_arguments(flag, part, part_args)
        self.build_network(detector_strides(detector, small_lesions=small_lesions))
        self.detector = build_detector(
            detector,
            self.backbone,
            num_classes,
            args=detector_args,
            anchors=anchors,
            box_sizes=box_sizes,
            input_size=self.input_size,
            channels=channels,
            box_loss=OwnBoxLoss(box_loss, box_loss_args) if is_path(box_loss) else str(box_loss),
            class_loss=None if class_loss is None else OwnClassLoss(class_loss, class_loss_args),
            focal_alpha=focal_alpha,
            focal_gamma=focal_gamma,
        )
        if self.detector.table is not None:  # found in the data, without which a checkpoint is built again
            self.hparams.update(anchors=self.detector.table.shapes)
            if box_sizes is not None:
                log.info("%s", self.detector.table)
        self.build_metrics()

    def unlike_parent(self, made: Mapping[str, Any]) -> str:
        """See :meth:`~tasks.base.Task.unlike_parent`; heads say how a box differs from an anchor."""
        other = self.detector.table is not None and made.get("anchors") != self.detector.anchors
        return super().unlike_parent(made) or ("other anchors" if other else "")

    def kind(self) -> str:
        """The detector."""
        return type(self.detector).__name__

    def configure_metrics(self) -> dict[Stage, Metric]:
        """Average precision and recall; none in training: decoding would cost more than it tells."""
        return {stage: DetectionMetrics(self.class_names, self.max_detections) for stage in ("val", "test")}

    def forward(self, image: Tensor) -> Raw:
        """(B, C, H, W) in [0, 1], of any size -> what the heads say, for :meth:`loss` and :meth:`decode`.

        Images are padded at the bottom and right to a multiple of 32 by repeating their last pixels.
        """
        image = pad(self.normalize(image))
        raw: Raw = self.detector(image, self.backbone(image))
        return raw

    def check_targets(self, batch: Batch, *, values: bool) -> None:
        """See that each image has (n, 4) boxes and (n,) class numbers."""
        for key in self.targets:
            given: Any = batch[key]  # type: ignore[literal-required]
            if len(given) != len(batch["image"]):
                raise SuiteError(f"a batch of the loader has {key} of {len(given)} images, but {len(batch['image'])}")
        for boxes, labels in zip(batch["boxes"], batch["labels"], strict=True):
            check_classes("labels", labels, (len(boxes),), self.num_classes, look=values)
            if not len(boxes):
                continue
            check_shape("boxes", boxes, (len(boxes), 4))
            if values and not (boxes[:, 2:] > boxes[:, :2]).all():
                raise SuiteError("a batch of the loader has a box without area: expected x1, y1, x2, y2 in pixels")

    def loss(self, output: Raw, batch: Batch) -> Tensor:
        """() sum of the detector's losses in float32; 0, with gradients of 0, for a batch without cases."""
        return torch.stack(list(self.detector.loss(output, batch["boxes"], batch["labels"]).values())).sum()

    def imitation(self, output: Raw, wanted: Raw, batch: Batch, teacher: Self, temperature: float) -> Tensor:
        """() divergence from the teacher's classification maps."""
        return imitation(output, wanted, teacher.detector, temperature=temperature)

    def unlike(self, teacher: Self) -> str:
        """See :meth:`~tasks.compression.compressible.Compressible.unlike`."""
        return super().unlike(teacher) or unlike(self.detector, teacher.detector)

    def output_layers(self) -> list[nn.Module]:
        """Those that the detector names."""
        return self.detector.output_layers()

    @torch.no_grad()
    def decode(self, output: Raw) -> list[Detections]:
        """Boxes of each image of a batch, in its pixels."""
        return self.detector.decode(output, self.decoding)

    def update_metrics(self, metric: Metric, output: Raw, batch: Batch) -> None:
        """Show found and true boxes to the metrics of a stage."""
        metric.update(self._found(output, batch), batch["boxes"], batch["labels"], batch.get("ignored"))

    def _found(self, output: Raw, batch: Batch) -> list[Detections]:
        """Boxes of each image of a batch, within what shows the scan."""
        size = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
        decoded = self.decode(output)
        scans = batch.get("scan") or [ScanInfo()] * len(decoded)
        return [
            within_scan(one, scan.get("content_size", size), self.max_detections)
            for one, scan in zip(decoded, scans, strict=True)
        ]

    def metric_inputs(self, output: Raw, batch: Batch) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        """As torchmetrics has them: ``boxes``, ``scores``, ``labels`` of each image; true ``boxes`` and ``labels``."""
        found = [{**one._asdict(), "scores": one.scores.float()} for one in self._found(output, batch)]
        pairs = zip(batch["boxes"], batch["labels"], strict=True)
        return found, [{"boxes": boxes, "labels": labels} for boxes, labels in pairs]

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[list[Detections]]:
        """Boxes of a batch of pieces, in pixels of each piece."""
        if no_case(batch):
            return {"output": [], "batch": batch}
        return self.told({"output": self.decode(self._output(batch["image"])), "batch": batch})

    def meaning(self, output: list[Detections], batch: Batch) -> PartialOutput:
        """``boxes`` of each image, in pixels of what shows the scan, with calibrated scores where the model is."""
        height, width = batch["image"].shape[-2:]
        sizes = [scan.get("content_size", (height, width)) for scan in batch.get("scan", [])] or [(height, width)]
        pairs = zip(output, sizes * (len(output) // len(sizes)), strict=True)
        boxes = [within_scan(found, size, self.max_detections) for found, size in pairs]
        return {"boxes": [calibrated(found, self.calibration, self.class_names) for found in boxes]}
