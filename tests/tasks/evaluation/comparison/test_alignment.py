"""Runs that are not about the same cases are refused in a line that says what, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.comparison import POPULATIONS, SPLIT
from benchmarks.simulated import Draw
from scansuite.errors import SuiteError
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.evaluated import EvaluatedRun

Change = Callable[[EvaluatedRun], EvaluatedRun]


def pair(name: str, seed: int = 0, patients: int = 20, better: float = 0.3) -> tuple[EvaluatedRun, EvaluatedRun]:
    draw = Draw(np.random.default_rng(seed), patients, 0.5)
    return POPULATIONS[name].draw(draw, better)


def shuffled(run: EvaluatedRun) -> EvaluatedRun:
    """The same run with the rows of its tables in another order."""
    tables = {
        name: table.sample(frac=1, random_state=3).reset_index(drop=True)
        for name in ("cases", "predictions", "targets")
        if (table := getattr(run, name)) is not None
    }
    return replace(run, **tables)


@pytest.mark.parametrize("name", list(POPULATIONS))
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    first, second = pair(name)
    names = POPULATIONS[name].names
    plain, mixed = (
        paired_differences([own], [its], names, resamples=50)
        for own, its in (aligned_parts(runs, SPLIT) for runs in ((first, second), (first, shuffled(second))))
    )
    assert plain.keys() == mixed.keys() == set(names)
    for key, value in plain.items():
        assert mixed[key].difference == pytest.approx(value.difference, abs=1e-12)
        assert mixed[key].ends == pytest.approx(value.ends, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", list(POPULATIONS))
def test_a_run_against_itself_has_no_difference(name: str) -> None:
    first, _ = pair(name)
    own, its = aligned_parts((first, shuffled(first)), SPLIT)
    for key, value in paired_differences([own], [its], POPULATIONS[name].names, resamples=50).items():
        assert value.difference == pytest.approx(0, abs=1e-12), key
        assert value.p == 1, key


def test_scores_that_differ_by_rounding_do_not_differ() -> None:
    first, _ = pair("binary")
    score = first.predictions["score_yes"] * (1 + 1e-10)
    rounded = replace(first, predictions=first.predictions.assign(score_yes=score))
    own, its = aligned_parts((first, rounded), SPLIT)
    found = paired_differences([own], [its], ["brier"], resamples=50)["brier"]
    assert (found.difference, found.p, found.value.withheld) == (0, 1, "the models differ in no patient")


def without_a_case(run: EvaluatedRun) -> EvaluatedRun:
    tables = {name: getattr(run, name) for name in ("cases", "predictions")}
    return replace(run, **{name: table[table["case_id"] != "s3"] for name, table in tables.items()})


def relabelled(run: EvaluatedRun) -> EvaluatedRun:
    target = run.predictions["target"].where(run.predictions["case_id"] != "s3", "yes")
    flipped = target.mask((target == run.predictions["target"]) & (run.predictions["case_id"] == "s3"), "no")
    return replace(run, predictions=run.predictions.assign(target=flipped))


def other_patients(run: EvaluatedRun) -> EvaluatedRun:
    return replace(run, cases=run.cases.assign(patient_id=run.cases["patient_id"].replace("p1", "p0")))


def with_task(**changes: Any) -> Change:
    return lambda run: replace(run, task=replace(run.task, **changes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_case, "b: split 'test': lacks 1 of the {n} cases of a, such as 's3': .* --common_cases"),
        (relabelled, "b: case 's3': its target is another one than in a \\(1 case\\): evaluate both on the same"),
        (other_patients, "b: case '.*' is of another patient than in a"),
        (with_task(class_names=["no", "maybe"]), "b: has other classes than a, such as 'maybe'"),
        (with_task(own={"target": "binary", "positive_class": "no"}), "its positive class is 'no', that of a 'yes'"),
        (with_task(own={"target": "multiclass"}), "b: is of classify \\(multiclass\\), and a of classify \\(binary\\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: Change, said: str) -> None:
    first, second = pair("binary")
    with pytest.raises(SuiteError, match=said.format(n=len(first.cases))):
        aligned_parts((first, change(second)), SPLIT)


def test_cases_that_all_have_are_compared_when_asked_for() -> None:
    first, second = pair("binary")
    parts = aligned_parts((first, without_a_case(second)), SPLIT, common=True)
    assert [len(part.cases) for part in parts] == [len(first.cases) - 1] * 2
    assert list(parts[0].cases["case_id"]) == list(parts[1].predictions["case_id"])
    strangers = replace(
        second,
        cases=second.cases.assign(case_id=second.cases["case_id"] + "x"),
        predictions=second.predictions.assign(case_id=second.predictions["case_id"] + "x"),
    )
    with pytest.raises(SuiteError, match="nothing to compare"):
        aligned_parts((first, strangers), SPLIT, common=True)
    with pytest.raises(SuiteError, match="no case of split 'val'"):
        aligned_parts((first, second), "val")


def test_other_boxes_and_masks_are_told() -> None:
    first, second = pair("boxes")
    assert second.targets is not None
    moved = second.targets.assign(x1=second.targets["x1"] - (np.arange(len(second.targets)) == 0))
    with pytest.raises(SuiteError, match="its true boxes are others than in a \\(1 case\\)"):
        aligned_parts((first, replace(second, targets=moved)), SPLIT)
    first, second = pair("masks")
    grown = second.predictions.assign(tp=second.predictions["tp"] + (np.arange(len(second.predictions)) == 1))
    with pytest.raises(SuiteError, match="case 's1': its true mask has another size"):
        aligned_parts((first, replace(second, predictions=grown)), SPLIT)


def test_patients_that_one_run_names_are_those_of_both() -> None:
    first, second = pair("binary")
    parts = aligned_parts((replace(first, cases=first.cases.drop(columns="patient_id")), second), SPLIT)
    assert (parts[0].patients == parts[1].patients).all()
    assert parts[0].patients.max() == 19


def test_classes_in_another_order_are_the_same_classes() -> None:
    first, second = pair("classes")
    turned = replace(second, task=replace(second.task, class_names=["rare", "common", "less"]))
    found = aligned_parts((first, turned), SPLIT)
    assert found[1].task.class_names == first.task.class_names
    own, its = (
        paired_differences([parts[0]], [parts[1]], ["auroc"])
        for parts in (found, aligned_parts((first, second), SPLIT))
    )
    assert own["auroc"] == its["auroc"]


def test_unknown_targets_stay_unknown_in_both() -> None:
    first, second = pair("binary")
    blank = [
        replace(
            run, predictions=run.predictions.assign(target=run.predictions["target"].mask(run.cases.index % 5 == 0))
        )
        for run in (first, second)
    ]
    parts = aligned_parts(blank, SPLIT)
    known = int(blank[0].predictions["target"].notna().sum())
    assert paired_differences([parts[0]], [parts[1]], ["accuracy"])["accuracy"].n == known
    with pytest.raises(SuiteError, match="its target is another one"):
        aligned_parts((blank[0], second), SPLIT)


def test_differences_are_those_of_the_metrics() -> None:
    for name, models in POPULATIONS.items():
        runs = pair(name)
        parts = aligned_parts(runs, SPLIT)
        metrics = [part.metrics(0) for part in parts]
        for key, value in paired_differences([parts[0]], [parts[1]], models.names, resamples=50).items():
            if key.startswith("hd95"):
                continue  # of the cases where both have one
            assert value.difference == pytest.approx(metrics[1][key].value - metrics[0][key].value, abs=1e-6), key


def test_a_part_without_known_targets_has_no_differences() -> None:
    runs = [
        replace(run, predictions=run.predictions.assign(target=run.predictions["target"].mask(run.cases.index >= 0)))
        for run in pair("binary")
    ]
    parts = aligned_parts(runs, SPLIT)
    assert paired_differences([parts[0]], [parts[1]]) == {}
