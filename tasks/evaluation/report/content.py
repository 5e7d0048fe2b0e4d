"""What a report says, before it becomes a page, a table file or an entry of ``report.json``.

A capability gives a :class:`Section`. Its numbers are formatted in :mod:`tasks.evaluation.report.words` alone, so that
screen, page and paper table never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.metric_values import MetricValue

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class PValue:
    """A p-value, shown as papers show it: ``0.032``, ``< 0.001``.

    Attributes:
        value: 0..1; NaN = undefined.
        adjusted: by Holm's method over the tests of its table; None = it was the only one.
    """

    value: float
    adjusted: float | None = None


# NaN and None are shown as an empty cell or "undefined"; a MetricValue with its interval, or why there is none.
Cell: TypeAlias = str | int | float | MetricValue | PValue | None


@dataclass(frozen=True)
class Table:
    """A table of a section; it is written as ``report/<section>_<name>.csv`` too.

    Attributes:
        name: of the file, in lower case with underscores, unique in its section.
        title: above it.
        columns: heads.
        rows: cells, as many as heads.
        note: below it: units, what a mark means, how it was computed.
        sortable: many rows that a reader wants to sort and filter.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    sortable: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """A line, or dots, of a plot.

    Attributes:
        name: in the legend; a class's name where there is a line a class. Empty = not in the legend.
        x: ``(m,)``.
        y: ``(m,)``.
        low: ``(m,)`` lower end of a band around y; None = no band.
        high: ``(m,)`` upper end.
        kind: ``line``; ``step`` (constant up to the next point); ``dots``; ``reference``: thin and grey, of no model.
        said: ``(m,)`` what is shown beside a point under the pointer; None = x and y.
        group: lines of a group are chosen together (a curve and its operating point); left out: the name.
    """

    name: str
    x: FloatArray
    y: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None
    kind: Literal["line", "step", "dots", "reference"] = "line"
    said: Sequence[str] | None = None
    group: str = ""


@dataclass(frozen=True, eq=False)
class LinePlot:
    """Curves or dots over two axes.

    Attributes:
        name: of its file, in lower case with underscores, unique in its section.
        title: above it.
        x_name: label of the axis, with unit.
        y_name: likewise.
        lines: at least one.
        x_range: ends of the axis; None = of the data.
        y_range: likewise.
        square: both axes are equally long, as in ROC curves.
        log_x: the axis is logarithmic.
        log_y: likewise.
        note: below it.
    """

    name: str
    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    square: bool = False
    log_x: bool = False
    log_y: bool = False
    note: str = ""


@dataclass(frozen=True)
class ForestPlot:
    """Values with their intervals below one another, as of subgroups or of paired differences.

    Attributes:
        name: of its file, as in :class:`LinePlot`.
        title: above it.
        x_name: label of the axis.
        rows: name and value of each; an empty name with None is a gap between groups.
        reference: a vertical line: the value of the whole, or 0 for differences; None = none.
        flagged: numbers of the rows that are marked.
        note: below it.
    """

    name: str
    title: str
    x_name: str
    rows: Sequence[tuple[str, MetricValue | None]]
    reference: float | None = None
    flagged: Sequence[int] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class MatrixPlot:
    """A matrix of counts, as of true and predicted classes.

    Attributes:
        name: of its file, as in :class:`LinePlot`.
        title: above it.
        row_name: what rows are (true class).
        column_name: what columns are.
        names: of the rows, and of the columns where ``column_names`` is empty.
        counts: ``(R, C)``.
        column_names: where they differ from those of the rows.
        note: below it.
    """

    name: str
    title: str
    row_name: str
    column_name: str
    names: Sequence[str]
    counts: NDArray[np.int64]
    column_names: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class BarPlot:
    """Counts or shares as bars, several series beside one another.

    Attributes:
        name: of its file, as in :class:`LinePlot`.
        title: above it.
        x_name: what the bars are of.
        y_name: what their height is.
        names: of the bars.
        series: name -> ``(bars,)`` heights; one or a few.
        note: below it.
    """

    name: str
    title: str
    x_name: str
    y_name: str
    names: Sequence[str]
    series: Mapping[str, FloatArray]
    note: str = ""


Plot: TypeAlias = LinePlot | ForestPlot | MatrixPlot | BarPlot


@dataclass(frozen=True)
class GalleryBox:
    """A box on a case of a gallery.

    Attributes:
        kind: ``truth`` or ``prediction``.
        label: its class.
        edges: x1, y1, x2, y2 as shares of width and height, 0..1.
        colour: ``#rrggbb``, that of its class in the legend.
        score: 0..1 of a predicted box; None of a true one.
        wrong: a true box that no call found, or a call that is no true box.
        ignored: counts neither as right nor as wrong.
    """

    kind: Literal["truth", "prediction"]
    label: str
    edges: tuple[float, float, float, float]
    colour: str
    score: float | None = None
    wrong: bool = False
    ignored: bool = False


