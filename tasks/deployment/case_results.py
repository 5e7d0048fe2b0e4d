"""Results of cases as what writes DICOM takes them, from masks, boxes and rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from datamodules.readers.limits import Limits
from tasks.deployment.dicom.result import Box, CaseResult
from tasks.deployment.dicom.rows import scored

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.cases.table import CaseTable
    from datamodules.types import ScanInfo

Sink: TypeAlias = Callable[[CaseResult], None]


def boxes_result(scan: ScanInfo, calls: pd.DataFrame, limits: Limits) -> CaseResult:
    """Result of a detector.

    Args:
        scan: of the case.
        calls: ``label,score,x1,y1,x2,y2`` of the boxes that are called.
        limits: on the size of images.
    """
    edges = calls[["x1", "y1", "x2", "y2"]].to_numpy(float).tolist()
    boxes = [
        Box(str(label), float(score), (x1, y1, x2, y2))
        for label, score, (x1, y1, x2, y2) in zip(calls["label"], calls["score"], edges, strict=True)
    ]
    return CaseResult(scan["case_id"], Path(scan["path"]), boxes=boxes, limits=limits)


def files_of(table: CaseTable) -> dict[str, list[Path]]:
    """Files of each case."""
    found: dict[str, list[Path]] = {}
    cases = table.cases["case_id"].astype(str).to_numpy()[table.images["case"].to_numpy()]
    for case, path in zip(cases, table.images["path"], strict=True):
        found.setdefault(str(case), []).append(Path(path))
    return found


def row_results(
    rows: Sequence[Mapping[str, Any]],
    files: Mapping[str, Sequence[Path]],
    class_names: Sequence[str],
    limits: Limits,
    *,
    volumes: bool,
) -> Iterator[CaseResult]:
    """Results of a classifier.

    Args:
        rows: of ``predictions.csv``, a case each.
        files: of each case (:func:`files_of`).
        class_names: in class order.
        limits: on the size of images.
        volumes: cases are volumes.
    """
    for row in rows:
        case_id = str(row["case_id"])
        yield CaseResult(case_id, list(files[case_id]), volume=volumes, limits=limits, **scored(row, class_names))
