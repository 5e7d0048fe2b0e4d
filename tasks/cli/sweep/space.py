"""The space of a sweep: flags with their ranges or choices, from a YAML file or around a configuration."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from scansuite.errors import SuiteError
from tasks.cli.flags import read_config
from tasks.cli.synonyms import meant

if TYPE_CHECKING:
    from optuna.trial import Trial

FLAG = "--space"
_KEYS = {"low", "high", "log", "step"}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class Range(NamedTuple):
    """Numbers between two ends, both included.

    Attributes:
        low: least.
        high: most.
        log: drawn evenly by their logarithms.
        step: distance of the numbers that may be drawn; None: any.
        whole: whole numbers alone.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def draw(self, trial: Trial, flag: str) -> Any:
        """A value for a trial."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(flag, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(flag, self.low, self.high, log=self.log, step=self.step)

    def ends(self) -> tuple[int, int] | tuple[float, float]:
        """The least and the most that may be drawn, as they are typed."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value might be drawn."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose((value - self.low) / self.step, round((value - self.low) / self.step))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.log else "")


class Choices(NamedTuple):
    """Values to choose from.

    Attributes:
        values: as the flag takes them, in plain types.
    """

    values: tuple[Any, ...]

    def draw(self, trial: Trial, flag: str) -> Any:
        """A value for a trial; the study keeps it as JSON, since it takes no lists."""
        return json.loads(str(trial.suggest_categorical(flag, [json.dumps(value) for value in self.values])))

    def holds(self, value: Any) -> bool:
        """Whether a value might be drawn."""
        return any(_alike(value, one) for one in self.values)

    def parameter(self, value: Any) -> str:
        """What the study calls a value that it holds: as the choice is written, 0 for the 0.0 of a flag."""
        return json.dumps(next(one for one in self.values if _alike(value, one)))

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


# By the full name of the flag, without dashes.
Space: TypeAlias = dict[str, Range | Choices]


def read_space(file: Path, known: Collection[str]) -> Space:
    """Read a space from YAML: ``model.lr: {low: 0.0001, high: 0.01, log: true}``, ``data.augment: [light, strong]``.

    Groups may be nested (``model:`` and below it ``lr:``).

    Args:
        file: YAML.
        known: full names of the flags that may be named, with dashes.

    Raises:
        SuiteError: it cannot be read, is empty, names what is no flag, or has a range that is none.
    """
    values = read_config(file, FLAG)
    if not isinstance(values, Mapping) or not values:
        raise SuiteError(f"{FLAG} {file}: names no flag: write one in each line (model.lr: {{low: 1e-4, high: 1e-2}})")
    space: Space = {}
    for name, asked in _flat(values, ""):
        flag = f"--{name}"
        if flag not in known and not any(f"{flag}.".startswith(f"{one}.") for one in known if one.count(".") > 0):
            near = meant(flag, set(known))
            raise SuiteError(f"{FLAG} {file}: {name}: no such flag: " + (f"did you mean {near}?" if near else "--help"))
        if not name.startswith(("model.", "data.", "trainer.")) or name == "data.root":
            raise SuiteError(
                f"{FLAG} {file}: {name}: is no setting of a training: name flags of model, data or trainer"
            )
        space[name] = _part(file, name, asked)
    return space


def around(config: Mapping[str, Any]) -> Space:
    """The neighbourhood of a configuration: rate, decay, stochastic depth and warm-up within what papers vary them by.

    Args:
        config: flags by full name, with their values.
    """
    from backbones.catalogue import has_stochastic_depth  # brings timm, which help does not need

    rate, decay = float(config["model.lr"]), float(config["model.weight_decay"])
    space: Space = {"model.lr": Range(rate / 5, rate * 5, log=True)}
    if decay > 0:
        space["model.weight_decay"] = Range(decay / 10, decay * 4, log=True)
    seen = config.get("data.cache") != "features"  # else the network is frozen, and no image is seen twice
    if seen and has_stochastic_depth(str(config["model.backbone"])):
        space["model.drop_path"] = Range(0.0, 0.3)
    space["model.warmup"] = Range(0.0, 0.2)
    if seen and isinstance(config.get("data.augment"), str):
        space["data.augment"] = Choices(tuple(dict.fromkeys([config["data.augment"], "light", "medium", "strong"])))
    return space


def drawn(space: Space, trial: Trial) -> dict[str, Any]:
    """Values of a trial, by flag."""
    return {name: part.draw(trial, name) for name, part in space.items()}


def parameters_of(space: Space, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the study calls the values of a configuration, and the flags whose value lies outside of the space."""
    outside = [name for name, part in space.items() if not part.holds(config.get(name))]
    inside = {name: (part, config.get(name)) for name, part in space.items() if name not in outside}
    return {
        name: part.parameter(value) if isinstance(part, Choices) else value for name, (part, value) in inside.items()
    }, outside


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Values as flags are typed."""
    words: list[str] = []
    for name, value in values.items():
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _alike(value: Any, choice: Any) -> bool:
    """Whether a flag with this value has the choice; Python takes True for 1."""
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _flat(values: Mapping[Any, Any], group: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{group}{key}"
        if isinstance(value, Mapping) and not {"low", "high"} & set(value):
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value))
    return found


def _part(file: Path, name: str, asked: object) -> Range | Choices:
    where = f"{FLAG} {file}: {name}"
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        values = tuple(map(_untexted, asked))
        if len(values) < 2 or any(sum(_alike(one, other) for other in values) > 1 for one in values):
            raise SuiteError(f"{where}: {list(asked)}: give at least two different values, or leave it out")
        return Choices(values)
    if not isinstance(asked, Mapping):
        raise SuiteError(f"{where}: {asked}: give a range {{low: 1, high: 2}} or a list of values")
    unknown = sorted(str(key) for key in set(asked) - _KEYS)
    if unknown:
        raise SuiteError(f"{where}: {unknown[0]}: a range has low, high, log and step")
    low, high = (_number(where, key, asked.get(key)) for key in ("low", "high"))
    step = None if asked.get("step") is None else _number(where, "step", asked["step"])
    log = asked.get("log", False)
    if not isinstance(log, bool):
        raise SuiteError(f"{where}: log {log}: true or false")
    if not low < high:
        raise SuiteError(f"{where}: low {low:g} is not below high {high:g}")
    if log and (low <= 0 or step is not None):
        raise SuiteError(f"{where}: log: true takes a low above 0, and no step")
    whole = all(isinstance(asked.get(key, 1), int) for key in ("low", "high")) and (step is None or step == int(step))
    if step is not None and not 0 < step <= high - low:
        raise SuiteError(f"{where}: step {step:g}: must be above 0 and at most {high - low:g}")
    return Range(low, high, log, step, whole)


def _untexted(value: object) -> object:
    """A choice that is a number for its flag; YAML takes ``1e-4`` for a text."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _number(where: str, key: str, value: object) -> float:
    """A number of a range; YAML takes ``1e-4`` for a text."""
    try:
        if isinstance(value, bool) or value is None:
            raise ValueError
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError):
        raise SuiteError(f"{where}: {key} {value}: a number is needed") from None
    return number
