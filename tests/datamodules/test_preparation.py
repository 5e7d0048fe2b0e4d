"""From files to a table: which steps, in which order, and what becomes of mistakes on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.classification.image_table import ImageTable
from datamodules.faults import Fault
from datamodules.preparation import Step, prepare, steps_of
from datamodules.prepared import Prepared
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_table(tmp_path, cohort())
    return tmp_path


def names(data: ImageTable) -> list[str]:
    return [step.name for step in steps_of(data)]


def test_contents_are_read_before_the_split_only_where_unreadable_cases_are_left_out(root: Path) -> None:
    assert names(ImageTable(str(root), num_workers=0)) == [
        "find cases", "name patients", "take the given split", "find strata", "read contents", "draw the split",
        "compare parts",
    ]  # fmt: skip
    assert names(ImageTable(str(root), split="all_test")) == names(ImageTable(str(root), num_workers=0))
    assert names(ImageTable(str(root), skip_unreadable=True)) == [
        "find cases", "name patients", "read contents", "take the given split", "find strata", "draw the split",
        "compare parts",
    ]  # fmt: skip


def mistaken(root: Path) -> ImageTable:
    """A table with a missing file, a pattern without a patient, a split of other data and a class nobody asked for."""
    frame = cohort()
    (root / frame["path"][0]).unlink()
    (root / "split.csv").write_text("case_id,split\nelse,train\n")
    names = sorted(set(frame["label"]))
    return ImageTable(
        str(root),
        num_workers=0,
        patient_pattern="^(nobody)",
        split_file=str(root / "split.csv"),
        class_names=[*names[:1], "other"],
    )


def test_training_stops_at_the_first_mistake(root: Path) -> None:
    with pytest.raises(SuiteError, match=r"1 of \d+ images are missing") as caught:
        prepare(mistaken(root))
    assert caught.value.kind == "missing_file"


def test_a_check_collects_all_of_them_and_goes_on(root: Path) -> None:
    faults: list[Fault] = []
    prepared = prepare(mistaken(root), on_fault=faults.append)
    kinds = [fault.kind for fault in faults]
    assert list(dict.fromkeys(kinds)) == ["missing_file", "no_patient", "split", "labels"]
    count = len(cohort()) - 1
    assert kinds.count("no_patient") == len(prepared.table) == len(prepared.contents) == count
    assert kinds.count("split") == count + 1  # no case has a part; and one row is of no case
    assert prepared.table.cases["split"].notna().all()  # all is drawn then


def test_where_nothing_is_found_a_check_takes_no_further_step(root: Path) -> None:
    faults: list[Fault] = []
    prepared = prepare(ImageTable(str(root), path_column="file"), on_fault=faults.append)
    assert [fault.kind for fault in faults] == ["table"]
    assert len(prepared.table) == 0


def test_a_step_that_notes_by_itself_ends_a_check_where_it_raises(root: Path) -> None:
    def full(data: object, prepared: Prepared) -> Prepared:
        raise SuiteError("no room")

    data, faults = ImageTable(str(root), num_workers=0), list[Fault]()
    with pytest.raises(SuiteError, match="no room"):
        prepare(data, steps_of(data, read=full), faults.append)
    assert faults == []
    prepare(data, [*steps_of(data)[:2], Step("read", full, "unreadable")], faults.append)
    assert [(fault.kind, fault.text) for fault in faults] == [("unreadable", "no room")]


def test_a_table_that_is_given_is_not_prepared_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ImageTable(str(root), num_workers=0)
    half = first.table.select(np.arange(len(first.table)) % 2 == 0)
    other = ImageTable(str(root), num_workers=0)
    monkeypatch.setattr(ImageTable, "build_table", lambda self: pytest.fail("files are looked for"))
    assert other.adopt_table(replace(first.prepared, table=half)) is None
    assert other.table is half
    np.testing.assert_array_equal(other.read(3).array, first.read(6).array)
    assert other.contents == first.contents
    kept = other.adopt_table(None)
    assert kept is not None
    assert kept.table is half
    with pytest.raises(pytest.fail.Exception, match="looked for"):
        _ = other.table


def test_a_preparation_that_fails_leaves_no_table_behind(root: Path) -> None:
    (root / cohort()["path"][0]).write_bytes(b"no picture")
    data = ImageTable(str(root), num_workers=0)
    for _ in range(2):
        with pytest.raises(SuiteError, match="1 of 60 cases cannot be read") as caught:
            _ = data.table
        assert caught.value.kind == "unreadable"
