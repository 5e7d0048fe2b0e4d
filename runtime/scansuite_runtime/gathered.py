"""The results of a watched folder: those of each case are put beside the others, and never stand there twice."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scansuite.files import replacing, safe_path
from scansuite_runtime.journal import append
from tasks.evaluation.tables import read_table

WORKING = ".working"  # folder of the case that is being done
_COCO = "detections.json"
_KEYS = ("case_id", "path")


class Gathered:
    """Results in a folder.

    Tables (CSV) grow by rows at their end. Where a case comes again, changed or because the process ended before its
    line was in the journal, its older rows go. All other files take the place that they have in a folder of
    ``predict``; only boxes as COCO are a file a case, in ``detections/``, since one file of all would be written anew
    for each case.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder / WORKING, ignore_errors=True)
        self._tables = {file.name: _Table(file) for file in sorted(folder.glob("*.csv"))}

    def new(self) -> Path:
        """An empty folder for the results of a case."""
        working = self.folder / WORKING
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir()
        return working

    def take(self, case_id: str, paths: Sequence[str]) -> None:
        """Put the results of a case, which lie in the folder of :meth:`new`, beside the others.

        Args:
            case_id: of the case.
            paths: of its files, as tables have them.
        """
        working = self.folder / WORKING
        found = sorted(file for file in working.rglob("*") if file.is_file())
        tables = {file.name for file in found if file.parent == working and file.suffix == ".csv"}
        for file in found:
            if file.name in tables and file.parent == working:
                continue
            place = self.folder / file.relative_to(working)
            if file.name == _COCO and file.parent == working:
                place = self.folder / "detections" / safe_path(f"{case_id}.json")
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        for name, table in self._tables.items():
            if name not in tables:
                table.drop(case_id, paths)  # it was unreadable, and is not any more
        for name in sorted(tables):
            table = self._tables.setdefault(name, _Table(self.folder / name))
            table.add(read_table(working / name), case_id, paths)
        shutil.rmtree(working, ignore_errors=True)

    def pass_over(self, files: Sequence[tuple[str, str]]) -> None:
        """Note files that are no scans in ``passed_over.csv``, each once.

        Args:
            files: (path, reason) of each.
        """
        table = self._tables.setdefault("passed_over.csv", _Table(self.folder / "passed_over.csv"))
        new = [(path, reason) for path, reason in files if ("path", path) not in table.known]
        if new:
            table.add(pd.DataFrame(new, columns=["path", "reason"]), "", [path for path, _ in new])


class _Table:
    """A table that grows.

    Args:
        file: of it; a row that was not written to its end is left out.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.columns: list[str] = []
        self.known: set[tuple[str, str]] = set()  # (key column, value)
        if file.is_file():
            _mend(file)
            self._learn(read_table(file))

    def _learn(self, frame: pd.DataFrame) -> None:
        self.columns = list(frame.columns)
        for key in _KEYS:
            if key in frame:
                self.known |= {(key, str(value)) for value in frame[key].dropna().unique()}

    def _has(self, case_id: str, paths: Sequence[str]) -> bool:
        return ("case_id", case_id) in self.known or any(("path", path) in self.known for path in paths)

    def drop(self, case_id: str, paths: Sequence[str]) -> None:
        """Take the rows of a case out."""
        if self._has(case_id, paths):
            kept = self._without(case_id, paths)
            self._write(kept)

    def add(self, rows: pd.DataFrame, case_id: str, paths: Sequence[str]) -> None:
        """Add rows, in the place of older ones of the same case."""
        if not self.file.is_file():
            self._write(rows)
            return
        if self._has(case_id, paths) or list(rows.columns) != self.columns:
            self._write(pd.concat([self._without(case_id, paths), rows], ignore_index=True))
            return
        text = io.StringIO()
        rows.to_csv(text, index=False, header=False)
        append(self.file, text.getvalue())
        self._learn(rows)

    def _without(self, case_id: str, paths: Sequence[str]) -> pd.DataFrame:
        frame = read_table(self.file)
        own = pd.Series(False, index=frame.index)
        if "case_id" in frame:
            own |= frame["case_id"] == case_id
        if "path" in frame:
            own |= frame["path"].isin(list(paths))
        return frame[~own]

    def _write(self, frame: pd.DataFrame) -> None:
        with replacing(self.file) as temporary:
            frame.to_csv(temporary, index=False, encoding="utf-8")
        self.known = set()
        self._learn(frame)


def _mend(file: Path) -> None:
    """Cut off what a kill or a power cut has left of a last row."""
    with file.open("r+b") as handle:
        content = handle.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            handle.truncate(end)
