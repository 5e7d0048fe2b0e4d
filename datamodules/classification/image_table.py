"""``ImageTable``: images and targets from a CSV, TSV or Parquet table (what Keras calls ``flow_from_dataframe``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.classification.base import ClassificationData
from datamodules.containment import refuse_outside
from datamodules.table import CaseTable, one_image_a_case, read_frame, split_words
from datamodules.types import SuiteError, nearest


class ImageTable(ClassificationData):
    """One row a case: where the image is, what is known of it, whose it is.

    Args:
        root: folder that the paths in the table are relative to.
        table: the CSV, TSV or Parquet file; looked for in ``root`` first.
        path_column: column with the image's path.
        label_columns: one column (class names, or numbers for regression) or several (0, 1, empty = unknown).
        patient_column: column with the patient; left out: ``patient_id`` where there is one.
        split_column: column with the part (``train``; ``val``, ``valid``, ``validation``, ``dev``; ``test``); left out:
            ``split`` where there is one.
        case_column: column that names the case; left out: ``case_id`` where there is one, else the path without suffix.
        kwargs: see :class:`~datamodules.classification.base.ClassificationData`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        table: str = "labels.csv",
        path_column: str = "path",
        label_columns: list[str] | str = "label",
        patient_column: str | None = None,
        split_column: str | None = None,
        case_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        here = Path(table)
        self.table_file = here if here.is_file() and not (self.root / table).is_file() else self.root / table
        self.path_column, self.patient_column = path_column, patient_column
        self.split_column, self.case_column = split_column, case_column
        columns = label_columns.split(",") if isinstance(label_columns, str) else label_columns
        self.label_columns = [column.strip() for column in columns]

    @property
    def where(self) -> str:
        """What messages about labels name."""
        return str(self.table_file)

    def build_table(self) -> CaseTable:
        """Read the table and check that each image is there."""
        given = {
            "path": (self.path_column, "--data.path_column"),
            "patient_id": (self.patient_column, "--data.patient_column"),
            "split": (self.split_column, "--data.split_column"),
            "case_id": (self.case_column, "--data.case_column"),
        }
        text = [column or ours for ours, (column, _) in given.items()]
        frame = read_frame(self.table_file, flag="--data.table", text_columns=text, limits=self.limits)
        meant = {}
        for ours, (column, flag) in given.items():
            if column is not None and column not in frame:
                hint = nearest(column, frame.columns)
                raise SuiteError(f"{self.table_file}: no column {column!r} for {flag}: {hint}")
            if (column or ours) in frame:
                meant[ours] = frame[column or ours]
        frame = frame.assign(**meant)
        empty = frame.index[frame["path"].isna()]
        if len(empty):
            raise SuiteError(
                f"{self.table_file}: column {self.path_column!r} is empty in row {empty[0] + 1}: fill it, or drop "
                "the row"
            )
        refuse_outside(self.root, frame["path"], str(self.table_file), allow=self.allow_outside)
        missing = [path for path in frame["path"] if not (self.root / path).is_file()]
        if missing:
            raise SuiteError(
                f"{self.table_file}: {missing[0]} is not below --data.root {self.root} ({len(missing)} of {len(frame)} "
                "images are missing)"
            )
        if "split" in frame:
            frame["split"] = split_words(frame["split"], str(self.table_file))
        return one_image_a_case(frame)
