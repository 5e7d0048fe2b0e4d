"""Tables of predicted cases: the rows of all of them as one, and the files that ``predict`` leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.remote import as_typed
from datamodules.types import ScanInfo
from scansuite.errors import SuiteError
from tasks.evaluation.tables import write_table

UNCERTAINTY = "uncertainty"  # column of the predictions table: of masks, and where several models or passes predict


def scan_rows(scans: Sequence[ScanInfo]) -> pd.DataFrame:
    """``case_id,width,height,spacing`` of scans as stored."""
    sizes = [scan["original_size"] for scan in scans]
    spacings = [scan.get("spacing") for scan in scans]
    return pd.DataFrame(
        {
            "case_id": [scan["case_id"] for scan in scans],
            "width": [width for _, width in sizes],
            "height": [height for height, _ in sizes],
            "spacing": [None if spacing is None else " ".join(f"{mm:g}" for mm in spacing) for spacing in spacings],
        }
    )


def join(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of cases, from wherever they come, as one table, sorted, each case (and class) once."""
    if not frames:
        return pd.DataFrame({"case_id": pd.Series(dtype="str")})
    table = pd.concat(frames, ignore_index=True)
    # A case may have a row for each class.
    key = [name for name in ("case_id", "class") if name in table]
    return table.drop_duplicates(key).sort_values(key, ignore_index=True, kind="stable")


def with_paths(predictions: pd.DataFrame, paths: Mapping[str, str] | pd.Series) -> pd.DataFrame:
    """Predictions with the ``path`` of each case behind ``case_id``, where they have none yet."""
    if "path" not in predictions:
        predictions.insert(1, "path", predictions["case_id"].map(paths))
    return predictions


def write_predictions(
    output: Path,
    predictions: pd.DataFrame,
    *,
    cases: Sequence[str],
    unreadable: Sequence[tuple[str, str]],
    passed_over: Sequence[tuple[str, str]],
) -> None:
    """Write ``predictions.csv``, and ``errors.csv`` and ``passed_over.csv`` where there is something in them.

    Args:
        output: folder.
        predictions: a table with ``path`` after ``case_id``.
        cases: ids of those that were predicted; without any no ``predictions.csv`` is written.
        unreadable: (path, reason) of the files left out.
        passed_over: (path, reason) of the files in folders that are no scans.
    """
    if cases:
        predictions = predictions.copy()
        predictions.insert(1, "split", "predict")
        write_table(_as_typed(predictions), output / "predictions.csv")
    if passed_over:
        write_table(_as_typed(pd.DataFrame(passed_over, columns=["path", "reason"])), output / "passed_over.csv")
    if unreadable:
        write_table(_as_typed(pd.DataFrame(unreadable, columns=["path", "error"])), output / "errors.csv")


def draws(options: Mapping[str, Any]) -> bool:
    """Whether pictures are asked for (``--pictures``), as they are where it is left out.

    Raises:
        SuiteError: the flag is neither ``true`` nor ``false``.
    """
    given = options["pictures"]
    asked = "true" if given is None else str(given).lower()
    if asked not in ("true", "false"):
        raise SuiteError(f"--pictures {options['pictures']}: true or false")
    return asked == "true"


def _as_typed(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose files bear the URLs that the user has typed, where they are local copies of such."""
    names = [name for name in ("path", "reason", "error") if name in frame]
    return frame.assign(**{name: frame[name].map(as_typed, na_action="ignore") for name in names})
