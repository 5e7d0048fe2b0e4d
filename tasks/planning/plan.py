"""A finished plan: settings with their reasons, as a config that any verb takes, and as lines for a log."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from tasks.planning.draft import Draft, Planned
from tasks.planning.rules import RULES

FILE = "plan.yaml"
REASONS = "plan.json"  # beside it: the same values, each with its reason, for programs
_HEAD = "# Planned from the data, this machine and the time; --config {file} trains by it. A flag wins over a line.\n"
_WIDTH = 116  # characters of a line of plan.yaml


@dataclass(frozen=True)
class Plan:
    """Settings that rules have chosen.

    Attributes:
        data_class: import path of the data class they are for.
        planned: in the order of the rules.
        notes: what else is to be said: what the time was too short for, what is lacking.
    """

    data_class: str
    planned: tuple[Planned, ...]
    notes: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """As a config holds it; ``plan: none`` keeps a training by it from planning again."""
        values: dict[str, Any] = {"plan": "none", "data": {"class_path": self.data_class, "init_args": {}}}
        for one in self.planned:
            put(values, one.flag, one.value)
        return values

    def without(self, *flags: str) -> Plan:
        """The plan without some flags."""
        return replace(self, planned=tuple(one for one in self.planned if one.flag not in flags))

    def to_yaml(self) -> str:
        """The config, each value under its reason and its source."""
        reasons = {_place(one.flag): f"{one.reason} ({one.source})" for one in self.planned}
        notes = [f"# {line}\n" for note in self.notes for line in textwrap.wrap(note, _WIDTH - 2)]
        return "".join([_HEAD.format(file=FILE), *notes, *_lines(self.config(), (), reasons)])

    def to_json(self) -> str:
        """For the run folder, the checkpoint and the report: :func:`read_plan` reads it."""
        planned = [one._asdict() for one in self.planned]
        return json.dumps({"data_class": self.data_class, "planned": planned, "notes": list(self.notes)}, indent=1)

    def lines(self) -> list[str]:
        """For the log: each value with its reason and its source."""
        return [*(f"{one.flag} {shown(one.value)}: {one.reason} ({one.source})" for one in self.planned), *self.notes]

    def listed(self, width: int) -> str:
        """For a reader: each value as it is typed, its reason and its source below it.

        Args:
            width: characters of a line; a value itself is never broken.
        """
        found = []
        for one in self.planned:
            why = textwrap.wrap(f"{one.reason} ({one.source})", width, initial_indent="    ", subsequent_indent="    ")
            found += [f"--{one.flag} {shown(one.value)}", *why]
        for note in self.notes:
            found += textwrap.wrap(f"note: {note}", width, subsequent_indent="    ")
        return "\n".join(found)


def make_plan(draft: Draft, data_class: str) -> Plan:
    """Let all rules of the task settle what is open.

    Args:
        draft: with what the user gave.
        data_class: import path of the data class.

    Raises:
        SuiteError: nothing can be trained on these data, and what is lacking.
    """
    notes = [note for rule in RULES[draft.fingerprint.task] for note in rule(draft) or ()]
    return Plan(data_class, tuple(draft.planned.values()), tuple(notes))


def read_plan(text: str) -> Plan:
    """Read back what :meth:`Plan.to_json` wrote."""
    values: Mapping[str, Any] = json.loads(text)
    planned = tuple(Planned(**one) for one in values["planned"])
    return Plan(str(values["data_class"]), planned, tuple(str(one) for one in values["notes"]))


def shown(value: Any) -> str:
    """A value as it is typed; one that holds several as JSON."""
    if value is None:
        return "null"
    return json.dumps(value) if isinstance(value, (list, tuple, dict, bool)) else str(value)


def _place(flag: str) -> tuple[str, ...]:
    """Keys that lead to a flag in a config: (data, init_args, augment_args, scale)."""
    group, _, name = flag.partition(".")
    if not name:
        return (group,)
    return (group, *(("init_args",) if group == "data" else ()), *name.split("."))


def put(values: dict[str, Any], flag: str, value: Any) -> None:
    """Set a flag in a config.

    Args:
        values: the config; is changed.
        flag: full name without dashes (``data.augment_args.scale``).
        value: in plain types.
    """
    *parents, last = _place(flag)
    for parent in parents:
        inner = values.get(parent)
        values[parent] = dict(inner) if isinstance(inner, dict) else {}  # a copy: it may be a rule's own dictionary
        values = values[parent]
    values[last] = _plain(value)


def _plain(value: Any) -> Any:
    """A value in the types that JSON and YAML have."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _lines(values: Mapping[str, Any], above: tuple[str, ...], reasons: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """A config line by line, the reason of each place in it (not of each name) above its key."""
    indent = "  " * len(above)
    for key, value in values.items():
        place = (*above, key)
        if place in reasons:
            yield from (f"{indent}# {line}\n" for line in textwrap.wrap(reasons[place], _WIDTH - len(indent)))
        if isinstance(value, Mapping) and any(other[: len(place)] == place for other in reasons if other != place):
            yield f"{indent}{key}:\n"
            yield from _lines(value, place, reasons)
        else:
            text = yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=True, width=math.inf).strip()
            yield f"{indent}{text[1:-1]}\n"  # without the braces around the whole
