"""Pictures of telling cases at the end of an evaluation: what cannot be read or written ends nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.preprocess import Preprocess
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError
from tasks.classify.evaluator import ClassificationEvaluator
from tasks.evaluation.gallery.store import read_gallery
from tasks.evaluation.task_file import RunTask
from tasks.running.evaluator import EvalResult
from tasks.running.gallery import store_gallery
from tests.tasks.evaluation.tables_of_predictions import single_label

CASES = 30


class Data:
    """Two images a case, of which the second is shown; the part's cases lie in the middle of a larger table."""

    preprocess = Preprocess(channels=1)
    slices = None

    def __init__(self) -> None:
        ids = ["other", *(f"case{number}" for number in range(CASES)), "another"]
        cases = pd.DataFrame({"case_id": ids, "patient_id": ids, "split": "test", "width": 7})
        cases.loc[[0, CASES + 1], "split"] = "train"
        images = [np.array([2 * row, 2 * row + 1]) for row in range(len(ids))]
        self.table = SimpleNamespace(cases=cases, images_by_case=images)
        self.broken: set[int] = set()
        self.reads: list[int] = []

    def rows(self, split: str) -> np.ndarray[Any, Any]:
        return np.flatnonzero(self.table.cases["split"] == split)

    def read(self, image: int) -> Scan:
        self.reads.append(image)
        if image // 2 in self.broken:
            raise SuiteError(f"image {image}: cannot\nbe read")
        return Scan(np.full((20, 20), image, np.uint8), ScanInfo(spacing=(2.0, 1.0)))


class Evaluator(ClassificationEvaluator):
    def run_task(self, model: Any) -> RunTask:
        return RunTask(model, ["a", "b"], {}, {"target": "binary", "positive_class": "b"})


def stored(
    folder: Path, data: Data, task: str = "classify", table: pd.DataFrame | None = None, **more: Any
) -> list[Any]:
    table = single_label(CASES, ["a", "b"], 0) if table is None else table
    scans = table[["case_id"]].assign(width=20, height=20, spacing=None)
    store_gallery(Evaluator(), EvalResult(table, scans), "test", task, data, folder, **more)  # type: ignore[arg-type]
    return read_gallery(folder, "test")


def test_each_case_is_read_once_and_the_middle_image_shown(tmp_path: Path) -> None:
    data = Data()
    made = stored(tmp_path, data)
    assert len(made) == len(data.reads) == len(set(data.reads)) > 10
    first = made[0]
    assert "worst" in first.kinds
    assert first.note == "image 2 of 2"
    assert first.image_size == (20, 20)
    assert first.scan.size == (40, 20)  # pixels twice as high as wide
    assert data.reads[0] == 2 * (int(first.case_id.removeprefix("case")) + 1) + 1


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = stored(tmp_path / "whole", Data())
    data = Data()
    data.broken = {int(whole[0].case_id.removeprefix("case")) + 1}
    with caplog.at_level(logging.WARNING):
        made = stored(tmp_path / "some", data)
    assert [one.case_id for one in made] == [one.case_id for one in whole[1:]]
    assert f"no picture of {whole[0].case_id}: image {data.reads[0]}: cannot be read" in caplog.messages


def test_after_a_time_no_further_case_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = Data()
    with caplog.at_level(logging.INFO):
        assert stored(tmp_path, data, seconds=-1.0) == []
    assert data.reads == []
    assert any("could not be read in time" in message for message in caplog.messages)


@pytest.mark.parametrize("mistake", ["table", "folder", "task"])
def test_nothing_ends_an_evaluation(tmp_path: Path, mistake: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gallery").write_text("") if mistake == "folder" else None
    table = single_label(CASES, ["a", "b"], 0)
    with caplog.at_level(logging.WARNING):
        if mistake == "table":
            stored(tmp_path, Data(), table=table.assign(score_a=2.0))
        else:
            stored(tmp_path, Data(), task="count" if mistake == "task" else "classify")
    assert [message.startswith("no gallery of test: ") for message in caplog.messages] == [True] * (mistake != "task")
