"""Case table of all formats: cases, their patients and files, and further columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import pandas as pd

from datamodules.cases.ids import clean_id, clean_ids
from datamodules.cases.scan_rows import RowsByOwner
from datamodules.faults import report_fault
from scansuite.errors import SuiteError
from scansuite.words import number_of

SPLITS = ("train", "val", "test")
# What people write for the same three parts.
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_UNTIDY = re.compile(r"//|(^|/)\.(/|$)|./$")  # what PurePosixPath tidies up
_SUFFIX = re.compile(r"\.(nii|nrrd|mha)\.(gz|zip)$|\.(?!\d+$)[^.]+$", re.IGNORECASE)


@dataclass(frozen=True)
class CaseTable:
    """Cases and the images that belong to them.

    A case is what is evaluated: an image, a volume, a study, a patient. It may have many images.

    Attributes:
        cases: one row a case, with a fresh range index: ``case_id`` (str, unique), ``patient_id`` (str or NA),
            ``path`` (str, its first image as the user would name it), ``split`` (``train``, ``val``, ``test`` or NA),
            then label columns and any further column of the user's table.
        images: one row an image: ``case`` (row number in ``cases``), ``path`` (relative to the root, POSIX), ``frame``
            (index inside the file, -1 = the whole file).
        published_split: the ``split`` column is the official one of a published data set.
    """

    cases: pd.DataFrame
    images: pd.DataFrame
    published_split: bool = False

    def __len__(self) -> int:
        return len(self.cases)

    def with_columns(self, **columns: object) -> CaseTable:
        """A copy in which the given columns of ``cases`` are set."""
        return replace(self, cases=self.cases.assign(**columns))  # type: ignore[arg-type]

    def select(self, keep: Sequence[bool] | pd.Series[bool]) -> CaseTable:
        """The cases where ``keep`` is true, with their images, renumbered."""
        kept = pd.Series(list(keep), index=self.cases.index)
        number = pd.Series(range(int(kept.sum())), index=self.cases.index[kept])
        images = self.images[self.images["case"].map(kept)].reset_index(drop=True)
        return replace(
            self,
            cases=self.cases[kept].reset_index(drop=True),
            images=images.assign(case=images["case"].map(number).astype("int64")),
        )

    @cached_property
    def images_by_case(self) -> RowsByOwner:
        """Row numbers in ``images`` of the images of each case."""
        return RowsByOwner(self.images["case"].to_numpy(), len(self))

    @property
    def patients_known(self) -> bool:
        """Whether every case has a patient."""
        return bool(self.cases["patient_id"].notna().all()) and len(self.cases) > 0


NO_CASES = CaseTable(
    pd.DataFrame({name: pd.Series([], dtype="str") for name in ("case_id", "patient_id", "path", "split")}),
    pd.DataFrame({"case": pd.Series([], dtype="int64"), "path": pd.Series([], dtype="str"), "frame": []}),
)


def case_id_of(path: str) -> str:
    """The default case id: the relative POSIX path without its suffix.

    ``.nii.gz`` and the like count as one. A number behind a point is no suffix: DICOM files are often named by such.
    The id is clean (:func:`datamodules.cases.ids.clean_id`).
    """
    if _UNTIDY.search(path):
        path = str(PurePosixPath(path))
    folder, slash, last = path.rpartition("/")  # PurePosixPath takes ten times as long, and there may be a million
    return clean_id(folder + slash + (_SUFFIX.sub("", last) or last))


def by_case_id(folder: Path, names: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Files of a folder by their case id.

    Args:
        folder: for messages.
        names: of the files, whose ids are :func:`case_id_of`; or with their ids.

    Raises:
        SuiteError: two files differ in their suffix alone, or in white space and the like.
    """
    pairs = names if isinstance(names, Mapping) else {name: case_id_of(name) for name in names}
    found: dict[str, str] = {}
    for name, case in pairs.items():
        if case in found:
            raise SuiteError(f"{folder}: {found[case]} and {name} bear one name: which of them is meant? Remove one")
        found[case] = name
    return found


def table_of_images(
    cases: pd.DataFrame, frames: Sequence[int] | None = None, published_split: bool = False, where: Path | None = None
) -> CaseTable:
    """A table in which each case has one image, made from a frame with at least a ``path`` column.

    Missing ``case_id``, ``patient_id`` and ``split`` columns are filled in (path without suffix, NA, NA); names of
    cases and patients are made clean (:func:`datamodules.cases.ids.clean_ids`).

    Args:
        cases: one row an image; ``path`` relative to the data root.
        frames: index inside the file for each row; left out: the whole file.
        published_split: as in :class:`CaseTable`.
        where: the file that the rows come from, for messages.

    Raises:
        SuiteError: two rows bear the same ``case_id``, or one bears none.
    """
    cases = cases.reset_index(drop=True)
    said = f"{where}: " if where is not None else ""
    if "case_id" not in cases:
        cases = cases.assign(case_id=[case_id_of(path) for path in cases["path"]])
    for column in ("patient_id", "split"):
        if column not in cases:
            cases = cases.assign(**{column: pd.Series(pd.NA, index=cases.index, dtype="str")})
    cases = cases.assign(
        case_id=clean_ids(cases["case_id"]),
        patient_id=clean_ids(cases["patient_id"]),
        path=cases["path"].astype("str"),
    )
    nameless = cases.index[cases["case_id"].isna()]
    if len(nameless):
        first = nameless[0]
        report_fault(
            "case_name",
            f"{said}case_id is empty in row {first + 1} ({cases['path'][first]}): give each case its own name, or "
            "leave the column out",
            detail="case_id is empty: give each case its own name, or leave the column out",
            cases=nameless,
        )
        cases["case_id"] = cases["case_id"].fillna(cases["path"])
    twice = cases["case_id"][cases["case_id"].duplicated()]
    if len(twice):
        name = twice.iloc[0]
        first, second = cases.index[cases["case_id"] == name][:2]
        report_fault(
            "case_name",
            f"{said}case_id {name!r} is duplicated ({cases['path'][first]} and {cases['path'][second]}, rows "
            f"{first + 1} and {second + 1}): give each case its own name in a case_id column",
            detail="its case_id stands in an earlier row already: give each case its own name in a case_id column",
            cases=twice.index,
        )
        # In a check alone: the later ones go by their row.
        cases.loc[twice.index, "case_id"] = [f"{cases['case_id'][row]} (row {row + 1})" for row in twice.index]
    lead = ["case_id", "patient_id", "path", "split"]
    images = pd.DataFrame(
        {"case": range(len(cases)), "path": cases["path"], "frame": list(frames) if frames is not None else -1}
    )
    further = [column for column in cases.columns if column not in lead]
    return CaseTable(cases[lead + further], images, published_split)


def split_words(values: pd.Series[str], where: str) -> pd.Series[str]:
    """Map a user's split words (``valid``, ``validation``, ``dev``, ...) to ``train``, ``val``, ``test``; NA stays.

    Raises:
        SuiteError: a word means none of the three.
    """
    words = values.astype("str").str.strip().str.lower()
    known = words.map(SPLIT_WORDS)
    strange = values[words.notna() & (words != "") & known.isna()]
    if len(strange):
        report_fault(
            "split",
            f"{where}: split {strange.iloc[0]!r} in row {int(strange.index[0]) + 1} is none of "
            f"{', '.join(SPLIT_WORDS)} ({number_of(len(strange), 'row')}): write one of them",
        )
    return known.astype("str")
