"""Flags that are given and would do nothing: an error, not a training on something else than was meant."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.base import ScanDataModule
from datamodules.cases.layouts import advice
from datamodules.samples.scaling import has_scale
from datamodules.useless import Useless, useless_flags
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.flags import given, value_of
from tasks.predictor import Sliced

# What a checkpoint brings, and what training alone asks for: the verbs that evaluate make nothing of it.
_OF_MODEL = ("image_size", "channels", "gamma", "round_resized", "normalize", "axis", "neighbors", "spacing")
_SCALES = ("window", "percentiles", "value_range")  # where the model has none, those of the data count
_OF_TRAINING = ["augment", "augment_args", "augment_on", "sampler", "mosaic", "foreground_share"]


def refuse_useless_data(
    words: Sequence[str],
    cls: type[ScanDataModule],
    values: Mapping[str, Any],
    known: Sequence[str],
    *,
    kept: bool,
    planned: Collection[str] = (),
) -> None:
    """Refuse flags of ``--data`` that the chosen class has no use for, from the command line or a ``--config``.

    Args:
        words: flags as typed.
        cls: the data class.
        values: its arguments.
        known: names of the data classes of the task.
        kept: the values are those of an earlier run, so only what is typed is the user's word.
        planned: full names of the flags that a plan has chosen, which are not the user's word either.

    Raises:
        SuiteError: names the flag; where it is the folder, what lies there and which classes fit.
    """
    one = _first(words, "data", cls, values, kept=kept, planned=planned)
    if one is None:
        return
    value = values[one.flag]
    if one.flag == "root":
        more = advice(Path(str(value)), [name for name in known if name != cls.__name__])
        named = " (what is taken without --data)" if value_of(words, "--data") is None else ""
        raise SuiteError(f"--data.root {value}: no use to {cls.__name__}{named}: {one.why}. {more}")
    raise SuiteError(f"--data.{one.flag} {value}: no use to {cls.__name__}: {_mended(one.why)}")


def refuse_useless_model(
    words: Sequence[str], cls: type[Task], values: Mapping[str, Any], *, kept: bool, planned: Collection[str] = ()
) -> None:
    """Refuse useless flags of ``--model``."""
    one = _first(words, "model", cls, values, kept=kept, planned=planned)
    if one is not None:
        raise SuiteError(f"--model.{one.flag} {values[one.flag]}: does nothing: {_mended(one.why)}")


def _mended(why: str) -> str:
    """Why a flag is useless, and to leave it out, where that is not the only mend."""
    return f"{why}{', or' if ': give' in why else ':'} leave it out"


def refuse_in_evaluation(words: Sequence[str]) -> None:
    """Refuse typed flags of ``--data`` that say how a model is trained, where a checkpoint is evaluated.

    Raises:
        SuiteError: names the first.
    """
    _refuse_typed(words, _OF_MODEL, "a checkpoint brings how its images are prepared")
    _refuse_typed(words, _OF_TRAINING, "nothing is trained")


def refuse_second_scale(words: Sequence[str], model: Sliced) -> None:
    """Refuse a scale that is typed where the model that is evaluated has one.

    Raises:
        SuiteError: names the flag.
    """
    if has_scale(model.preprocess, model.slices):
        _refuse_typed(words, _SCALES, "the model was trained with a scale of its own, which is used")


def _refuse_typed(words: Sequence[str], names: Sequence[str], why: str) -> None:
    for name in names:
        if any(given(words, f"--data.{prefix}{name}") for prefix in ("", "init_args.")):
            raise SuiteError(f"--data.{name}: {why}: leave it out")


def _first(
    words: Sequence[str],
    group: str,
    cls: type,
    values: Mapping[str, Any],
    *,
    kept: bool,
    planned: Collection[str],
) -> Useless | None:
    """The first flag that is given and does nothing."""
    for one in useless_flags(cls):
        if one.flag not in values or not one.does_nothing(values):
            continue
        typed = any(given(words, f"--{group}.{prefix}{one.flag}") for prefix in ("", "init_args."))
        chosen = kept or f"{group}.{one.flag}" in planned
        if typed or (not chosen and values[one.flag] != default_of(cls, one.flag)):
            return one
    return None


def default_of(cls: type, name: str) -> Any:
    """What an argument is where it is left out."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameter = inspect.signature(base.__init__).parameters.get(name)  # type: ignore[misc]
            if parameter is not None:
                return parameter.default
    return None
