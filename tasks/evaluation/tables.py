"""Tables of a run (predictions, cases, targets): written in one piece and read back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.tables.reasons import reason_of
from scansuite.errors import SuiteError
from scansuite.files import replacing
from scansuite.words import number_of

# A CSV of more rows takes minutes to read and no spreadsheet opens it: Parquet from here on.
PARQUET_ROWS = 1_000_000
# Names, not numbers: class "007" must stay "007", case "NA" must stay "NA".
TEXT_COLUMNS = (
    "case_id", "patient_id", "path", "split", "target", "prediction", "prediction_op", "class", "label",
)  # fmt: skip


def write_table(frame: pd.DataFrame, file: Path) -> Path:
    """Write a table as CSV, or as Parquet when it has more than a million rows or ``file`` ends in ``.parquet``.

    CSV floats have as many digits as they need to come back as the same number, up to 17: a score that is rounded ties
    with its neighbours, and metrics would differ from those of the model. Empty = NA.
    The same table under the other suffix, left over from an earlier writing, is removed.

    Args:
        frame: the rows; its index is not written.
        file: where to, e.g. ``runs/classify/3/predictions.csv``.

    Returns:
        The path written: ``file``, or the same with the suffix ``.parquet``.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    if len(frame) > PARQUET_ROWS:
        file = file.with_suffix(".parquet")
    with replacing(file) as temporary:
        if file.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            _whole_numbers(frame).to_csv(temporary, index=False, encoding="utf-8")
    other = file.with_suffix(".csv" if file.suffix == ".parquet" else ".parquet")
    other.unlink(missing_ok=True)
    return file


def _whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that are float only because a cell is empty become integers: 1 and not 1.0."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_float_dtype(column.dtype):
            known = column.dropna().to_numpy(dtype=np.float64)
            if len(known) and np.all(np.abs(known) < 2**53) and np.all(known == np.floor(known)):
                columns[name] = column.astype("Int64")
    return frame.assign(**columns)


def find_table(folder: Path, name: str) -> Path:
    """The file of a table, whichever suffix it was written with.

    Args:
        folder: the run folder.
        name: the table's name without suffix, e.g. ``predictions``.

    Raises:
        SuiteError: the folder has no such table.
    """
    found = [file for file in (folder / f"{name}.csv", folder / f"{name}.parquet") if file.is_file()]
    if not found:
        raise SuiteError(
            f"{folder}: no {name}.csv and no {name}.parquet: run `test` or `validate` into this folder first"
        )
    return max(found, key=lambda file: file.stat().st_mtime_ns)


def read_table(file: Path) -> pd.DataFrame:
    """Read a table back: names as text exactly as written, empty cells as NA, numbers as numbers.

    Only an empty cell is NA; a class called ``NA`` or ``None`` is a class. ``target`` and ``prediction`` are text also
    where they hold numbers (regression): who needs numbers converts them.

    Raises:
        SuiteError: the file is missing or is no table.
    """
    if not file.is_file():
        raise SuiteError(f"{file}: no such file")
    text = dict.fromkeys(TEXT_COLUMNS, "str")
    try:
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
            return frame.astype({name: "str" for name in TEXT_COLUMNS if name in frame})
        return pd.read_csv(
            file, dtype=text, keep_default_na=False, na_values=[""], encoding="utf-8", float_precision="round_trip"
        )
    except Exception as error:
        reason = reason_of(error, "write it again with commas between its cells")
        raise SuiteError(f"{file}: cannot be read as a table: {reason}") from None


def counted(case_ids: Sequence[str] | pd.Series, cases: pd.DataFrame | None) -> str:
    """``20 cases of 12 patients``, where the patients of all are known.

    Args:
        case_ids: of the cases, each once.
        cases: the table ``cases`` of a run; None = there is none.
    """
    ids = pd.Index(case_ids)
    said = number_of(len(ids), "case")
    if cases is None or not {"case_id", "patient_id"} <= set(cases.columns):
        return said
    patients = cases.drop_duplicates("case_id").set_index("case_id")["patient_id"].reindex(ids)
    if not len(patients) or patients.isna().any():
        return said
    return f"{said} of {number_of(patients.nunique(), 'patient')}"
