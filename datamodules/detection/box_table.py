"""``BoxTable``: boxes from a CSV, TSV, Parquet or Excel table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.ids import clean_ids
from datamodules.cases.named_files import drop_empty, find_files, holds_files, no_column
from datamodules.cases.table import split_words
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.box_columns import (
    LABELS,
    PATHS,
    BoxColumns,
    BoxFormat,
    are_fractions,
    box_columns,
    column_by_name,
    corners_of,
    numbers_of,
    plain_whole,
    refuse_large,
)
from datamodules.detection.boxes import RawBoxes
from datamodules.detection.files import beside, relative, short_names
from datamodules.faults import report_fault
from datamodules.readers.formats import is_image
from datamodules.readers.listing import entries
from datamodules.readers.sizes import image_size
from datamodules.settings import name_list
from datamodules.tables.file import read_frame
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

# What a box is marked with that is ignored: COCO's word, and VOC's.
_CROWD, _DIFFICULT = ("iscrowd", "ignore"), ("difficult",)


class _Columns(NamedTuple):
    """Columns of a table by what they hold; None where it has none."""

    path: str
    label: str | None
    boxes: BoxColumns
    patient: str | None
    split: str | None
    case: str | None
    crowd: str | None
    difficult: str | None


class BoxTable(DetectionData):
    """Table with one row a box: its image's path, four numbers and a label; a row without numbers has no box.

    A case is an image; an image without boxes has one row in which the numbers are empty. Images of the same folders
    that no row names are left out, and counted in a line. Columns are found by the names that people give them
    (docs/tables.md); a line says which.

    Args:
        root: folder of the data set.
        table: CSV, TSV, Parquet or Excel file; looked for in ``root`` first.
        images: folder in ``root`` that the paths in the table are relative to; left out: ``root``, or ``images`` where
            they are found there.
        path_column: column with the image's path, with or without suffix; left out: by its name (``path``, ``image``,
            ``filename``, ``image_id``).
        box_columns: four columns in the order of ``box_format``, or one whose cells have four numbers; left out: by
            their names.
        box_format: ``xyxy`` (corners), ``xywh`` (corner, width, height) or ``cxcywh`` (centre, width, height); ``auto``
            is told by the names of the columns.
        relative: whether the numbers are fractions of the image's sides; left out: where names say so (``x_norm``), or
            none of them is above 1.
        label_column: column with the class; left out: by its name (``label``, ``class``, ``category``, ``name``).
        patient_column: column with the patient; left out: ``patient_id`` where there is one.
        split_column: column with the part (``train``; ``val``, ``valid``, ``validation``, ``dev``; ``test``); left out:
            ``split`` where there is one.
        case_column: column that names the case; left out: ``case_id`` where there is one, else the path without suffix.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        table: str = "boxes.csv",
        images: str | None = None,
        path_column: str | None = None,
        box_columns: list[str] | str | None = None,
        box_format: BoxFormat = "auto",
        relative: bool | None = None,
        label_column: str | None = None,
        patient_column: str | None = None,
        split_column: str | None = None,
        case_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        here = self.local(table, "table")
        self.table_file = here if here.is_file() and not (self.root / here).is_file() else self.root / here
        self.images, self.relative = images, relative
        self.box_columns, self.box_format = name_list(box_columns), box_format
        self.path_column, self.label_column = path_column, label_column
        self.patient_column, self.split_column, self.case_column = patient_column, split_column, case_column

    def read_annotations(self) -> Annotated:
        """Read the table, and see that each image is there."""
        frame = read_frame(self.table_file, "--data.table", self._text_columns, self.limits, self.table_form)
        columns = self._columns([str(name) for name in frame.columns], frame)
        frame = drop_empty(frame, columns.path, self.table_file)
        folder = self._folder(frame[columns.path])
        frame = self._there(frame, columns.path, folder)
        numbers, found = pd.factorize(frame[columns.path])
        names = [str(name) for name in found]
        paths = [relative(folder / name, self.root) for name in names]
        cases = self._of_images(frame, columns, numbers).assign(path=paths)
        if columns.case is None:
            cases["case_id"] = short_names([name.removeprefix("images/") for name in names], paths)
        first = frame.index[np.unique(numbers, return_index=True)[1]]
        where = [f"{self.table_file}, row {row + 1}" for row in first]
        boxes, sizes = self._read_boxes(frame, columns, numbers, paths)
        self._say_unlisted(folder, names)
        return Annotated(cases, sizes, boxes, where)

    # Columns.

    def _text_columns(self, names: list[str]) -> Sequence[str]:
        named = (self.patient_column or "patient_id", self.split_column or "split", self.case_column or "case_id")
        path = self.path_column or column_by_name(names, PATHS)
        label = self.label_column or column_by_name(names, LABELS)
        return [name for name in (path, label, *named) if name is not None]

    def _columns(self, names: list[str], frame: pd.DataFrame) -> _Columns:
        """The columns by flag or by name, and a line about those that were found."""
        file = self.table_file
        for name, flag in (
            (self.path_column, "path_column"), (self.label_column, "label_column"),
            (self.patient_column, "patient_column"), (self.split_column, "split_column"),
            (self.case_column, "case_column"),
        ):  # fmt: skip
            if name is not None and name not in names:
                root = self.root if flag == "path_column" else None
                raise no_column(file, frame, name, f"--data.{flag}", root)
        path = self.path_column or column_by_name(names, PATHS)
        if path is None:
            raise no_column(file, frame, "path", "--data.path_column", self.root)
        found = box_columns(names, self.box_columns, self.box_format, str(file))
        others = [name for name in names if name not in (path, *found.names)]
        label = self.label_column or column_by_name(others, LABELS)
        if label is None and len(self.classes or ()) != 1:
            raise SuiteError(
                f"{file}: no column of labels, such as label or class: name it with --data.label_column "
                f"({nearest('label', others or names)}), or, where all boxes are of one class, that with --data.classes"
            )
        said = f"labels in {label!r}" if label is not None else f"all are {', '.join(self.classes or ())}"
        log.info("%s: boxes are %s (%s), paths in %r, %s", file, found.kind, ", ".join(found.names), path, said)
        usual = {name: name if name in names else None for name in ("patient_id", "split", "case_id")}
        return _Columns(
            path,
            label,
            found,
            self.patient_column or usual["patient_id"],
            self.split_column or usual["split"],
            self.case_column or usual["case_id"],
            *(next((name for name in names if plain_whole(name) in marks), None) for marks in (_CROWD, _DIFFICULT)),
        )

    # Images.

    def _folder(self, names: pd.Series[str]) -> Path:
        """The folder that paths are relative to."""
        if self.images is not None:
            folder = beside(self.root, self.images)
            if not folder.is_dir():
                raise SuiteError(f"--data.images {folder}: no such folder")
            return folder
        places = [self.root, *(place for place in (self.root / "images",) if place.is_dir())]
        return next((place for place in places if holds_files(names, place)), self.root)

    def _there(self, frame: pd.DataFrame, column: str, folder: Path) -> pd.DataFrame:
        """The rows whose image is there, with its suffix."""
        file = self.table_file
        count = frame[column].nunique()
        frame, gone = find_files(frame, column, folder, str(file), allow_outside=self.allow_outside)
        if gone:
            report_fault(
                "missing_file",
                f"{file}: {gone[0]} in column {column!r} is not below {folder} ({len(gone)} of {count} images are "
                "missing): correct the paths, or name the folder that they are relative to with --data.images",
                gone,
                f"in {file.name}, but not below {folder}",
            )
        return frame[~frame[column].isin(gone)]

    def _of_images(self, frame: pd.DataFrame, columns: _Columns, numbers: NDArray[np.intp]) -> pd.DataFrame:
        """One row an image: patient, part and name, in which its rows must agree, and other columns where they do."""
        ours = {"patient_id": columns.patient, "split": columns.split, "case_id": columns.case}
        frame = frame.assign(**{name: frame[theirs] for name, theirs in ours.items() if theirs is not None})
        if columns.split is not None:
            frame["split"] = split_words(frame["split"], str(self.table_file))
        for name in ("patient_id", "case_id"):
            if ours[name] is not None:
                frame[name] = clean_ids(frame[name])
        known = (columns.path, columns.label, *columns.boxes.names, columns.crowd, columns.difficult, "path")
        kept = [name for name in frame.columns if name not in known]
        by_image = frame[kept].groupby(numbers, sort=True)
        cases, differs = frame[kept][~pd.Series(numbers).duplicated().to_numpy()], by_image.nunique(dropna=False) > 1
        cases = cases.reset_index(drop=True)
        for name in [name for name in ours if name in differs and differs[name].any()]:
            rows = frame.index[numbers == int(np.flatnonzero(differs[name])[0])]
            other = next(row for row in rows if not _same(frame[name][row], frame[name][rows[0]]))
            one, two = frame[name][rows[0]], frame[name][other]
            raise SuiteError(
                f"{self.table_file}: the rows of image {frame[columns.path][other]} differ in column {ours[name]!r} "
                f"({one} in row {rows[0] + 1}, {two} in row {other + 1}): give all its rows the same"
            )
        return cases.assign(**{name: cases[name].mask(differs[name].to_numpy()) for name in kept if name not in ours})

    def _say_unlisted(self, folder: Path, names: Sequence[str]) -> None:
        """A line about images beside those of the table that no row names."""
        listed = {(folder / name).resolve() for name in names}
        places = sorted({path.parent for path in listed})
        beside_them = [Path(entry.path) for place in places for entry in entries(place) if entry.is_file()]
        unlisted = [path for path in beside_them if path.resolve() not in listed and is_image(path)]
        if unlisted:
            log.warning(
                "%s: %d images are in no row and are left out, such as %s: an image without boxes has a row without "
                "numbers", self.table_file, len(unlisted), relative(unlisted[0], self.root.resolve()),
            )  # fmt: skip

    # Boxes.

    def _read_boxes(
        self, frame: pd.DataFrame, columns: _Columns, numbers: NDArray[np.intp], paths: Sequence[str]
    ) -> tuple[RawBoxes, list[tuple[int, int] | None]]:
        """The boxes in pixels, and the sizes of images that were needed for them."""
        file = str(self.table_file)
        values, empty, broken = numbers_of(frame, columns.boxes)
        rows = [int(row) for row in frame.index]
        for place in np.flatnonzero(broken).tolist():
            cells = ", ".join(str(frame[name].iloc[place]) for name in columns.boxes.names)
            text = f"{file}, row {rows[place] + 1}: {cells[:60]!r} in {', '.join(columns.boxes.names)} are not four "
            report_fault("bad_box", f"{text}numbers: correct them, or empty all for an image without boxes", [file])
        labels = self._labels(frame, columns, ~empty & ~broken)
        good = np.flatnonzero(~empty & ~broken & labels.notna().to_numpy(bool))
        sizes: list[tuple[int, int] | None] = [None] * len(paths)
        sides: NDArray[np.float64] | None = None
        if self._are_relative(values[good], columns.boxes):
            refuse_large(values[good], file)
            for number in sorted(set(numbers[good].tolist())):
                with suppress(SuiteError):  # is named with all images that cannot be read
                    sizes[number] = image_size(self.root / paths[number], self.limits)
            good = good[[sizes[number] is not None for number in numbers[good]]]
            sides = np.array([(sizes[number] or (0, 0))[::-1] for number in numbers[good]], np.float64).reshape(-1, 2)
        corners = corners_of(values[good], columns.boxes.kind, sides)
        marks = [_marked(frame, name) for name in (columns.crowd, columns.difficult)]
        boxes = RawBoxes()
        for place, (x1, y1, x2, y2) in zip(good.tolist(), corners.tolist(), strict=True):
            boxes.add(
                int(numbers[place]), str(labels.iloc[place]), (x1, y1, x2, y2), f"{file}, row {rows[place] + 1}",
                ignore=bool(marks[0][place]), difficult=bool(marks[1][place]),
            )  # fmt: skip
        return boxes, sizes

    def _labels(self, frame: pd.DataFrame, columns: _Columns, boxed: NDArray[np.bool_]) -> pd.Series[str]:
        """The label of each row; a box without one is refused."""
        if columns.label is None:
            assert self.classes is not None  # _columns has seen that there is one
            return pd.Series(self.classes[0], index=frame.index, dtype="str")
        labels = clean_ids(frame[columns.label])
        for row in frame.index[boxed & labels.isna().to_numpy(bool)]:
            text = f"{self.table_file}, row {row + 1}: column {columns.label!r} is empty: say what the box is"
            report_fault("empty_label", f"{text}, or empty its numbers", [str(self.table_file)])
        return labels

    def _are_relative(self, values: NDArray[np.float64], columns: BoxColumns) -> bool:
        if self.relative is not None:
            return self.relative
        if columns.relative:
            return True
        if not are_fractions(values):
            return False
        log.info(
            "%s: boxes are fractions of the images' sides, as none of their numbers is above 1 (--data.relative false "
            "if they are pixels)", self.table_file,
        )  # fmt: skip
        return True


def _same(one: object, other: object) -> bool:
    return bool(pd.isna(one) and pd.isna(other)) or bool(one == other)  # type: ignore[call-overload]


def _marked(frame: pd.DataFrame, column: str | None) -> NDArray[np.bool_]:
    """Which rows a column of 0 and 1, or of words, marks."""
    if column is None:
        return np.zeros(len(frame), np.bool_)
    words = frame[column].astype("str").str.strip().str.lower()
    return words.isin(["1", "1.0", "true", "yes"]).to_numpy(np.bool_)
