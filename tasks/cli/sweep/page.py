"""``sweep.html``: the trials of a sweep in their order, and what each setting goes with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scansuite.files import write_text
from tasks.cli.sweep.space import Choices, Range, Space
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.report.content import BarPlot, Line, LinePlot, Section
from tasks.evaluation.report.page.report_page import report_page

PAGE = "sweep.html"


def write_sweep_page(
    file: Path, table: pd.DataFrame, space: Space, metric: str, sign: int, said: Sequence[str],
    shares: Sequence[tuple[str, float]],
) -> None:  # fmt: skip
    """Write the page.

    Args:
        file: of the page.
        table: one row a trial, as ``sweep.csv`` has it.
        space: of the sweep.
        metric: that was looked for.
        sign: 1 where more of it is better, -1 where less.
        said: the sentences on screen, the answer first.
        shares: setting and its share (0 to 1) in how the trials differ; empty: too few trials.
    """
    done = table[table["state"] == "finished"].dropna(subset=["value"])
    label = f"{label_of(metric)} on validation"
    sections = []
    if len(done):
        sections.append(Section("history", "Trials", _of_history(len(done)), parts=[_history(done, label, sign)]))
        plots = [_slice(done, name, part, label) for name, part in space.items() if name in done]
        sections.append(
            Section("settings", "Settings", ["Each dot is a finished trial; other settings differ too."], parts=plots)
        )
    if shares:
        bars = BarPlot(
            "importance", "Share of each setting in how the trials differ", "setting", "share",
            [name for name, _ in shares], {"share": np.array([share for _, share in shares])},
            note="PED-ANOVA: what sets the best trials apart; of few trials a guess",
        )  # fmt: skip
        sections.append(Section("importance", "What the settings matter", parts=[bars]))
    head = [("Folder", file.resolve().parent.name), ("Trials", str(len(table))), ("Table", "sweep.csv")]
    write_text(file, report_page(f"Sweep {file.resolve().parent.name}", head, list(said[:3]), sections))


def _of_history(count: int) -> list[str]:
    return [f"The best of {count} finished trials was selected on these values, so that its own is too good."]


def _history(done: pd.DataFrame, label: str, sign: int) -> LinePlot:
    numbers, values = done["trial"].to_numpy(float), done["value"].to_numpy(float)
    best = sign * np.maximum.accumulate(sign * values)
    said = [f"trial {int(number)}: {value:.4f}" for number, value in zip(numbers, values, strict=True)]
    lines = [
        Line("trials", numbers, values, kind="dots", said=said),
        Line("the best so far", numbers, best, kind="step"),
    ]
    return LinePlot("history", "Trials in their order", "trial", label, lines)


def _slice(done: pd.DataFrame, name: str, part: Range | Choices, label: str) -> LinePlot:
    """The value of each trial against one of its settings; choices stand side by side."""
    values = done["value"].to_numpy(float)
    note = ""
    if isinstance(part, Choices):
        names = [json.dumps(value) for value in part.values]
        places = np.array([names.index(json.dumps(value)) + 1.0 for value in done[name]])
        note = ", ".join(f"{number}: {value}" for number, value in enumerate(part.values, 1))
    else:
        places = done[name].to_numpy(float)
    rows = zip(done["trial"], done[name], values, strict=True)
    said = [f"trial {number}: {setting}, {value:.4f}" for number, setting, value in rows]
    file = name.replace(".", "_")
    log = isinstance(part, Range) and part.log
    return LinePlot(file, name, name, label, [Line("", places, values, kind="dots", said=said)], log_x=log, note=note)
