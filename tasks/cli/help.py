"""The short help of a verb: the flags a user needs first, and where the rest are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from docstring_parser import parse

from datamodules.base import ScanDataModule
from tasks.base import Task
from tasks.spec import TaskSpec

TRAINER = {
    "max_epochs": "passes over the training part (default 20)",
    "accelerator": "cpu, gpu, mps; auto takes the best there is",
    "devices": "how many; with more than one give --trainer.strategy ddp",
    "precision": "32-true, bf16-mixed, 16-mixed; left out: what this machine computes natively",
    "deterministic": "true: the same numbers on every run on this machine",
    "gradient_clip_val": "largest norm of the gradient",
    "accumulate_grad_batches": "batches for each step of the optimiser",
    "fast_dev_run": "true: one batch through everything, nothing is written",
    "callbacks+": "any Lightning callback, e.g. EarlyStopping --trainer.callbacks.monitor val/auroc",
}
COMMON = {
    "--config": "YAML with any of these flags; also the name of a shipped one (experiment/medmnist); may be repeated",
    "--seed_everything": "seed of the run (default 0)",
    "--memory_format": "of the weights: auto, channels_last, contiguous",
    "--debug": "show the traceback of an error",
}


def short_help(
    usage: str,
    about: str,
    own: dict[str, str],
    spec: TaskSpec,
    *,
    builds_model: bool,
) -> str:
    """The help of a verb.

    Args:
        usage: the command.
        about: what the verb does.
        own: the verb's own flags and what they mean.
        spec: of the task, whose ``--model`` flags and data classes are listed.
        builds_model: list them; a verb that takes its model from a checkpoint has none.
    """
    task = spec.task_class()
    linked = [link.data for link in task.links]
    bases = (ScanDataModule, spec.data_base_class())
    flags = [param for base in bases for param in parse(base.__doc__ or "").params]
    shared = list({p.arg_name: p for p in flags if p.arg_name not in (*linked, "kwargs")}.values())
    classes = {
        f"--data {name}": parse(cls.__doc__ or "").short_description or "" for name, cls in spec.data_classes().items()
    }
    parts = [f"usage: {usage} [flags]\n\n{about}\n", _columns({**own, **COMMON}.items())]
    parts += ["\ndata:", _columns(classes.items())]
    parts += ["\nflags of every data class:", _columns((f"--data.{p.arg_name}", p.description or "") for p in shared)]
    if builds_model:
        told = [param for cls in (task, Task) for param in parse(cls.__doc__ or "").params]
        model = [param for param in told if param.args[0] == "param" and param.arg_name not in (*task.facts, "kwargs")]
        parts += ["\nmodel:", _columns((f"--model.{param.arg_name}", param.description or "") for param in model)]
    parts += ["\ntrainer:", _columns((f"--trainer.{name}", text) for name, text in TRAINER.items())]
    parts += [f"\nflags of one data class: {usage} --data.help NAME\nevery flag:              {usage} --help_all"]
    return "\n".join(parts)


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    width = 28
    lines = []
    for name, text in rows:
        body = textwrap.wrap(" ".join(text.replace("``", "").split()), 116 - width)
        first = f"  {name:<{width - 2}}" if len(name) < width - 2 else f"  {name}\n{' ' * width}"
        lines.append(first + f"\n{' ' * width}".join(body))
    return "\n".join(lines)
