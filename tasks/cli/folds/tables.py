"""Tables and metrics of all folds together, from the run folders of finished folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scansuite.errors import SuiteError
from tasks.cli.evaluate import evaluator_of
from tasks.cli.results import folds_text, results_text
from tasks.cli.runs.ensembles import build_model, write_record
from tasks.cli.runs.run_dir import CHECKPOINTS
from tasks.ensemble import Ensemble
from tasks.evaluation.gallery.pooling import pool_galleries
from tasks.evaluation.metric_names import distance_unit
from tasks.evaluation.metric_values import MetricValue, read_metrics, write_note
from tasks.evaluation.run_file import read_run_file, write_run_file
from tasks.evaluation.spread import spread
from tasks.evaluation.tables import counted, find_table, read_table, write_table
from tasks.evaluation.task_file import RunTask, write_task
from tasks.loading import Checkpoints
from tasks.running.evaluate_run import evaluate_run

log = logging.getLogger(__name__)

OUT_OF_FOLD = "the out-of-fold predictions of the folds"


def finished(folder: Path, split: str) -> bool:
    """Whether a run has come to its end: metrics of a part are written last, after training and after the tables.

    Args:
        folder: of the run.
        split: the part that it was to evaluate.
    """
    file, last = folder / "metrics.json", folder / CHECKPOINTS / "last.ckpt"
    if not file.is_file() or not any(name.startswith(f"{split}/") for name in read_metrics(file)):
        return False
    # Metrics older than the checkpoint are of a run that was taken up again.
    return not last.is_file() or file.stat().st_mtime_ns >= last.stat().st_mtime_ns


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint of a run that was evaluated."""
    best = folder / CHECKPOINTS / "best.ckpt"
    return best if best.is_file() else folder / CHECKPOINTS / "last.ckpt"


def collect(task: str, run_dir: Path, cases: pd.DataFrame, split: str, count: int) -> None:
    """Write the out-of-fold tables and metrics of finished folds, and the record of their ensemble.

    In ``run_dir`` come to stand: ``predictions.csv``, ``cases.csv`` (and ``targets.csv``) as in a run's folder, with a
    column ``fold``; ``split.csv``; ``metrics.json``; ``folds.csv``, the metrics of each fold with mean and standard
    deviation; and last ``ensemble.json``.

    Args:
        task: name of the task.
        run_dir: with ``fold_0`` to ``fold_<K-1>``.
        cases: ``case_id,patient_id,split,fold`` of all cases.
        split: the part of the folds' runs that is put together. Operating points are chosen on all of it together where
            it is ``val``; where it is ``test`` the calls stay those of each fold, made by what it chose on validation.
        count: number of folds.

    Raises:
        SuiteError: a fold does not hold exactly the cases that it should.
    """
    folders = [run_dir / f"fold_{fold}" for fold in range(count)]
    checkpoints = Checkpoints(tuple(best_checkpoint(folder) for folder in folders))
    model = build_model(task, checkpoints)
    assert isinstance(model, Ensemble)  # two folds at least
    evaluator = evaluator_of(task)
    names = [name for name in ("predictions", "cases", "targets") if (_table_of(folders[0], name)) is not None]
    for name in names:
        table = _joined(folders, name, split)
        if name == "cases":
            _check(table, cases, run_dir)
        write_table(table, run_dir / f"{name}.csv")
    tables = {name: read_table(find_table(run_dir, name)) for name in names}
    evaluator.choose(model, tables["predictions"], tables["cases"], tables.get("targets"))
    points, calibration = model.operating_points, model.calibration
    if split == "val":
        called = evaluator.called(model, tables["predictions"])
        plain = _text(find_table(run_dir, "predictions"))
        # Calibrated scores are new ones, and boxes change their places by them.
        calibrated = calibration is not None or any(name.startswith("uncalibrated_") for name in plain.columns)
        write_table(called if calibrated else _with_calls(plain, called), run_dir / "predictions.csv")
    else:
        model.operating_points, model.calibration = {}, None  # each fold's own
    about = evaluator.run_task(model)
    write_task(run_dir, about)
    write_run_file(run_dir, _facts(folders))
    metrics = evaluate_run(run_dir, split)
    from tasks.evaluation.charts.run_charts import draw_charts

    draw_charts(run_dir, [split])
    try:
        pool_galleries(run_dir, folders, split)
    except (SuiteError, OSError) as error:
        log.warning("no gallery of all folds: %s", error)
    write_note(run_dir / "metrics.json", f"{split}/selected_on", split == "val")
    model.operating_points, model.calibration = points, calibration
    write_table(cases, run_dir / "split.csv")
    table = _by_fold(metrics, folders, split)
    write_table(table, run_dir / "folds.csv")
    _show(metrics, table, tables["cases"], about, split)
    write_record(run_dir, model, checkpoints, OUT_OF_FOLD)
    from tasks.evaluation.report.write import report_of_folder

    for page in report_of_folder(run_dir)[:1]:
        print(f"on one page, to read and to print: {page}")


