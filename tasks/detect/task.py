"""The detection task: backbone, detector, loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from backbones.initialisation import Scheme
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.detect.collect import within_scan
from tasks.detect.detectors import DetectorName, build_detector, detector_strides
from tasks.detect.distillation import imitation, unlike
from tasks.detect.interface import DecodeSettings, Detections, Nms, Raw
from tasks.detect.losses import BoxLoss
from tasks.detect.metrics import DetectionMetrics
from tasks.padding import pad, padded
from tasks.parent_checkpoint import read_parent
from tasks.tile import evaluation_tile

log = logging.getLogger(__name__)

_NOT_FOCAL = "Faster R-CNN trains without the focal loss"


class DetectionTask(Task):
    """Find lesions, cells or organs as boxes.

    Args:
        backbone: any timm network.
        backbone_args: further arguments of the network, as timm takes them (``drop_path_rate``, ...).
        weights: ``imagenet``, a checkpoint of any task, or a ``.pth`` or ``.safetensors`` file; left out: from scratch.
        init: draw the backbone's weights anew by ``kaiming``, ``xavier``, ``normal``, ``truncated_normal`` or
            ``orthogonal``; ``default`` is the network's own scheme.
        freeze: ``backbone`` trains the detector alone.
        stem: ``small`` is 3x3 without pooling; ``auto`` takes that of the checkpoint in ``weights``, else ``standard``.
        detector: ``retinanet``, ``fcos`` or ``faster_rcnn``.
        anchors: ``auto`` takes shapes from the training boxes by k-means; ``default`` are the published ones, made
            smaller for small images; or sizes in pixels, one for each level, or one for the finest.
        small_lesions: begin the pyramid at stride 4, for lesions under some 16 px, as Faster R-CNN always does.
        channels: of the pyramid and the heads, a multiple of 8; their cost grows with its square.
        box_loss: ``auto`` is ``giou`` in FCOS, and ``smooth_l1`` in the others.
        focal_alpha: weight of the boxes against the background in the focal loss.
        focal_gamma: its focusing exponent.
        nms: ``soft`` lowers the scores of overlapping boxes instead of dropping them.
        nms_iou: boxes of one class that overlap more than this are one.
        score_threshold: boxes below it are left out when judging and predicting.
        window: side, or ``H,W``, in pixels of the tiles that large images are judged and predicted by, where training
            took patches; left out: the size of the patches; ``whole``: images of any size at once.
        overlap: share of a tile that the next one covers again.
        froc_iou: overlap from which a box has found a lesion, in FROC.
        num_classes: number of classes, without a background; from the data.
        in_channels: of the images, from the data.
        class_names: in class order, from the data.
        max_detections: boxes an image that are kept, from the data: 1.5 times the most in training, at least 100.
        box_sizes: [width, height] of training boxes, from the data; for ``anchors``.
        input_size: (H, W), from the data.
        preprocess: how stored values become the model's input, from the data; kept for predict and export.
        normalize: see ``--data.normalize``.
        statistics: mean and deviation of the training images, from the data.
        kwargs: see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "detect"
    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("anchors", "FCOS has none", "detector", lambda detector: detector == "fcos"),
        Useless("focal_alpha", _NOT_FOCAL, "detector", lambda detector: detector == "faster_rcnn"),
        Useless("focal_gamma", _NOT_FOCAL, "detector", lambda detector: detector == "faster_rcnn"),
    )
    facts: ClassVar[tuple[str, ...]] = (*Task.facts, "num_classes", "class_names", "max_detections", "box_sizes")

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = None,
        init: Scheme = "default",
        freeze: Literal["backbone"] | None = None,
        stem: Literal["auto", "standard", "small"] = "auto",
        detector: DetectorName = "retinanet",
        anchors: str | list[Any] = "auto",
        small_lesions: bool = False,
        channels: int = 256,
        box_loss: BoxLoss = "auto",
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        nms: Nms = "nms",
        nms_iou: float = 0.5,
        score_threshold: float = 0.001,
        window: int | list[int] | str | None = None,
        overlap: float = 0.25,
        froc_iou: float = 0.5,
        num_classes: int = 1,
        in_channels: int = 3,
        class_names: Sequence[str] | None = None,
        max_detections: int = 100,
        box_sizes: Sequence[Sequence[float]] | None = None,
        input_size: Sequence[int] | None = None,
        preprocess: dict[str, Any] | None = None,
        normalize: str = "none",
        statistics: tuple[list[float], list[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=["box_sizes"])  # what is kept of them are the anchors
        self.class_names = list(class_names or [str(number) for number in range(num_classes)])
        if len(self.class_names) != num_classes:
            raise SuiteError(f"{num_classes} classes, but {len(self.class_names)} class names")
        for flag, value in (("overlap", overlap), ("nms_iou", nms_iou), ("froc_iou", froc_iou)):
            if not 0 <= value < 1:
                raise SuiteError(f"--model.{flag} {value}: must be at least 0 and below 1")
        self.monitor = ("map", "max")
        self.tile, self.overlap = evaluation_tile(window, input_size, preprocess), overlap
        self.max_detections = max_detections
        self.decoding = DecodeSettings(
            score_threshold=score_threshold, nms_iou=nms_iou, nms=nms, max_detections=max_detections
        )

        self.build_normalisation(normalize, backbone, weights=weights, in_channels=in_channels, statistics=statistics)
        # A small stem has no map coarser than stride 8, and detectors read up to 32.
        if stem == "auto" and read_parent(weights) is None:
            stem = "standard"
        self.build_backbone(
            backbone,
            weights=weights,
            init=init,
            freeze=freeze,
            stem=stem,
            in_channels=in_channels,
            input_size=padded(input_size) if input_size else None,
            strides=detector_strides(detector, small_lesions=small_lesions),
            classes=None,
            args=backbone_args,
        )
        self.detector = build_detector(
            detector,
            self.backbone,
            num_classes,
            anchors=anchors,
            box_sizes=box_sizes,
            input_size=input_size,
            channels=channels,
            box_loss=box_loss,
            focal_alpha=focal_alpha,
            focal_gamma=focal_gamma,
        )
        if self.detector.table is not None:  # found in the data, without which a checkpoint is built again
            self.hparams["anchors"] = self.detector.table.shapes
            if box_sizes is not None:
                log.info("%s", self.detector.table)
        # None in training: decoding would cost more than it tells.
        self.metrics = nn.ModuleDict(
            {f"{stage}_metrics": DetectionMetrics(self.class_names, max_detections) for stage in ("val", "test")}
        )

    def forward(self, image: Tensor) -> Raw:
        """(B, C, H, W) in [0, 1], of any size -> what the heads say, for :meth:`loss` and :meth:`decode`.

        Images are padded at the bottom and right to a multiple of 32 by repeating their last pixels.
        """
        image = pad(self.normalize(image))
        raw: Raw = self.detector(image, self.backbone(image))
        return raw

    def loss(self, output: Raw, batch: Batch) -> Tensor:
        """() sum of the detector's losses in float32; 0, with gradients of 0, for a batch without cases."""
        return torch.stack(list(self.detector.loss(output, batch["boxes"], batch["labels"]).values())).sum()

    def imitation(self, output: Raw, wanted: Raw, batch: Batch, teacher: Any, temperature: float) -> Tensor:
        """() divergence from the teacher's classification maps."""
        return imitation(output, wanted, teacher.detector, temperature=temperature)

    def unlike(self, teacher: Any) -> str:
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
        size = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
        found = [
            within_scan(one, scan.get("content_size", size), self.max_detections)
            for one, scan in zip(self.decode(output), batch["scan"], strict=True)
        ]
        metric.update(found, batch["boxes"], batch["labels"], batch.get("ignored"))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Boxes of a batch of pieces, in pixels of each piece."""
        if not batch["scan"]:
            return {"output": [], "batch": batch}
        return {"output": self.decode(self._output(batch["image"])), "batch": batch}
