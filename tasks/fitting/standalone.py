"""Training and loading of a model in Python, where no command line prepares it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pytorch_lightning import Callback
from pytorch_lightning.trainer.states import TrainerFn

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import arguments_of
from tasks.compression.compressible import Compressible
from tasks.hardware import keep_in_float32
from tasks.loading import open_checkpoint, rebuild
from tasks.registry.links import Link
from tasks.registry.specs import spec_of
from tasks.training.seeding import SeedEpochs
from tasks.training.sharding import shard
from tasks.training.stopping.resuming import Resuming

if TYPE_CHECKING:
    from tasks.base import Task
    from tasks.building import NetworkSettings
    from tasks.training.settings import PruningSettings

log = logging.getLogger(__name__)

_MUST_AGREE = ("in_channels", "num_classes", "target", "overlapping")
SEED = "PL_GLOBAL_SEED"  # where Lightning's seed_everything leaves the seed


class Standalone(Compressible):
    """A model that any Lightning ``Trainer`` can train and apply.

    Attributes:
        facts: constructor arguments that follow from the data.
        links: arguments of the data class that follow from those of the model.
        prepared: whoever trains has pruned the model and made the callbacks that its arguments ask for, as the command
            line does: :meth:`configure_callbacks` has nothing to add.
    """

    name: ClassVar[str]
    network: NetworkSettings
    pruning: PruningSettings
    in_channels: int
    facts: ClassVar[tuple[str, ...]]
    links: ClassVar[tuple[Link, ...]]
    prepared: bool = False

    @classmethod
    def for_data(cls, data: ScanDataModule, *args: Any, **kwargs: Any) -> Self:
        """A model that fits a data module: classes, channels, image size and preprocessing are those of the data.

        Args:
            data: with a training part. What the model's arguments mean for the data (``weights``: that small images are
                enlarged; ``aggregate``: that a case is a bag of images) is handed to it, as on the command line.
            args: of the constructor.
            kwargs: of the constructor; they go before what the data say.

        Raises:
            SuiteError: the data are no data module of this task, or were read already in another way than the model
                asks for; or an argument is wrong.
        """
        base = spec_of(cls.name).data_base_class()
        if not isinstance(data, base):
            what = data.__name__ if isinstance(data, type) else f"one {type(data).__name__}"
            raise SuiteError(f"{cls.__name__}.for_data: expected a data module of {cls.name}, not {what}")
        for link in cls.links:
            if link.model in kwargs:
                _tell(data, link, kwargs[link.model])
        facts = {fact: _plain(getattr(data, fact)) for fact in cls.facts}
        return cls(*args, **{**facts, **kwargs})

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: str | os.PathLike[str] | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """The model of a checkpoint; :func:`scansuite.load` finds the class by itself.

        The ``weights`` that training began with are in the checkpoint: they need not exist any more. Weights and plain
        values alone are read, whatever ``weights_only`` says.

        Args:
            checkpoint_path: of the file.
            map_location: device to put the model on.
            hparams_file: not used: checkpoints of the suite hold the arguments.
            strict: False lets weights be missing or left over.
            weights_only: always True.
            kwargs: arguments of the constructor that replace those in the checkpoint.

        Raises:
            SuiteError: the file is no checkpoint of this task, its weights do not fit, or there is no such argument.
        """
        bases = [base for base in cls.__mro__ if issubclass(base, Standalone) and "__init__" in vars(base)]
        known = [name for base in bases for name in arguments_of(base)]
        for name in kwargs:
            if name not in known:
                raise SuiteError(f"{cls.__name__} takes no argument {name!r}: {nearest(name, known)}")
        path = Path(checkpoint_path)
        checkpoint = open_checkpoint(path, cls.name)
        checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], **kwargs}
        model = rebuild(cast("type[Task]", cls), checkpoint, path, strict=strict is not False)
        if map_location is not None:
            model.to(map_location)
        return cast("Self", model)

    def configure_model(self) -> None:
        """Share the weights out among the devices where the strategy asks for it (``--trainer.strategy fsdp2``)."""
        if self.device_mesh is not None:
            shard(self, self.backbone.net, self.device_mesh)

    def configure_callbacks(self) -> Sequence[Callback]:
        """The callbacks that the model's arguments ask for (``ema``, ``mixup``, ``early_stopping``, ``teacher``, ...).

        A model with ``prune`` is pruned here, and what bf16 would spoil on a CPU stays in float32 from here on: before
        anything copies it. After Lightning's ``seed_everything`` epochs are seeded as the command line seeds them, so
        that the same training is repeated.
        """
        if self.prepared:
            return []
        if self.trainer.state.fn != TrainerFn.PREDICTING:
            refuse_other_data(cast("Task", self), self.trainer.datamodule)  # type: ignore[attr-defined]
        if self.trainer.state.fn != TrainerFn.FITTING:
            return []
        from tasks.fitting.callbacks import training_callbacks
        from tasks.fitting.pruning import prune, trained_weights

        model = cast("Task", self)
        if self.pruning.method is not None and not (self.pruned or self.pruned_sizes):
            prune(model, Path(trained_weights(self.network.weights)))
        keep_in_float32(model, self.trainer.strategy.root_device.type)
        seed = os.environ.get(SEED)
        wanted: list[Callback] = [] if seed is None else [SeedEpochs(int(seed))]
        wanted += [Resuming(), *training_callbacks(model, int(seed or 0))]
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if seed is not None and hasattr(data, "seed"):
            data.seed = int(seed)
        there = {callback.state_key for callback in self.trainer.callbacks}  # type: ignore[attr-defined]
        return [callback for callback in wanted if callback.state_key not in there]

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        size = "any size" if self.input_size is None else "{} x {} pixels".format(*self.input_size)
        channels = f"{self.in_channels} channel{'s' * (self.in_channels > 1)}"
        return (
            f"{type(self).__name__}({self.network.name}, {self.kind()}, {_rounded(count)} parameters; "
            f"images: {channels}, {size}; classes: {', '.join(self.class_names)})"
        )

    def kind(self) -> str:
        """What kind of model of its task it is, in a word or two."""
        return self.name


def refuse_other_data(model: Task, data: Any) -> None:
    """Refuse a data module that a model was not made for; where only its preprocessing differs, say so.

    Raises:
        SuiteError: the data are of another task, or have other classes or channels.
    """
    if not isinstance(data, ScanDataModule):
        return
    mend = f"make it with {type(model).__name__}.for_data(data, ...)"
    base = spec_of(model.name).data_base_class()
    if not isinstance(data, base):
        raise SuiteError(f"{type(model).__name__}: {type(data).__name__} is no data module of {model.name}")
    for fact in _MUST_AGREE:
        if fact in model.facts and getattr(model, fact) != getattr(data, fact):
            mine, theirs = getattr(model, fact), getattr(data, fact)
            raise SuiteError(f"the model has {fact} {mine}, but {type(data).__name__} has {theirs}: {mend}")
    if model.preprocess != data.preprocess:
        log.warning(
            "%s prepares images otherwise than the model will in predict, which would be wrong: %s",
            type(data).__name__,
            mend,
        )


def _tell(data: ScanDataModule, link: Link, value: Any) -> None:
    """Hand a data module what follows from an argument of the model."""
    wanted = link.compute(value)
    if getattr(data, link.data) == wanted:
        return
    # Looking at the table does no harm to sizes; bags change what is a case.
    if "preprocess" in vars(data) or (data.is_prepared and link.data == "bags"):
        raise SuiteError(
            f"{link.model} {value!r}: {type(data).__name__} was read already as it is without it: make it anew, with "
            f"{link.data}={wanted!r}"
        )
    setattr(data, link.data, wanted)


def _plain(fact: Any) -> Any:
    """A fact in plain types, as checkpoints keep it."""
    return fact.to_dict() if hasattr(fact, "to_dict") else fact


def _rounded(count: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