def _facts(folders: Sequence[Path]) -> dict[str, Any]:
    """Code, machine and model of all folds, which are those of the last; ``folds`` models were made."""
    facts = read_run_file(folders[-1])
    model = facts.get("model")
    return facts | ({"model": {**model, "folds": len(folders)}} if isinstance(model, dict) else {})


def _table_of(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / f"{name}.csv", folder / f"{name}.parquet") if file.is_file()), None)


def _text(file: Path) -> pd.DataFrame:
    """A table as it stands: no cell of the user's is taken for a number and written differently."""
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    return pd.read_csv(file, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8")


def _joined(folders: Sequence[Path], name: str, split: str) -> pd.DataFrame:
    """The rows of a part from the tables of all folds, by case."""
    parts = []
    for fold, folder in enumerate(folders):
        table = _text(find_table(folder, name))
        table = table[table["split"] == split]
        table.insert(list(table.columns).index("split") + 1, "fold", fold)
        parts.append(table)
    some = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(some, ignore_index=True).sort_values("case_id", ignore_index=True, kind="stable")


def _check(evaluated: pd.DataFrame, cases: pd.DataFrame, run_dir: Path) -> None:
    """Each case outside test stands in the tables once, in its own fold."""
    planned = cases.dropna(subset="fold").set_index("case_id")["fold"].astype("int64")
    found = evaluated.set_index("case_id")["fold"]
    if found.index.has_duplicates or set(found.index) != set(planned.index) or (found[planned.index] != planned).any():
        wrong = set(found.index) ^ set(planned.index) or set(found.index[found.index.duplicated()])
        wrong = wrong or {name for name in planned.index if found[name] != planned[name]}
        raise SuiteError(
            f"{run_dir}: case {min(wrong)!r} is not in the fold that is drawn for it now: have the data changed since "
            "the folds were trained? Start a new run"
        )


def _with_calls(table: pd.DataFrame, called: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns ``prediction_op...`` of another reading of it, in its order."""
    plain = table.drop(columns=[name for name in table.columns if name.startswith("prediction_op")])
    new = [name for name in called.columns if name.startswith("prediction_op")]
    return plain.assign(**{name: called[name].to_numpy() for name in new})


def _by_fold(metrics: dict[str, MetricValue], folders: Sequence[Path], split: str) -> pd.DataFrame:
    """The metrics of each fold beside those of all cases out of fold."""
    folds = [read_metrics(folder / "metrics.json") for folder in folders]
    of_part = [
        {name.split("/", 1)[1]: one for name, one in fold.items() if name.startswith(f"{split}/")} for fold in folds
    ]
    # Of a single fold the mean of the folds' areas is its own area.
    own = [{f"fold_{name}": one for name, one in fold.items() if name.startswith("auroc")} for fold in of_part]
    means = [{name: one for name, one in areas.items() if name in metrics} for areas in own]
    return spread([fold | areas for fold, areas in zip(of_part, means, strict=True)], metrics)


def _show(
    metrics: dict[str, MetricValue], by_fold: pd.DataFrame, cases: pd.DataFrame, about: RunTask, split: str
) -> None:
    title, unit = f"out of fold ({split}): {counted(cases['case_id'], cases)}", distance_unit(cases)
    task, names = about.task, about.class_names
    print(results_text(metrics, title, task=task, class_names=names, distance=unit), end="\n\n")
    print(folds_text(by_fold, task=task, distance=unit), end="\n\n")
    if split == "val":
        print("out-of-fold values: each case by the fold that did not train on it, but chose its epoch on it")
    print("all metrics: metrics.json; of each fold: folds.csv")
