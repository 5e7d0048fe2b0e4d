"""Tables that name images and their masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datamodules.cases.named_files import drop_empty, drop_missing, holds_files, no_column
from datamodules.cases.table import split_words
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.tables.file import read_frame
from datamodules.tables.form import AS_FOUND, TableForm
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

NO_TABLE = "it is of a table: give --data.table too"


@dataclass(frozen=True)
class PairColumns:
    """Columns of a table with the paths of images and masks.

    Attributes:
        path: of the images.
        mask: of the masks; None: the one of :attr:`usual` that the table has.
        usual: names of it, the one that counts where both hold files first.
    """

    path: str = "path"
    mask: str | None = None
    usual: tuple[str, str] = ("mask", "label")

    def text(self, names: Sequence[str]) -> list[str]:
        """The columns of a table that are kept as text: those of files, and names of cases and patients.

        Args:
            names: of all its columns.
        """
        masks = [self.mask] if self.mask is not None else [name for name in self.usual if name in names][:1]
        return [name for name in (self.path, *masks, "case_id", "patient_id", "split") if name in names]

    def chosen(self, frame: pd.DataFrame, root: Path, file: Path) -> str:
        """The column with the masks.

        Args:
            frame: the table.
            root: folder that paths are relative to.
            file: the table's, for messages.

        Raises:
            SuiteError: there is no such column, or it is that of the images.
        """
        if self.mask == self.path:
            raise SuiteError(f"--data.mask_column {self.mask}: {file} has the images there: name that of the masks")
        if self.mask is not None:
            there = [self.mask] if self.mask in frame else []
        else:
            there = [name for name in self.usual if name in frame]
        if not there:
            raise no_column(file, frame, self.mask or self.usual[0], "--data.mask_column", root, known=[self.path])
        first, *others = there
        # A class beside a mask may be called `label`, and a yes or no beside a label `mask`.
        for other in others:
            if frame[other].dtype == "str" and holds_files(frame[other], root) and not holds_files(frame[first], root):
                log.info("%s: column %r holds the masks, %r does not (--data.mask_column)", file, other, first)
                return other
        return first


def read_pairs(
    root: Path,
    file: Path,
    columns: PairColumns,
    limits: Limits = DEFAULT,
    *,
    allow_outside: bool = False,
    form: TableForm = AS_FOUND,
) -> tuple[pd.DataFrame, str]:
    """Read a table that names images and masks, each relative to the root.

    Args:
        root: folder of the data set.
        file: the table.
        columns: which hold the paths.
        limits: of what is read.
        allow_outside: paths may leave the root.
        form: what the flags say of the table.

    Returns:
        Its rows with a column ``path``, whose files are all there, and the name of the column with the masks.

    Raises:
        SuiteError: a column or a file is missing, a cell is empty, or a path leaves the root and ``allow_outside`` is
            false.
    """
    frame = read_frame(file, "--data.table", columns.text, limits, form)
    if columns.path not in frame:
        raise no_column(file, frame, columns.path, "--data.path_column", root)
    masks = columns.chosen(frame, root, file)
    for column in (columns.path, masks):
        frame = drop_empty(frame, column, file)
    if "split" in frame:
        frame["split"] = split_words(frame["split"], str(file))
    for column in (columns.path, masks):
        frame = drop_missing(frame, column, root, file, allow_outside=allow_outside)
    return frame.assign(path=frame[columns.path]).reset_index(drop=True), masks
