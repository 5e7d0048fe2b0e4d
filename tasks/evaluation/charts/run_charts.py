"""All charts of a run folder, drawn from its tables alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.charts import agreement, roc
from tasks.evaluation.charts.confusion_matrix import draw_confusion_matrix
from tasks.evaluation.charts.froc import draw_froc
from tasks.evaluation.charts.learning_curves import draw_learning_curves
from tasks.evaluation.charts.overlap import draw_dice
from tasks.evaluation.charts.score_curves import score_curves
from tasks.evaluation.classification.columns import read_regression
from tasks.evaluation.run_file import asked_monitor
from tasks.evaluation.tables import counted, find_table, read_table
from tasks.evaluation.task_file import RunTask, read_task

log = logging.getLogger(__name__)

PARTS = ("val", "test")
LEARNING_CURVES = "learning_curves.png"


def draw_charts(run_dir: Path | str, parts: Sequence[str] = PARTS) -> list[Path]:
    """Draw the charts of a run anew, each one PNG beside the table that it comes from.

    ``learning_curves.png`` from ``metrics.csv``; of each part that was evaluated ``confusion_matrix_<part>.png`` and
    ``froc_<part>.png`` from the CSV of that name, ``roc_<part>.png`` and ``pr_<part>.png`` (classes and labels),
    ``predicted_<part>.png`` and ``bland_altman_<part>.png`` (numbers), ``dice_<part>.png`` (masks) from
    ``predictions.csv``. A chart that cannot be drawn is passed over, and a line of the log says why.

    Args:
        run_dir: folder of a run. Without ``task.json`` there are no charts of scores.
        parts: ``val``, ``test`` or both.

    Returns:
        The files that were drawn.
    """
    return _Charts(Path(run_dir)).drawn(parts)


def draw_training(run_dir: Path, monitor: tuple[str, str] | None = None, class_names: Sequence[str] = ()) -> list[Path]:
    """Draw ``learning_curves.png`` alone; see :func:`draw_charts`.

    Args:
        run_dir: folder of a run with ``metrics.csv``.
        monitor: metric that chooses the best checkpoint, and ``max`` or ``min``; left out: as the folder says.
        class_names: in class order.
    """
    charts = _Charts(run_dir)
    charts.training(monitor, class_names)
    return charts.files


class _Charts:
    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.files: list[Path] = []

    def drawn(self, parts: Sequence[str]) -> list[Path]:
        """All of them."""
        task = self._task()
        self.training(class_names=() if task is None else task.class_names)
        tables = self._read("predictions"), self._read("cases")
        for part in parts:
            predictions, cases = (None if table is None else _of_part(table, part) for table in tables)
            self._part(part, predictions, cases, task)
        return self.files

    def training(self, monitor: tuple[str, str | None] | None = None, class_names: Sequence[str] = ()) -> None:
        """The chart of ``metrics.csv``, where there is one."""
        epochs = self.run_dir / "metrics.csv"
        if epochs.is_file():
            own = asked_monitor(self.run_dir)
            asked = monitor or (None if own is None else (own, None))
            self._try(LEARNING_CURVES, lambda file: draw_learning_curves(file, read_table(epochs), asked, class_names))

    def _part(
        self, part: str, predictions: pd.DataFrame | None, cases: pd.DataFrame | None, task: RunTask | None
    ) -> None:
        images = counted(cases["case_id"], cases) if cases is not None and len(cases) else ""
        matrix = self.run_dir / f"confusion_matrix_{part}.csv"
        if matrix.is_file():
            said = _with_target(predictions, cases)
            self._try(
                f"{matrix.stem}.png",
                lambda file: draw_confusion_matrix(file, part, _read_matrix(matrix), said),
            )
        curves = self.run_dir / f"froc_{part}.csv"
        if curves.is_file():
            names, points = ((), {}) if task is None else (task.class_names, task.operating_points)
            self._try(
                f"{curves.stem}.png", lambda file: draw_froc(file, part, read_table(curves), names, points, images)
            )
        if predictions is None or not len(predictions):
            return
        if {"class", "dice"} <= set(predictions.columns):
            names = () if task is None else task.class_names
            said = counted(predictions["case_id"].drop_duplicates(), cases)
            self._try(f"dice_{part}.png", lambda file: draw_dice(file, part, predictions, names, said))
        kind = None if task is None else task.own.get("target")
        if task is not None and kind in ("binary", "multiclass", "multilabel"):
            self._scores(part, predictions, cases, task)
        elif kind == "regression":
            self._numbers(part, predictions, cases)

    def _scores(self, part: str, predictions: pd.DataFrame, cases: pd.DataFrame | None, task: RunTask) -> None:
        def draw(drawing: Callable[..., None]) -> Callable[[Path], None]:
            def with_curves(file: Path) -> None:
                facts = str(task["target"]), task.class_names, task["positive_class"], task.operating_points
                ids, curves = score_curves(predictions, *facts)
                drawing(file, part, curves, counted(ids, cases))

            return with_curves

        self._try(f"roc_{part}.png", draw(roc.draw_roc))
        self._try(f"pr_{part}.png", draw(roc.draw_precision_recall))

    def _numbers(self, part: str, predictions: pd.DataFrame, cases: pd.DataFrame | None) -> None:
        def draw(drawing: Callable[..., None]) -> Callable[[Path], None]:
            def with_numbers(file: Path) -> None:
                rows, target, prediction = read_regression(predictions)
                drawing(file, part, target, prediction, counted(predictions["case_id"].iloc[rows], cases))

            return with_numbers

        self._try(f"predicted_{part}.png", draw(agreement.draw_predicted))
        self._try(f"bland_altman_{part}.png", draw(agreement.draw_differences))

    def _try(self, name: str, draw: Callable[[Path], None]) -> None:
        """Draw a file anew; a chart that fails is one chart less, and never a run."""
        file = self.run_dir / name
        try:
            file.unlink(missing_ok=True)  # an old one would pass for that of the new tables
            draw(file)
        except Exception as error:
            log.warning("%s: not drawn: %s", file, " ".join(str(error).split()) or type(error).__name__)
            log.debug("%s", file, exc_info=True)
        else:
            self.files.append(file)

    def _read(self, name: str) -> pd.DataFrame | None:
        try:
            return read_table(find_table(self.run_dir, name))
        except SuiteError:
            return None

    def _task(self) -> RunTask | None:
        try:
            return read_task(self.run_dir)
        except SuiteError:
            return None


def _of_part(table: pd.DataFrame, part: str) -> pd.DataFrame | None:
    return table[table["split"] == part].reset_index(drop=True) if "split" in table else None


def _with_target(predictions: pd.DataFrame | None, cases: pd.DataFrame | None) -> str:
    """The cases of a confusion matrix in words: those with a known class."""
    if predictions is None or "target" not in predictions or not len(predictions):
        return ""
    return counted(predictions.loc[predictions["target"].notna(), "case_id"], cases)


def _read_matrix(file: Path) -> pd.DataFrame:
    """A confusion matrix, its names as they are written: ``NA`` is a class."""
    matrix = pd.read_csv(file, dtype={"target": "str"}, keep_default_na=False, encoding="utf-8").set_index("target")
    return matrix.astype("int64")
