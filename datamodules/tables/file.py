"""Tables of the user's -> data frames: CSV, TSV, Parquet and Excel workbooks, as people have them."""

from __future__ import annotations

import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.listing import near_file
from datamodules.readers.unpack import read_all, unpacked
from datamodules.tables.encodings import UTF8, declared, encoding_of, line_that_fails, spoken
from datamodules.tables.form import AS_FOUND, Layout, TableForm, TextColumns, chosen, layout_of, shown
from datamodules.tables.reasons import reason_of
from datamodules.tables.workbook import WORKBOOKS, is_workbook, read_workbook
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".parquet", *WORKBOOKS)  # by which a table is told from other files
_HEAD = 1 << 16  # bytes that separator and columns are found in
_DECIMAL_COMMA = r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?"


def is_table(name: str) -> bool:
    """Whether a file is a table by its name."""
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_frame(
    file: Path,
    flag: str,
    text_columns: TextColumns = (),
    limits: Limits = DEFAULT,
    form: TableForm = AS_FOUND,
) -> pd.DataFrame:
    """Read a table: CSV or TSV (also gzipped), Parquet, or the first sheet of a workbook; empty cells become NA.

    Of text, encoding and separator are found where no flag says them, and a line says what was found where it is not
    UTF-8 with the usual separator (``docs/tables.md``). Columns without a name and without a cell, and rows without a
    cell, are left out; numbers with decimal commas are numbers where cells are separated by ``;``.

    Args:
        file: the table.
        flag: the flag that named it, for messages.
        text_columns: columns kept as text (``007`` stays ``007``); or what chooses them, given the names of all.
        limits: ``max_bytes`` of the unpacked table.
        form: what the flags say of it.

    Returns:
        Its rows, by their number in the table from 0.

    Raises:
        SuiteError: the file is missing, empty, too large, of another kind, or cannot be read as a table.
    """
    where = f"{flag} {file}"
    if not file.is_file():
        what = "is a folder: name a file in it" if file.is_dir() else f"no such file: {near_file(file)}"
        raise SuiteError(f"{where}: {what}")
    name = file.name.lower().removesuffix(".gz")
    try:
        if is_workbook(file):
            frame = read_workbook(file, where, text_columns, limits)
        elif name.endswith(".parquet"):
            frame = _read_parquet(file, text_columns, limits)
        elif name.endswith((".csv", ".tsv", ".txt")):
            limits.check_bytes(file.stat().st_size)
            with unpacked(file, limits) as opened:
                frame = _Text(file, where, text_columns, form).read(opened.stream)
        else:
            raise SuiteError(
                f"{where}: not a table by its name: expected .csv, .tsv, .parquet or a workbook ({' '.join(WORKBOOKS)})"
            )
    except SuiteError:
        raise
    except Exception as error:
        raise SuiteError(f"{where}: cannot be read as a table: {reason_of(error)}") from None
    frame.columns = [str(column).strip() for column in frame.columns]
    frame = _without_empty(frame)
    if frame.empty:
        raise SuiteError(f"{where}: the table has no rows: write some below the names of its columns")
    return frame


