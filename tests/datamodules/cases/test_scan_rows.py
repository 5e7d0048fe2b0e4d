"""Rows of large tables, made when they are asked for, say what lists of them said."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.cases.scan_rows import RowsByOwner, ScanRows

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
ROWS = st.lists(st.tuples(NAMES, st.none() | NAMES, NAMES), max_size=8)


def cases_of(rows: Sequence[tuple[str, str | None, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "path"]).astype("str")


@given(ROWS, st.data())
def test_scans_are_the_rows_of_the_table(rows: list[tuple[str, str | None, str]], data: st.DataObject) -> None:
    expected = [{"case_id": case, "patient_id": patient, "path": path} for case, patient, path in rows]
    scans = ScanRows(cases_of(rows))
    assert list(scans) == expected
    assert list(pickle.loads(pickle.dumps(scans))) == expected
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    some = ScanRows(cases_of(rows), np.array(chosen, np.int64), path=False)
    bare = [{"case_id": rows[row][0], "patient_id": rows[row][1]} for row in chosen]
    assert list(some) == bare
    assert some[1:] == bare[1:]


@given(st.lists(st.integers(0, 5), max_size=20))
def test_rows_by_owner(owners: list[int]) -> None:
    rows = RowsByOwner(np.array(owners, np.int64), 6)
    expected = [[row for row, owner in enumerate(owners) if owner == one] for one in range(6)]
    assert len(rows) == 6
    assert [some.tolist() for some in rows] == expected
    assert [some.tolist() for some in rows[2:5]] == expected[2:5]
    assert rows[-1].tolist() == expected[-1]
    with pytest.raises(IndexError):
        rows[6]
