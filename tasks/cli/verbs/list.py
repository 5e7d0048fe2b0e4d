"""``list``: the networks that can be a backbone, from shipped tables, so that it needs neither torch nor network."""

from __future__ import annotations

import csv
import fnmatch
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from scansuite.errors import SuiteError, nearest
from tasks.cli.tables import print_table
from tasks.cli.verb_parser import VerbParser
from tasks.registry.specs import SPECS

OWN_FLAGS = {"csv": "file to write the networks to as a table, all where none is named; left out: they are printed"}
WORDS = ("pattern", "'resnet*', or a family; left out: one line for each family")
MORE = (
    'A size with "from" can be changed (--data.image_size), down to the side given, which is the smallest that the '
    "matrix of docs/matrix.md tried on the family's smallest member; a task is listed where that member trained"
)


class Network(NamedTuple):
    """A row of the table.

    Attributes:
        family: timm's module that holds it, or our own file.
        name: for ``--model.backbone``.
        parameters: with its own classifier.
        strides: of its features, fine to coarse.
        size: HxW in pixels as published.
        smallest: side in pixels of the smallest images that were tried; empty where unknown.
        licence: of pretrained weights; empty: there are none.
        tasks: in which it trains.
        refused: why it does not in the others.
    """

    family: str
    name: str
    parameters: int
    strides: str
    size: str
    smallest: str
    licence: str
    tasks: str
    refused: str


def run(task: str, argv: Sequence[str]) -> int:
    """Print the networks.

    Args:
        task: name of the task.
        argv: flags as typed.
    """
    cli = VerbParser(task, "list", argv, own_flags=OWN_FLAGS, words=WORDS, more=MORE, builds=False)
    flags = cli.config
    rows = chosen(networks(), flags.pattern)
    if flags.csv is not None:
        _write(rows, Path(flags.csv))
        print(f"{len(rows)} networks written to {flags.csv}")
        return 0
    _print(_networks(rows) if flags.pattern else _families(rows))
    if not flags.pattern:
        print(f"\nthe networks of a family: {cli.command} resnet     by name: {cli.command} '*resnet*50*'")
    return 0


def networks() -> list[Network]:
    """Networks of the shipped tables."""
    facts = _read("networks.csv")
    tried: dict[str, list[dict[str, str]]] = {}
    for row in _read("matrix.csv"):
        tried.setdefault(row["family"], []).append(row)
    found = []
    for row in facts:
        cells = tried.get(row["family"], [])
        own = [cell for cell in cells if cell["name"] == row["name"]] or cells[: len(SPECS)]
        trained = [cell for cell in own if cell["outcome"] == "trained"]
        reasons = {cell["reason"] for cell in own if cell["outcome"] != "trained"}
        found.append(
            Network(
                row["family"], row["name"], int(row["parameters"]), row["strides"], row["size"],
                max((cell["size"] for cell in trained), key=int, default=""), row["licence"],
                " ".join(cell["task"] for cell in trained), "; ".join(sorted(reasons)),
            )
        )  # fmt: skip
    return found


def chosen(rows: Sequence[Network], patterns: Sequence[str]) -> list[Network]:
    """Networks of a family, or whose name fits a pattern; all where there is no pattern.

    Raises:
        SuiteError: a pattern that fits nothing.
    """
    kept: set[str] = set()
    for pattern in patterns:
        fitting = {row.name for row in rows if row.family == pattern or fnmatch.fnmatchcase(row.name, pattern)}
        if not fitting:
            names = [*dict.fromkeys(row.family for row in rows), *(row.name for row in rows)]
            raise SuiteError(f"no network or family {pattern!r}: {nearest(pattern, names)}")
        kept |= fitting
    return [row for row in rows if not patterns or row.name in kept]


def _read(name: str) -> list[dict[str, str]]:
    text = (resources.files("configs") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _families(rows: Sequence[Network]) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = [("family", "networks", "parameters", "strides", "licence", "trains in")]
    for family in dict.fromkeys(row.family for row in rows):
        members = [row for row in rows if row.family == family]
        least, most = (pick(row.parameters for row in members) for pick in (min, max))
        licences = dict.fromkeys(part for row in members for part in row.licence.split(" or ") if part)
        span = _millions(least) if least == most else f"{_millions(least)} to {_millions(most)}"
        strides = sorted({int(stride) for row in members for stride in row.strides.split()})
        table.append(
            (
                family, str(len(members)), span, " ".join(map(str, strides)), ", ".join(licences) or "no weights",
                members[0].tasks or f"refused: {members[0].refused}"[:60],
            )
        )  # fmt: skip
    return table


def _networks(rows: Sequence[Network]) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = [
        ("family", "network", "parameters", "strides", "images", "licence of weights", "trains in")
    ]
    for row in rows:
        images = row.size + (f" from {row.smallest}" if row.smallest else "")
        tasks = row.tasks or f"refused: {row.refused}"[:80]
        table.append(
            (row.family, row.name, _millions(row.parameters), row.strides, images, row.licence or "none", tasks)
        )
    return table


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def _print(table: Sequence[tuple[str, ...]]) -> None:
    print_table(table[0], table[1:], names=2)
    print(f"{len(table) - 1} lines", file=sys.stderr)


def _write(rows: Sequence[Network], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Network._fields)
            writer.writerows(rows)
    except OSError as error:
        raise SuiteError(f"--csv {path}: cannot be written ({error.strerror}): choose another file") from error