@dataclass(frozen=True, eq=False)
class GalleryCase:
    """A case of a gallery: its scan, what is true and predicted of it, and by what it is found.

    Attributes:
        case_id: never a patient's.
        kinds: why it is shown: ``best``, ``worst``, ``typical``, ``most uncertain``, ``false positive``, ...
        scan: PNG or JPEG, grey or colour, over a range wider than the model's window; empty = its pixels are not here.
        size: (height, width) of the scan in pixels.
        window: grey values of the scan that are black and white at first; 0 and 1 are the ends of its range.
        units: the same in stored units; None where the model has no window in these.
        truth: PNG of the true mask, transparent where nothing is, drawn over the whole scan; empty = none.
        prediction: likewise of the predicted mask.
        boxes: true and predicted ones.
        facts: names and values of its caption, in order: target, prediction, score, Dice, columns of the cases table.
        values: by which cases are sorted: name -> value, NaN = undefined; the same names in all cases.
        groups: by which cases are filtered: name (``class``, ``sex``) -> its value, or values; the same names in all
            cases.
        note: what part of the case is shown, such as ``slice 17 of 35``.
        map: PNG of what raises a score, transparent where nothing does, drawn over the whole scan; empty = none.
        map_of: what is raised.
    """

    case_id: str
    kinds: Sequence[str]
    scan: bytes = b""
    size: tuple[int, int] = (1, 1)
    window: tuple[float, float] = (0.0, 1.0)
    units: tuple[float, float] | None = None
    truth: bytes = b""
    prediction: bytes = b""
    boxes: Sequence[GalleryBox] = ()
    facts: Sequence[tuple[str, Cell]] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    note: str = ""
    map: bytes = b""
    map_of: str = ""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Cases with their scans, most telling first.

    Attributes:
        name: in lower case with underscores, unique in its section.
        title: above it.
        cases: in the order in which they are shown and, where a page has no room for all, kept.
        legend: name and colour (``#rrggbb``) of each class that is drawn.
        note: below it.
    """

    name: str
    title: str
    cases: Sequence[GalleryCase]
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A section of a report.

    Attributes:
        name: in ``report.json`` and in the page's address (``#calibration``): lower case with underscores.
        title: above it.
        lines: paragraphs in plain text, the answer first.
        flags: what a reader must not miss, a sentence each; the verdict at the top of the page repeats them.
        parts: tables, plots and galleries, in order.
        figures: what ``report.json`` holds of the section beside its tables: JSON values (NaN becomes null), and
            :class:`~tasks.evaluation.metric_values.MetricValue`.
        details: shown folded: of interest to few.
    """

    name: str
    title: str
    lines: Sequence[str] = ()
    flags: Sequence[str] = ()
    parts: Sequence[Table | Plot | Gallery] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    details: bool = False


@dataclass(frozen=True)
class ReportSettings:
    """What flags of ``report`` choose; the defaults are those of the report that every run writes.

    Attributes:
        subgroups: columns of the cases table; empty = those found fit for it.
        prevalence: at which predictive values are given beside that of the data; empty = of the data alone.
        coverage: of conformal sets, 0..1.
        margin: of non-inferiority in a comparison, in units of the metric; None = none is asked for.
        common_cases: leave cases out of a comparison that not all runs have.
        operating_point: rule by which thresholds are chosen anew on validation; empty = those of the run.
        calibration: method fitted anew on validation; empty = what the run has.
        resamples: most times that a patient is left out, and resamples of bands.
        seed: of what is drawn.
    """

    subgroups: Sequence[str] = ()
    prevalence: Sequence[float] = ()
    coverage: float = 0.9
    margin: float | None = None
    common_cases: bool = False
    operating_point: str = ""
    calibration: str = ""
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Subject:
    """What a section is about: a run, and the part of it that is reported.

    Attributes:
        run: its tables.
        split: the part that the report is about: ``test`` where there is one, otherwise ``val``.
        settings: see :class:`ReportSettings`.
    """

    run: EvaluatedRun
    split: str
    settings: ReportSettings = ReportSettings()

    @cached_property
    def tables(self) -> PartTables:
        """The tables of the part."""
        return self.run.part(self.split)

    @cached_property
    def validation(self) -> PartTables | None:
        """The tables of validation; None where the run has none."""
        return self.run.part("val") if "val" in self.run.parts else None

    @cached_property
    def metrics(self) -> Mapping[str, MetricValue]:
        """The metrics of the part, as ``metrics.json`` has them; computed once for all sections."""
        return self.tables.metrics(self.settings.resamples)
