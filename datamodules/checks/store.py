"""Findings as they come: to disk at once, so that a million of them cost no memory."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pandas as pd

from datamodules.checks.kinds import SEVERITIES, Severity, kind_of
from datamodules.faults import Fault
from scansuite.errors import SuiteError
from scansuite.files import replacing

COLUMNS = ["severity", "kind", "case_id", "path", "split", "detail"]
_EXAMPLES = 24
_LONGEST = 1000  # characters of a detail


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        severity: see :data:`~datamodules.checks.kinds.KINDS`.
        kind: a key of it.
        detail: what is wrong, one line.
        case: row of the case table, or -1.
        path: a file that is no row of the table, or "".
        unit: number of what was read (an image, a volume), or -1; for pictures.
        beside: (case, unit) of what it is compared with; a unit of -1 is any of the case.
    """

    severity: Severity
    kind: str
    detail: str
    case: int = -1
    path: str = ""
    unit: int = -1
    beside: Sequence[tuple[int, int]] = ()


class FindingStore:
    """Takes findings; a context manager, whose scratch files go with it.

    Args:
        folder: for scratch files and ``check.csv``; it exists.

    Attributes:
        counts: how many findings of each severity and kind.
        examples: the first few findings of each kind.
    """

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[tuple[Severity, str]] = Counter()
        self.examples: dict[str, list[Finding]] = {}
        self._files = {severity: folder / f".{severity}.part" for severity in SEVERITIES}
        try:
            self._streams = {name: file.open("w", newline="", encoding="utf-8") for name, file in self._files.items()}
        except OSError as error:
            raise SuiteError(f"--output {folder}: cannot be written ({error.strerror})") from None
        self._writers = {name: csv.writer(stream) for name, stream in self._streams.items()}

    def __enter__(self) -> FindingStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for severity, stream in self._streams.items():
            stream.close()
            self._files[severity].unlink(missing_ok=True)

    def add(
        self,
        kind: str,
        detail: str,
        *,
        case: int = -1,
        path: str = "",
        unit: int = -1,
        beside: Sequence[tuple[int, int]] = (),
        severity: Severity | None = None,
    ) -> None:
        """Keep a finding; ``severity`` is that of its kind where it is not given."""
        text = " ".join(detail.split())[:_LONGEST]
        finding = Finding(severity or kind_of(kind).severity, kind, text, case, path, unit, beside)
        self.counts[finding.severity, kind] += 1
        some = self.examples.setdefault(kind, [])
        if len(some) < _EXAMPLES:
            some.append(finding)
        self._writers[finding.severity].writerow([kind, case, path, finding.detail])

    def note(self, fault: Fault) -> None:
        """Keep a mistake that was met while the data were read."""
        self.add(fault.kind, fault.text, case=fault.case, path=fault.path)

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(count for (one, _), count in self.counts.items() if one == severity)

    def write(self, file: Path, cases: pd.DataFrame) -> None:
        """Write all findings, errors first.

        Args:
            file: the CSV file.
            cases: ``case_id``, ``path`` and ``split`` of each row of the case table.
        """
        names, paths = cases["case_id"].to_numpy(dtype=object), cases["path"].to_numpy(dtype=object)
        parts = cases["split"].astype("str").fillna("").to_numpy(dtype=object)
        with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            for severity in SEVERITIES:
                self._streams[severity].flush()
                with self._files[severity].open(newline="", encoding="utf-8") as found:
                    for kind, number, path, detail in csv.reader(found):
                        case = int(number)
                        who = [names[case], path or paths[case], parts[case]] if case >= 0 else ["", path, ""]
                        writer.writerow([severity, kind, *who, detail])
