"""The flags of a task: the data chosen by class name, what is known of the data handed to the model, the trainer."""

from __future__ import annotations

import textwrap
from argparse import SUPPRESS
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.cli import LightningArgumentParser
from torch import nn

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.own_parts import is_path, load_part
from tasks.auto_weights import AUTO, settle_weights
from tasks.base import Task
from tasks.cli.devices import several
from tasks.cli.display.training import show_progress
from tasks.cli.flags import config_files, given, init_parameters, no_data_class, section_of, value_of
from tasks.cli.help import Section, arguments_of_part, first_line, shown
from tasks.cli.help_lines import Known, documented, known_of, line
from tasks.cli.launching import environment_by_hand, watch
from tasks.cli.runs.remote_data import refuse_unasked
from tasks.cli.tables import text_width
from tasks.cli.useless_flags import refuse_useless_data, refuse_useless_model
from tasks.cli.verb_parser import VerbParser
from tasks.hardware import MemoryFormat, choose_precision
from tasks.own.parts import refuse_mistyped
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.specs import spec_of
from tasks.training.half import keep_targets
from tasks.training.saving import WholeCheckpoints
from tasks.training.sharding import FSDP2
from tasks.training.stopping.callback import without_handlers

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from datamodules.preprocess import Preprocess
    from datamodules.samples.slices import SliceSpec

TRAINER_DEFAULTS = {"max_epochs": 20, "use_distributed_sampler": False}
COMMON: OwnFlags = {
    "memory_format": Flag(
        "order of the weights in memory: auto is channels_last for convolutional networks, contiguous for others",
        MemoryFormat,
        "auto",
    ),
}
OF_TRAININGS = ("plan", "folds")  # keys of plans that every verb lets stand in a config
_NAME_NETWORKS = ("fit", "plan", "sweep")  # verbs in which the user names the network of a model that is to be
_SEED = 0
_SEED_HELP = "number that all randomness of the run comes from"
# Of a run's flags: what says nothing of how the same run is started again.
_ONCE = (
    *("config", "run_dir", "ckpt_path", "ckpt_paths", "find_lr", "find_batch_size", "folds", "judge_test", "profile"),
    *("slurm", "scale_lr", "memory", "plan", "time", "quality"),
    *("space", "trials", "metric", "workers", "constraints"),
)


