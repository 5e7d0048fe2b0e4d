"""The segmentation task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from backbones.initialisation import Scheme
from datamodules.cases.sides import sided_names
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.batches import case_ids
from tasks.padding import pad, padded
from tasks.parent_checkpoint import read_parent
from tasks.segment.assemble import call_classes
from tasks.segment.cleanup import CleanUp
from tasks.segment.decoders import DecoderName, ask_backbone, build_decoder
from tasks.segment.distillation import imitation
from tasks.segment.losses import LossName, SegmentationLoss
from tasks.segment.metrics import SegmentationMetrics
from tasks.segment.tta import Tta, averaged
from tasks.tile import evaluation_tile

log = logging.getLogger(__name__)

UNKNOWN = 255  # value of pixels without annotation, where the data say no other


class SegmentationTask(Task):
    """A class for each pixel, or several where regions overlap.

    Args:
        backbone: any timm network.
        backbone_args: further arguments of the network, as timm takes them (``drop_path_rate``, ...).
        weights: ``imagenet``, a checkpoint of any task, or a ``.pth`` or ``.safetensors`` file; left out: from scratch.
        init: draw the backbone's weights anew by ``kaiming``, ``xavier``, ``normal``, ``truncated_normal`` or
            ``orthogonal``; ``default`` is the network's own scheme.
        freeze: ``backbone`` trains the decoder alone.
        stem: ``small`` is 3x3 without pooling; ``auto`` takes that of the checkpoint in ``weights``, else ``standard``.
        decoder: ``unet`` or another one of segmentation-models-pytorch.
        decoder_args: further arguments of the decoder, as the library takes them (``decoder_channels``, ...).
        dropout: chance of dropping a channel of the decoder's last map in training.
        deep_supervision: train coarser maps of the decoder too (``unet``, ``linknet``, ``manet``).
        loss: ``dice_ce`` is the sum of Dice loss and cross-entropy.
        class_weights: one number a class, background first.
        label_smoothing: share of the target spread over all classes, in ``cross_entropy`` and ``dice_ce``.
        batch_dice: overlap from the sums over the whole batch; else by image.
        focal_gamma: focusing exponent of the focal losses; left out: 2 for ``focal``, 0.75 for ``focal_tversky``.
        tversky_alpha: weight of false calls in the Tversky losses; misses have the rest to 1.
        boundary_weight: of the boundary term in the ``boundary`` loss.
        window: side, or ``H,W``, in pixels of the tiles that large images are judged and predicted by, where training
            took patches; left out: the size of the patches; ``whole``: images of any size at once.
        overlap: share of a tile that the next one covers again; tiles are blended with Gaussian weights.
        tta: test-time augmentation: ``flips`` averages over the four mirror images; not where classes have sides.
        cleanup: ``auto`` chooses on validation, class by class, whether to keep the largest component alone or to drop
            small ones.
        nsd_tolerance: mm (pixels, where the spacing is unknown) of the normalised surface Dice.
        count_lesions: judge connected components too: ``lesion_sensitivity`` and ``lesion_f1``.
        num_classes: classes with background, or regions, from the data.
        in_channels: from the data.
        class_names: background first, or the regions, from the data.
        overlapping: masks have one plane for each region, from the data.
        ignore_index: value of pixels without annotation, from the data; 255 where it is None.
        input_size: (H, W), from the data.
        slices: how volumes are cut, from the data; kept for predict and export.
        has_sides: whether a mirrored image may show another class, from the data; None in models that were trained
            before this was asked.
        preprocess: how stored values become the model's input, from the data; kept for predict and export.
        normalize: see ``--data.normalize``.
        statistics: mean and deviation of the training images, from the data.
        kwargs: see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "segment"
    facts: ClassVar[tuple[str, ...]] = (
        *Task.facts, "num_classes", "class_names", "overlapping", "ignore_index", "slices", "has_sides",
    )  # fmt: skip

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("tversky_alpha", "it is of the Tversky losses", "loss", lambda loss: "tversky" not in loss),
        Useless("boundary_weight", "it is of --model.loss boundary", "loss", lambda loss: loss != "boundary"),
    )

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = None,
        init: Scheme = "default",
        freeze: Literal["backbone"] | None = None,
        stem: Literal["auto", "standard", "small"] = "auto",
        decoder: DecoderName = "unet",
        decoder_args: dict[str, Any] | None = None,
        dropout: float = 0.0,
        deep_supervision: bool = False,
        loss: LossName = "dice_ce",
        class_weights: list[float] | None = None,
        label_smoothing: float = 0.0,
        batch_dice: bool = True,
        focal_gamma: float | None = None,
        tversky_alpha: float = 0.3,
        boundary_weight: float = 1.0,
        window: int | list[int] | str | None = None,
        overlap: float = 0.5,
        tta: Tta = "none",
        cleanup: Literal["none", "auto"] = "none",
        nsd_tolerance: float = 1.0,
        count_lesions: bool = False,
        num_classes: int = 2,
        in_channels: int = 3,
        class_names: Sequence[str] | None = None,
        overlapping: bool = False,
        ignore_index: int | None = None,
        input_size: Sequence[int] | None = None,
        slices: dict[str, Any] | None = None,
        has_sides: bool | None = None,
        preprocess: dict[str, Any] | None = None,
        normalize: str = "none",
        statistics: tuple[list[float], list[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.overlapping = overlapping
        self.ignore_index = UNKNOWN if ignore_index is None else ignore_index
        self.class_names = list(class_names or [str(number) for number in range(num_classes)])
        self.monitor = ("dice", "max")
        least = 1 if overlapping else 2
        if len(self.class_names) != num_classes:
            raise SuiteError(f"{num_classes} classes, but {len(self.class_names)} class names")
        if not least <= num_classes <= 255:
            raise SuiteError(f"{num_classes} classes ({', '.join(self.class_names[:5])}): masks hold {least} to 255")
        if 0 <= self.ignore_index < max(num_classes, 2):
            raise SuiteError(f"value {self.ignore_index} of the masks stands for a class and for unknown: take 255")
        if not 0 <= overlap < 1:
            raise SuiteError(f"--model.overlap {overlap}: must be at least 0 and below 1")
        if not nsd_tolerance > 0:
            raise SuiteError(f"--model.nsd_tolerance {nsd_tolerance}: must be above 0")
        self.tile = evaluation_tile(window, input_size, preprocess)
        if tta != "none":
            _check_mirrors(self.class_names, has_sides)
        self.overlap, self.tta = overlap, tta
        self.cleanup = CleanUp()

        self.criterion = SegmentationLoss(
            num_classes,
            loss,
            overlapping=overlapping,
            ignore_index=self.ignore_index,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            batch_dice=batch_dice,
            gamma=focal_gamma,
            alpha=tversky_alpha,
            boundary_weight=boundary_weight,
        )
        self.build_normalisation(normalize, backbone, weights=weights, in_channels=in_channels, statistics=statistics)
        strides, wanted = ask_backbone(decoder, backbone)
        # A small stem has no map coarser than stride 8, and decoders read up to 32.
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
            strides=strides,
            classes=None,
            args={**wanted, **(backbone_args or {})},
        )
        self.decoder = build_decoder(
            decoder,
            self.backbone,
            num_classes,
            input_size=input_size,
            dropout=dropout,
            deep_supervision=deep_supervision,
            args=decoder_args,
        )
        kind: dict[str, Any] = {"overlapping": overlapping, "ignore_index": self.ignore_index}
        self.metrics = nn.ModuleDict(
            {f"{stage}_metrics": SegmentationMetrics(self.class_names, **kind) for stage in ("train", "val", "test")}
        )
        self._coarser: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1], of any size -> (B, num_classes, H, W) logits.

        Images are padded at the bottom and right to a multiple of 32 by repeating their last pixels.
        """
        height, width = image.shape[-2:]
        image = pad(self.normalize(image))
        logits: Tensor
        logits, *self._coarser = self.decoder(image, self.backbone(image))
        return logits[..., :height, :width]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """() loss of the batch in float32; while training under deep supervision, of the coarser maps too."""
        coarser, self._coarser = self._coarser, []
        loss: Tensor = self.criterion(output, batch["mask"], coarser)
        return loss

    def imitation(self, output: Tensor, wanted: Tensor, batch: Batch, teacher: Any, temperature: float) -> Tensor:
        """() divergence from the teacher's (B, num_classes, H, W) logits, over known pixels."""
        kind: dict[str, Any] = {"overlapping": self.overlapping, "ignore_index": self.ignore_index}
        return imitation(output, wanted, batch["mask"], **kind, temperature=temperature)

    def unlike(self, teacher: Any) -> str:
        """See :meth:`~tasks.compression.compressible.Compressible.unlike`."""
        if self.overlapping != teacher.overlapping:
            return "regions overlap in one and not in the other"
        return super().unlike(teacher)

    def output_layers(self) -> list[nn.Module]:
        """The convolutions that make logits."""
        return list(self.decoder.heads)

    def scores(self, output: Tensor) -> Tensor:
        """(B, num_classes, H, W) logits -> probabilities in float32, that add up to 1 unless regions overlap."""
        output = output.detach().float()
        return output.sigmoid() if self.overlapping else output.softmax(dim=1)

    def predictions(self, output: Tensor) -> Tensor:
        """(B, num_classes, H, W) logits -> (B, H, W) uint8 class numbers, or (B, L, H, W) uint8 regions of 0 and 1."""
        if self.overlapping:
            return (output > 0).to(torch.uint8)
        return call_classes(output, overlapping=False)

    def update_metrics(self, metric: Metric, output: Tensor, batch: Batch) -> None:
        """Show called and true masks to the metrics of a stage."""
        metric.update(self.predictions(output), batch["mask"], case_ids(batch["scan"]))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Probabilities (B, num_classes, H, W) and cases of a batch of pieces."""
        if not batch["scan"]:
            return {"output": batch["image"], "batch": batch}
        output = averaged(lambda image: self.scores(self._output(image)), batch["image"], self.tta)
        return {"output": output, "batch": batch}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clean-up that was chosen on validation."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["scansuite"]["cleanup"] = self.cleanup.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the clean-up back."""
        super().on_load_checkpoint(checkpoint)
        self.cleanup = CleanUp.from_dict(checkpoint.get("scansuite", {}).get("cleanup", {}))


def _check_mirrors(class_names: Sequence[str], has_sides: bool | None) -> None:
    """Refuse mirror images of classes that have sides; say so of an old model that takes them.

    Raises:
        SuiteError: the data have such classes.
    """
    if has_sides:
        raise SuiteError(
            "--model.tta flips mirrors images, but classes have sides: leave it out, or give --data.sided false if a "
            "mirror image shows the same class"
        )
    names = sided_names(class_names) if has_sides is None else []
    if names:
        log.warning("--model.tta flips mirrors images, and classes of this model have sides: %s", ", ".join(names[:4]))
