"""``Volumes``: labelled volumes (files, or DICOM series with DICOM-SEG) as slices."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.caching.cache import Setting, VolumeCache
from datamodules.cases.contents import Unit, read_units, readable_cases
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.faults import is_collecting
from datamodules.readers.hashing import content_hashes
from datamodules.readers.volume import Grid, Plane, read_volume, slice_spacing
from datamodules.samples.label_values import IGNORE, LabelValues, label_values
from datamodules.samples.probe import ImageFacts
from datamodules.samples.sliced_volumes import SlicedVolumes, read_once, slice_spec
from datamodules.samples.slices import SliceSpec
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.pair_table import NO_TABLE, PairColumns, read_pairs
from datamodules.segmentation.volume_labels import check_label, is_seg, label_file, read_label, seen_labels
from datamodules.segmentation.volume_pairs import folder_pairs, read_description
from datamodules.stored import Stored, StoredVolume
from datamodules.types import Scan, ScanInfo
from datamodules.useless import Useless, given, left_out
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


class Volumes(SegmentationData):
    """Volumes with masks, cut into slices; a case is a volume, so its slices are always in one part.

    Volumes are decoded once, into ``cache_dir``. Classes come from ``dataset.json`` where ``root`` has one, else from
    ``classes``, else from the values in the masks. Without ``window`` and ``value_range`` each volume is scaled by its
    own percentiles (0.5 and 99.5, or those given), taken over the voxels above its minimum.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``: files, or a folder with a DICOM series for each case; several
            sequences of a case end in ``_0000``, ``_0001``, ...
        labels: folder of the masks in ``root``, named as the cases: files, or DICOM-SEG as files or in folders. Where
            there is no ``imagesTr``, or both are one folder, masks lie beside their images: ``case1_seg.nii.gz`` (or
            ``_mask``, ``_label``) with ``case1.nii.gz``, ``mask.nii.gz`` with ``image.nii.gz``.
        axis: cut of the volumes: ``axial``, ``coronal`` or ``sagittal`` slices.
        neighbors: slices on either side that join as channels (2.5D).
        spacing: spacing in mm of a pixel, or of a row and a column, that slices are resampled to and then padded to one
            size; left out: as stored, stretched to ``image_size``.
        table: CSV, TSV or Parquet with paths of images and masks relative to ``root``, and any of ``case_id``,
            ``patient_id``, ``split`` and further columns, instead of the two folders; left out: the folders.
        path_column: column of ``table`` with the image's path.
        mask_column: column of ``table`` with the mask's path; left out: ``label`` or ``mask``.
        kwargs: see :class:`~datamodules.segmentation.base.SegmentationData`.
    """

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("images", "--data.table names the images", "table", given),
        Useless("labels", "--data.table names the masks", "table", given),
        Useless("include", "--data.table names the images", "table", given),
        Useless("exclude", "--data.table names the images", "table", given),
        Useless("path_column", NO_TABLE, "table", left_out),
        Useless("mask_column", NO_TABLE, "table", left_out),
    )
    walks_folder: ClassVar[bool] = True

    def __init__(
        self,
        root: str = ".",
        *,
        images: str = "imagesTr",
        labels: str = "labelsTr",
        axis: Plane = "axial",
        neighbors: int = 0,
        spacing: float | list[float] | str | None = None,
        table: str | None = None,
        path_column: str = "path",
        mask_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if self.zoom != 1:
            raise SuiteError(f"--data.zoom {self.zoom}: slices of volumes are resampled with --data.spacing instead")
        self.slices: SliceSpec = slice_spec(self, axis, neighbors, spacing)
        self.percentiles = None  # of the volume, not of each slice
        self.images_folder, self.labels_folder = images, labels
        self.volume_table = table
        self.columns = PairColumns(path_column, mask_column, ("label", "mask"))
        if self.augment_args.color is None:  # channels are slices or sequences, no colours
            self.augment_args = replace(self.augment_args, color=0.0)
        self._named_values: LabelValues | None = None
        self._image_hashes: dict[int, str] = {}
        self.volumes = VolumeCache(self.cache_dir / "volumes", self.cache_dir / "hashes.sqlite", self.scratch)

    def build_table(self) -> CaseTable:
        """Pair volumes, check their grids and decode what is not in the cache; one case a volume, one image a slice."""
        described = read_description(self.root / "dataset.json")
        if self.volume_table is not None:
            file = self._table_file(self.volume_table)
            frame, masks = read_pairs(
                self.root, file, self.columns, self.limits, allow_outside=self.allow_outside, form=self.table_form
            )
            self._sequences = [[self.root / path] for path in frame["path"]]
        else:
            frame, masks = self.pairs_of_folders(described.sequences), "label"
            self._sequences = [[self.root / file for file in files] for files in frame["sequences"]]
            frame = frame.drop(columns="sequences")
        self._labels = [label_file(self.root / file) for file in frame[masks]]
        if self.classes is None and described.classes:
            self.regions = self.regions if self.regions is not None else described.regions
            self.overlapping = self.overlapping or self.regions is not None
            self.ignore_value = described.ignore if self.ignore_value is None else self.ignore_value
        where = None if self.volume_table is None else self._table_file(self.volume_table)
        table = table_of_images(frame, where=where)
        known = self.classes or described.classes
        if not known and all(map(is_seg, self._labels)):
            known = self._seen_classes()
        self._named_values = label_values(known, self.ignore_value) if known else None
        self.stored_classes = self._named_values.names if self._named_values is not None else ()
        if is_collecting():  # a check reads the volumes itself, in processes of its own
            return table
        table = self._readable(table)
        self._scans = SlicedVolumes(self._sequences, self.slices, self.volumes, self.limits)
        self._named_values = self._named_values or label_values(self._seen_classes(), self.ignore_value)
        self.stored_classes = self._named_values.names
        self._scans.decode_all()
        for row in range(len(table)):
            self._mask(row, self._scans.grids[row])
        counts = self._scans.counts
        case = np.repeat(np.arange(len(table)), counts)
        slices = pd.DataFrame(
            {
                "case": case,
                "path": table.cases["path"].to_numpy()[case],
                "frame": np.concatenate([np.arange(count) for count in counts]),
            }
        )
        return replace(table, images=slices)

    def pairs_of_folders(self, sequences: tuple[str, ...]) -> pd.DataFrame:
        """Volumes and masks without a table, as :func:`~datamodules.segmentation.volume_pairs.folder_pairs` has them.

        Args:
            sequences: names of the sequences, for messages.
        """
        return folder_pairs(self.root, self.images_folder, self.labels_folder, sequences, self.patterns)

    def not_on_disk(self) -> str | None:
        """Why images are not kept on disk."""
        return "slices come from the cache of volumes already"

    def read(self, image: int) -> Scan:
        """A slice with its neighbours: (H, W), or (H, W, C)."""
        case, index = self._locate(image)
        return self._scans.scan(case, index, self.preprocess.size)

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """The mask of a slice: (H, W) class numbers."""
        case, index = self._locate(image)
        grid = self._scans.grids[case]
        mask = np.array(self._mask(case, grid)[index])
        return self.slices.pad(mask, self.preprocess.size, grid.path, fill=0)

    def mask_name(self, image: int) -> str:
        """The file of a slice's mask."""
        return str(self._labels[self._locate(image)[0]])

    def true_mask(self, case: int) -> NDArray[np.uint8]:
        """The mask of a case on its original grid: (X, Y, Z) class numbers, or (L, X, Y, Z) of overlapping regions."""
        grid, values = self.grid(case), self._values
        volume = read_label(self._labels[case], grid, values, self.limits)
        return self.as_model_sees(np.stack([values.read(one, volume.path) for one in volume.array]))

    def to_grid(self, case: int, planes: NDArray[Any]) -> NDArray[Any]:
        """(S, H, W) slices of a case -> (X, Y, Z); (S, L, H, W) of overlapping regions -> (L, X, Y, Z)."""
        return self.slices.to_grid(planes, self.grid(case))

    def to_planes(self, case: int, whole: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_grid`."""
        return self.slices.to_planes(whole, self.grid(case))

    def pixel_spacing(self, case: int, scan: ScanInfo) -> tuple[float, float] | None:
        """Mm per row and column of a case's slices."""
        return slice_spacing(self.grid(case).affine, self.slices.plane)[1:]

    def stored(self, table: CaseTable) -> Stored:
        """Whole volumes with their masks: a check cuts no slices."""
        return replace(super().stored(table), volume=self._stored_volume)

    def _stored_volume(self, image: int) -> StoredVolume:
        case = int(
            self.table.images["case"].to_numpy()[image]
        )  # in a check a volume is one image, else each of its slices is
        return StoredVolume(self._sequences[case], self._labels[case], partial(self._classes_on, case))

    def _classes_on(self, case: int, image: Grid) -> NDArray[np.uint8]:
        """Class numbers of a case's mask, (X, Y, Z); where no classes are named, its values are its classes."""
        file = self._labels[case]
        if self._named_values is not None:
            mask = read_label(file, image, self._named_values, self.limits)
            return self._named_values.read(mask.array, mask.path)
        mask = read_volume(file, self.limits, labels=True)
        values = np.where(mask.array == self.ignore_value, IGNORE, mask.array)
        classes = values.astype(np.uint8)
        if (classes != values).any():
            strange = values[classes != values][0]
            raise SuiteError(
                f"{mask.path}: unknown label value {strange}: name the classes with --data.classes",
                kind="unknown_value",
            )
        return classes

    def grid(self, case: int) -> Grid:
        """Grid of the voxels of a case (row of the table)."""
        _ = self.table
        return self._scans.grids[case]

    def hashes(self, table: CaseTable) -> list[str]:
        """The content hash of its volume (of the first sequence) for each slice."""
        return [self._contents_of_cases[case] for case in table.images["case"]]

    def sampler_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Chances with which ``foreground_share`` of the drawn slices hold a class, or None for all alike."""
        if self.foreground_share is None:
            return None
        known = len(self.stored_classes)
        masks = (self._mask(int(row), self._scans.grids[row]) for row in rows)
        # IGNORE is larger than every class number.
        holds = np.concatenate([((mask > 0) & (mask < known)).any(axis=(1, 2)) for mask in masks])
        if holds.all() or not holds.any():
            return None
        share = self.foreground_share
        weights: NDArray[np.float64] = np.where(holds, share / holds.sum(), (1 - share) / (~holds).sum())
        return weights

    @cached_property
    def image_facts(self) -> ImageFacts:
        """The largest slice, with sides rounded up to 32 pixels, and the number of channels; no voxel is read."""
        _ = self.table
        return self._scans.facts

    def _size(self) -> tuple[int, int]:
        if self.slices.spacing is None:
            return super()._size()
        if self.image_size is None:
            size = self.image_facts.size
            assert size is not None  # image_facts always gives one
            return size
        return super()._size()

    # Files and their arrays.

    def _table_file(self, name: str) -> Path:
        here = self.local(name, "table")
        return self.root / here if (self.root / here).is_file() or not here.is_file() else here

    def _readable(self, table: CaseTable) -> CaseTable:
        """Read each volume with its mask once, and leave out the cases where that is not possible.

        Raises:
            SuiteError: there are such cases, and ``--data.skip_unreadable`` is not given.
        """
        pairs = list(zip(self._sequences, self._labels, strict=True))
        with suppress(SuiteError):  # what is missing is named below; all hashes at once are much faster
            content_hashes([file for files, label in pairs for file in (*files, label)], self.volumes.hashes)
        meaning = f"{self._named_values} {self.ignore_value}"
        settings = f"{self.slices} {meaning} {self.limits}"
        units = [Unit((*map(str, files), str(label)), settings) for files, label in pairs]
        found = read_units(self, units, self._read_case)
        keep = readable_cases(self, found, np.arange(len(units)), table.cases["case_id"].tolist())
        kept = np.flatnonzero(keep)
        self._sequences = [self._sequences[case] for case in kept]
        self._labels = [self._labels[case] for case in kept]
        self._image_hashes.clear()  # of other rows
        self._contents_of_cases = [str(found[case]) for case in kept]
        return table if keep.all() else table.select(keep.tolist())

    def _read_case(self, case: int) -> str:
        """Decode a case into the cache; the content hash of its first sequence."""
        grid, content = read_once(self._sequences[case], self.slices, self.volumes, self.limits)
        check_label(grid, self._labels[case], self.limits)
        if self._named_values is not None:
            self._mask(case, grid)
        elif not is_seg(self._labels[case]):  # what its values mean is asked for once all are known
            read_volume(self._labels[case], self.limits, labels=True)
        return content

    def _seen_classes(self) -> dict[str, int]:
        seen = seen_labels(self._labels, self.ignore_value, self.limits)
        log.info("classes are those of the masks: %s", ", ".join(f"{name}={value}" for name, value in seen.items()))
        return seen

    @property
    def _values(self) -> LabelValues:
        assert self._named_values is not None  # build_table finds them
        return self._named_values

    def _mask(self, case: int, grid: Grid) -> NDArray[np.uint8]:
        file = self._labels[case]
        settings = self._mask_settings
        if is_seg(file):  # it says where it lies, or on which slices it was drawn, and is put on the grid of its image
            where = f"{grid.shape} {grid.affine.round(4).tolist()}"
            settings = {**settings, "grid": where, "image": self._image_hash(case), "names": str(self._values)}
        return self.volumes.get(file, settings, partial(self._cut_mask, case, grid))

    def _image_hash(self, case: int) -> str:
        known = self._image_hashes.get(case)
        if known is None:
            (known,) = content_hashes(self._sequences[case][:1], self.volumes.hashes)
            self._image_hashes[case] = known
        return known

    @property
    def _mask_settings(self) -> dict[str, Setting]:
        return self.slices.mask_settings(self._values)

    def _cut_mask(self, case: int, grid: Grid) -> NDArray[np.uint8]:
        volume = read_label(self._labels[case], grid, self._values, self.limits)
        return self.slices.cut_mask(volume, self._values)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N, 2): case and index of each slice."""
        return self.table.images[["case", "frame"]].to_numpy(np.int64)

    def _locate(self, image: int) -> tuple[int, int]:
        case, index = self._places[image]
        return int(case), int(index)
