"""The short help of a verb: the flags a user needs first, and where the rest are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from docstring_parser import ParseError, parse

from scansuite.own_parts import parameters_of
from tasks.cli.tables import columns, text_width

if TYPE_CHECKING:
    from tasks.own.parts import OwnPart

# Of Lightning's trainer: the flags that most runs need.
TRAINER = {
    "max_epochs": "passes over the training part (default 20)",
    "accelerator": "cpu, gpu, mps; auto takes the best there is",
    "devices": "how many; see docs/devices.md for what several share",
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
    parts = [f"usage: {usage}\n\n{textwrap.fill(about, text_width())}", *shown(sections)]
    wide = max(map(len, more)) + 1
    parts.append("\n" + "\n".join(f"{what + ':':<{wide}} {how}" for what, how in more.items()))
    return "\n".join(parts)


def shown(sections: Iterable[Section]) -> list[str]:
    """Sections as text, those without flags left out."""
    full = [(title, rows) for title, rows in sections if rows]
    first = max((len(name) for _, rows in full for name, _ in rows), default=0)
    parts = []
    for title, rows in full:
        told = columns([(f"  {name}", " ".join(text.replace("``", "").split())) for name, text in rows], first + 2)
        parts.append(f"\n{title}:\n{told}" if title else f"\n{told}")
    return parts


def arguments_of_part(cls: type, part: OwnPart) -> Section:
    """The arguments of a part of the user's own, with the words of its docstrings and what they are where left out."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for text in (vars(base).get("__doc__"), getattr(vars(base).get("__init__"), "__doc__", None)):
            with suppress(ParseError):
                told |= {param.arg_name: param.description or "" for param in parse(text or "").params}
    rows = []
    for name, parameter in parameters_of(cls).items():
        if name in part.withheld:
            continue
        text, note = told.get(name, ""), ""
        if name in part.offered:
            note = "(the suite gives it)"
        elif parameter.default is parameter.empty:
            note = "(required)"
        elif parameter.default is not None and "default" not in text.lower():
            note = f"(default {parameter.default})"
        text = f"{text.rstrip('.')} {note}" if note else text
        rows.append((f"--model.{part.flag}_args.{name}", text.strip()))
    return f"arguments of {cls.__name__} (--model.{part.flag})", rows


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
