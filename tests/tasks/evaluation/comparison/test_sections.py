"""What a comparison says: the answer, what the data leave open, margins, tables, several runs, odd input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from statsmodels.stats.multitest import multipletests

from benchmarks.comparison import POPULATIONS, SPLIT
from benchmarks.simulated import Draw
from scansuite.errors import SuiteError
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.comparison.differences import Difference, compare_models, direction
from tasks.evaluation.comparison.models import models_of, short_names
from tasks.evaluation.comparison.paired import Paired
from tasks.evaluation.comparison.sections import compare
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import ForestPlot, LinePlot, PValue, ReportSettings, Section, Table
from tests.tasks.evaluation.part_tables import part_tables

QUICK = ReportSettings(resamples=50)


def runs_of(name: str, betters: Sequence[float] = (0.0, 1.0), patients: int = 60, seed: int = 0) -> list[EvaluatedRun]:
    """Runs on the same cases: the first, and others that are better by so much."""
    found = []
    for number, better in enumerate(betters):
        draw = Draw(np.random.default_rng(seed), patients, 0.5)
        run = POPULATIONS[name].draw(draw, better)[min(number, 1)]
        found.append(replace(run, name=f"runs/{'abcdefgh'[number]}"))
    return found


def section_of(runs: Sequence[EvaluatedRun], settings: ReportSettings = QUICK) -> Section:
    (section,) = compare(runs, SPLIT, settings)
    return section


def table_of(section: Section, name: str) -> Table:
    return next(part for part in section.parts if isinstance(part, Table) and part.name == name)


@pytest.mark.parametrize("name", list(POPULATIONS))
def test_a_better_model_is_found_in_each_task(name: str) -> None:
    section = section_of(runs_of(name, (0.0, 2.5 * POPULATIONS[name].better)))
    label = {"binary": "AUROC", "classes": "AUROC", "regression": "MAE", "masks": "Dice", "boxes": "mAP50"}[name]
    change = "lower" if name == "regression" else "higher"
    assert section.lines[0].startswith(
        f"b has a {change} {label} than a by 0." if name != "regression" else "b has a lower MAE than a by "
    )
    assert section.lines[0].endswith((", p < 0.001.", ", p 0.001.", ", p 0.002."))
    assert "secondary metrics" in section.lines[1]
    assert "same" in section.lines[-1]
    assert "60 patients (test); a is the reference." in section.lines[-1]


@pytest.mark.parametrize("name", list(POPULATIONS))
def test_tables_and_plots_say_the_same_as_the_sentence(name: str) -> None:
    section = section_of(runs_of(name))
    values, differences = table_of(section, "values"), table_of(section, "differences")
    assert values.columns == ("metric", "a", "b", "better")
    assert [row[0] for row in values.rows] == [row[0] for row in differences.rows]
    for row in differences.rows:
        assert len(row) == len(differences.columns)
        assert isinstance(row[1], MetricValue)
        assert row[1].low < row[1].value < row[1].high
        assert isinstance(row[2], PValue)
    plots = [part for part in section.parts if isinstance(part, ForestPlot)]
    shown = [value for plot in plots for _, value in plot.rows]
    assert len(shown) == len(differences.rows)
    assert {plot.reference for plot in plots} == {0.0}
    curves = [part for part in section.parts if isinstance(part, LinePlot)]
    assert len(curves) == {"binary": 1, "classes": 3, "regression": 0, "masks": 1, "boxes": 1}[name]
    for plot in curves:
        assert {line.name for line in plot.lines} >= ({"cases"} if name == "masks" else {"a", "b"})
    figures = section.figures["models"]["b"]
    assert figures["metrics"][figures["primary"]]["difference"] == differences.rows[0][1]


def test_none_found_is_not_none_there() -> None:
    line = section_of(runs_of("binary", (0.0, 0.0))).lines[0]
    assert line.startswith("No difference in AUROC between b and a was found (p 0.")
    assert "are compatible with the data" in line
    assert line.endswith("That is no proof that they are equal.")


def test_p_is_adjusted_by_holm_over_its_table() -> None:
    runs = runs_of("classes", (0.0, 0.3, 0.4))
    parts = aligned_parts(runs, SPLIT)
    found = compare_models(models_of(runs, parts, 50))
    primary = [one.primary for one in found if one.primary is not None]
    for family in (
        primary,
        [each for one in found for each in one.secondary],
        [x for one in found for x in one.by_class],
    ):
        expected = multipletests([each.p for each in family], method="holm")[1]
        np.testing.assert_allclose([each.adjusted for each in family], expected, atol=1e-12)
    line = section_of(runs).lines[0]
    assert line.endswith("adjusted for several comparisons.") or "adjusted for several comparisons)" in line
    assert table_of(section_of(runs), "differences").columns[0] == "model"
    assert len(table_of(section_of(runs), "by_class").rows) == 2 * 3 * 5


def verdict_lines(name: str, better: float, margin: float, *, turned: bool = False) -> str:
    runs = runs_of(name, (0.0, better), patients=100)
    section = section_of(runs[::-1] if turned else runs, replace(QUICK, margin=margin))
    other = "a" if turned else "b"
    return next(line for line in section.lines if "inferior" in line and line.startswith((other, "That", "Whether")))


@pytest.mark.parametrize(("name", "unit", "narrow"), [("binary", 1.0, 0.001), ("regression", 4.0, 0.1)])
def test_margins_hold_in_whichever_direction_is_better(name: str, unit: float, narrow: float) -> None:
    better = 2 * POPULATIONS[name].better
    assert "b is superior to a" in verdict_lines(name, better, 0.05 * unit)
    assert "a is inferior to b" in verdict_lines(name, better, 0.01 * unit, turned=True)
    line = verdict_lines(name, 0.0, 0.4 * unit)
    assert "b is not inferior to a" in line
    assert "That it is better is not shown." in line
    assert "is not shown: it may be worse by " in verdict_lines(name, 0.0, narrow * unit)


def test_superior_is_what_the_adjusted_test_finds() -> None:
    paired = Paired(0.03, (0.001, 0.059), 0.045, "DeLong", 60, 60, 30)
    value = MetricValue(0.8, 0.7, 0.9, 60)
    found = Difference("auroc", value, value, paired, 0.045)
    assert found.verdict(0.02) == "superior"
    assert replace(found, adjusted=0.09).verdict(0.02) == "non-inferior"


def test_of_penalised_distances_less_is_better_and_they_are_compared() -> None:
    assert direction("hd95_penalised") == direction("assd_penalised/liver") == -1
    runs = [
        replace(run, predictions=run.predictions.assign(hd95_penalised=run.predictions["hd95"].fillna(100.0)))
        for run in runs_of("masks")
    ]
    rows = table_of(section_of(runs), "differences").rows
    assert any("HD95, misses penalised" in str(row[0]) for row in rows)


def test_few_patients_have_neither_interval_nor_p() -> None:
    section = section_of(runs_of("binary", patients=8), replace(QUICK, margin=0.1))
    assert "how sure that is cannot be said: fewer than 10 patients" in section.lines[0]
    assert any("there is no interval" in line for line in section.lines)
    for row in table_of(section, "differences").rows:
        assert row[2] is None
        assert isinstance(row[1], MetricValue)
        assert math.isnan(row[1].low)


def test_a_run_against_itself_is_the_same() -> None:
    first = runs_of("masks")[0]
    section = section_of([first, replace(first, name="runs/again")])
    assert section.lines[0] == "again and a have the same Dice: the models differ in no patient."


def test_mistakes_are_told_in_a_line() -> None:
    runs = runs_of("binary")
    with pytest.raises(SuiteError, match="--compare: give two runs or more"):
        compare(runs[:1], SPLIT)
    with pytest.raises(SuiteError, match=r"--margin 0: .* above 0"):
        compare(runs, SPLIT, replace(QUICK, margin=0.0))


def test_one_class_equal_scores_and_boxes_of_nobody_do_not_end_it() -> None:
    first, second = runs_of("binary")
    for change in ({"target": "no"}, {"score_no": 0.5, "score_yes": 0.5}):
        odd = [replace(run, predictions=run.predictions.assign(**change)) for run in (first, second)]
        assert section_of(odd).lines
    alone = [replace(run, cases=run.cases.assign(patient_id="p")) for run in (first, second)]
    assert "fewer than 10 patients" in section_of(alone).lines[0]
    boxes = runs_of("boxes", patients=12)
    nothing = replace(boxes[1], predictions=boxes[1].predictions.iloc[:0])
    assert section_of([boxes[0], nothing]).lines


def test_runs_of_a_model_may_have_other_operating_points() -> None:
    first, second = (part_tables("detect", seed, 30) for seed in (0, 0))
    none = replace(second, task=replace(second.task, operating_points={}))
    found = paired_differences([first, none], [second, second], resamples=20)
    assert "map50" in found
    assert "sensitivity@op" not in found


def with_config(run: EvaluatedRun, folder: Path, **config: object) -> EvaluatedRun:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return replace(run, folder=folder, name=str(folder))


def test_runs_that_differ_in_their_seed_are_one_model(tmp_path: Path) -> None:
    runs = []
    for number in range(6):
        draw = Draw(np.random.default_rng(0), 60, 0.5)
        run = POPULATIONS["binary"].draw(draw, 1.0 if number % 2 else 0.0)[number % 2]
        noise = np.random.default_rng(number).normal(0, 0.05, len(run.predictions))
        score = np.clip(run.predictions["score_yes"] + noise, 0, 1)
        run = replace(run, predictions=run.predictions.assign(score_yes=score, score_no=1 - score))
        runs.append(with_config(run, tmp_path / f"r{number}", seed_everything=number, model={"lr": number % 2}))
    section = section_of(runs)
    assert section.lines[0].startswith("r1 and 2 more has a higher AUROC than r0 and 2 more by ")
    said = next(line for line in section.lines if line.startswith("Over trainings"))
    assert "the 3 runs of r1 and 2 more against the 3 of r0 and 2 more, p 0.100" in said
    assert said.endswith("So few runs cannot give a p below 0.1.")
    each = table_of(section, "runs")
    assert [row[1] for row in each.rows] == ["r0", "r2", "r4", "r1", "r3", "r5"]
    assert section.figures["models"]["r1 and 2 more"]["p_over_trainings"] == pytest.approx(0.1)
    # Where nothing but seeds differs, they are what is compared.
    assert section_of(runs[::2]).figures["runs"] == {"r0": ["r0"], "r2": ["r2"], "r4": ["r4"]}


def test_names_are_the_ends_of_paths_that_tell_them_apart() -> None:
    assert short_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert short_names(["runs/classify/3", "runs/classify/12"]) == ["run 3", "run 12"]
    assert short_names(["x/a", "y/a"]) == ["x/a", "y/a"]
    assert short_names(["x/a", "x/a"]) == ["a (1)", "a (2)"]


def test_out_of_fold_runs_are_compared_by_the_mean_of_their_folds() -> None:
    runs = []
    for run in runs_of("binary"):
        numbers = run.cases["patient_id"].str[1:].astype(int)
        runs.append(replace(run, predictions=run.predictions.assign(fold=(numbers % 3).to_numpy())))
    section = section_of(runs)
    assert section.figures["models"]["b"]["primary"] == "fold_auroc"
    assert table_of(section, "differences").rows[0][4] == "DeLong of folds"
    assert section.lines[0].startswith("b has a higher AUROC, mean of folds than a by 0.")


def test_validation_is_said_to_flatter() -> None:
    runs = [
        replace(run, cases=run.cases.assign(split="val"), predictions=run.predictions.assign(split="val"))
        for run in runs_of("binary")
    ]
    (section,) = compare(runs, "val", QUICK)
    assert section.lines[-1].endswith("so all of them are flattered.")
