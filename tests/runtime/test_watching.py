"""A watched folder: each case once, complete ones alone, whatever comes between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.cases.table import CaseTable
from datamodules.input_cases import InputCases
from datamodules.readers.patterns import FilePatterns
from scansuite.errors import SuiteError
from scansuite_runtime.gathered import WORKING, Gathered
from scansuite_runtime.journal import JOURNAL, Journal, append
from scansuite_runtime.watching import Found, Watcher
from tasks.evaluation.tables import read_table, write_table
from tests.datamodules.dicom_on_disk import write_series
from tests.datamodules.scans_on_disk import write_scans

ABOUT = {"input": "in", "model": "m", "flags": ""}


class Killed(BaseException):
    """The process ends here."""


class Folder:
    """A folder and what watches it; a case is predicted by writing its name and the sizes of its files."""

    def __init__(self, root: Path, *, volumes: bool = False, rest: float = 10.0) -> None:
        self.input, self.output, self.volumes, self.rest = root / "in", root / "out", volumes, rest
        self.input.mkdir(exist_ok=True)
        self.now, self.applied = 0.0, list[str]()
        self.looked: list[bool | None] = []  # what each look said: whether something is still waited for
        self.kill = ""  # before, after or none
        self.stop = Event()
        self.start()

    def start(self) -> None:
        """As after a restart of the process."""
        journal = Journal(self.output, ABOUT)
        self.watcher = Watcher(
            self.input, FilePatterns(), self.find, self.apply, Gathered(self.output), journal,
            rest=self.rest, clock=lambda: self.now,
        )  # fmt: skip

    def find(self, patterns: FilePatterns) -> Found:
        inputs = InputCases()
        inputs.patterns = patterns
        return Found(inputs.table([str(self.input)], volumes=self.volumes), inputs.passed_over)

    def apply(self, table: CaseTable, working: Path) -> bool:
        case = str(table.cases["case_id"].iloc[0])
        self.applied.append(case)
        if "bad" in case:
            raise SuiteError(f"{case}: is damaged")
        if "odd" in case:
            raise RuntimeError("a fault of ours")
        named = [Path(path) for path in table.images["path"]]
        files = [file for path in named for file in (sorted(path.glob("*")) if path.is_dir() else [path])]
        size = sum(file.stat().st_size for file in files)
        write_table(
            pd.DataFrame({"case_id": [case], "path": str(files[0]), "size": [size]}), working / "predictions.csv"
        )
        (working / "masks").mkdir()
        (working / "masks" / f"{case.replace('/', '_')}.png").write_bytes(b"mask")
        (working / "detections.json").write_text(json.dumps({"case": case}))
        if self.kill:
            raise Killed
        return True

    def after(self, seconds: float) -> list[str]:
        """Look after so many seconds; the cases that were done."""
        self.now += seconds
        before = len(self.applied)
        self.looked.append(self.watcher.look(self.stop))
        return self.applied[before:]

    @property
    def rows(self) -> list[str]:
        file = self.output / "predictions.csv"
        return sorted(read_table(file)["case_id"]) if file.is_file() else []

    @property
    def errors(self) -> list[str]:
        file = self.output / "errors.csv"
        return sorted(read_table(file)["error"]) if file.is_file() else []


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_done_once_when_it_has_rested(folder: Folder) -> None:
    assert folder.after(1) == []
    write_scans(folder.input, ["a.png", "b/c.png"])
    assert folder.after(1) == []
    assert folder.after(9) == []
    assert sorted(folder.after(1)) == ["a", "b/c"]
    assert folder.after(100) == []
    assert folder.looked == [False, True, True, False, False]
    assert folder.rows == ["a", "b/c"]
    assert (folder.output / "masks" / "b_c.png").is_file()
    assert json.loads((folder.output / "detections" / "b" / "c.json").read_text()) == {"case": "b/c"}
    assert not (folder.output / WORKING).exists()


def test_a_file_that_still_grows_is_waited_for(folder: Folder) -> None:
    write_scans(folder.input, ["a.png"])
    whole = (folder.input / "a.png").read_bytes()
    for size in range(10, len(whole), 10):
        (folder.input / "a.png").write_bytes(whole[:size])
        assert folder.after(9) == []
    (folder.input / "a.png").write_bytes(whole)
    assert folder.after(9) == []
    assert folder.after(11) == ["a"]


def test_a_case_that_has_changed_is_done_again_in_the_place_of_its_rows(folder: Folder) -> None:
    write_scans(folder.input, ["a.png", "b.png"])
    folder.after(0)
    folder.after(10)
    (folder.input / "a.png").write_bytes((folder.input / "a.png").read_bytes() + b"1234567")
    assert folder.after(1) == []
    assert folder.after(10) == ["a"]
    table = read_table(folder.output / "predictions.csv").set_index("case_id")
    assert table["size"].to_dict() == {name: (folder.input / f"{name}.png").stat().st_size for name in "ab"}


def test_what_cannot_be_read_is_listed_and_ends_nothing(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    write_scans(folder.input, ["bad.png", "fine.png", "odd.png"])
    folder.after(0)
    folder.after(10)
    assert folder.rows == ["fine"]
    assert folder.errors == ["RuntimeError: a fault of ours", "bad: is damaged"]
    assert (folder.watcher.counts.predicted, folder.watcher.counts.unreadable) == (1, 2)
    assert folder.after(50) == []
    assert "a fault of the program" in caplog.text  # with its traceback


def test_an_unreadable_file_that_is_mended_leaves_the_list(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scans(folder.input, ["bad.png"])
    folder.after(0)
    folder.after(10)
    assert folder.errors
    monkeypatch.setattr(Folder, "apply", lambda self, table, working: _good(table, working))
    folder.start()
    (folder.input / "bad.png").write_bytes((folder.input / "bad.png").read_bytes() + b"mended")
    folder.after(0)
    folder.after(10)
    assert folder.errors == []
    assert folder.rows == ["bad"]


def _good(table: CaseTable, working: Path) -> bool:
    rows = pd.DataFrame({"case_id": table.cases["case_id"], "path": table.cases["path"], "size": [1]})
    write_table(rows, working / "predictions.csv")
    return True


def test_a_restart_does_nothing_twice(folder: Folder) -> None:
    write_scans(folder.input, ["a.png", "bad.png"])
    folder.after(0)
    folder.after(10)
    folder.start()
    write_scans(folder.input, ["c.png"])
    assert folder.after(0) == []
    assert folder.after(10) == ["c"]
    assert folder.rows == ["a", "c"]


def test_a_case_that_was_cut_off_is_done_again_and_stands_there_once(folder: Folder) -> None:
    write_scans(folder.input, ["a.png", "b.png"])
    folder.after(0)
    folder.kill = "in the middle"
    with pytest.raises(Killed):
        folder.after(10)
    folder.kill = ""
    folder.start()
    folder.after(0)
    folder.after(10)
    assert folder.rows == ["a", "b"]


def test_rows_that_the_journal_does_not_know_are_replaced(folder: Folder) -> None:
    """The process was ended between the table and the journal."""
    write_scans(folder.input, ["a.png", "b.png"])
    folder.after(0)
    folder.after(10)
    journal = folder.output / JOURNAL
    first, *lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(first + lines[0] + lines[1][:20])  # of the last line a part is there
    with (folder.output / "predictions.csv").open("a") as file:
        file.write("b,")  # and of a row
    folder.start()
    folder.after(0)
    assert len(folder.after(10)) == 1
    assert folder.rows == ["a", "b"]
    assert len(journal.read_text().splitlines()) == 3


def test_a_stop_is_heard_between_two_cases(folder: Folder) -> None:
    write_scans(folder.input, ["a.png", "b.png", "c.png"])
    folder.after(0)
    real = folder.watcher.apply

    def stopping(table: CaseTable, working: Path) -> bool:
        folder.stop.set()
        return real(table, working)

    folder.watcher.apply = stopping
    assert len(folder.after(10)) == 1
    assert len(folder.rows) == 1
    folder.stop.clear()
    folder.start()
    folder.after(0)
    assert len(folder.after(10)) == 2
    assert folder.rows == ["a", "b", "c"]


def test_files_that_are_no_scans_are_looked_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    real = folder.watcher.find
    folder.watcher.find = lambda patterns: looked.append(1) or real(patterns)  # type: ignore[func-returns-value]
    (folder.input / "notes.txt").write_text("no scan")
    write_scans(folder.input, ["x.png", "x_mask.png"])
    folder.after(0)
    assert folder.after(10) == ["x"]
    for _ in range(3):
        folder.after(10)
    assert len(looked) == 1
    assert list(read_table(folder.output / "passed_over.csv")["path"]) == [str(folder.input / "x_mask.png")]


def test_a_folder_that_is_gone_for_a_while_ends_nothing(folder: Folder) -> None:
    write_scans(folder.input, ["a.png"])
    folder.after(0)
    folder.after(10)
    away = folder.input.with_name("away")
    folder.input.rename(away)
    assert folder.after(10) == []
    away.rename(folder.input)
    folder.after(10)
    assert folder.after(10) == []  # it is as it was
    assert folder.rows == ["a"]


def test_a_full_disk_is_no_fault_of_the_scan(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    import scansuite_runtime.watching as watching

    write_scans(folder.input, ["bad.png"])
    folder.after(0)

    def full(file: Path, text: str) -> None:
        raise SuiteError(f"{file}: cannot be written (No space left on device)")

    monkeypatch.setattr(watching, "write_text", full)
    with pytest.raises(SuiteError, match="No space left"):
        folder.after(10)
    assert folder.watcher.journal.done == {}


def test_results_of_another_model_are_not_gone_on_with(tmp_path: Path) -> None:
    Journal(tmp_path / "out", ABOUT)
    with pytest.raises(SuiteError, match="are of model m, not other: give a new folder"):
        Journal(tmp_path / "out", {**ABOUT, "model": "other"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(SuiteError, match="holds something else"):
        Journal(tmp_path / "full", ABOUT)
    (tmp_path / "out" / JOURNAL).write_text('{"no journal"\n')
    with pytest.raises(SuiteError, match="is damaged"):
        Journal(tmp_path / "out", ABOUT)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=30).map(lambda text: text.replace("\n", "").replace("\r", "")), max_size=8), st.data())
def test_a_journal_cut_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, paths: Sequence[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "out"
    journal = Journal(folder, ABOUT)
    first = journal.file.stat().st_size
    for number, path in enumerate(paths):
        journal.add(path, str(number), "predicted", path)
    content = journal.file.read_bytes()
    cut = data.draw(st.integers(first, len(content)))
    journal.file.write_bytes(content[:cut])
    again = Journal(folder, ABOUT)
    whole = content[:cut].count(b"\n") - 1
    assert again.done == {path: str(number) for number, path in enumerate(paths[:whole])}
    again.add("new", "x", "unreadable", "new")
    assert Journal(folder, ABOUT).done["new"] == "x"


def test_a_line_is_put_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append(file, "one\n")
    append(file, "two\n")
    assert file.read_text() == "one\ntwo\n"
    with pytest.raises(SuiteError, match="cannot be written"):
        append(tmp_path / "missing" / "lines", "one\n")


@pytest.mark.parametrize("late", [False, True])
def test_a_series_is_one_case_once_nothing_comes_to_it(late: bool, tmp_path: Path) -> None:
    folder = Folder(tmp_path, volumes=True)
    write_series(folder.input / "scan" / "s1", np.zeros((4, 8, 8), np.int16))
    folder.after(0)
    if late:
        taken = sorted((folder.input / "scan" / "s1").iterdir())[-1]
        away = tmp_path / "last.dcm"
        taken.rename(away)
        folder.after(9)
        away.rename(taken)
        assert folder.after(9) == []
        assert folder.after(9) == []
    assert folder.after(10) == ["scan/s1"]
    assert folder.after(10) == []