class TaskParser(VerbParser):
    """Parses the flags of a verb that takes data and a trainer, and a model where it makes one.

    What is built from them is up to the verb.

    Args:
        task: name of the task.
        verb: what is done.
        argv: flags as typed.
        own_flags: of the verb, beside Lightning's.
        builds_model: the verb makes a model from ``--model`` (fit); other verbs take it from a checkpoint.
        defaults: a config that comes before what the user gives.
        planned: full names (``model.lr``) of the flags that a plan has chosen in it: mistakes are told of the others.

    Attributes:
        task_class: of the model.
        data_class: that is chosen.
        config_init: what :meth:`build_data` has made.
    """

    config_init: Namespace
    trainer_defaults = TRAINER_DEFAULTS

    def __init__(
        self,
        task: str,
        verb: str,
        argv: Sequence[str],
        *,
        own_flags: OwnFlags,
        builds_model: bool,
        defaults: Path | dict[str, Any] | None = None,
        planned: Collection[str] = (),
    ) -> None:
        self.builds_model, self.planned = builds_model, frozenset(planned)
        self.default_values = defaults if isinstance(defaults, dict) else {}
        self.default_file = defaults if isinstance(defaults, Path) else None
        spec = spec_of(task)
        self.task_class, self.data_base = spec.task_class(), spec.data_base_class()
        self.data_classes = spec.data_classes()
        self.trains = builds_model
        flags, groups = {**own_flags, **COMMON}, {"trainer": Trainer}
        super().__init__(task, verb, argv, own_flags=flags, groups=groups)
        model = self.config["model"]
        if builds_model and model["weights"] == AUTO:  # settled now: the size of images follows from it
            settled = settle_weights(model["backbone"], model["init"]) or "null"
            super().__init__(task, verb, [*argv, "--model.weights", settled], own_flags=flags, groups=groups)
        self._refuse_useless(argv)
        refuse_unasked(argv, self.config["data"]["init_args"])
        seed = self.config["seed_everything"]
        if not 0 <= int(seed) < 2**32:
            raise SuiteError(f"--seed_everything {seed}: must be at least 0 and below {2**32}")
        if seed is not False:
            self.config["seed_everything"] = seed_everything(None if seed is True else seed, workers=True)

    def make_parser(self, **settings: Any) -> ArgumentParser:
        """Lightning's, which takes its own classes and reads configs from where Lightning does."""
        files = [] if self.default_file is None else [str(self.default_file)]
        return LightningArgumentParser(default_config_files=files, **settings)

    def add_groups(self, parser: ArgumentParser) -> None:
        """Seed, trainer, model and data."""
        parser.add_argument("--seed_everything", type=bool | int, default=_SEED, help=_SEED_HELP)
        super().add_groups(parser)
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        skip = set() if self.builds_model else set(self.task_class.facts)
        parser.add_class_arguments(
            self.task_class, "model", fail_untyped=False, instantiate=self.builds_model, sub_configs=True, skip=skip
        )
        parser.add_subclass_arguments(self.data_base, "data", fail_untyped=False, required=True)
        parser.set_defaults({"data": {"class_path": self.spec.data[0]}})
        if "data" in self.default_values:
            parser.set_defaults({"data": self.default_values["data"]})
        parser.set_defaults({f"model.{name}": value for name, value in self.default_values.get("model", {}).items()})

    def add_flags(self, parser: ArgumentParser) -> None:
        """All flags, and the links between data and model."""
        super().add_flags(parser)
        for name in self._of_trainings:
            parser.add_argument(f"--{name}", default=None, help=SUPPRESS)
        for link in self.task_class.links:
            parser.link_arguments(f"model.{link.model}", f"data.init_args.{link.data}", compute_fn=link.compute)
        if self.builds_model:
            for fact in self.task_class.facts:
                compute = _plain if fact in ("preprocess", "slices") else None
                parser.link_arguments(f"data.{fact}", f"model.{fact}", compute_fn=compute, apply_on="instantiate")

    @property
    def _of_trainings(self) -> list[str]:
        """Keys that a plan or the config of a training has, and that are no flags of this verb."""
        return [name for name in OF_TRAININGS if name not in self.own_flags]

    def data_class(self, argv: Sequence[str]) -> type[ScanDataModule] | None:
        """The data class that flags, a config or the run that is taken up again name; None where none does.

        Raises:
            SuiteError: there is no such class, it is of another task, or its module is not allowed.
        """
        typed = [(flag, value_of(argv, flag)) for flag in ("--data.help", "--data", "--data.class_path")]
        flag, name = next((one for one in typed if one[1]), ("data", self._name_in_configs(argv)))
        if name is None or name.lstrip().startswith("{") or Path(name).is_file():  # all of it at once
            return None
        if name in self.data_classes:
            return self.data_classes[name]
        if is_path(name):
            return load_part(name, self.data_base, flag)
        raise no_data_class(self.task, name, flag)

    def _name_in_configs(self, argv: Sequence[str]) -> str | None:
        """The data class in the last config that names one, or in the defaults."""
        return self._in_configs(argv, "data", "class_path")

    def _in_configs(self, argv: Sequence[str], group: str, name: str) -> str | None:
        """A flag's value in the last config that has one, or in the defaults."""
        defaults = [] if self.default_file is None else [self.default_file]
        files = [*defaults, *map(Path, config_files(argv))]
        sections = [*(section_of(file, group) for file in reversed(files)), self.default_values.get(group) or {}]
        return next((str(section[name]) for section in sections if section.get(name)), None)

    def known_flags(self, argv: Sequence[str]) -> set[str]:
        """All but those of other data classes, and what follows from the model."""
        chosen = self.data_class(argv)
        names = {
            name
            for cls in ([chosen] if chosen is not None else self.data_classes.values())
            for name in init_parameters(cls)
        } - {link.data for link in self.task_class.links}
        return (super().known_flags(argv) - {f"--{name}" for name in self._of_trainings}) | {
            f"--data.{prefix}{name}" for prefix in ("", "init_args.") for name in names
        }

    def silent_keys(self) -> set[str]:
        """What follows from the data or the model, which earlier versions wrote down."""
        model, data = self.task_class.facts, [link.data for link in self.task_class.links]
        silent = {f"--{name}" for name in OF_TRAININGS}
        return silent | {f"--model.{name}" for name in model} | {f"--data.{name}" for name in data}

    def sections(self, argv: Sequence[str], *, whole: bool = False) -> list[Section]:
        """Own flags, data classes and their common flags, the model, the trainer."""
        own, trainer = super().sections(argv, whole=whole)
        seed = ("--seed_everything", line("--seed_everything", _SEED_HELP, Known(int, _SEED)))
        name, chosen = self.spec.data_names()[0], self.data_class(argv)
        sections: list[Section] = [
            (own[0], [*own[1][:-2], seed, *own[1][-2:]]),
            (f"data (default: --data {name})", self._named_data()),
            ("flags of every data class", list(self._shared_data(chosen).items())),
        ]
        every = list(self.data_classes.values()) if whole and chosen is None else [chosen]
        sections += [self._flags_of(cls) for cls in every if cls is not None]
        if self.builds_model:
            classes: list[type] = [cls for cls in self.task_class.__mro__ if issubclass(cls, Task)]
            facts = self.task_class.facts
            model = documented("--model.", classes, self.task_class, lambda name: name not in facts)
            sections.append(("model", list(model.items())))
        return [*sections, *self._chosen_parts(argv), trainer]

    def help_of_part(self, argv: Sequence[str]) -> str | None:
        """Help of a data class too (``--data.help NAME``)."""
        if not given(argv, "--data.help"):
            return super().help_of_part(argv)
        cls = self.data_class(argv)
        if cls is None:
            return "\n".join(shown([("data classes", self._named_data())])).lstrip()
        own = self._flags_of(cls)
        shared: Section = ("flags of every data class", list(self._shared_data(cls).items()))
        return textwrap.fill(first_line(cls), text_width()) + "\n" + "\n".join(shown([own, shared]))

    def key_lines(self, text: str) -> dict[str, str]:
        """Those of the data class that the configuration names too."""
        path = str(yaml.safe_load(text).get("data", {}).get("class_path", self.spec.data[0]))
        name = dict(zip(self.spec.data, self.spec.data_names(), strict=True)).get(path, path)
        typed = [] if self.data_class(["--data", name]) is None else ["--data", name]
        lines = super().key_lines(text)
        for _, rows in self.sections(typed, whole=True):
            lines |= rows
        names = ", ".join(self.spec.data_names())
        return {**lines, "--data.class_path": f"data class, whose flags stand in init_args [{names}]"}

    def _named_data(self) -> list[tuple[str, str]]:
        return [(f"--data {name}", first_line(cls)) for name, cls in self.data_classes.items()]

    def _shared_data(self, cls: type[ScanDataModule] | None = None) -> dict[str, str]:
        """Flags of every data class, with the defaults of one of them."""
        linked = [link.data for link in self.task_class.links]
        bases: list[type] = [ScanDataModule, self.data_base]
        shared = documented("--data.", bases, self.data_base, lambda name: name not in linked)
        if cls is None:
            return shared
        told = documented("--data.", [*bases, *_data_classes(cls)], cls)
        return {name: told[name] for name in shared if name in told}

    def _flags_of(self, cls: type[ScanDataModule]) -> Section:
        """Flags of a data class that others do not have, those without a word in its docstring too."""
        shared, linked = self._shared_data(), [link.data for link in self.task_class.links]
        told = documented("--data.", _data_classes(cls), cls)
        known = known_of(cls)
        names = [f"--data.{name}" for name in sorted(known) if name not in linked]
        rows = [
            (name, told.get(name) or line(name, "", known[name.removeprefix("--data.")]))
            for name in dict.fromkeys([*told, *names])
            if name in names and name not in shared
        ]
        return f"flags of {cls.__name__}", rows

    def _chosen_parts(self, argv: Sequence[str]) -> list[Section]:
        if not self.builds_model:
            return []
        named = ((part, self._part_named(argv, part.flag)) for part in self.task_class.own_parts)
        return [
            arguments_of_part(load_part(path, nn.Module, f"--model.{part.flag}"), part)
            for part, path in named
            if path is not None and is_path(path)
        ]

    def _part_named(self, argv: Sequence[str], name: str) -> str | None:
        typed = value_of(argv, f"--model.{name}")
        return self._in_configs(argv, "model", name) if typed is None else typed

    def further_help(self) -> dict[str, str]:
        """Those of one data class, and all."""
        return {"flags of one data class": f"{self.command} --data.help NAME", **super().further_help()}

    def _refuse_useless(self, words: Sequence[str]) -> None:
        """What is given and would do nothing."""
        data = self.config["data"]
        kept = not self.planned and (bool(self.default_values) or self.default_file is not None)
        path = str(data["class_path"])
        ours = dict(zip(self.spec.data, self.data_classes.values(), strict=True))
        cls = ours[path] if path in ours else load_part(path, self.data_base, "--data")
        names = list(self.data_classes)
        refuse_useless_data(words, cls, data["init_args"], names, kept=kept, planned=self.planned)
        if self.builds_model:
            model = self.config["model"]
            refuse_useless_model(words, self.task_class, model, kept=kept, planned=self.planned)
            for part in self.task_class.own_parts:
                refuse_mistyped(part, model[part.flag], model[f"{part.flag}_args"])

    def build_data(self, begin: Callable[[ScanDataModule], None] | None = None) -> ScanDataModule:
        """The data module alone.

        Args:
            begin: is shown it before anything is read from it.

        Raises:
            SuiteError: there is no such network, or the data are wrong.
        """
        if self.verb in _NAME_NETWORKS:
            from backbones.network import check_name  # brings timm: not before the flags are known to be right

            check_name(self.config["model"]["backbone"])  # a typo should not cost a look at all files
        if begin is not None:

            def make(cls: type[ScanDataModule], *args: Any, **kwargs: Any) -> ScanDataModule:
                data = cls(*args, **kwargs)
                begin(data)
                return data

            self.parser.add_instantiator(make, self.data_base, subclasses=True)
        self.config_init = self.parser.instantiate_classes(self.config)
        data = cast("ScanDataModule", self.config_init["data"])
        data.seed = int(self.config["seed_everything"])
        return data

    def build_data_and_model(
        self, begin: Callable[[ScanDataModule], None] | None = None
    ) -> tuple[ScanDataModule, Task]:
        """The data module, as :meth:`build_data` makes it, and the model made from its facts."""
        data = self.build_data(begin)
        return data, cast("Task", self.config_init["model"])

    def build_trainer(self, callbacks: Sequence[Callback], /, **overrides: Any) -> Trainer:
        """The trainer; unless ``--trainer.precision`` says it, training computes in what suits the machine.

        Raises:
            SuiteError: what is asked for several devices is not there.
        """
        config = dict(self.config_init["trainer"])
        if config["precision"] is None and self.builds_model:
            config["precision"] = choose_precision(str(config["accelerator"]))
        config["use_distributed_sampler"] = False
        config.update(overrides)
        config["callbacks"] = [*_as_list(config["callbacks"]), *callbacks]
        show_progress(config)
        config["plugins"] = [*_as_list(config["plugins"]), *environment_by_hand()] or None
        if not self.builds_model and config["strategy"] == FSDP2:
            config["strategy"] = "auto"  # without gradients each device holds the whole model
        trainer = several(config, static=self._static_graph()) if self.builds_model else Trainer(**config)
        watch(trainer)
        without_handlers(trainer)
        keep_targets(trainer)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # neither the user's nor the strategy's own
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer

    def _static_graph(self) -> bool:
        """Whether the graph of the loss is the same in every step, as it is with the suite's own parts."""
        model = self.config["model"]
        own = any(model[part.flag] is not None and is_path(model[part.flag]) for part in self.task_class.own_parts)
        return model["unfreeze"] is None and not own

    def saved_config(self, data: Mapping[str, Any] | None = None) -> str:
        """The whole configuration as YAML that starts the same run again.

        Args:
            data: arguments of the data class that stand otherwise in it than they were used.
        """
        text: str = self.parser.dump(self.config, skip_none=False, skip_link_targets=True)
        values = yaml.safe_load(text)
        values["data"]["init_args"] |= data or {}
        # A verb that evaluates takes its model from a checkpoint: what --model would have said is noise.
        for name in (*_ONCE, *(() if self.builds_model else ("model",))):
            values.pop(name, None)
        if not values["allow_import"]:
            del values["allow_import"]
        if "plan" in self.own_flags:
            values["plan"] = "none"  # everything is settled
        return yaml.safe_dump(values, sort_keys=False)


def _data_classes(cls: type) -> list[type]:
    """A data class and those that it derives from."""
    return [base for base in cls.__mro__ if issubclass(base, ScanDataModule)]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _plain(spec: Preprocess | SliceSpec | None) -> dict[str, Any] | None:
    """A spec in plain types, as checkpoints keep it."""
    return None if spec is None else spec.to_dict()
