"""The journal of a watched folder: which cases are done, so that none is done twice, however the process ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from scansuite.errors import SuiteError
from scansuite.files import write_text

JOURNAL = "watched.jsonl"
Outcome = Literal["predicted", "unreadable"]


class Journal:
    """A file of JSON lines: the first says what was watched and how, each further one that a case is done.

    A line is written when all results of its case are, and is on the disk before the next case begins. Of a line that a
    power cut has torn nothing counts.

    Args:
        folder: of the results; made if it is not there.
        about: what is watched and how, in plain types. It must be the same whenever the folder is gone on with.

    Attributes:
        done: state of the files of each case that is done, by its path.

    Raises:
        SuiteError: the folder holds something else, or results of another model or input, or made otherwise.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.file = folder / JOURNAL
        self.done: dict[str, str] = {}
        if self.file.is_file():
            self._go_on(about)
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SuiteError(f"--output {folder}: holds something else: give a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps(about, ensure_ascii=False) + "\n")

    def _go_on(self, about: Mapping[str, Any]) -> None:
        text = self.file.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        try:
            first, *lines = [json.loads(line) for line in whole.splitlines()]
            self.done = {line["path"]: line["state"] for line in lines}
        except (ValueError, TypeError, KeyError):
            raise SuiteError(f"{self.file}: is damaged: give a new --output") from None
        for name, value in about.items():
            if first.get(name) != value:
                raise SuiteError(
                    f"--output {self.file.parent}: its results are of {name} {first.get(name)}, not {value}: give "
                    "a new folder"
                )
        if len(whole) < len(text):
            with self.file.open("r+b") as file:
                file.truncate(len(whole))

    def add(self, path: str, state: str, outcome: Outcome, case_id: str) -> None:
        """Say that a case is done.

        Args:
            path: of the case, relative to the watched folder.
            state: of its files.
            outcome: what came of it.
            case_id: as the tables have it.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"path": path, "case_id": case_id, "outcome": outcome, "at": at, "state": state}
        append(self.file, json.dumps(line, ensure_ascii=False) + "\n")
        self.done[path] = state


def append(file: Path, text: str) -> None:
    """Put text at the end of a file, in one piece and onto the disk.

    Raises:
        SuiteError: it cannot be written; the file is as it was.
    """
    content = text.encode()
    try:
        with file.open("ab", buffering=0) as handle:
            before = os.fstat(handle.fileno()).st_size
            try:
                written = handle.write(content)
                if written != len(content):
                    raise OSError("no space is left")
                os.fsync(handle.fileno())
            except OSError:
                os.ftruncate(handle.fileno(), before)
                raise
    except OSError as error:
        raise SuiteError(f"{file}: cannot be written ({error.strerror or error}): make room") from None
