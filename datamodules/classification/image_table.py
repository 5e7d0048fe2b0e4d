"""``ImageTable``: images or volumes and targets from a CSV, TSV or Parquet table."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.caching.cache import VolumeCache
from datamodules.cases.containment import refuse_outside
from datamodules.cases.contents import Unit, Unreadable, read_units, readable_cases
from datamodules.cases.ids import clean_ids
from datamodules.cases.named_files import MISSING, drop_empty, no_column, swapped, with_suffixes
from datamodules.cases.table import CaseTable, split_words, table_of_images
from datamodules.classification.base import ClassificationData
from datamodules.classification.case_rows import join_rows, with_slices
from datamodules.faults import is_collecting, report_fault
from datamodules.preprocess import Preprocess
from datamodules.readers.formats import is_damaged_tiff, is_stack, is_stack_file
from datamodules.readers.hashing import content_hashes
from datamodules.readers.limits import Limits
from datamodules.readers.volume import Plane
from datamodules.samples.probe import ImageFacts
from datamodules.samples.sliced_volumes import SlicedVolumes, read_once, slice_spec
from datamodules.samples.slices import SliceSpec
from datamodules.settings import name_list
from datamodules.stored import Stored, StoredVolume
from datamodules.tables.file import read_frame
from datamodules.types import Scan
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


class ImageTable(ClassificationData):
    """Table with one row an image or a volume: its path, target and patient (like ``flow_from_dataframe``).

    A case is a row, or with ``--model.aggregate`` all rows of one ``case_id``. A volume's images are its slices, scaled
    by percentiles of the whole volume (0.5 and 99.5, or those given) unless there is a ``window`` or ``value_range``;
    volumes are decoded once, into ``cache_dir``.

    Args:
        root: folder that the paths in the table are relative to.
        table: the CSV, TSV or Parquet file; looked for in ``root`` first.
        path_column: column with the image's path.
        label_columns: one column (class names, or numbers for regression) or several (0, 1, empty = unknown).
        patient_column: column with the patient; left out: ``patient_id`` where there is one.
        split_column: column with the part (``train``; ``val``, ``valid``, ``validation``, ``dev``; ``test``); left out:
            ``split`` where there is one.
        case_column: column that names the case; left out: ``case_id`` where there is one, else the path without suffix.
        axis: cut of volumes: ``axial``, ``coronal`` or ``sagittal`` slices.
        neighbors: slices of volumes on either side that join as channels (2.5D).
        spacing: spacing in mm of a pixel, or of a row and a column, that slices of volumes are resampled to and then
            padded to one size; left out: as stored, stretched to ``image_size``.
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
        axis: Plane = "axial",
        neighbors: int = 0,
        spacing: float | list[float] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        here = self.local(table, "table")
        self.table_file = here if here.is_file() and not (self.root / here).is_file() else self.root / here
        self.path_column, self.patient_column = path_column, patient_column
        self.split_column, self.case_column = split_column, case_column
        self.label_columns = name_list(label_columns)
        self._cut = slice_spec(self, axis, neighbors, spacing)  # where the images are volumes
        self._volumes: SlicedVolumes | None = None

    @property
    def where(self) -> str:
        """File that messages about labels name."""
        return str(self.table_file)

    def read_rows(self) -> tuple[pd.DataFrame, set[str]]:
        """One row an image, each of which is there: ``path``, the targets, and what else the table says.

        Returns:
            The rows, and those of their paths that are folders.
        """
        given = {
            "path": (self.path_column, "--data.path_column"),
            "patient_id": (self.patient_column, "--data.patient_column"),
            "split": (self.split_column, "--data.split_column"),
            "case_id": (self.case_column, "--data.case_column"),
        }
        text = [column or ours for ours, (column, _) in given.items()]
        frame = read_frame(self.table_file, "--data.table", text, self.limits, self.table_form)
        if self.path_column in frame:
            frame = self._unswapped(frame)
        meant = {}
        for ours, (column, flag) in given.items():
            if column is not None and column not in frame:
                raise no_column(self.table_file, frame, column, flag, self.root if ours == "path" else None)
            if (column or ours) in frame:
                meant[ours] = frame[column or ours]
        frame = frame.assign(**meant)
        frame = frame.assign(**{name: clean_ids(frame[name]) for name in ("case_id", "patient_id") if name in frame})
        frame = drop_empty(frame, "path", self.table_file, self.path_column)
        refuse_outside(self.root, frame["path"], str(self.table_file), allow=self.allow_outside)
        root = str(self.root)
        folders: set[str] = set()
        there = [_is_there(root, path, folders) for path in frame["path"]]
        if not all(there):
            missing = [path for path, found in zip(frame["path"], there, strict=True) if not found]
            meaning = with_suffixes(self.root, missing, str(self.table_file), allow_outside=self.allow_outside)
            frame["path"] = frame["path"].map(lambda path: meaning.get(path, path)).astype("str")
            known = set(meaning.values())
            there = [found or path in known for path, found in zip(frame["path"], there, strict=True)]
        if not all(there):
            missing = [path for path, found in zip(frame["path"], there, strict=True) if not found]
            report_fault(
                "missing_file",
                f"{self.table_file}: {missing[0]} is not below --data.root {self.root} ({len(missing)} of {len(frame)} "
                f"images are missing): {MISSING}",
                missing,
                f"in {self.table_file.name}, but not below --data.root",
            )
            frame = frame[there]
        if "split" in frame:
            frame["split"] = split_words(frame["split"], str(self.table_file))
        return frame, folders

    def build_table(self) -> CaseTable:
        """The rows of the table as cases; of volumes the slices are the images."""
        frame, folders = self.read_rows()
        root = str(self.root)
        table = self._cases(frame)
        if is_collecting():  # a check reads volumes whole
            return table
        volumes = [path in folders or is_stack_file(os.path.join(root, path)) for path in table.images["path"]]  # noqa: PTH118
        if any(volumes):  # what cannot be read among them is named with all such
            pairs = zip(table.images["path"], volumes, strict=True)
            volumes = [known or is_damaged_tiff(self.root / path) for path, known in pairs]
        if any(volumes):
            return self._sliced(table, volumes)
        cut = {"axis": self._cut.plane != "axial", "neighbors": self._cut.neighbors, "spacing": self._cut.spacing}
        for name in [name for name, given in cut.items() if given]:
            log.warning("--data.%s does nothing: it is of volumes, and these are flat images", name)
        return table

    def _unswapped(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table with paths and labels in the columns that the flags say, where they are in each other's."""
        named = self.path_column
        found = swapped(frame, named, self.label_columns, self.root)
        if found is None:
            return frame
        if found == "path":  # then the paths must stay there, and the labels cannot be called so
            raise SuiteError(
                f"{self.table_file}: {named!r} for --data.path_column holds no paths of files, but "
                f"{found!r} for --data.label_columns does: give the two flags the other way round"
            )
        log.warning(
            "%s: paths and labels are swapped: column %r holds the paths, and %r is taken for the labels (%r, for "
            "instance)",
            self.table_file, found, named, frame[named].iloc[0],
        )  # fmt: skip
        labels: pd.Series[Any] = frame[named]
        with suppress(ValueError):
            labels = pd.to_numeric(labels)
        return frame.assign(**{named: frame[found].astype("str"), found: labels})

    def _cases(self, frame: pd.DataFrame) -> CaseTable:
        """One case a row, or the rows of a case together."""
        if self.bags:
            return join_rows(frame, [*self.label_columns, "patient_id", "split"], str(self.table_file))
        # In a check every such row is named below.
        if "case_id" in frame and frame["case_id"].dropna().duplicated().any() and not is_collecting():
            name = frame["case_id"][frame["case_id"].duplicated() & frame["case_id"].notna()].iloc[0]
            rows = ", ".join(str(row + 1) for row in frame.index[frame["case_id"] == name][:3])
            raise SuiteError(
                f"{self.table_file}: case_id {name!r} is duplicated (rows {rows}): evaluate its images together with "
                "--model.aggregate (mean, max, topk, attention), or give each row its own name"
            )
        return table_of_images(frame, where=self.table_file)

    def _sliced(self, table: CaseTable, volumes: Sequence[bool]) -> CaseTable:
        """Decode what is not in the cache, and take the slices for the images."""
        if not all(volumes):
            paths = list(table.images["path"])
            first, other = paths[volumes.index(True)], paths[volumes.index(False)]
            raise SuiteError(
                f"{self.table_file}: {first} is a volume and {other} is not: keep them in tables of their own"
            )
        self._slices = self._slices or self._cut
        self.percentiles = None  # of the volume, not of each slice
        if self.augment_args.color is None:  # channels are slices or frames, no colours
            self.augment_args = replace(self.augment_args, color=0.0)
        cache = VolumeCache(self.cache_dir / "volumes", self.cache_dir / "hashes.sqlite", self.scratch)
        table, files = self._readable(table, self._slices, cache)
        self._volumes = SlicedVolumes([[file] for file in files], self._slices, cache, self.limits)
        self._volumes.decode_all()
        return with_slices(table, self._volumes.counts, joined=self.bags)

    def _readable(self, table: CaseTable, slices: SliceSpec, cache: VolumeCache) -> tuple[CaseTable, list[Path]]:
        """Read each volume once; the cases of which all can be read, and the files of their images."""
        files = [self.root / path for path in table.images["path"]]
        with suppress(SuiteError):  # what is missing is named below; all hashes at once are much faster
            content_hashes(files, cache.hashes)
        units = [Unit((str(file),), f"{slices} {self.limits}") for file in files]
        found = read_units(self, units, partial(_read_volume, files, slices, cache, self.limits))
        owners = table.images["case"].to_numpy()
        keep = readable_cases(self, found, owners, table.cases["case_id"].tolist())
        kept = np.flatnonzero(keep[owners])
        self._contents_of_volumes = [str(found[volume]) for volume in kept]
        return table.select(keep.tolist()), [files[volume] for volume in kept]

    def hashes(self, table: CaseTable) -> Sequence[str | Unreadable]:
        """The content hash of each image, or for each slice that of its volume."""
        if self._volumes is None:
            return super().hashes(table)
        return [self._contents_of_volumes[volume] for volume in table.images["volume"]]

    def stored(self, table: CaseTable) -> Stored:
        """Labels, and which files are volumes."""
        return replace(super().stored(table), volume=self._stored_volume)

    def _stored_volume(self, image: int) -> StoredVolume | None:
        file = self.root / str(self.table.images["path"].iat[image])
        return StoredVolume([file]) if is_stack(file) else None

    def not_on_disk(self) -> str | None:
        """Why images are not kept on disk: slices of volumes are."""
        _ = self.table
        return None if self._volumes is None else "slices come from the cache of volumes already"

    def read(self, image: int) -> Scan:
        """A file of the table, or a slice of a volume with its neighbours."""
        if self._volumes is None:
            return super().read(image)
        volume, index = self._places[image]
        return self._volumes.scan(int(volume), int(index), self.preprocess.size)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N, 2): volume and index of each slice."""
        return self.table.images[["volume", "frame"]].to_numpy(np.int64)

    @cached_property
    def image_facts(self) -> ImageFacts:
        """Size and channels of some images, or of the slices of all volumes."""
        _ = self.table
        return super().image_facts if self._volumes is None else self._volumes.facts

    @cached_property
    def preprocess(self) -> Preprocess:
        """The spec; whether percentiles are of images or of volumes is known once the table is read."""
        _ = self.table
        return super().preprocess

    def _size(self) -> tuple[int, int]:
        if self._volumes is None or self._volumes.slices.spacing is None or self.image_size is not None:
            return super()._size()
        size = self.image_facts.size
        assert size is not None  # the slices of volumes always give one
        return size


def _is_there(root: str, path: str, folders: set[str]) -> bool:
    """Whether a path exists, asked once: there may be a million; a folder is noted."""
    try:
        if stat.S_ISDIR(os.stat(os.path.join(root, path)).st_mode):  # noqa: PTH116, PTH118 - as above
            folders.add(path)
    except (OSError, ValueError):
        return False
    return True


def _read_volume(files: Sequence[Path], slices: SliceSpec, cache: VolumeCache, limits: Limits, volume: int) -> str:
    return read_once([files[volume]], slices, cache, limits)[1]
