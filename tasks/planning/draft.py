"""A plan in the making: what the user gave, and what rules have added, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from datamodules.fingerprint.fingerprint import Fingerprint
from tasks.planning.budget import Budget
from tasks.planning.machine import Machine


class Planned(NamedTuple):
    """A value that a rule has chosen.

    Attributes:
        flag: full name without dashes: ``model.lr``, ``data.batch_size``, ``trainer.max_epochs``.
        value: as the flag takes it, in plain types.
        reason: in words, with the numbers that it rests on.
        source: where the rule comes from: ``data``, ``machine``, ``time``, a paper, or a page of measurements
            (``docs/plan_results.md``).
    """

    flag: str
    value: Any
    reason: str
    source: str


class Draft:
    """What is settled so far. Rules ask it for values and add to it; what the user gave stays.

    Args:
        fingerprint: of the data.
        machine: that trains.
        budget: time, memory and quality that are asked for.
        given: what the user gave, by flag, with its value.
        defaults: value of each flag that is neither given nor planned.

    Attributes:
        planned: by flag, in the order of the rules.
    """

    def __init__(
        self,
        fingerprint: Fingerprint,
        machine: Machine,
        budget: Budget,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> None:
        self.fingerprint, self.machine, self.budget = fingerprint, machine, budget
        self.given, self.defaults = dict(given), dict(defaults)
        self.planned: dict[str, Planned] = {}
        self._settled: set[str] = set()

    def is_given(self, *flags: str) -> bool:
        """Whether the user gave one of these, one below it (``data.augment_args.scale``), or what it stands below."""
        return any(
            name == flag or name.startswith(f"{flag}.") or flag.startswith(f"{name}.")
            for flag in flags
            for name in self.given
        )

    def takes(self, flag: str) -> bool:
        """Whether the command has this flag at all: data classes differ in theirs."""
        return flag in self.defaults or _parent(flag) in self.defaults

    def value(self, flag: str) -> Any:
        """What holds now: the user's, else the planned one, else the fixed default."""
        if flag in self.given:
            return self.given[flag]
        return self.planned[flag].value if flag in self.planned else self.defaults.get(flag)

    def plan(self, flag: str, value: Any, reason: str, source: str) -> None:
        """Settle a flag, unless the user has, or there is no such flag.

        A value that equals the fixed default is planned too: that it was looked at is worth saying.
        """
        # Of what stands below a flag the user's part is the whole: configs replace it.
        whole = flag if flag in self.defaults else _parent(flag)
        if self.takes(flag) and not self.is_given(whole) and not {flag, whole} & self._settled:
            self.planned[flag] = Planned(flag, value, reason, source)

    def settle(self, flag: str, value: Any, reason: str, source: str) -> None:
        """Plan a flag, or what it stands below, for good: no later rule has a say."""
        self.plan(flag, value, reason, source)
        if flag in self.planned:
            self._settled.add(flag)


def _parent(flag: str) -> str:
    """The flag that another one stands below (``data.augment_args`` of ``data.augment_args.scale``); else empty."""
    parent = flag.rpartition(".")[0]
    return parent if "." in parent else ""