class _Text:
    """A table of text that is being read."""

    def __init__(self, file: Path, where: str, text_columns: TextColumns, form: TableForm) -> None:
        self.file, self.where, self.text_columns, self.form = file, where, text_columns, form
        name = file.name.lower().removesuffix(".gz")
        self.usual = "," if name.endswith(".csv") else "\t"

    def read(self, stream: BinaryIO) -> pd.DataFrame:
        """Read it as UTF-8, or as its first bytes or the flag say; and once more where that fails."""
        head = stream.read(_HEAD)
        said = declared(head)
        flag = None if self.form.joined else self.form.encoding
        encoding = said or flag or UTF8
        stream.seek(0)
        try:
            frame, layout = self._parsed(stream, head, encoding)
        except UnicodeError:
            stream.seek(0)
            content = read_all(stream)
            named = self._named(content)
            begin = f"{self.where}: cannot be read as a table"
            encoding = said or named or encoding_of(content, begin, "--data.encoding")
            if (line := line_that_fails(content, encoding)) is not None:
                raise SuiteError(
                    f"{begin}: line {line} is not {spoken(encoding)}: correct it, "
                    "save the table as UTF-8, or name its encoding with --data.encoding"
                ) from None
            frame, layout = self._parsed(BytesIO(content), head, encoding)
            guessed = said is None and named is None
            return self._finished(frame, layout, encoding, guessed=guessed)
        return self._finished(frame, layout, encoding, guessed=False)

    def _named(self, content: bytes) -> str | None:
        """The encoding of the flag; of a joined table, which may be of another, only where it reads it."""
        named = self.form.encoding
        if not self.form.joined or named is None:
            return named
        return None if named.startswith("utf") or line_that_fails(content, named) is not None else named

    def _parsed(self, stream: BinaryIO, head: bytes, encoding: str) -> tuple[pd.DataFrame, Layout]:
        layout = layout_of(head.decode(encoding, errors="replace"), self.usual, self.form)
        named = () if callable(self.text_columns) else self.text_columns
        dtype: Any = dict.fromkeys([*named, *chosen(self.text_columns, layout.columns)], "str")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # cells that no column is named for
            frame = pd.read_csv(
                stream,
                sep=layout.separator,
                skiprows=layout.skipped,
                dtype=dtype,
                encoding=encoding,
                index_col=False,  # a comma at the end of each row would move all columns by one
                keep_default_na=False,  # a class may be called None or NA: only an empty cell is missing
                na_values=[""],
                skipinitialspace=True,  # "path, patient_id" as people type it
            )
        return frame, layout

    def _finished(self, frame: pd.DataFrame, layout: Layout, encoding: str, *, guessed: bool) -> pd.DataFrame:
        """The table with its numbers, and a line about what was found and is not as usual."""
        notes = []
        if guessed:
            notes.append(f"read as {spoken(encoding)}, {_example(frame)} (--data.encoding if it is another)")
        elif encoding not in (UTF8, self.form.encoding):
            notes.append(f"read as {spoken(encoding)}")
        if layout.separator not in (self.usual, self.form.separator):
            notes.append(f"cells are separated by {shown(layout.separator)} (--data.separator)")
        numbers = self._decimals(frame) if layout.separator == ";" else {}
        if numbers:
            notes.append(f"numbers have decimal commas ({', '.join(map(repr, numbers))})")
        if notes:
            log.info("%s: %s", self.file, "; ".join(notes))
        return frame.assign(**numbers)

    def _decimals(self, frame: pd.DataFrame) -> dict[str, pd.Series[float]]:
        """Numbers of the columns that have decimal commas, as where a comma cannot separate cells."""
        kept = chosen(self.text_columns, list(frame.columns))
        found = {}
        for name in [name for name in frame.columns if name not in kept and frame[name].dtype == "str"]:
            cells = frame[name].dropna()
            if len(cells) and cells.str.fullmatch(_DECIMAL_COMMA).all():
                found[str(name)] = pd.to_numeric(frame[name].str.replace(",", ".", regex=False))
        return found


def _example(frame: pd.DataFrame) -> str:
    """A cell, or a column's name, that reads otherwise in another encoding."""
    for name in frame.columns[frame.dtypes == "str"]:
        others = frame[name][~frame[name].map(str.isascii, na_action="ignore").fillna(True).astype(bool)]
        if len(others):
            return f"such as {str(others.iloc[0])[:40]!r} in row {int(others.index[0]) + 1}"
    return "such as " + next((repr(str(name)[:40]) for name in frame.columns if not str(name).isascii()), "nothing")


def _without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without columns that have neither name nor cells, and without rows that have no cells."""
    nameless = [name for name in frame.columns if not name or name.startswith("Unnamed: ")]
    frame = frame.drop(columns=[name for name in nameless if frame[name].isna().all()])
    if not len(frame.columns) or not frame.iloc[:, 0].isna().any():
        return frame
    known = frame.notna().any(axis=1)
    if known.all():
        return frame
    kept = frame[known]
    fractions = kept.columns[[str(kept[name].dtype).startswith("float") for name in kept.columns]]
    # Whole numbers that are fractions because of the empty rows alone: 1 and not 1.0.
    whole = [name for name in fractions if kept[name].notna().all() and (kept[name] % 1 == 0).all()]
    return kept.astype(dict.fromkeys(whole, "int64"))


def _read_parquet(file: Path, text_columns: TextColumns, limits: Limits) -> pd.DataFrame:
    limits.check_bytes(_parquet_bytes(file))
    frame = pd.read_parquet(file)
    _check_text(frame)
    return frame.astype({str(name): "str" for name in chosen(text_columns, list(frame.columns))})


def _check_text(frame: pd.DataFrame) -> None:
    """Refuse text that is no UTF-8: Arrow hands it on, and fails where it is looked at."""
    import pyarrow

    for column in frame.columns[frame.dtypes == "str"]:
        pyarrow.array(frame[column]).validate(full=True)


def _parquet_bytes(file: Path) -> int:
    """What a Parquet file says it unpacks to, and at least a byte a cell."""
    from pyarrow.parquet import read_metadata

    described = read_metadata(file)
    groups = [described.row_group(number) for number in range(described.num_row_groups)]
    return int(max(sum(group.total_byte_size for group in groups), described.num_rows * described.num_columns))
