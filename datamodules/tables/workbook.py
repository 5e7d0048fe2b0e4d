"""Excel and OpenDocument workbooks: their first sheet as a table, by calamine (extra ``excel``)."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.readers.limits import Limits
from datamodules.tables.form import TextColumns, chosen
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of today's workbooks, and of those before 2007


def is_workbook(file: Path) -> bool:
    """Whether a file is a workbook, by its first bytes or by its name; one may be called ``.csv``."""
    if file.name.lower().endswith(WORKBOOKS):
        return True
    with file.open("rb") as opened:
        return opened.read(8).startswith((_ZIP, _OLE))


def read_workbook(file: Path, where: str, text_columns: TextColumns, limits: Limits) -> pd.DataFrame:
    """Read the first sheet.

    Args:
        file: the workbook.
        where: what messages name.
        text_columns: kept as text, see :func:`~datamodules.tables.file.read_frame`.
        limits: ``max_bytes`` of what it unpacks to.

    Raises:
        SuiteError: the library is missing, or the file is no workbook.
    """
    instead = "save its sheet as 'CSV UTF-8'"
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError:
        raise SuiteError(
            f"{where}: an Excel workbook: {instead}, or pip install 'scansuite[excel]' to read it as it is"
        ) from None
    limits.check_bytes(file.stat().st_size)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            limits.check_bytes(sum(member.file_size for member in archive.infolist()))
    try:
        with file.open("rb") as opened:
            sheets = load_workbook(opened).sheet_names
    except CalamineError:
        raise SuiteError(
            f"{where}: cannot be read as a table: it is no workbook, or a damaged or encrypted one: {instead}"
        ) from None
    if len(sheets) > 1:
        log.info("%s: its first sheet %r is read, of %d", file, sheets[0], len(sheets))
    names = _sheet(file, nrows=0).columns
    return _sheet(file, dtype=dict.fromkeys(chosen(text_columns, list(names)), "str"))


def _sheet(file: Path, **settings: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_excel(file, engine="calamine", keep_default_na=False, na_values=[""], **settings)
    return frame
