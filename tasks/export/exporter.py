"""Exporter: what the export of a trained model asks of its task."""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.ensemble import Ensemble
from tasks.export.feeding import RunnableExport, Said, run_model
from tasks.export.graph import Freedom, Graph, Size, filled_up, keep_activations, of_images
from tasks.export.tally import Tally
from tasks.exported.description import Member

log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=Task)


class Exporter(ABC, Generic[ModelT]):
    """Export of the models of a task: their networks as graphs, and what a file says of them.

    Args:
        model: trained, or an ensemble.
        names: of the checkpoints, for messages.

    Attributes:
        members: one model, or those of the ensemble.
        multiple: both sides of an image are filled up to a multiple of this before the graph.
        answers: method of a member, from images to :meth:`output`, that a file can stand in for.

    Raises:
        SuiteError: the model cannot be exported; says why.
    """

    multiple: ClassVar[int] = 1
    answers: ClassVar[str] = "forward"

    def __init__(self, model: ModelT | Ensemble[ModelT], names: Sequence[str]) -> None:
        self.model, self.names = model, list(names)
        self._taken: dict[Size, bool] = {}
        members = list(model.members) if isinstance(model, Ensemble) else [model]
        self.members = cast("list[ModelT]", members)
        for member, name in zip(self.members, self.names, strict=True):
            keep_activations(member)
            if reason := self.unfit(member):
                raise SuiteError(f"{name}: cannot be exported: {reason}")
        self._refuse_unlike()

    @abstractmethod
    def unfit(self, member: ModelT) -> str:
        """Why a model cannot be exported, and what to do about it; empty where it can."""

    @abstractmethod
    def own(self, member: ModelT) -> dict[str, Any]:
        """Fields of the description in which the members of an ensemble may differ."""

    @abstractmethod
    def network(self, member: ModelT) -> nn.Module:
        """What goes into the graph: from ``image`` to a tuple of the outputs named in :meth:`outputs`."""

    @abstractmethod
    def outputs(self, member: ModelT) -> list[str]:
        """Names of the outputs of a member, without its prefix."""

    @abstractmethod
    def member(self, member: ModelT, prefix: str) -> Member:
        """What the file says of a member."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the file says of this task alone: further fields of the description."""

    def second_stages(self) -> list[Graph]:
        """Graphs that are run on what the first one gives; most models have none."""
        return []

    @abstractmethod
    def reference(self, member: ModelT, image: Tensor) -> dict[str, Tensor]:
        """What PyTorch says of images (B, C, H, W) in [0, 1] of any size, by the names of :meth:`outputs`.

        It goes through the model's own ``forward``, so that a mistake of :meth:`network` shows.
        """

    @abstractmethod
    def output(self, member: ModelT, found: Said, image: Tensor) -> Any:
        """What the model's own ``forward`` gives, made of what the export gives.

        Args:
            member: of the model.
            found: what the export of the member says.
            image: (B, C, H, W) that it is said of.
        """

    def stand_ins(
        self, member: ModelT, model: RunnableExport, prefix: str
    ) -> list[tuple[Any, str, Callable[..., Any]]]:
        """What the export answers in place of PyTorch: an object, the name of its method, and the answer.

        Args:
            member: of the model.
            model: the export.
            prefix: of the member.
        """

        def answer(image: Tensor) -> Any:
            return self.output(member, Said(model, prefix, run_model(model, image.float().numpy(), prefix)), image)

        return [(member, self.answers, answer)]

    @abstractmethod
    def compare_member(self, tally: Tally, member: ModelT, image: Tensor, found: Said) -> None:
        """Note how far the export of a member is from PyTorch on some images.

        Args:
            tally: takes the differences.
            member: of the model.
            image: (B, C, H, W) in [0, 1].
            found: what the export of the member says of them.
        """

    def compare(self, tally: Tally, image: Tensor, model: RunnableExport) -> None:
        """Run an export on some images, and :meth:`compare_member` each member."""
        outputs = run_model(model, image.numpy())
        for member, prefix in self._pairs():
            self.compare_member(tally, member, image, Said(model, prefix, outputs))

    @property
    def prefixes(self) -> list[str]:
        """Of the outputs of each member."""
        return [""] if len(self.members) == 1 else [f"{number}." for number in range(len(self.members))]

    def described(self) -> tuple[Member, ...]:
        """What the file says of the members."""
        shared = self.own(self.members[0])
        return tuple(
            dataclasses.replace(
                self.member(member, prefix),
                own={name: value for name, value in self.own(member).items() if value != shared[name]},
            )
            for member, prefix in self._pairs()
        )

    def graph(self, freedom: Freedom, size: Size) -> Graph:
        """The networks of all members as one graph.

        Args:
            freedom: what may change from run to run.
            size: (H, W) of the images, where it may not change.
        """
        networks = [self.network(member) for member in self.members]
        names = [f"{prefix}{name}" for member, prefix in self._pairs() for name in self.outputs(member)]
        return of_images(_Together(networks).eval(), self.model.in_channels, names, freedom, size, self.multiple)

    @property
    def size(self) -> Size:
        """(H, W) of the images that a graph of one size takes: what the model was trained on, filled up."""
        size = self.model.tile or self.model.input_size or self.model.preprocess.size or (224, 224)
        return filled_up((size[0], size[1]), self.multiple)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and statistics in PyTorch, as they are computed with."""
        tensors = (tensor for member in self.members for tensor in (*member.parameters(), *member.buffers()))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @torch.no_grad()
    def references(self, image: Tensor) -> dict[str, Tensor]:
        """:meth:`reference` of all members, with their prefixes."""
        return {
            f"{prefix}{name}": value
            for member, prefix in self._pairs()
            for name, value in self.reference(member, image).items()
        }

    def takes(self, size: Sequence[int]) -> bool:
        """Whether PyTorch takes images of a size (H, W)."""
        if (size[0], size[1]) not in self._taken:
            try:
                self.references(torch.zeros(1, self.model.in_channels, size[0], size[1]))
            except Exception as error:  # networks raise all there is
                log.debug("PyTorch takes no images of %d x %d px: %s", size[0], size[1], error)
                self._taken[size[0], size[1]] = False
            else:
                self._taken[size[0], size[1]] = True
        return self._taken[size[0], size[1]]

    def _pairs(self) -> list[tuple[ModelT, str]]:
        return list(zip(self.members, self.prefixes, strict=True))

    def _refuse_unlike(self) -> None:
        """All members see one image: it is standardised outside of the graph for all or for none."""
        if self.multiple == 1:
            return
        alone = [member.normalize.per_image for member in self.members]
        if len(set(alone)) > 1:
            first, other = self.names[alone.index(True)], self.names[alone.index(False)]
            raise SuiteError(
                f"--ckpt_paths: {first} was trained with --data.normalize image and {other} was not, and the members "
                "of one file see the same image: export them one by one"
            )


class _Together(nn.Module):
    """The networks of all members on one image."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) in [0, 1] -> the outputs of each in turn."""
        return tuple(output for network in self.networks for output in network(image))
