"""What a plan chooses must leave what the user gave some use, and must itself be of use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from datamodules.useless import useless_flags
from tasks.cli.useless_flags import default_of
from tasks.planning.draft import Draft
from tasks.planning.plan import Plan, make_plan, shown


def agreed(make: Callable[[Mapping[str, Any]], Draft], classes: Mapping[str, type], data_class: str) -> Plan:
    """A plan in which no flag of the user's does nothing because of a planned one, and no planned one does nothing.

    A planned value that would take the use from a flag of the user's gives way: its flag stays at the fixed default,
    and all is planned anew around that. A flag that does nothing at the fixed defaults either is the user's mistake,
    which the parser tells.

    Args:
        make: a draft in which these flags too are as if they were given.
        classes: whose arguments are flags, by group (``data``, ``model``).
        data_class: import path of the data class.
    """
    held: dict[str, Any] = {}
    notes: dict[str, str] = {}
    while True:
        draft = make(held)
        plan = make_plan(draft, data_class)
        found = {
            other: flag for flag, others in _clashes(draft, classes, held).items() for other in others - held.keys()
        }
        if not found:
            break
        for other, flag in found.items():
            held[other] = draft.defaults.get(other)
            notes[other] = f"{other} stays {shown(held[other])}: --{flag} would do nothing otherwise"
    idle = {name for name in draft.planned if _does_nothing(name, draft, classes)}
    planned = tuple(one for one in plan.planned if one.flag not in idle)
    return replace(plan, planned=planned, notes=(*plan.notes, *notes.values()))


def _clashes(draft: Draft, classes: Mapping[str, type], held: Mapping[str, Any]) -> dict[str, set[str]]:
    """Flags of the user's that do nothing, each with the planned ones without which it would do something."""
    clashes: dict[str, set[str]] = {}
    for group, cls in classes.items():
        values = _values(draft, group)
        for one in useless_flags(cls):
            name = f"{group}.{one.flag}"
            if name in held or name not in draft.given or not one.does_nothing(values):
                continue
            if draft.given[name] == default_of(cls, one.flag):
                continue
            planned = {other for other in one.others if f"{group}.{other}" in draft.planned}
            fixed = {other: draft.defaults.get(f"{group}.{other}") for other in planned}
            if planned and not one.does_nothing({**values, **fixed}):
                clashes[name] = {f"{group}.{other}" for other in planned}
    return clashes


def _does_nothing(name: str, draft: Draft, classes: Mapping[str, type]) -> bool:
    group, _, flag = name.partition(".")
    if group not in classes:
        return False
    values = _values(draft, group)
    own = flag.split(".")[0]
    return any(one.flag == own and one.does_nothing(values) for one in useless_flags(classes[group]))


def _values(draft: Draft, group: str) -> dict[str, Any]:
    """What holds of each argument of a class."""
    names = [name for name in draft.defaults if name.startswith(f"{group}.") and name.count(".") == 1]
    return {name.removeprefix(f"{group}."): draft.value(name) for name in names}
