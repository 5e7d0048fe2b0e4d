"""What is measured of images as the model sees them, and of which."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from datamodules.loading.case_source import CaseSource, TableCases
from datamodules.phantoms.labels import Phantoms
from scansuite.errors import SuiteError
from tasks.evaluation.task_file import RunTask
from tasks.running.drifting import profile_of
from tasks.running.looking import chosen, chosen_rows, look_at, look_at_part


@pytest.fixture(scope="module")
def data() -> Phantoms:
    made = Phantoms(num_patients=12, image_size=24)
    made.setup("fit")
    return made


def test_it_measures_what_the_model_sees(data: Phantoms) -> None:
    seen = look_at_part(data, "train")
    rows = chosen_rows(data, "train")
    cases = data.table.cases.iloc[rows]
    assert seen["case_id"].tolist() == cases["case_id"].tolist()
    assert cases["patient_id"].is_unique
    assert seen["patient_id"].tolist() == cases["patient_id"].tolist()
    image, _ = data.single_images(rows[:1]).preprocessed(0)
    assert image.shape[:2] == (24, 24)
    first = seen.iloc[0]
    assert first["mean"] == pytest.approx(image.mean(), abs=1e-6)
    assert first["sd"] == pytest.approx(image.std(), abs=1e-6)
    assert [first["p5"], first["p95"]] == pytest.approx(np.percentile(image, [5, 95]), abs=1e-6)
    assert set(seen["width"]) == {96}


def test_time_is_bounded_and_what_cannot_be_read_is_passed_over(data: Phantoms) -> None:
    rows = data.rows("train")
    source = TableCases(data, rows)
    assert len(look_at(source, data.preprocess, range(5), seconds=0)) == 1

    class Broken(TableCases):
        def images(self, case: int) -> object:  # type: ignore[override]
            if case == 0:
                raise SuiteError("damaged")
            return super().images(case)

    broken: CaseSource = Broken(data, rows)
    assert len(look_at(broken, data.preprocess, [0, 1])) == 1
    assert len(look_at(broken, data.preprocess, [0])) == 0


def test_the_cases_that_are_looked_at_depend_on_their_ids_alone() -> None:
    ids = pd.Series([f"case{i}" for i in range(900)])
    patients = pd.Series([f"p{i // 2}" for i in range(900)]).mask(np.arange(900) >= 890)
    first = chosen(ids, patients)
    assert len(first) == 300
    order = np.random.default_rng(0).permutation(900)
    again = chosen(ids[order], patients[order])
    assert ids.iloc[first].tolist() == ids[order].iloc[again].tolist()
    assert len(chosen(ids[:3], None)) == 3


@pytest.mark.parametrize("target", ["binary", "multilabel"])
def test_a_profile_has_images_targets_and_columns_of_training(
    data: Phantoms, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = data.table.cases.iloc[data.rows("train")]
    own = chosen_rows(data, "train")
    if target == "multilabel":
        several = torch.tensor([[1.0, float("nan")]]).repeat(len(data.table), 1)
        monkeypatch.setattr(data, "case_labels", lambda rows: several[rows])
    profile = profile_of(data, RunTask("classify", ["benign", "malignant"], {}, {"target": target}), None)
    assert (profile.cases, profile.patients) == (len(train), train["patient_id"].nunique())
    by_name = profile.by_name
    assert {"mean intensity", "width (pixels)", "site"} <= set(by_name)
    assert "patient" not in by_name
    if target == "binary":
        assert by_name["target"].values.tolist() == data.table.cases.iloc[own]["label"].tolist()
    else:
        assert set(by_name["benign present"].values) == {"1"}
        assert not by_name["malignant present"].known.any()
