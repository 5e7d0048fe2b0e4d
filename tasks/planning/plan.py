"""A finished plan: settings with their reasons, as a config that any verb takes, and as lines for a log."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.planning.draft import Draft, Planned
from tasks.planning.rules import RULES

FILE = "plan.yaml"
_HEAD = "# Planned from the data, this machine and the time; --config {file} trains by it. A flag wins over a line.\n"


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
        values: dict[str, Any] = {"plan": "none"}
        for one in self.planned:
            group, _, name = one.flag.partition(".")
            if not name:
                values[one.flag] = one.value
            elif group == "data":
                data = values.setdefault("data", {"class_path": self.data_class, "init_args": {}})
                _put(data["init_args"], name, one.value)
            else:
                _put(values.setdefault(group, {}), name, one.value)
        return values

    def to_yaml(self) -> str:
        """The config, each line under its reason."""
        reasons = {one.flag.rpartition(".")[2]: one for one in self.planned}
        lines = [_HEAD.format(file=FILE)]
        lines += [f"# {line}\n" for note in self.notes for line in textwrap.wrap(note, 116)]
        for line in yaml.safe_dump(self.config(), sort_keys=False, default_flow_style=None, width=100).splitlines():
            key = line.strip().split(":")[0]
            one = reasons.get(key)
            if one is not None:
                indent = " " * (len(line) - len(line.lstrip()))
                text = f"{one.reason} ({one.source})"
                lines += [f"{indent}# {part}\n" for part in textwrap.wrap(text, 116 - len(indent))]
            lines.append(f"{line}\n")
        return "".join(lines)

    def to_json(self) -> str:
        """For the checkpoint and the report."""
        return json.dumps({"planned": [one._asdict() for one in self.planned], "notes": list(self.notes)})

    def lines(self) -> list[str]:
        """For the log: each value with its reason and its source."""
        return [*(f"{one.flag} {_shown(one.value)}: {one.reason} ({one.source})" for one in self.planned), *self.notes]


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


def read_planned(text: str) -> tuple[list[Planned], list[str]]:
    """Read back what :meth:`Plan.to_json` wrote."""
    values: Mapping[str, Any] = json.loads(text)
    return [Planned(**one) for one in values["planned"]], [str(one) for one in values["notes"]]


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Put a value below names with points in them (``augment_args.scale``)."""
    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)
