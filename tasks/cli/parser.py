"""``LightningCLI`` with the task fixed, the data chosen by class name, and data facts handed to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError, nearest
from tasks.base import Task
from tasks.cli.flags import find_configs, init_parameters, refuse_unknown, value_of
from tasks.cli.help import short_help
from tasks.cli.main import VERBS
from tasks.cli.useless_flags import refuse_useless_data, refuse_useless_model
from tasks.hardware import MemoryFormat, choose_precision
from tasks.specs import SPECS, spec_of
from tasks.training.saving import WholeCheckpoints

# Own flags of verbs that take several values; the others take one.
LISTS = ("ckpt_paths",)


class SuiteCLI(LightningCLI):
    """Parses the flags of a verb; what is built from them is up to the verb.

    Args:
        task: name of the task.
        verb: what is done, for the help.
        argv: flags as typed.
        own_flags: of the verb, beside Lightning's: name and meaning; each takes text, those of :data:`LISTS` several.
        builds_model: the verb makes a model from ``--model`` (fit); other verbs take it from a checkpoint.
        defaults: a config that comes before what the user gives.
    """

    def __init__(
        self,
        task: str,
        verb: str,
        argv: Sequence[str],
        *,
        own_flags: dict[str, str],
        builds_model: bool,
        defaults: Path | dict[str, Any] | None = None,
    ) -> None:
        self.task, self.own_flags, self.builds_model = task, own_flags, builds_model
        self.default_values = defaults if isinstance(defaults, dict) else {}
        files = [str(defaults)] if isinstance(defaults, Path) else []
        self.spec = spec_of(task)
        self.task_class, self.data_base = self.spec.task_class(), self.spec.data_base_class()
        self.data_classes = self.spec.data_classes()
        super().__init__(
            self.task_class,
            self.data_base,
            save_config_callback=None,
            trainer_defaults={"max_epochs": 20, "use_distributed_sampler": False},
            seed_everything_default=0,
            parser_kwargs={
                "exit_on_error": False,
                "default_config_files": files,
                "prog": f"{self.spec.program} {verb}",
                "usage": f"{self.spec.program} {verb} [flags]",
                "description": VERBS[verb].capitalize() + ".",
            },
            subclass_mode_data=True,
            args=find_configs(argv),
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Trainer, model and data, with the links between data and model."""
        model: Any = self.model_class
        if self.builds_model:
            super().add_core_arguments_to_parser(parser)
        else:
            parser.add_lightning_class_args(Trainer, "trainer")
            parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})
            parser.add_class_arguments(model, "model", instantiate=False, skip=set(model.facts))
            parser.add_lightning_class_args(self.data_base, "data", subclass_mode=True)
        parser.set_defaults({"data": {"class_path": self.spec.data[0]}})
        if "data" in self.default_values:
            parser.set_defaults({"data": self.default_values["data"]})
        parser.set_defaults({f"model.{name}": value for name, value in self.default_values.get("model", {}).items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The verb's own flags, and the links."""
        parser.add_argument(
            "--memory_format",
            type=MemoryFormat,
            default="auto",
            help="of the weights; auto is channels_last for convolutional networks",
        )
        for name, text in self.own_flags.items():
            if name in LISTS:
                parser.add_argument(f"--{name}", type=str, nargs="+", default=[], help=text)
            else:
                parser.add_argument(f"--{name}", type=str | None, default=None, help=text)
        for link in self.task_class.links:
            parser.link_arguments(f"model.{link.model}", f"data.init_args.{link.data}", compute_fn=link.compute)
        if self.builds_model:
            for fact in self.task_class.facts:
                compute = _plain if fact in ("preprocess", "slices") else None
                parser.link_arguments(f"data.{fact}", f"model.{fact}", compute_fn=compute, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the flags; print help where it is asked for."""
        words = cast("list[str]", args)
        if "--help" in words or "-h" in words:
            own = {f"--{name}": text for name, text in self.own_flags.items()}
            usage, about = str(parser.usage).removesuffix(" [flags]"), str(parser.description)
            print(short_help(usage, about, own, self.spec, builds_model=self.builds_model))
            raise SystemExit(0)
        if "--help_all" in words:
            words = ["--help"]
        elif not any(
            word.startswith(("--data.help", "--trainer.", "--print_config")) and "help" in word for word in words
        ):
            self._refuse(parser, words)
        self.config = parser.parse_args(words)
        self._refuse_useless(words)

    def _refuse_useless(self, words: Sequence[str]) -> None:
        """What is given and would do nothing."""
        data = self.config["data"]
        kept = bool(self.default_values) or bool(self.parser.default_config_files)
        cls = self.data_classes.get(data["class_path"].rsplit(".", 1)[-1])
        if cls is not None:  # one of the user's own says nothing of that
            refuse_useless_data(words, cls, data["init_args"], list(self.data_classes), kept=kept)
        if self.builds_model:
            refuse_useless_model(words, self.task_class, self.config["model"], kept=kept)

    def _refuse(self, parser: LightningArgumentParser, words: Sequence[str]) -> None:
        known = {option for action in parser._actions for option in action.option_strings}
        wanted = value_of(words, "--data")
        ours = self.data_classes
        if wanted is not None and "." not in wanted and wanted not in ours:
            others = {name for task in SPECS for name in spec_of(task).data_names()}
            what = f"no data class of {self.task}" if wanted in others else "no such data class"
            raise SuiteError(f"--data {wanted}: {what}: {nearest(wanted, ours)}")
        classes = [cls for cls in ours.values() if wanted is None or cls.__name__ == wanted.rsplit(".", 1)[-1]]
        for cls in classes or ours.values():
            known |= {f"--data.{name}" for name in init_parameters(cls)}
            known |= {f"--data.init_args.{name}" for name in init_parameters(cls)}
        linked = [link.data for link in self.task_class.links]
        refuse_unknown(words, known - {f"--data.{prefix}{name}" for prefix in ("", "init_args.") for name in linked})

    def instantiate_classes(self) -> None:
        """Nothing yet: each verb builds what it needs."""

    def build_data(self) -> ScanDataModule:
        """The data module alone."""
        self.config_init = self.parser.instantiate_classes(self.config)
        data = cast("ScanDataModule", self.config_init["data"])
        data.seed = int(self.config["seed_everything"])
        return data

    def build_data_and_model(self) -> tuple[ScanDataModule, Task]:
        """The data module, and the model made from its facts."""
        data = self.build_data()
        return data, cast("Task", self.config_init["model"])

    def build_trainer(self, callbacks: Sequence[Callback], /, **overrides: Any) -> Trainer:
        """The trainer; unless ``--trainer.precision`` says it, training computes in what suits the machine."""
        config = dict(self.config_init["trainer"])
        if config["precision"] is None and self.builds_model:
            config["precision"] = choose_precision(str(config["accelerator"]))
        config["use_distributed_sampler"] = False
        config.update(overrides)
        config["callbacks"] = [*_as_list(config["callbacks"]), *callbacks]
        trainer = Trainer(**config)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # neither the user's nor the strategy's own
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer

    def saved_config(self, data: Mapping[str, Any] | None = None) -> str:
        """The whole configuration as YAML that starts the same run again.

        Args:
            data: arguments of the data class that stand otherwise in it than they were used.
        """
        text: str = self.parser.dump(self.config, skip_none=False, skip_link_targets=True)
        import yaml

        values = yaml.safe_load(text)
        values["data"]["init_args"] |= data or {}
        # A verb that judges takes its model from a checkpoint: what --model would have said is noise.
        # For one run, not for its repetition.
        once = ("config", "run_dir", "ckpt_path", "ckpt_paths", "find_lr", "find_batch_size", "folds", "judge_test")
        for name in (*once, *(() if self.builds_model else ("model",))):
            values.pop(name, None)
        return yaml.safe_dump(values, sort_keys=False)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _plain(spec: Any) -> dict[str, Any] | None:
    """A spec in plain types, as checkpoints keep it."""
    return None if spec is None else cast("dict[str, Any]", spec.to_dict())
