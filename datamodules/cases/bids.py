"""Folders as the Brain Imaging Data Structure (BIDS 1.10) has them: names, sessions, tables of participants, masks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.cases.ids import clean_id
from datamodules.cases.table import split_words
from datamodules.readers.format_table import by_name
from datamodules.readers.listing import entries, files_below, no_folder, path_below
from datamodules.readers.patterns import ALL, FilePatterns, fits
from datamodules.tables.file import read_frame
from datamodules.tables.form import AS_FOUND, TableForm
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

# Entities of derivatives, in their order; what comes from the source stands before them.
_DERIVED = ("space", "cohort", "atlas", "seg", "scale", "res", "den", "label", "desc")
MASKS = ("mask", "dseg", "seg", "segmentation", "lesion", "roi")
_NO_IMAGES = (*MASKS, "probseg")
_EMPTY = ("n/a", "N/A", "NA", "nan")  # BIDS says n/a


@dataclass(frozen=True)
class BidsName:
    """The name of a file by its parts.

    Attributes:
        path: of the file, relative to the root (POSIX).
        source: entities that name the scan: ``sub``, ``ses``, ``acq``, ``run``, ``sample``, ...
        derived: those that say what was made of it: ``space``, ``label``, ``desc``, ...
        suffix: what it is: ``T1w``, ``mask``; empty where older tools leave it out (``sub-01_T2w_seg-manual``).
        source_suffix: suffix of the scan, where the name of a derivative keeps it.
    """

    path: str
    source: dict[str, str] = field(hash=False)
    derived: dict[str, str] = field(hash=False)
    suffix: str
    source_suffix: str | None = None

    @property
    def ending(self) -> str:
        """What tells kinds of files apart: derived entities and suffix (``T1w``, ``label-lesion_mask``)."""
        parts = [f"{key}-{value}" for key, value in self.derived.items()]
        return "_".join([*parts, self.suffix] if self.suffix else parts)

    @property
    def subject(self) -> str:
        """The participant (``sub-01``)."""
        return f"sub-{self.source['sub']}"

    @property
    def session(self) -> str | None:
        """The session (``ses-02``), where there are several."""
        return f"ses-{self.source['ses']}" if "ses" in self.source else None

    @property
    def stem(self) -> str:
        """The name without what follows its first dot."""
        return self.path.rpartition("/")[2].split(".")[0]

    def may_be_of(self, image: BidsName) -> bool:
        """Whether this may be derived from an image: it says nothing of its source that the image does not."""
        ours = {**self.source, **({"": self.source_suffix} if self.source_suffix else {})}
        theirs = {**image.source, "": image.suffix}
        return all(theirs.get(key) == value for key, value in ours.items())


def bids_name(path: str) -> BidsName | None:
    """The parts of a file's name; None where it is no name of a subject's file."""
    stem = path.rpartition("/")[2].split(".")[0]
    source: dict[str, str] = {}
    derived: dict[str, str] = {}
    bare: list[str] = []
    for part in stem.split("_"):
        key, dash, value = part.partition("-")
        if not dash:
            bare.append(part)
        elif bare or key in _DERIVED:
            derived[key] = value
        else:
            source[key] = value
    if not source.get("sub") or len(bare) > 2 or (not bare and not derived):
        return None
    last_is_bare = bool(bare) and stem.endswith(f"_{bare[-1]}")
    suffix = bare[-1] if last_is_bare else ""
    kept = bare[:-1] if last_is_bare else bare
    return BidsName(path, source, derived, suffix, kept[0] if kept else None)


def is_bids(root: Path) -> bool:
    """Whether a folder is laid out as BIDS has it: folders of subjects, with something that says so."""
    if not root.is_dir():
        return False
    inside = {entry.name: entry for entry in entries(root)}
    subjects = [entry for name, entry in inside.items() if name.startswith("sub-") and entry.is_dir()]
    if not subjects:
        return False
    known = {"dataset_description.json", "participants.tsv", "derivatives"}
    return bool(known & inside.keys()) or any(entry.is_dir() for entry in entries(subjects[0].path))


def subject_files(root: Path, below: str = "") -> list[BidsName]:
    """Scans in the folders of subjects, sorted; what ``.bidsignore`` names is left out.

    Args:
        root: of the data set.
        below: folder in it that holds the folders of subjects.
    """
    ignored = _ignored(root)
    found = []
    for entry in entries(root / below):
        if not entry.name.startswith("sub-") or not entry.is_dir():
            continue
        top = path_below(below, entry.name)
        for name in files_below(root / top, lambda file: by_name(file.name) is not None):
            parsed = bids_name(f"{top}/{name}")
            if parsed is not None and parsed.subject == entry.name and not _is_ignored(parsed.path, ignored):
                found.append(parsed)
    return found


def images_of(root: Path, suffix: str | None, patterns: FilePatterns = ALL) -> list[BidsName]:
    """The images of a data set that end in one suffix.

    Args:
        root: of the data set.
        suffix: what they end in; None: the only one there is.
        patterns: which files are taken.

    Raises:
        SuiteError: it is no data set of BIDS, has no images, or nobody knows which suffix is meant.
    """
    if not root.is_dir():
        raise SuiteError(f"--data.root {root}: {no_folder(root)}")
    found = [one for one in subject_files(root) if one.suffix and one.suffix not in _NO_IMAGES]
    if not found:
        raise SuiteError(
            f"--data.root {root}: no images in it as BIDS names them (sub-01/anat/sub-01_T1w.nii.gz): name the folder "
            "above those of the subjects"
        )
    taken = set(patterns.chosen([one.path for one in found], root))
    return with_ending([one for one in found if one.path in taken], suffix, f"images in {root}", "--data.suffix")


def with_ending(files: Sequence[BidsName], asked: str | None, what: str, flag: str) -> list[BidsName]:
    """The files of one ending.

    Args:
        files: to choose from, at least one.
        asked: the ending, or some of its parts where no other ending has them; None: the only one there is.
        what: they are, for messages.
        flag: that chooses.

    Raises:
        SuiteError: there is no such ending, or several may be meant.
    """
    counts = Counter(one.ending for one in files)
    shown = ", ".join(f"{ending} ({count})" for ending, count in counts.most_common(12))
    if asked is None:
        fitting = list(counts)
    elif asked in counts:
        fitting = [asked]
    else:
        fitting = [ending for ending in counts if set(asked.split("_")) <= set(ending.split("_"))]
        if not fitting:
            raise SuiteError(f"{flag} {asked}: {what} end in {shown}: {nearest(asked, counts)}")
    if len(fitting) > 1:
        several = shown if asked is None else ", ".join(f"{ending} ({counts[ending]})" for ending in fitting[:12])
        raise SuiteError(f"{what} end in {several}: choose one with {flag}")
    return [one for one in files if one.ending == fitting[0]]


def case_rows(root: Path, images: Sequence[BidsName], form: TableForm = AS_FOUND) -> pd.DataFrame:
    """Rows of the case table for images: names, patients, and what the tables of the data set say of them.

    Args:
        root: of the data set.
        images: of it.
        form: of its tables, as flags say it.

    Returns:
        ``case_id`` (``sub-01_ses-02_T1w``), ``patient_id`` (``sub-01``), ``path``, ``session`` where there are any, and
        the columns of ``participants.tsv`` and ``sessions.tsv``; the latter's cells go before the former's.
    """
    frame = pd.DataFrame(
        {
            "path": [one.path for one in images],
            "case_id": [one.stem for one in images],
            "patient_id": [one.subject for one in images],
            "session": pd.Series([one.session for one in images], dtype="str"),
        }
    )
    people = _participants(root, form)
    rows = people.reindex(frame["patient_id"]).reset_index(drop=True)
    missing = int((~frame["patient_id"].isin(people.index)).sum())
    if missing and len(people):
        log.warning(
            "%s: participants.tsv has no row for %d of %d images (%s)", root, missing, len(frame),
            frame["patient_id"][~frame["patient_id"].isin(people.index)].iloc[0],
        )  # fmt: skip
    sessions = _sessions(root, images, form)
    if len(sessions):
        keys = pd.MultiIndex.from_frame(frame[["patient_id", "session"]])
        own = sessions.reindex(keys).reset_index(drop=True)
        both = {str(name): own[name].fillna(rows[name]) if name in own else rows[name] for name in rows}
        rows = own.assign(**both)
    if frame["session"].isna().all():
        frame = frame.drop(columns="session")
    if "split" in rows:
        rows = rows.assign(split=split_words(rows["split"], f"{root / 'participants.tsv'}"))
    taken = {"path", "case_id", "patient_id", "session", "mask", "sequences"}
    rows = rows.rename(columns={name: f"{name}_of_participant" for name in taken if name in rows})
    return pd.concat([frame, rows], axis=1)


def table_columns(rows: pd.DataFrame) -> list[str]:
    """The columns among some case rows that the tables of the data set have brought."""
    return [str(name) for name in rows if name not in ("path", "case_id", "patient_id", "session", "split")]


def _participants(root: Path, form: TableForm) -> pd.DataFrame:
    file = root / "participants.tsv"
    if not file.is_file():
        return pd.DataFrame(index=pd.Index([], dtype="str"))
    return _keyed(file, ["participant_id"], ["sub-"], form).set_index("participant_id")


def _sessions(root: Path, images: Iterable[BidsName], form: TableForm) -> pd.DataFrame:
    tables = []
    for subject in dict.fromkeys(one.subject for one in images):
        file = root / subject / f"{subject}_sessions.tsv"
        if file.is_file():
            tables.append(_keyed(file, ["session_id"], ["ses-"], form).assign(participant_id=subject))
    common = root / "sessions.tsv"
    if common.is_file():
        tables.append(_keyed(common, ["participant_id", "session_id"], ["sub-", "ses-"], form))
    if not tables:
        return pd.DataFrame()
    keys = ["participant_id", "session_id"]
    return _typed(pd.concat(tables, ignore_index=True)).drop_duplicates(keys).set_index(keys)


def _keyed(file: Path, keys: Sequence[str], prefixes: Sequence[str], form: TableForm) -> pd.DataFrame:
    """A table of BIDS by its keys, which may lack their prefix; ``n/a`` is an empty cell.

    Raises:
        SuiteError: it cannot be read, lacks a key, or has two rows of one.
    """
    frame = read_frame(file, "--data.root", text_columns=keys, form=form.of_joined())
    for key, prefix in zip(keys, prefixes, strict=True):
        if key not in frame:
            raise SuiteError(f"{file}: no column {key} (found: {', '.join(frame.columns)}): BIDS names its rows so")
        names = [clean_id(str(name)) for name in frame[key]]
        frame[key] = [name if name.startswith(prefix) else prefix + name for name in names]
    again = frame.duplicated(list(keys))
    if again.any():
        raise SuiteError(f"{file}: {frame[keys[-1]][again].iloc[0]!r} has two rows: leave one")
    return _typed(frame)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells that say ``n/a`` become empty, and columns of nothing but numbers numbers again."""
    columns: dict[str, pd.Series[Any]] = {}
    for name in frame:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            column = column.mask(column.astype("str").isin(_EMPTY))
            numbers = pd.to_numeric(column, errors="coerce")
            if str(name).endswith("_id") or (numbers.isna() & column.notna()).any() or column.isna().all():
                columns[str(name)] = column.astype("str").where(column.notna())
                continue
            column = numbers
        columns[str(name)] = column
    return pd.DataFrame(columns)


def _ignored(root: Path) -> list[str]:
    """Patterns of ``.bidsignore``, which is written as ``.gitignore`` is."""
    file = root / ".bidsignore"
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """The last pattern that fits says it; ``!`` before one takes a file back."""
    said = [not pattern.startswith("!") for pattern in patterns if fits(path, pattern.removeprefix("!"))]
    return bool(said) and said[-1]
