"""The section of subgroups: what it says of gaps, of fair models, and of what is too small to say anything."""

from __future__ import annotations

import json

import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.report.content import ForestPlot, Section, Table
from tasks.evaluation.report.sections.subgroups import section
from tasks.evaluation.report.words import cell_text
from tests.tasks.evaluation.part_tables import KINDS, part_tables, subject_of


def said_of(tables: PartTables, **settings: object) -> Section:
    found = section(subject_of(tables, **settings))
    assert found is not None
    return found


def table(of: Section, name: str) -> Table:
    return next(part for part in of.parts if isinstance(part, Table) and part.name == name)


def test_a_gap_is_said_first_flagged_and_marked() -> None:
    found = said_of(part_tables("binary", seed=5, patients=200, gap=1.6))
    assert "beyond chance by site" in found.lines[0]
    assert any("differs by site (p" in flag and "for C" in flag and "for all" in flag for flag in found.flags)
    rows = [row for row in table(found, "columns").rows if row[0] == "site"]
    assert [row[1] for row in rows] == ["A", "B", "C"]
    assert rows[2][-1] == "differs"
    plot = next(part for part in found.parts if isinstance(part, ForestPlot))
    assert all(plot.rows[number][0].startswith("site: ") for number in plot.flagged)
    # Pairs with the site say no more than the site.
    assert not any(" x " in flag for flag in found.flags)


def test_a_fair_model_raises_no_flag_and_the_section_says_what_that_is_worth() -> None:
    found = said_of(part_tables("binary", seed=1))
    assert not found.flags
    assert found.lines[0].startswith("No difference beyond chance was found between the subgroups of site, sex")
    assert "no proof" in found.lines[1]


def test_error_rates_are_what_is_left_of_sensitivity_and_specificity() -> None:
    tables = part_tables("binary")
    rates = table(said_of(tables, subgroups=("sex",)), "error_rates")
    metrics = tables.take((tables.cases["sex"] == "F").to_numpy()).metrics(0)
    for column, name in ((2, "sensitivity@op"), (3, "specificity@op")):
        assert cell_text(rates.rows[0][column]).split()[0] == f"{1 - metrics[name].value:.3f}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target_has_tables_and_figures_that_are_json(kind: str) -> None:
    found = said_of(part_tables(kind))
    heads = [(part, len(part.columns)) for part in found.parts if isinstance(part, Table)]
    assert heads
    assert all(len(row) == width for part, width in heads for row in part.rows)
    names = [part.name for part in found.parts]
    assert len(names) == len(set(names))
    json.dumps(found.figures)


@pytest.mark.parametrize("kind", KINDS)
def test_few_patients_are_listed_and_said_to_be_too_few(kind: str) -> None:
    found = said_of(part_tables(kind, patients=8))
    assert "large enough" in found.lines[0]
    assert not found.flags
    assert {part.name for part in found.parts if isinstance(part, Table)} <= {"columns", "error_rates"}


def test_names_from_tables_stay_text() -> None:
    tables = part_tables("binary")
    tables.cases["site"] = tables.cases["site"].map({"A": "<script>", "B": "NA", "C": "a,b"})
    rows = table(said_of(tables, subgroups=("site",)), "columns").rows
    assert [row[1] for row in rows] == ["<script>", "NA", "a,b"]


def test_there_is_nothing_to_say_without_columns_and_a_wrong_one_is_refused() -> None:
    tables = part_tables("binary")
    cases = tables.cases[["case_id", "patient_id", "path", "split", "width", "height"]]
    plain = PartTables(tables.task, "test", cases, tables.predictions)
    assert section(subject_of(plain)) is None
    with pytest.raises(SuiteError, match="--subgroups sax"):
        section(subject_of(tables, subgroups=("sax",)))
