"""The segmentation task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchmetrics import Metric

from backbones.checkpointing import CountedOnce
from datamodules.samples.slices import SliceSpec
from datamodules.types import Batch
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from scansuite.own_parts import Part, is_path, refuse_arguments
from tasks.base import Task
from tasks.batches import case_ids, no_case
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.own.loader_batches import check_classes, check_shape
from tasks.own.parts import OwnPart
from tasks.padding import pad
from tasks.predictor import PartialOutput, StepOutput
from tasks.segment.assemble import call_classes
from tasks.segment.decoders import DecoderName, ask_backbone, build_decoder
from tasks.segment.distillation import imitation
from tasks.segment.losses import LossName, OwnSegmentationLoss, SegmentationLoss
from tasks.segment.metrics import SegmentationMetrics
from tasks.segment.tta import averaged
from tasks.steps import Stage
from tasks.tile import evaluation_tile
from tasks.training.settings import within
from tasks.views import Tta, check_mirrors

UNKNOWN = 255  # value of pixels without annotation, where the data say no other


class SegmentationTask(Task):
    """A class for each pixel, or several where regions overlap.

    ``class_names`` are the background and the classes, or the regions alone.

    Args:
        decoder: a decoder of segmentation-models-pytorch; or the dotted path of one of your own (docs/extending.md).
        decoder_args: further arguments of the decoder, as the library takes them (``decoder_channels``, ...); left out:
            its own defaults.
        dropout: chance (0 to 1) of dropping a channel of the decoder's last map in training.
        deep_supervision: train coarser maps of the decoder too (``unet``, ``linknet``, ``manet``).
        loss: ``dice_ce`` is the sum of Dice loss and cross-entropy; or the dotted path of one of your own, of torch or
            of segmentation-models-pytorch (docs/extending.md).
        loss_args: arguments of a loss of your own or of a library; left out: none.
        class_weights: weights of the classes in the loss, one number a class, background first; left out: all alike.
        label_smoothing: share (0 to 1) of the target spread over all classes, in ``cross_entropy`` and ``dice_ce``.
        batch_dice: overlap from the sums over the whole batch; else by image.
        focal_gamma: focusing exponent of the focal losses; left out: 2 for ``focal``, 0.75 for ``focal_tversky``.
        tversky_alpha: weight (0 to 1) of false calls in the Tversky losses; misses have the rest to 1.
        boundary_weight: weight of the boundary term in the ``boundary`` loss.
        window: side, or ``H,W``, in pixels of the tiles that large images are evaluated and predicted by, where
            training took patches; left out: the size of the patches; ``whole``: images of any size at once.
        overlap: share (0 to 1) of a tile that the next one covers again; tiles are blended with Gaussian weights.
        tta: test-time augmentation: ``none``; ``mirror``, the mean over the image and its left-right mirror image; or
            ``flips``, that over its four mirror images; not where classes have sides.
        cleanup: ``none``, or ``auto``, which chooses on validation, class by class, whether to keep the largest
            component alone or to drop small ones.
        nsd_tolerance: tolerance of the normalised surface Dice, in mm (in pixels where the spacing is unknown).
        count_lesions: evaluate connected components too: ``lesion_sensitivity`` and ``lesion_f1``.
        overlapping: masks have one plane for each region, from the data.
        ignore_index: value of pixels without annotation, from the data; 255 where it is None.
        slices: how volumes are cut, from the data; kept for predict and export.
        has_sides: whether a mirrored image may show another class, from the data; None in models that were trained
            before this was asked.
        kwargs: network, training and further facts of the data; see :class:`~tasks.base.Task`.
    """

    name: ClassVar[str] = "segment"
    targets: ClassVar[tuple[str, ...]] = ("mask",)
    facts: ClassVar[tuple[str, ...]] = (
        *Task.facts, "overlapping", "ignore_index", "slices", "has_sides",
    )  # fmt: skip
    pads: ClassVar[bool] = True
    behind_backbone: ClassVar[tuple[str, ...]] = ("decoder", "decoder_args")
    own_parts: ClassVar[tuple[OwnPart, ...]] = (
        OwnPart("decoder", ("channels", "strides", "outputs", "dropout")),
        OwnPart("loss", ("num_classes", "num_labels", "class_names", "ignore_index", "overlapping")),
    )

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("tversky_alpha", "it is of the Tversky losses", "loss", lambda loss: "tversky" not in loss),
        Useless("loss_args", "they are of a loss of your own", "loss", lambda loss: not is_path(loss)),
        Useless("boundary_weight", "it is of --model.loss boundary", "loss", lambda loss: loss != "boundary"),
    )

    def __init__(
        self,
        *args: Any,
        decoder: DecoderName | Part = "unet",
        decoder_args: dict[str, Any] | None = None,
        dropout: float = 0.0,
        deep_supervision: bool = False,
        loss: LossName | Part = "dice_ce",
        loss_args: dict[str, Any] | None = None,
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
        overlapping: bool = False,
        ignore_index: int | None = None,
        slices: dict[str, Any] | None = None,
        has_sides: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.overlapping = overlapping
        self.ignore_index = UNKNOWN if ignore_index is None else ignore_index
        self.monitor = ("dice", "max")
        self.slices = None if slices is None else SliceSpec.from_dict(slices)
        self.tile, self.overlap, self.tta = evaluation_tile(window, self.input_size, self.preprocess), overlap, tta
        self.nsd_tolerance, self.count_lesions = nsd_tolerance, count_lesions
        self.chooses_cleanup, self.cleanup = cleanup == "auto", CleanUp()
        self._check(has_sides)

        self.criterion: SegmentationLoss | OwnSegmentationLoss
        if is_path(loss):
            offered = {**self.metric_arguments(), "overlapping": overlapping}
            asked = {"class_weights": class_weights, "label_smoothing": label_smoothing, "focal_gamma": focal_gamma}
            self.criterion = OwnSegmentationLoss(loss, loss_args, offered=offered, asked=asked)
        else:
            refuse_arguments("loss", loss, loss_args)
            self.criterion = SegmentationLoss(
                self.num_classes,
                str(loss),
                overlapping=overlapping,
                ignore_index=self.ignore_index,
                class_weights=class_weights,
                label_smoothing=label_smoothing,
                batch_dice=batch_dice,
                gamma=focal_gamma,
                alpha=tversky_alpha,
                boundary_weight=boundary_weight,
            )
        strides, wanted = ask_backbone(decoder, self.network.name)
        self.build_network(strides, args=wanted)
        self.decoder = build_decoder(
            decoder,
            self.backbone,
            self.num_classes,
            input_size=self.input_size,
            dropout=dropout,
            deep_supervision=deep_supervision,
            args=decoder_args,
        )
        self._once = CountedOnce(self.decoder) if self.network.grad_checkpointing else None
        self.build_metrics()
        self._kind = str(decoder)
        self._coarser: list[Tensor] = []

    def _check(self, has_sides: bool | None) -> None:
        """Refuse what cannot be.

        Raises:
            SuiteError: names the flag, or the classes.
        """
        least, names = 1 if self.overlapping else 2, self.class_names
        if not least <= len(names) <= 255:
            raise SuiteError(f"{len(names)} classes ({', '.join(names[:5])}): masks hold {least} to 255")
        if 0 <= self.ignore_index < max(len(names), 2):
            raise SuiteError(f"value {self.ignore_index} of the masks stands for a class and for unknown: take 255")
        within("overlap", self.overlap, "at least 0 and below 1", 0 <= self.overlap < 1)
        within("nsd_tolerance", self.nsd_tolerance, "above 0", self.nsd_tolerance > 0)
        check_mirrors(self.tta, names, has_sides)

    def kind(self) -> str:
        """The decoder."""
        return self._kind

    def configure_metrics(self) -> dict[Stage, Metric]:
        """Overlap by class, in all stages."""
        make, ignored = SegmentationMetrics, self.ignore_index
        return {
            stage: make(self.class_names, overlapping=self.overlapping, ignore_index=ignored)
            for stage in ("train", "val", "test")
        }

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1], of any size -> (B, num_classes, H, W) logits.

        Images are padded at the bottom and right to a multiple of 32 by repeating their last pixels.
        """
        height, width = image.shape[-2:]
        image = pad(self.normalize(image))
        logits: Tensor
        logits, *self._coarser = self._decoded(image, self.backbone(image))
        return logits[..., :height, :width]

    def _decoded(self, image: Tensor, levels: list[Tensor]) -> Sequence[Tensor]:
        """What the decoder makes of the levels; under ``grad_checkpointing`` it is computed again going back."""
        maps: Sequence[Tensor]
        if self._once is None:
            maps = self.decoder(image, levels)
        else:
            with self._once.forward_pass():
                maps = checkpoint(self.decoder, image, levels, use_reentrant=False)
        return maps

    def check_targets(self, batch: Batch, *, values: bool) -> None:
        """See that masks are (B, H, W) class numbers, or (B, L, H, W)."""
        mask, (cases, _, *size) = batch["mask"], batch["image"].shape
        if self.overlapping:
            check_shape("mask", mask, (cases, self.num_classes, *size))
        else:
            check_classes("mask", mask, (cases, *size), self.num_classes, self.ignore_index, look=values)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """() loss of the batch in float32; while training under deep supervision, of the coarser maps too."""
        coarser, self._coarser = self._coarser, []
        if coarser and self.kept_images is not None:
            coarser = [level[self.kept_images] for level in coarser]
        loss: Tensor = self.criterion(output, batch["mask"], coarser)
        return loss

    def imitation(self, output: Tensor, wanted: Tensor, batch: Batch, teacher: Self, temperature: float) -> Tensor:
        """() divergence from the teacher's (B, num_classes, H, W) logits, over known pixels."""
        return imitation(
            output,
            wanted,
            batch["mask"],
            overlapping=self.overlapping,
            ignore_index=self.ignore_index,
            temperature=temperature,
        )

    def unlike(self, teacher: Self) -> str:
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
        cases = case_ids(batch["scan"]) if "scan" in batch else None
        metric.update(self.predictions(output), batch["mask"], cases)

    def metric_inputs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, H, W) int64 class numbers and the mask, or (B, L, H, W) of 0 and 1 and the masks of the regions."""
        return self.predictions(output).long(), batch["mask"]

    def metric_arguments(self) -> dict[str, Any]:
        """With the value of pixels without annotation."""
        return {**super().metric_arguments(), "ignore_index": self.ignore_index}

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[Tensor]:
        """Probabilities (B, num_classes, H, W) and cases of a batch of pieces."""
        if no_case(batch):
            return {"output": batch["image"], "batch": batch}
        output = averaged(lambda image: self.scores(self._output(image)), batch["image"], self.tta)
        return self.told({"output": output, "batch": batch})

    def meaning(self, output: Tensor, batch: Batch) -> PartialOutput:
        """``scores`` (B, num_classes, H, W), and the ``masks`` that they call."""
        return {"scores": output, "masks": call_classes(output, overlapping=self.overlapping)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clean-up that was chosen on validation."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["scansuite"]["cleanup"] = self.cleanup.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the clean-up back."""
        super().on_load_checkpoint(checkpoint)
        self.cleanup = CleanUp.from_dict(checkpoint.get("scansuite", {}).get("cleanup", {}))
