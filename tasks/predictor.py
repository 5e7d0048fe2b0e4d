"""A trained model as others see it: what evaluation, prediction, export and reports may ask of it.

A :class:`~tasks.base.Task` is one, and an :class:`~tasks.ensemble.Ensemble` of several too. Its attributes are typed;
how a checkpoint keeps them is known to the constructor of the task alone.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, Required, TypedDict, TypeVar

from torch import Tensor

from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from datamodules.types import Batch
from tasks.evaluation.calibration.calibration import Calibration

Output = TypeVar("Output")


class PartialOutput(TypedDict, total=False):
    """What ``predict_step`` says of a batch of a user's own loader beside the output, by case."""

    case_id: list[str]  # where the batch knows its cases
    scores: Tensor  # (B, C) float64 probabilities or (B, 1) numbers; in segmentation (B, C, H, W) float32
    masks: Tensor  # (B, H, W) uint8 class numbers, or (B, L, H, W) regions of 0 and 1
    boxes: list[Any]  # Detections of each image, in its pixels


class StepOutput(PartialOutput, Generic[Output], total=False):
    """Output of a step of a model for a batch, for the callbacks that make rows and masks of it."""

    output: Required[Output]
    batch: Required[Batch]  # without padding, in validation and test
    weights: Tensor | None  # (N,) of the images of each case, where a model weighs them
    spread: Tensor | None  # (B,) how far members of an ensemble are apart, where it says so


class Tiled(Protocol):
    """A model that may see a large image by parts."""

    @property
    def tile(self) -> tuple[int, int] | None:
        """(h, w) in pixels of the parts; None: whole images."""

    @property
    def overlap(self) -> float:
        """Share of a tile, in [0, 1), that the next one covers again."""


class Sliced(Protocol):
    """A model whose images may be slices of volumes."""

    @property
    def preprocess(self) -> Preprocess:
        """Preprocessing of stored values into the model's input."""

    @property
    def slices(self) -> SliceSpec | None:
        """Cutting of volumes; None where the model is for images alone."""


class Predictor(Tiled, Sliced, Protocol):
    """A trained model: one, or several that predict as one.

    Attributes:
        operating_points: threshold by class, chosen on validation; empty where nothing was chosen.
        calibration: of scores, fitted on validation; None where they are the model's own.
        exact: compute in float32 whatever the trainer's mixed precision.
    """

    operating_points: dict[str, float]
    calibration: Calibration | None
    exact: bool

    @property
    def name(self) -> str:
        """Name of the task."""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in class order."""

    @property
    def in_channels(self) -> int:
        """Channels of its images."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels that it was trained on; None where that is not known."""

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[Any]:
        """Predict a batch without targets."""
