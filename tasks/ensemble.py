"""Several trained models of one task that are evaluated and predict as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from pytorch_lightning import LightningModule
from torch import nn

from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.batches import count_cases
from tasks.evaluation.calibration.calibration import Calibration, mean_calibration
from tasks.predictor import Sliced, StepOutput

if TYPE_CHECKING:
    from tasks.base import Task

Member = TypeVar("Member", bound="Task")


class Ensemble(LightningModule, ABC, Generic[Member]):
    """Shows each batch to all members and puts together what they say.

    A task's ensemble has what evaluating and predicting read of a model of that task; where members may differ in it,
    it is that of the first. They see the same batches, so they agree in preprocessing, whatever their networks.

    Args:
        members: with their weights; two or more.
        names: of the members, for messages.

    Attributes:
        name: of the task.
        class_names: of all members.
        operating_points: threshold by class; to begin with the mean of the members' own.
        calibration: of the scores that the members give together; to begin with the mean of the members' own.
        calibration_method: by which the ensemble's own calibration is fitted: the first member's.
        exact: compute in float32 whatever the trainer's mixed precision.

    Raises:
        SuiteError: two members differ in what they must agree in; names the two.
    """

    def __init__(self, members: Sequence[Member], names: Sequence[str]) -> None:
        super().__init__()
        refuse_unlike([preprocessing(member) | self.shared(member) for member in members], names)
        self.members = nn.ModuleList(members)
        self.name: str = members[0].name
        self.class_names: list[str] = list(members[0].class_names)
        self.operating_points = mean_points([member.operating_points for member in members])
        self.calibration = mean_calibration([member.calibration for member in members])
        self.calibration_method = members[0].calibration_method
        self.exact = False

    @property
    def first(self) -> Member:
        """The first member, which says what members agree in."""
        return cast("Member", self.members[0])

    @property
    def preprocess(self) -> Preprocess:
        """How stored values become the model's input."""
        return self.first.preprocess

    @property
    def slices(self) -> SliceSpec | None:
        """How volumes are cut; None where the model is for images alone."""
        return self.first.slices

    @property
    def tile(self) -> tuple[int, int] | None:
        """(h, w) in pixels of the parts that large images are seen by; None: whole images."""
        return self.first.tile

    @property
    def overlap(self) -> float:
        """Share of a tile, in [0, 1), that the next one covers again."""
        return self.first.overlap

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.first.in_channels

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels that the first member was trained on; None where that is not known."""
        return self.first.input_size

    @abstractmethod
    def shared(self, member: Member) -> dict[str, Any]:
        """What members must agree in beside preprocessing, by the words of a message."""

    @abstractmethod
    def combined(self, said: Iterator[StepOutput[Any]]) -> StepOutput[Any]:
        """From what each member's ``predict_step`` gives, member by member, to what the ensemble's gives."""

    def predict_step(self, batch: Batch, batch_idx: int) -> StepOutput[Any]:
        """What the members say together of a batch; it may be empty where none of its files was readable."""
        with torch.autocast(self.device.type, enabled=False) if self.exact else nullcontext():
            said = (member.predict_step(batch, batch_idx) for member in self.members)  # type: ignore[operator]
            return self.combined(said) if count_cases(batch) else next(said)

    def __repr__(self) -> str:
        return "\n  ".join([f"{type(self).__name__} of {len(self.members)}:", *map(repr, self.members)])

    def chosen(self) -> dict[str, Any]:
        """What was chosen on validation, in plain types."""
        calibrated = {} if self.calibration is None else {"calibration": self.calibration.to_dict()}
        return {"operating_points": self.operating_points, **calibrated}

    def adopt(self, chosen: Mapping[str, Any]) -> None:
        """Take back what :meth:`chosen` gave."""
        self.operating_points = {str(name): float(point) for name, point in chosen["operating_points"].items()}
        calibration = chosen.get("calibration")
        self.calibration = None if calibration is None else Calibration.from_dict(calibration)


def preprocessing(member: Sliced) -> dict[str, Any]:
    """How stored values become the images that a member sees, by the words of a message."""
    spec = member.preprocess.to_dict()
    return {"image size": spec.pop("size", None), **{name.replace("_", " "): value for name, value in spec.items()}}


def cut(member: Sliced) -> dict[str, Any] | None:
    """How a member's volumes are cut, in plain types."""
    return None if member.slices is None else member.slices.to_dict()


def refuse_unlike(shared: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Stop where members differ in what they must agree in.

    Args:
        shared: of each member, by the words of the message.
        names: of the members.

    Raises:
        SuiteError: names the first two that differ, in what, and how.
    """
    first = shared[0]
    for name, other in zip(names[1:], shared[1:], strict=True):
        for what in {**first, **other}:
            ours, theirs = _plain(first.get(what)), _plain(other.get(what))
            if ours != theirs:
                raise SuiteError(
                    f"--ckpt_paths: {names[0]} and {name} differ in {what} ({_text(ours)} and {_text(theirs)}): the "
                    "members of an ensemble see the same images and name the same classes"
                )


def mean_points(points: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of members' operating points, class by class, over the members that have one."""
    names = dict.fromkeys(name for one in points for name in one)
    found = {name: [one[name] for one in points if name in one] for name in names}
    return {name: sum(some) / len(some) for name, some in found.items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
