"""Several trained models of one task that are judged and predict as one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import nn

from scansuite.errors import SuiteError


class Ensemble(LightningModule):
    """Shows each batch to all members and puts together what they say.

    A task's ensemble has what judging and predicting read of a model of that task; where members may differ in it, it
    is that of the first. They see the same batches, so they agree in preprocessing, whatever their networks.

    Args:
        members: with their weights; two or more.
        names: of the members, for messages.

    Attributes:
        name: of the task.
        class_names: of all members.
        operating_points: threshold by class; to begin with the mean of the members' own.
        exact: compute in float32 whatever the trainer's mixed precision.

    Raises:
        SuiteError: two members differ in what they must agree in; names the two.
    """

    def __init__(self, members: Sequence[Any], names: Sequence[str]) -> None:
        super().__init__()
        refuse_unlike([preprocessing(member) | self.shared(member) for member in members], names)
        self.members = nn.ModuleList(members)
        self.hparams.update(members[0].hparams)
        self.name: str = members[0].name
        self.class_names: list[str] = list(members[0].class_names)
        self.operating_points = mean_points([member.operating_points for member in members])
        self.exact = False

    @abstractmethod
    def shared(self, member: Any) -> dict[str, Any]:
        """What members must agree in beside preprocessing, by the words of a message."""

    @abstractmethod
    def combined(self, said: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """From what each member's ``predict_step`` gives, member by member, to what the ensemble's gives."""

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """What the members say together of a batch; it may be empty where none of its files was readable."""
        with torch.autocast(self.device.type, enabled=False) if self.exact else nullcontext():
            said = (member.predict_step(batch, batch_idx) for member in self.members)  # type: ignore[operator]
            return self.combined(said) if batch["scan"] else next(said)

    def chosen(self) -> dict[str, Any]:
        """What was chosen on validation, in plain types."""
        return {"operating_points": self.operating_points}

    def adopt(self, chosen: Mapping[str, Any]) -> None:
        """Take back what :meth:`chosen` gave."""
        self.operating_points = {str(name): float(point) for name, point in chosen["operating_points"].items()}


def preprocessing(member: Any) -> dict[str, Any]:
    """How stored values become the images that a member sees, by the words of a message."""
    spec = dict(member.hparams["preprocess"] or {})
    return {"image size": spec.pop("size", None), **{name.replace("_", " "): value for name, value in spec.items()}}


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


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
