"""The short help of a verb: the flags a user needs first, and where the rest are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from docstring_parser import parse

from tasks.cli.tables import columns, text_width

# Of Lightning's trainer: the flags that most runs need.
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
OF_TRAINING = (  # and these where something is trained
    "max_epochs",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "fast_dev_run",
    "deterministic",
)

Section: TypeAlias = tuple[str, Sequence[tuple[str, str]]]  # its title, flags and what they mean


def short_help(usage: str, about: str, sections: Iterable[Section], more: Mapping[str, str]) -> str:
    """The help of a verb.

    Args:
        usage: the command.
        about: what the verb does.
        sections: of flags; those that are empty are left out.
        more: where other flags are shown: what they are and the command.
    """
    shown = [(title, rows) for title, rows in sections if rows]
    first = max(len(name) for _, rows in shown for name, _ in rows)
    parts = [f"usage: {usage}\n\n{textwrap.fill(about, text_width())}"]
    for title, rows in shown:
        told = columns([(f"  {name}", " ".join(text.replace("``", "").split())) for name, text in rows], first + 2)
        parts.append(f"\n{title}:\n{told}" if title else f"\n{told}")
    wide = max(map(len, more)) + 1
    parts.append("\n" + "\n".join(f"{what + ':':<{wide}} {how}" for what, how in more.items()))
    return "\n".join(parts)


def documented(
    prefix: str, classes: Sequence[type], kept: Callable[[str], bool] = lambda name: True
) -> list[tuple[str, str]]:
    """Flags that the docstrings of classes tell of, each once, in the order of the classes.

    Args:
        prefix: of the flags (``--data.``).
        classes: whose ``Args`` are read; where two tell of an argument the more special one counts.
        kept: which arguments are shown.
    """
    told: dict[str, str] = {}
    for cls in [*classes, *sorted(classes, key=lambda cls: len(cls.__mro__))]:
        for param in parse(cls.__doc__ or "").params:
            if param.args[0] == "param" and param.arg_name != "kwargs" and kept(param.arg_name):
                told[f"{prefix}{param.arg_name}"] = param.description or ""
    return list(told.items())


def first_line(cls: type) -> str:
    """First line of a class's docstring."""
    return parse(cls.__doc__ or "").short_description or ""
