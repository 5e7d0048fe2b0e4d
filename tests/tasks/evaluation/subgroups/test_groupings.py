"""Bands of numbers, and which columns fall into subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.subgroups.bands import decades, halves, is_age, quantile_bands, read_numbers
from tasks.evaluation.subgroups.groupings import IMAGE_SIZE, LESION_SIZE, Grouping, find_groupings
from tests.tasks.evaluation.part_tables import part_tables

NUMBERS = st.lists(st.one_of(st.just(float("nan")), st.integers(0, 110).map(float)), min_size=1, max_size=60)


@given(NUMBERS)
def test_every_known_number_is_in_one_band_and_bands_are_in_order(cells: list[float]) -> None:
    values, patients = np.array(cells), np.arange(len(cells), dtype=np.intp)
    known = ~np.isnan(values)
    bands = [decades(values, patients), quantile_bands(values, patients)]
    if known.any():
        names, number = halves(values)
        bands.append((number, names))
    for number, names in bands:
        assert ((number >= 0) == known).all()
        assert set(number[known]) <= set(range(len(names)))
        order = np.argsort(values[known], kind="stable")
        assert (np.diff(number[known][order]) >= 0).all()
        for value in np.unique(values[known]):
            assert len(np.unique(number[values == value])) == 1


def test_decades_at_the_ends_are_joined_until_they_have_patients() -> None:
    ages = np.concatenate([np.repeat([35.0, 45.0, 55.0, 65.0], 20), [3.0, 17.0, 88.0]])
    number, names = decades(ages, np.arange(len(ages), dtype=np.intp))
    assert names == ["under 40", "40 to 49", "50 to 59", "60 and over"]
    assert number[-3:].tolist() == [0, 0, 3]


def test_ages_of_dicom_are_years() -> None:
    ages = read_numbers(pd.Series(["053Y", "018M", None]))
    assert ages is not None
    assert ages.tolist() == pytest.approx([53, 1.5, np.nan], nan_ok=True)
    assert read_numbers(pd.Series(["053Y", "old"])) is None
    assert read_numbers(pd.Series([True, False])) is None


def test_names_of_ages() -> None:
    assert all(is_age(name) for name in ("age", "patient_age", "PatientAge", "Age (years)"))
    assert not any(is_age(name) for name in ("stage", "image", "usage_mm", "ageing"))


def titles(tables: PartTables, asked: tuple[str, ...] = ()) -> list[str]:
    return [grouping.title for grouping in find_groupings(tables, asked)]


def with_columns(kind: str = "binary", **columns: list[str | None]) -> PartTables:
    tables = part_tables(kind)
    for name, cells in columns.items():
        tables.cases[name] = cells
    return tables


def test_columns_of_the_users_table_and_pairs_of_them() -> None:
    found = titles(part_tables("binary"))
    assert found[:4] == ["site", "sex", "patient_age", "view"]
    assert "site x sex" in found
    assert "sex x patient_age" in found


def test_ids_constants_and_the_target_are_no_subgroups() -> None:
    tables = part_tables("binary")
    n = len(tables.cases)
    tables.cases["study_uid"] = ["1", "2"] * (n // 2) + ["1"] * (n % 2)
    tables.cases["number_of_case"] = np.arange(n)
    tables.cases["comment"] = [f"text {i}" for i in range(n)]
    tables.cases["country"] = "X"
    tables.cases["empty"] = None
    tables.cases["diagnosis"] = tables.predictions["target"]
    tables.cases["finding"] = (tables.predictions["target"] == "ill") & (np.arange(n) % 3 == 0)
    tables.cases["again"] = tables.cases["site"].map({"A": 3, "B": 1, "C": 2})
    assert titles(tables) == titles(part_tables("binary"))


def test_sizes_of_images_and_lesions_are_bands_where_they_differ() -> None:
    assert LESION_SIZE in titles(part_tables("segment"))
    assert LESION_SIZE in titles(part_tables("detect"))
    tables = part_tables("segment")
    assert IMAGE_SIZE not in titles(tables)
    tables.cases["width"] = np.arange(len(tables.cases)) % 7 + 60
    assert IMAGE_SIZE in titles(tables)


def test_columns_that_are_asked_for_and_no_others() -> None:
    assert titles(part_tables("binary"), ("view", "sex")) == ["view", "sex", "view x sex"]
    assert titles(part_tables("segment"), ("lesion size",)) == ["lesion size"]


def test_a_column_that_is_not_there_is_one_line_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match=r"--subgroups patient_agee: .*did you mean 'patient_age'") as error:
        find_groupings(part_tables("binary"), ["patient_agee"])
    assert "\n" not in str(error.value)
    with pytest.raises(SuiteError, match="13 categories"):
        find_groupings(
            with_columns(scanner=[f"s{i % 13}" for i in range(len(part_tables("binary").cases))]), ["scanner"]
        )


def test_names_are_as_they_stand_in_the_table() -> None:
    n = len(part_tables("binary").cases)
    tables = with_columns(scanner=["NA", "<script>", None, "score_x"] * (n // 4) + ["NA"] * (n % 4))
    (found,) = find_groupings(tables, ["scanner"])
    assert isinstance(found, Grouping)
    assert sorted(found.names) == ["<script>", "NA", "score_x"]
    assert found.unknown == n // 4


def test_images_without_any_box_have_no_lesion_sizes() -> None:
    tables = part_tables("detect")
    assert tables.targets is not None
    tables.targets.drop(tables.targets.index, inplace=True)
    assert LESION_SIZE not in titles(tables)
    assert "site" in titles(tables)


def test_a_subgroup_without_a_rare_finding_does_not_hide_its_column() -> None:
    tables = part_tables("multilabel", patients=400)
    rare = (tables.cases["sex"] == "F") & (np.arange(len(tables.cases)) % 15 == 0)
    tables.predictions["target_mass"] = rare.astype(float)
    assert "sex" in titles(tables)
