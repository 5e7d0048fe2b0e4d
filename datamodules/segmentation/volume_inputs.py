"""Volumes to predict: which files make up a case, and their slices straight from the files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pandas as pd

from datamodules.cases.table import CaseTable
from datamodules.loading.case_source import FileCases, LazyScans
from datamodules.preprocess import Preprocess
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.volume import Grid, read_grid, read_volume, same_grid, suffixes
from datamodules.samples.slices import SliceSpec
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

# As in the folders of volume_pairs: case_0000.nii.gz, case_0001.nii.gz, ...
_SEQUENCE = re.compile(r"(.+)_(\d{4})(\..+)")


def join_sequences(frame: pd.DataFrame, sequences: int) -> pd.DataFrame:
    """Put the files of a case together: ``case_0000.nii.gz``, ``case_0001.nii.gz``, ... of one folder.

    Those that only lie beside a named one are found too. A file whose frames are the sequences is a case by itself.

    Args:
        frame: one row a file: ``path``, ``case_id``, ``files`` (a tuple with the path), and ``named`` where the user
            has given the case that id.
        sequences: how many the model takes.

    Returns:
        The same columns, one row a case. Of a case that is not complete the files that there are.
    """
    rows = []
    for row in frame.to_dict("records"):
        found = _siblings(Path(row["path"]), sequences)
        if found:
            case = row["case_id"] if row["named"] else re.sub(r"_\d{4}$", "", row["case_id"])
            row |= {"case_id": case, "path": found[0], "files": found}
        rows.append(row)
    joined = pd.DataFrame(rows)
    return joined[~joined.duplicated(["case_id", "files"])].reset_index(drop=True)


def series_in(folder: Path) -> list[tuple[Path, str]]:
    """The folders at or below one that hold DICOM images, and the case ids of the series in them; no localisers."""
    from datamodules.readers.dicom.series import may_be_volume, series_folders

    found = filter(may_be_volume, series_folders(folder))
    return [(path, folder.name if path == folder else path.relative_to(folder).as_posix()) for path in found]


def _sequence(name: str) -> re.Match[str] | None:
    """Case, number and suffix of a file of one sequence; None for other names."""
    match = _SEQUENCE.fullmatch(name)
    return match if match is not None and match[3].lower() in suffixes() else None


def _siblings(file: Path, sequences: int) -> tuple[str, ...]:
    """The sequences of a file's case that there are; nothing where the file is a case by itself."""
    match = _sequence(file.name)
    if match is None or int(match[2]) >= sequences or _frames_said(file) == sequences:
        return ()
    found = []
    for number in range(sequences):
        names = [f"{match[1]}_{number:04d}{suffix}" for suffix in (match[3], *suffixes())]
        found += [str(path) for path in map(file.with_name, names) if path.is_file()][:1]
    return tuple(found)


def _frames_said(file: Path) -> int:
    try:
        return _frames(read_grid(file))
    except SuiteError:  # is said when the case's turn comes
        return 0


def _frames(grid: Grid) -> int:
    return math.prod(grid.header.get_data_shape()[3:])


class VolumeCases(FileCases):
    """Volumes as slices, as :class:`~datamodules.segmentation.volumes.Volumes` makes them, but not kept on disk.

    A volume is in memory while its slices are asked for.

    Args:
        table: the files (sequences) of each case.
        preprocess: of the model; ``size`` is what slices of one spacing are filled up to.
        slices: how the model's volumes are cut.
        limits: of the files.
    """

    def __init__(self, table: CaseTable, preprocess: Preprocess, slices: SliceSpec, limits: Limits = DEFAULT) -> None:
        super().__init__(table)
        self.limits = limits
        self.size, self.slices = preprocess.size, slices
        self.sequences = slices.sequences(preprocess)

    def images(self, case: int) -> Sequence[Scan]:
        """The slices of a case, decoded now.

        Raises:
            SuiteError: a file cannot be read, is missing, or lies on another grid than the first; another number of
                sequences than the model takes.
        """
        files = self.files[case]
        grids = [read_grid(file, self.limits) for file in files]
        self._check(files, grids)
        grid, slices, size = grids[0], self.slices, self.size
        arrays = [slices.cut_image(read_volume(file, self.limits)) for file in files]
        info = slices.scan_info(grid)

        def read(index: int) -> Scan:
            image = slices.pad(slices.stack(arrays, index), size, grid.path)
            return Scan(image, cast("ScanInfo", {**info, "slice": index}))

        return LazyScans(len(arrays[0]), read)

    def _check(self, files: list[Path], grids: list[Grid]) -> None:
        for grid in grids[1:]:
            if not same_grid(grids[0], grid):
                raise SuiteError(f"{grid.path}: not on the grid of {grids[0].path}: resample it onto it")
        count = sum(map(_frames, grids))
        if count == self.sequences:
            return
        matches = [match for match in (_sequence(file.name) for file in files) if match is not None]
        present = {int(match[2]) for match in matches}
        missing = sorted(set(range(self.sequences)) - present)
        if matches and missing and max(present) < self.sequences:
            name = f"{matches[0][1]}_{missing[0]:04d}{matches[0][3]}"
            raise SuiteError(f"{files[0]}: no {name} beside it, and the model takes {self.sequences} sequences: add it")
        raise SuiteError(
            f"{files[0]}: has {count} channel{'s' * (count > 1)} (sequences or frames), but the model takes "
            f"{self.sequences}"
        )
