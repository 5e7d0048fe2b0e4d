"""Benchmark of `fit --time`: when each command ends, where its schedule does, and what a longer time gives.

    python -m benchmarks.plan_time --data DIR [--sets breastmnist bccd hippocampus] [--minutes 5 10 20 40] [--runs DIR]

Every training is a process of its own with no flag but the data and the time. Aimed at: an end within 10 % of the time,
with the last step of the schedule behind it. Runs are kept in ``--runs`` and not repeated, so an interrupted call goes
on where it was. Other programs on the machine make no difference to the end, but to the metric. Prints the table of
``docs/plan_time.md``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.plan import SETS, Set, data_flags, trained
from benchmarks.runs import table

NAMES = ("breastmnist", "bccd", "hippocampus")
MINUTES = (5.0, 10.0, 20.0, 40.0)
HEAD = ("data", "asked", "took", "off", "steps", "schedule", "last rate", "metric", "95 % interval")
# What the training says of its end, see tasks/training/on_time.py.
_ENDED = re.compile(r"and (\d+) steps, (\d+) of (\d+) steps of the schedule over, learning rate (\S+)")


def row(one: Set, data: Path, runs: Path, minutes: float) -> list[str]:
    """Train for so many minutes, or take the run that is there; a row of the table."""
    folder = runs / f"{one.name}-{minutes:g}m"
    found = trained(one, folder, [*data_flags(one, data), "--time", f"{60 * minutes:g}s"])
    said = _ENDED.search(folder.with_name(f"{folder.name}.log").read_text(encoding="utf-8"))
    steps, done, laid, rate = said.groups() if said else ("?", "?", "?", "?")
    return [
        one.name,
        f"{minutes:g} min",
        f"{found.seconds / 60:.2f} min",
        f"{100 * (found.seconds / (60 * minutes) - 1):+.1f} %",
        steps,
        f"{done} of {laid}",
        rate,
        f"{one.metric} {found.value:.3f}",
        f"{found.low:.3f} to {found.high:.3f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of all data sets")
    parser.add_argument("--sets", nargs="+", default=list(NAMES), choices=[one.name for one in SETS], help="which")
    parser.add_argument("--minutes", nargs="+", type=float, default=list(MINUTES), help="times that are asked for")
    parser.add_argument("--runs", type=Path, default=Path("runs/plan_time"), help="folder of the runs")
    args = parser.parse_args(argv)
    chosen = [one for one in SETS if one.name in args.sets]
    rows = [row(one, args.data, args.runs, minutes) for minutes in args.minutes for one in chosen]
    print(table(HEAD, sorted(rows, key=lambda cells: args.sets.index(cells[0]))))


if __name__ == "__main__":
    main()
