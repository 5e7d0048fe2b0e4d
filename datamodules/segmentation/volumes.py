"""``Volumes``: labelled volumes (files, or DICOM series with DICOM-SEG) as slices."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cache import Setting, VolumeCache
from datamodules.faults import is_collecting
from datamodules.probe import ImageFacts
from datamodules.readers.hashing import content_hashes
from datamodules.readers.volume import Grid, Plane, read_volume, slice_spacing
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.masks import IGNORE, LabelValues, label_values
from datamodules.segmentation.volume_labels import check_label, is_seg, label_file, read_label, seen_labels
from datamodules.segmentation.volume_pairs import folder_pairs, read_description, table_pairs
from datamodules.sliced_volumes import SlicedVolumes, pixel_spacing, volume_percentiles
from datamodules.slices import SliceSpec
from datamodules.table import CaseTable, one_image_a_case
from datamodules.types import Scan, ScanInfo, SuiteError
from datamodules.useless import Useless, given

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
        labels: folder of the masks in ``root``, named as the cases: files, or DICOM-SEG as files or in folders.
        axis: ``axial``, ``coronal`` or ``sagittal`` slices.
        neighbors: slices on either side that join as channels (2.5D).
        spacing: mm of a pixel, or of a row and a column, that slices are resampled to and then padded to one size; left
            out: as stored, stretched to ``image_size``.
        table: CSV, TSV or Parquet with ``path`` and ``label`` relative to ``root``, and any of ``case_id``,
            ``patient_id``, ``split`` and further columns, instead of the two folders.
        kwargs: see :class:`~datamodules.segmentation.base.SegmentationData`.
    """

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("images", "--data.table names the images", "table", given),
        Useless("labels", "--data.table names the masks", "table", given),
    )

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
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if self.zoom != 1:
            raise SuiteError(f"--data.zoom {self.zoom}: slices of volumes are resampled with --data.spacing instead")
        physical = self.window is not None or self.value_range is not None
        percentiles = volume_percentiles(self.percentiles, physical=physical)
        self.slices: SliceSpec = SliceSpec(axis, neighbors, pixel_spacing(spacing), percentiles)
        self.percentiles = None  # of the volume, not of each slice
        self.images_folder, self.labels_folder = images, labels
        self.volume_table = table
        if self.augment_args.color is None:  # channels are slices or sequences, no colours
            self.augment_args = replace(self.augment_args, color=0.0)
        self._named_values: LabelValues | None = None
        self.volumes = VolumeCache(self.cache_dir / "volumes", self.cache_dir / "hashes.sqlite")

    def build_table(self) -> CaseTable:
        """Pair volumes, check their grids and decode what is not in the cache; one case a volume, one image a slice."""
        described = read_description(self.root / "dataset.json")
        if self.volume_table is not None:
            frame = table_pairs(
                self.root, self._table_file(self.volume_table), self.limits, allow_outside=self.allow_outside
            )
        else:
            frame = folder_pairs(self.root, self.images_folder, self.labels_folder, described.sequences)
        self._sequences = [[self.root / file for file in files] for files in frame["sequences"]]
        self._labels = [label_file(self.root / file) for file in frame["label"]]
        if self.classes is None and described.classes:
            self.regions = self.regions if self.regions is not None else described.regions
            self.overlapping = self.overlapping or self.regions is not None
            self.ignore_value = described.ignore if self.ignore_value is None else self.ignore_value
        where = None if self.volume_table is None else self._table_file(self.volume_table)
        table = one_image_a_case(frame.drop(columns="sequences"), where=where)
        if is_collecting():  # a check reads the volumes itself, in processes of its own
            known = self.classes or described.classes
            if not known and all(map(is_seg, self._labels)):
                known = self._seen_classes()
            self._named_values = label_values(known, self.ignore_value) if known else None
            self.stored_classes = self._named_values.names if self._named_values is not None else ()
            return table
        self._scans = SlicedVolumes(self._sequences, self.slices, self.volumes, self.limits)
        for grid, file in zip(self._scans.grids, self._labels, strict=True):
            check_label(grid, file, self.limits)
        self._values = label_values(self.classes or described.classes or self._seen_classes(), self.ignore_value)
        self.stored_classes = self._values.names
        content_hashes(self._labels, self.volumes.hashes)  # all at once is much faster
        self._scans.decode_all()  # a bad file is named before training begins
        for row in range(len(frame)):
            self._mask(row)
        counts = self._scans.counts
        case = np.repeat(np.arange(len(frame)), counts)
        slices = pd.DataFrame(
            {
                "case": case,
                "path": table.cases["path"].to_numpy()[case],
                "frame": np.concatenate([np.arange(count) for count in counts]),
            }
        )
        return replace(table, images=slices)

    def read(self, image: int) -> Scan:
        """A slice with its neighbours: (H, W), or (H, W, C)."""
        case, index = self._locate(image)
        return self._scans.scan(case, index, self.preprocess.size)

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """The mask of a slice: (H, W) class numbers."""
        case, index = self._locate(image)
        mask = np.array(self._mask(case)[index])
        return self.slices.pad(mask, self.preprocess.size, self._scans.grids[case].path, fill=0)

    def mask_name(self, image: int) -> str:
        """The file of a slice's mask."""
        return str(self._labels[self._locate(image)[0]])

    def true_mask(self, case: int) -> NDArray[np.uint8]:
        """The mask of a case on its original grid: (X, Y, Z) class numbers, or (L, X, Y, Z) of overlapping regions."""
        _ = self.table  # finds the files
        volume = read_label(self._labels[case], self._scans.grids[case], self._values, self.limits)
        return self.as_model_sees(np.stack([self._values.read(one, volume.path) for one in volume.array]))

    def to_grid(self, case: int, planes: NDArray[Any]) -> NDArray[Any]:
        """(S, H, W) slices of a case -> (X, Y, Z); (S, L, H, W) of overlapping regions -> (L, X, Y, Z)."""
        return self.slices.to_grid(planes, self.grid(case))

    def to_planes(self, case: int, whole: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_grid`."""
        return self.slices.to_planes(whole, self.grid(case))

    def pixel_spacing(self, case: int, scan: ScanInfo) -> tuple[float, float] | None:
        """Mm per row and column of a case's slices."""
        return slice_spacing(self.grid(case).affine, self.slices.plane)[1:]

    def files_of(self, case: int) -> tuple[list[Path], Path]:
        """The image files of a case (row of the table), and its mask file."""
        return self._sequences[case], self._labels[case]

    def classes_on(self, case: int, image: Grid) -> NDArray[np.uint8]:
        """Class numbers of a case's mask, for a check, which has read its image; (X, Y, Z).

        Where no classes are named, the values of a mask are its classes.

        Raises:
            SuiteError: the mask cannot be read, or a value stands for no class.
        """
        file = self._labels[case]
        if self._named_values is not None:
            mask = read_label(file, image, self._named_values, self.limits)
            return self._named_values.read(mask.array, mask.path)
        mask = read_volume(file, self.limits, labels=True)
        values = np.where(mask.array == self.ignore_value, IGNORE, mask.array)
        classes = values.astype(np.uint8)
        if (classes != values).any():
            raise SuiteError(
                f"{mask.path}: unknown label value {values[classes != values][0]}: name the classes with --data.classes"
            )
        return classes

    def grid(self, case: int) -> Grid:
        """Where the voxels of a case (row of the table) lie."""
        _ = self.table
        return self._scans.grids[case]

    def hashes(self, table: CaseTable) -> list[str]:
        """The content hash of its volume for each slice."""
        of_case = content_hashes([self.root / path for path in table.cases["path"]], self.cache_dir / "hashes.sqlite")
        return [of_case[case] for case in table.images["case"]]

    def sampler_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Chances with which ``foreground_share`` of the drawn slices hold a class, or None for all alike."""
        if self.foreground_share is None:
            return None
        known = len(self.stored_classes)
        masks = (self._mask(int(row)) for row in rows)
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
        return self.root / name if (self.root / name).is_file() or not Path(name).is_file() else Path(name)

    def _seen_classes(self) -> dict[str, int]:
        seen = seen_labels(self._labels, self.ignore_value, self.limits)
        log.info("classes are those of the masks: %s", ", ".join(f"{name}={value}" for name, value in seen.items()))
        return seen

    def _mask(self, case: int) -> NDArray[np.uint8]:
        file = self._labels[case]
        settings = self._mask_settings
        if is_seg(file):  # it says where it lies, and is put on the grid of its image
            grid = self._scans.grids[case]
            settings = {**settings, "grid": f"{grid.shape} {grid.affine.round(4).tolist()}", "names": str(self._values)}
        return self.volumes.get(file, settings, partial(self._cut_mask, case))

    @cached_property
    def _mask_settings(self) -> dict[str, Setting]:
        return self.slices.mask_settings(self._values)

    def _cut_mask(self, case: int) -> NDArray[np.uint8]:
        volume = read_label(self._labels[case], self._scans.grids[case], self._values, self.limits)
        return self.slices.cut_mask(volume, self._values)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N, 2): case and index of each slice."""
        return self.table.images[["case", "frame"]].to_numpy(np.int64)

    def _locate(self, image: int) -> tuple[int, int]:
        case, index = self._places[image]
        return int(case), int(index)
