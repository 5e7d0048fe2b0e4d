"""A folder whose new cases are done one by one: which files are complete, and what of them is still to be done."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pandas as pd

from datamodules.cases.table import NO_CASES, CaseTable
from datamodules.readers.listing import files_below
from datamodules.readers.patterns import FilePatterns
from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite_runtime.gathered import Gathered
from scansuite_runtime.journal import Journal
from tasks.evaluation.tables import write_table

log = logging.getLogger(__name__)

State = tuple[int, int]  # size in bytes, time of the last change in ns
_PROBE = ".probe"


class ChangedFolders(FilePatterns):
    """The user's patterns, of files in folders that have changed: what did not change is not opened again.

    Folders are taken whole, since a file may be told from its neighbours (a mask lies beside its image).

    Args:
        patterns: of the user's.
        folders: below the root, POSIX; ``.`` is the root itself.
    """

    def __init__(self, patterns: FilePatterns, folders: Iterable[str]) -> None:
        super().__init__(patterns.include, patterns.exclude, patterns.flags)
        self.folders = set(folders)

    def __bool__(self) -> bool:
        return True

    def take(self, path: str) -> bool:
        """Whether a file, or the folder of a series, is one of them."""
        parent = path.rpartition("/")[0] or "."
        return bool({path, parent} & self.folders) and super().take(path)

    def chosen(self, names: Sequence[str], root: object, below: str = "") -> list[str]:
        """The files that are taken; none is no mistake, since others may come."""
        return [name for name in names if self.take(name)]


@dataclass(frozen=True)
class Found:
    """Cases of a folder.

    Attributes:
        table: of the cases.
        passed_over: (path, reason) of files that are no scans.
    """

    table: CaseTable
    passed_over: Sequence[tuple[str, str]] = ()


@dataclass
class Counts:
    """What has come of a folder so far in this process."""

    predicted: int = 0
    unreadable: int = 0


class Watcher:
    """Does the cases of a folder as their files become complete, each once.

    A file is complete when neither its size nor its time of change was another for some seconds, and a case when all
    its files are; of a series that is its folder, to which nothing may have come either. What changes afterwards is
    done again. Nothing but the listing of the folder is asked for, so that it works on network drives; the clocks of
    others are not compared with ours.

    Args:
        folder: that is watched.
        patterns: which of its files are taken.
        find: the cases of the folder whose files fit patterns.
        apply: does one case, with its files in a folder; whether it was predicted.
        gathered: where results go.
        journal: says what is done.
        rest: seconds without change after which a file is complete.
        clock: seconds, of any beginning.
    """

    def __init__(
        self,
        folder: Path,
        patterns: FilePatterns,
        find: Callable[[FilePatterns], Found],
        apply: Callable[[CaseTable, Path], bool],
        gathered: Gathered,
        journal: Journal,
        *,
        rest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.patterns, self.find, self.apply = folder, patterns, find, apply
        self.gathered, self.journal, self.rest, self.clock = gathered, journal, rest, clock
        self.counts = Counts()
        self._since: dict[str, tuple[State, float]] = {}  # by path below the folder
        self._settled: dict[str, State] = {}  # files that were looked at, whether they were of a case or not
        self._said = ""

    def look(self, stop: Event) -> bool:
        """Look at the folder once, and do what is complete.

        Args:
            stop: is set where no further case is to be begun.

        Returns:
            Whether something is not complete yet, or was left because of ``stop``.
        """
        try:
            self._list()
        except SuiteError as error:  # a network drive may come back
            self._say_once(str(error))
            return True
        now = self.clock()
        steady = {path for path, (_, since) in self._since.items() if now - since >= self.rest}
        waiting = len(steady) < len(self._since)
        fresh = {path for path in steady if self._settled.get(path) != self._since[path][0]}
        if not fresh:
            return waiting
        table = self._cases({Path(path).parent.as_posix() for path in fresh})
        for row in range(len(table)):
            if stop.is_set():
                return True
            one = table.select([number == row for number in range(len(table))])
            paths = self._files_of(one)
            if paths and set(paths) <= steady:
                self._do(one, paths)
        # A case some of whose files are not complete is looked at again when these are.
        self._settled |= {path: self._since[path][0] for path in fresh}
        return waiting

    def _cases(self, folders: Iterable[str]) -> CaseTable:
        """The cases in some folders."""
        try:
            found = self.find(ChangedFolders(self.patterns, folders))
        except SuiteError as error:
            self._say_once(str(error))
            return NO_CASES
        self.gathered.pass_over(found.passed_over)
        return found.table

    def _say_once(self, line: str) -> None:
        if line != self._said:
            log.warning("%s", line)
        self._said = line

    def _list(self) -> None:
        """Note the state of each file, and since when it has it."""
        now, seen = self.clock(), {}
        for name in files_below(self.folder, lambda file: True):
            try:
                stat = (self.folder / name).stat()
            except OSError:  # gone meanwhile
                continue
            state = (stat.st_size, stat.st_mtime_ns)
            before = self._since.get(name)
            seen[name] = before if before is not None and before[0] == state else (state, now)
        self._since = seen
        self._settled = {path: state for path, state in self._settled.items() if path in seen}

    def _files_of(self, table: CaseTable) -> list[str]:
        """The files of the cases of a table, below the folder; of a series all that lies in its folder."""
        found: list[str] = []
        for path in table.images["path"]:
            name = Path(path).relative_to(self.folder).as_posix()
            if name in self._since:
                found.append(name)
            else:
                inside = "" if name == "." else f"{name}/"
                found += [one for one in self._since if one.startswith(inside) and "/" not in one[len(inside) :]]
        return found

    def _do(self, table: CaseTable, paths: Sequence[str]) -> None:
        """Do a case, unless it is done with its files as they are."""
        case_id = str(table.cases["case_id"].iloc[0])
        path = Path(str(table.cases["path"].iloc[0])).relative_to(self.folder).as_posix()
        state = _digest([(name, *self._since[name][0]) for name in sorted(paths)])
        if self.journal.done.get(path) == state:
            return
        named = [str(one) for one in table.images["path"]]
        working = self.gathered.new()
        reason = ""
        try:
            predicted = self.apply(table, working)
        except SuiteError as error:
            reason = str(error)
        except Exception as error:  # one file must not end the watch over all that come after it
            log.exception("%s: a fault of the program", named[0])
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if reason:
            self._refuse_full()
            predicted = False
            working = self.gathered.new()
            write_table(pd.DataFrame([(named[0], reason)], columns=["path", "error"]), working / "errors.csv")
        self.gathered.take(case_id, named)
        self.journal.add(path, state, "predicted" if predicted else "unreadable", case_id)
        if predicted:
            self.counts.predicted += 1
        else:
            self.counts.unreadable += 1
        log.info("%s: %s", path, "predicted" if predicted else f"unreadable{f' ({reason})' if reason else ''}")

    def _refuse_full(self) -> None:
        """Tell a result that cannot be written from a scan that cannot be read.

        Raises:
            SuiteError: the folder of the results cannot be written to.
        """
        probe = self.gathered.folder / _PROBE
        write_text(probe, "x" * 2**16)
        probe.unlink(missing_ok=True)


def _digest(files: Sequence[tuple[str, int, int]]) -> str:
    text = "\n".join(f"{name} {size} {changed}" for name, size, changed in files)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
