"""Many runs on one page: their metrics beside one another, with the flags in which they differ."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.metric_names import first_metrics, label_of
from tasks.evaluation.metric_values import MetricValue, read_metrics
from tasks.evaluation.report.content import Cell, ForestPlot, Section, Table
from tasks.evaluation.report.header import part_name
from tasks.evaluation.report.write import Extras, write_sections
from tasks.evaluation.run_file import read_config, read_run_file
from tasks.evaluation.task_file import read_task

log = logging.getLogger(__name__)

_METRICS = 4  # columns
_PLOTTED = 40  # runs of a forest plot
_PARTS = ("test", "val")
# Differ from run to run, and say nothing of what was tried.
_OF_NO_INTEREST = ("trainer.default_root_dir", "data.init_args.split_file", "run_dir")
# Of an absolute path all but its last name.
_FOLDERS = re.compile(r"(?<![\w./:-])(?:~|[A-Za-z]:)?[\\/](?:[^\\/\"',]+[\\/])*(?=[^\\/\"',])")
_LEFT_OUT = "no run of this task"


@dataclass(frozen=True)
class _Run:
    """A run folder.

    Attributes:
        name: its path from the folder of all.
        metrics: by part and name.
        flags: of its config, by full name.
        finished: when its tables were made, as text.
    """

    name: str
    metrics: Mapping[str, Mapping[str, MetricValue]]
    flags: Mapping[str, str]
    finished: str


def write_overview(task: str, folder: Path, output: Path, extras: Extras) -> list[Path]:
    """Write one page on all runs of a task below a folder.

    Args:
        task: its name; runs of others are passed over.
        folder: where they are, at any depth.
        output: of the page.
        extras: see there.

    Returns:
        The files written, the page first.

    Raises:
        SuiteError: there is no such folder, or no evaluated run of the task in it.
    """
    if not folder.is_dir():
        raise SuiteError(f"--runs {folder}: no such folder")
    runs = _found(task, folder)
    if not runs:
        raise SuiteError(f"--runs {folder}: {_LEFT_OUT} with metrics.json is below it: name the folder of your runs")
    head = [("Task", task), ("Folder", folder.resolve().name), ("Runs", str(len(runs)))]
    sections = [_section(task, runs, part) for part in _PARTS if any(part in run.metrics for run in runs)]
    said = [line for section in sections for line in section.lines[:1]]
    return write_sections(f"Runs of {folder.resolve().name}", head, said, sections, output, extras)


def _found(task: str, folder: Path) -> list[_Run]:
    runs = []
    for file in sorted(folder.rglob("metrics.json")):
        own = file.parent
        try:
            if read_task(own).task != task:
                continue
            metrics = read_metrics(file)
        except SuiteError as error:
            log.warning("%s: left out: %s", own, str(error).removeprefix(f"{own}/"))
            continue
        by_part = {
            part: {name.partition("/")[2]: one for name, one in metrics.items() if name.startswith(f"{part}/")}
            for part in _PARTS
        }
        if known := {part: values for part, values in by_part.items() if values}:
            name = own.relative_to(folder).as_posix()
            finished = str(read_run_file(own).get("finished", "")).replace("T", " ")
            runs.append(_Run(name if name != "." else own.resolve().name, known, _flags(own), finished))
    return runs


def _flags(folder: Path) -> dict[str, str]:
    """Flags of a run; of an evaluation those of its data, as its trainer has trained nothing."""
    config = read_config(folder)
    return _flat(config if "model" in config else {"data": config.get("data", {})})


def _flat(values: Mapping[str, Any], lead: str = "") -> dict[str, str]:
    """Flags of a config by full name, their values as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        full = f"{lead}{name}"
        if isinstance(value, dict):
            found |= _flat(value, f"{full}.")
        else:
            found[full] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found


def _shown(value: str) -> str:
    """A flag's value without the folders that a path leads through: they are nobody's business but the user's."""
    return _FOLDERS.sub("", value.rstrip("/\\"))


def _section(task: str, runs: Sequence[_Run], part: str) -> Section:
    there = [run for run in runs if part in run.metrics]
    names = first_metrics(task, list(dict.fromkeys(name for run in there for name in run.metrics[part])))
    # What the most runs have comes first: a mean of folds, say, is had by runs of folds alone.
    names = sorted(names, key=lambda name: -sum(name in run.metrics[part] for run in there))[:_METRICS]
    differing = _differing(there)
    rows: list[tuple[Cell, ...]] = [
        (
            run.name,
            *(run.metrics[part].get(name) for name in names),
            *(_shown(run.flags.get(flag, "")) for flag in differing),
            run.finished,
        )
        for run in there
    ]
    head = ("run", *map(label_of, names), *(_short(flag) for flag in differing), "made")
    note = "95 % intervals by patient. That two intervals overlap does not say that two runs are equal: use --compare."
    table = Table(part, f"Runs, {part_name(part)}", head, rows, note=note, sortable=True)
    plot = [
        ForestPlot(
            f"{part}_{names[0]}",
            label_of(names[0]),
            label_of(names[0]),
            [(run.name, run.metrics[part].get(names[0])) for run in there[:_PLOTTED]],
        )
    ] if names else []  # fmt: skip
    lines = [f"{number_of(len(there), 'run')} evaluated on {part_name(part)}{_best(there, part, names)}."]
    if part == "test" and len(there) > 1:
        lines.append("Who chooses among runs by their test metrics has no test part any more: choose by validation.")
    return Section(part, f"Runs, {part_name(part)}", lines, parts=[*plot, table])


def _best(runs: Sequence[_Run], part: str, names: Sequence[str]) -> str:
    """The run with the highest first metric, where high is good."""
    if not names or names[0] in ("mae", "rmse"):
        return ""
    values = {run.name: run.metrics[part][names[0]].value for run in runs if names[0] in run.metrics[part]}
    known = {name: value for name, value in values.items() if value == value}
    if len(known) < 2:
        return ""
    best = max(known, key=lambda name: known[name])
    return f"; {label_of(names[0])} is highest in {best} ({known[best]:.3f})"


def _differing(runs: Sequence[_Run]) -> list[str]:
    """Flags that are not the same in all runs that say them: an evaluation has none of the training's, say."""
    every = dict.fromkeys(flag for run in runs for flag in run.flags)
    values = {flag: {run.flags[flag] for run in runs if flag in run.flags} for flag in every}
    return [flag for flag, found in values.items() if flag not in _OF_NO_INTEREST and len(found) > 1]


def _short(flag: str) -> str:
    """A flag as it is typed."""
    return f"--{flag.replace('data.init_args.', 'data.')}"
