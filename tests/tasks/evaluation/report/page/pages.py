"""A report with every kind of part, and what data may do to it."""

from __future__ import annotations

import math

import numpy as np

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import (
    BarPlot,
    ForestPlot,
    Line,
    LinePlot,
    MatrixPlot,
    PValue,
    Section,
    Table,
)

EVIL = "<script>alert(1)</script>"
NAMES = ["normal", "benign", EVIL, "pleural effusion with a very long name indeed"]
HEADER = [
    ("Task", "classification, multiclass: " + ", ".join(NAMES)),
    ("Data", f"ImageTable ({EVIL})"),
    ("Evaluated", "test: 120 cases of 60 patients"),
    ("Model", "resnet18, 11,000,000 parameters, from scratch"),
    ("Seed", ""),
]
VERDICT = ["The AUROC is 0.922 (0.872 to 0.972).", "At its operating point its sensitivity is 0.830.", "1 finding."]


def metric(value: float, half: float = 0.05, withheld: str | None = None) -> MetricValue:
    """A value with an interval, or without one and why."""
    ends = (math.nan, math.nan) if withheld else (value - half, value + half)
    return MetricValue(value, *ends, 120, patients=60, withheld=withheld)


def line_plots() -> list[LinePlot]:
    """Curves with bands, steps, dots with whiskers, a cloud, gaps, logarithmic axes, and many lines."""
    generator = np.random.default_rng(0)
    x = np.linspace(0, 1, 300)
    lines = []
    for number, name in enumerate(NAMES):
        y = x ** (0.15 + 0.2 * number)
        lines.append(Line(name, x, y, np.clip(y - 0.05, 0, 1), np.clip(y + 0.05, 0, 1), kind="step"))
        said = [f"operating point of {name}"]
        lines.append(
            Line("", np.array([0.2]), np.array([0.2 ** (0.15 + 0.2 * number)]), kind="dots", group=name, said=said)
        )
    chance = Line("chance", np.array([0.0, 1]), np.array([0.0, 1]), kind="reference")
    volume, dice = 10 ** generator.normal(3, 1, 80), np.clip(1 - generator.gamma(1.5, 0.08, 80), 0, 1)
    cloud = Line("cases", volume, dice, kind="dots", said=[f"case {number}{EVIL}" for number in range(80)])
    means = np.linspace(0.05, 0.95, 10)
    bins = Line("cases", means, means**1.2, means**1.2 - 0.06, means**1.2 + 0.06, kind="dots")
    epochs, gaps = np.arange(30.0), np.array([1, 2, np.nan, 3, np.nan, np.nan, 4, 5])
    losses = [Line(part, epochs, np.exp(-epochs / 8) + late) for part, late in (("train", 0.01), ("validation", 0.1))]
    many = [Line(f"class {number}", x, x ** (0.1 + 0.02 * number)) for number in range(14)]
    unit = (0.0, 1.0)
    roc = ("1 - specificity", "sensitivity")
    return [
        LinePlot("roc", "ROC by class", *roc, [*lines, chance], unit, unit, square=True, note="Bands: 95 % intervals."),
        LinePlot("reliability", "Reliability", "predicted", "observed", [bins, chance], unit, unit, square=True),
        LinePlot("size", f"Dice by size {EVIL}", "volume (mm³)", "Dice", [cloud], log_x=True),
        LinePlot("loss", "Loss", "epoch", "", losses, log_y=True),
        LinePlot("gaps", "Gaps", "x", "y", [Line("gaps", np.arange(8.0), gaps)]),
        LinePlot("many", "Many classes", *roc, many, unit, unit),
    ]


def sections(rows: int = 60) -> list[Section]:
    """Sections with a part of every kind.

    Args:
        rows: of the sortable table.
    """
    generator = np.random.default_rng(1)
    metrics = Table(
        "metrics",
        "Metrics",
        ["metric", "value", "n", "p"],
        [
            ["AUROC", metric(0.922), 1200, PValue(0.0001)],
            ["sensitivity", metric(0.83, withheld="fewer than 10 patients"), 12, PValue(0.03)],
            [EVIL, MetricValue(math.nan, math.nan, math.nan, 0), 0, None],
        ],
        note="95 % intervals by patient.",
    )
    cases = Table(
        "cases",
        "Cases",
        ["case", "class", "score", "Dice"],
        [
            [f"case_{number:04d}", NAMES[number % 4], float(score), metric(float(1 - score))]
            for number, score in enumerate(generator.random(rows))
        ],
        sortable=True,
    )
    forest = ForestPlot(
        "forest",
        "AUROC by subgroup",
        "AUROC",
        [
            ("age below 40", metric(0.91)),
            ("age above 60", metric(0.78, 0.08)),
            ("", None),
            (f"scanner {EVIL}", metric(0.88, withheld="fewer than 10 patients")),
            ("undefined", MetricValue(math.nan, math.nan, math.nan, 0)),
        ],
        reference=0.9,
        flagged=[1],
    )
    counts = np.array([[50, 3, 2, 0], [4, 40, 6, 1], [2, 8, 30, 3], [0, 0, 1, 9]])
    large = generator.poisson(2, (14, 14)) + np.diag(generator.poisson(60, 14))
    bins = [f"{number / 20:.2f}" for number in range(20)]
    return [
        Section("results", "Results", ["The answer first.", "Then how it was computed."], parts=[metrics]),
        Section("curves", "Curves", ["Curves."], parts=line_plots()),
        Section("subgroups", "Subgroups", ["One stands out."], [f"AUROC above 60 is 0.780 ({EVIL})."], [forest]),
        Section(
            "counts",
            "Counts",
            parts=[
                MatrixPlot("confusion", "Confusion matrix", "true class", "predicted class", NAMES, counts),
                MatrixPlot("large", "Fourteen", "true", "predicted", [f"class {at}" for at in range(14)], large),
                BarPlot(
                    "parts",
                    "Cases",
                    "class",
                    "cases",
                    NAMES[:2],
                    {"train": np.array([9.0, 4]), "test": np.array([3.0, 1])},
                ),
                BarPlot("scores", "Scores", "score", "cases", bins, {"all": np.arange(20.0)}),
                BarPlot("long", "Findings", "finding", "share", NAMES, {EVIL: np.array([0.2, 0.5, 0.05, np.nan])}),
            ],
        ),
        Section("second_reader", "Cases for a second reader", parts=[cases]),
        Section("checklist", "Checklist", ["For few."], parts=[metrics], details=True),
    ]
