"""``show``: a page of cases as they are stored, as the model sees them, and as training augments them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.base import ScanDataModule
from datamodules.cases.table import SPLITS
from datamodules.showing.cases import CaseCollector
from datamodules.showing.choice import Chosen, draw_cases, named_cases
from datamodules.showing.page import SamplesPage
from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite.progress import progress
from scansuite.words import number_of
from tasks.cli.flags import given
from tasks.cli.logs import configure_logs
from tasks.cli.new_page import new_page
from tasks.cli.parser import TaskParser
from tasks.registry.flag import Flag, OwnFlags

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "output": Flag("new HTML file for the page", needed=True),
    "cases": Flag("cases to draw, of each class in turn", int, 12),
    "part": Flag(
        "part to draw them from; left out: train, or all where there is none",
        Literal["train", "val", "test", "all"] | None,
    ),
    "case_id": Flag("ids of the cases to show, instead of drawn ones", several=True),
    "augmented": Flag("augmented versions to show of each training case", int, 4),
}


def run(task: str, argv: Sequence[str]) -> int:
    """Write the page.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0.
    """
    configure_logs()
    cli = TaskParser(task, "show", argv, own_flags=OWN_FLAGS, builds_model=False)
    config = cli.config
    _refuse_useless(argv, config["cases"], config["augmented"], config["case_id"])
    file = new_page(config["output"], "show.html")
    data = cli.build_data()
    chosen, lead = _chosen(data, config["cases"], config["part"], config["case_id"])
    warnings = [_absent(chosen)] if chosen.absent else []
    for line in warnings:
        log.warning("%s", line)
    page = SamplesPage(data, lead, warnings)
    collector = CaseCollector(data, config["augmented"], data.seed)
    with progress("drawing", "cases", len(chosen.rows)) as tell:
        for done, row in enumerate(chosen.rows, start=1):
            page.add(collector.collect(row))
            tell(done)
    if page.left_out:
        log.warning("%d pictures had no room on the page: show fewer cases with --cases", page.left_out)
    _write(file, page.text())
    print(f"{number_of(len(chosen.rows), 'case')} shown: {file}")
    return 0


def _refuse_useless(argv: Sequence[str], cases: int, augmented: int, names: Sequence[str]) -> None:
    if cases < 1:
        raise SuiteError(f"--cases {cases}: show at least 1")
    if augmented < 0:
        raise SuiteError(f"--augmented {augmented}: give 0 for none, or how many versions to show")
    for flag in ("--cases", "--part"):
        if names and given(argv, flag):
            raise SuiteError(f"{flag} is of drawn cases, and --case_id names them: give one of the two")


def _chosen(data: ScanDataModule, count: int, part: str | None, names: Sequence[str]) -> tuple[Chosen, str]:
    """Cases to show, and how they were chosen, in words.

    Raises:
        SuiteError: there is no such part, or no such case.
    """
    if names:
        return Chosen(named_cases(data, names), []), f"{number_of(len(names), 'case')} by name."
    parts = data.table.cases["split"]
    if part is None:
        part = "train" if (parts == "train").any() else "all"
    rows = np.flatnonzero(parts.isin(SPLITS if part == "all" else [part]).to_numpy())
    if not len(rows):
        there = ", ".join(one for one in SPLITS if (parts == one).any())
        raise SuiteError(f"--part {part}: no case is in it: there are {there}")
    chosen = draw_cases(data, rows, count, data.seed)
    of = "all parts" if part == "all" else f"the {part} part"
    how = f"drawn, classes in turn, with --seed_everything {data.seed}"
    return chosen, f"{len(chosen.rows)} of the {number_of(len(rows), 'case')} of {of}, {how}."


def _absent(chosen: Chosen) -> str:
    where = "" if chosen.looked_at is None else f" ({number_of(chosen.looked_at, 'case')} looked at)"
    return f"no case of {', '.join(chosen.absent)} was found{where}"


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(
            f"--output {file}: cannot be written ({error.strerror}): choose a folder you may write to"
        ) from None
    write_text(file, text)
