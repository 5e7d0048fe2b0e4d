from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from tasks.running.recorder import Recorder


class Doubles(LightningModule):
    """Says twice the image's value of each case."""

    def _step(self, batch: Any) -> dict[str, Any]:
        return {"output": 2 * batch["image"], "batch": batch}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        return self._step(batch)

    test_step = validation_step
    predict_step = validation_step

    def rows(self, output: Tensor, batch: Any) -> dict[str, list[Any]]:
        return {"case_id": [scan["case_id"] for scan in batch["scan"]], "score": output.tolist()}


def batch(cases: dict[str, float], **info: Any) -> dict[str, Any]:
    scans = [{"case_id": case, "path": f"{case}.png", "original_size": (20, 30), **info} for case in cases]
    return {"image": torch.tensor(list(cases.values())), "scan": scans}


def loader(*batches: Any) -> DataLoader[Any]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made.active = True
    return made


@pytest.fixture
def trainer(recorder: Recorder) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_rows_of_every_verb_sorted_by_case(verb: str, trainer: Trainer, recorder: Recorder) -> None:
    data = loader(batch({"b": 1.0, "d": 2.0}), batch({"a": 3.0}), batch({"c": 4.0}))
    options = {"return_predictions": False} if verb == "predict" else {"verbose": False}
    getattr(trainer, verb)(Doubles(), data, **options)
    rows, scans = recorder.take()
    assert rows.to_dict("list") == {"case_id": ["a", "b", "c", "d"], "score": [6.0, 2.0, 8.0, 4.0]}
    assert scans["case_id"].tolist() == ["a", "b", "c", "d"]
    assert rows.index.tolist() == [0, 1, 2, 3]


def test_a_case_seen_twice_stands_once(trainer: Trainer, recorder: Recorder) -> None:
    trainer.test(Doubles(), loader(batch({"b": 1.0, "a": 2.0}), batch({"a": 2.0, "b": 1.0})), verbose=False)
    rows, scans = recorder.take()
    assert rows["case_id"].tolist() == scans["case_id"].tolist() == ["a", "b"]


def test_taken_rows_are_gone(trainer: Trainer, recorder: Recorder) -> None:
    trainer.test(Doubles(), loader(batch({"a": 1.0})), verbose=False)
    recorder.take()
    trainer.test(Doubles(), loader(batch({"b": 2.0})), verbose=False)
    rows, _ = recorder.take()
    assert rows["case_id"].tolist() == ["b"]


def test_nothing_is_kept_while_asleep(trainer: Trainer, recorder: Recorder) -> None:
    recorder.active = False
    trainer.validate(Doubles(), loader(batch({"a": 1.0})), verbose=False)
    rows, scans = recorder.take()
    assert len(rows) == len(scans) == 0
    assert rows.columns.tolist() == ["case_id"]


def test_a_batch_without_cases_adds_nothing(trainer: Trainer, recorder: Recorder) -> None:
    trainer.predict(Doubles(), loader(batch({}), batch({"a": 1.0})), return_predictions=False)
    rows, _ = recorder.take()
    assert rows.to_dict("list") == {"case_id": ["a"], "score": [2.0]}


def test_size_and_spacing_as_stored(trainer: Trainer, recorder: Recorder) -> None:
    data = loader(batch({"a": 1.0}, spacing=(0.5, 0.25)), batch({"b": 1.0}, spacing=None), batch({"c": 1.0}))
    trainer.test(Doubles(), data, verbose=False)
    _, scans = recorder.take()
    assert scans["width"].tolist() == [30] * 3
    assert scans["height"].tolist() == [20] * 3
    assert scans["spacing"].iloc[0] == "0.5 0.25"
    assert scans["spacing"].iloc[1:].isna().all()


def test_columns_keep_their_type_where_a_part_knows_nothing(trainer: Trainer, recorder: Recorder) -> None:
    trainer.test(Doubles(), loader(batch({"a": float("nan")}), batch({"b": 1.0})), verbose=False)
    rows, _ = recorder.take()
    assert rows["score"].dtype == "float64"
    pd.testing.assert_series_equal(rows["score"].isna(), pd.Series([True, False], name="score"))
