"""The gallery of folds together: its worst is the worst of all, its pictures are those of the folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.evaluation.gallery.choice import choose_cases
from tasks.evaluation.gallery.measures import case_measures
from tasks.evaluation.gallery.pooling import pool_galleries
from tasks.evaluation.gallery.store import read_gallery, write_gallery
from tasks.evaluation.tables import write_table
from tasks.evaluation.task_file import RunTask, write_task
from tests.tasks.evaluation.gallery.test_measures import classified
from tests.tasks.evaluation.gallery.test_store import picture
from tests.tasks.evaluation.tables_of_predictions import single_label


def run_folder(folder: Path, table: pd.DataFrame) -> Path:
    folder.mkdir()
    write_table(table, folder / "predictions.csv")
    write_table(table[["case_id", "split"]].assign(patient_id=table["case_id"]), folder / "cases.csv")
    write_task(folder, RunTask("classify", ["a", "b"], {}, {"target": "binary", "positive_class": "b"}))
    return folder


def test_the_worst_of_all_folds_is_the_worst(tmp_path: Path) -> None:
    table = single_label(300, ["a", "b"], 0)
    whole = run_folder(tmp_path / "whole", table)
    folders = []
    for fold in range(3):
        own = table.iloc[fold::3].reset_index(drop=True)
        folders.append(run_folder(tmp_path / f"fold_{fold}", own))
        chosen = choose_cases(case_measures(classified("binary", own, ["a", "b"])), np.arange(len(own)))
        write_gallery(folders[-1], "test", [picture(str(own["case_id"][one.row]), one.row) for one in chosen])
    pool_galleries(whole, folders, "test")
    pooled = read_gallery(whole, "test")
    measures = case_measures(classified("binary", table, ["a", "b"]))
    by_case = dict(zip(table["case_id"], measures.value, strict=True))
    worst = [by_case[one.case_id] for one in pooled if "worst" in one.kinds]
    best = [by_case[one.case_id] for one in pooled if "best" in one.kinds]
    assert (min(worst), max(best)) == (np.nanmin(measures.value), np.nanmax(measures.value))
    of_folds = {one.case_id: one.scan.data for folder in folders for one in read_gallery(folder, "test")}
    assert all(one.scan.data == of_folds[one.case_id] for one in pooled)
    assert 30 <= len(pooled) <= 48


def test_folds_without_pictures_have_no_gallery(tmp_path: Path) -> None:
    whole = run_folder(tmp_path / "whole", single_label(30, ["a", "b"], 0))
    pool_galleries(whole, [tmp_path / "fold_0"], "test")
    assert not (whole / "gallery").exists()
