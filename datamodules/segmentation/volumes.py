"""``Volumes``: labelled volumes as slices."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cache import Setting, VolumeCache
from datamodules.probe import ImageFacts
from datamodules.readers.hashing import content_hashes
from datamodules.readers.volume import Grid, Plane, check_same_grid, read_grid, read_volume, slice_spacing
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.masks import label_values
from datamodules.segmentation.volume_pairs import folder_pairs, read_description, table_pairs
from datamodules.sliced_volumes import SlicedVolumes, pixel_spacing, volume_percentiles
from datamodules.slices import SliceSpec
from datamodules.table import CaseTable, one_image_a_case
from datamodules.types import Scan, ScanInfo, SuiteError

log = logging.getLogger(__name__)


class Volumes(SegmentationData):
    """Volumes with masks, cut into slices; a case is a volume, so its slices are always in one part.

    Volumes are decoded once, into ``cache_dir``. Classes come from ``dataset.json`` where ``root`` has one, else from
    ``classes``, else from the values in the masks. Without ``window`` and ``value_range`` each volume is scaled by its
    own percentiles (0.5 and 99.5, or those given), taken over the voxels above its minimum.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``; several sequences of a case end in ``_0000``, ``_0001``, ...
        labels: folder of the masks in ``root``, named as the cases.
        axis: ``axial``, ``coronal`` or ``sagittal`` slices.
        neighbors: slices on either side that join as channels (2.5D).
        spacing: mm of a pixel, or of a row and a column, that slices are resampled to and then padded to one size; left
            out: as stored, stretched to ``image_size``.
        table: CSV, TSV or Parquet with ``path`` and ``label`` relative to ``root``, and any of ``case_id``,
            ``patient_id``, ``split`` and further columns, instead of the two folders.
        kwargs: see :class:`~datamodules.segmentation.base.SegmentationData`.
    """

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
        sequences = [[self.root / file for file in files] for files in frame["sequences"]]
        self._labels = [self.root / file for file in frame["label"]]
        self._scans = SlicedVolumes(sequences, self.slices, self.volumes, self.limits)
        for grid, file in zip(self._scans.grids, self._labels, strict=True):
            check_same_grid(grid, read_grid(file, self.limits))
        if self.classes is None and described.classes:
            self.regions = self.regions if self.regions is not None else described.regions
            self.overlapping = self.overlapping or self.regions is not None
            self.ignore_value = described.ignore if self.ignore_value is None else self.ignore_value
        self._values = label_values(self.classes or described.classes or self._seen_classes(), self.ignore_value)
        self.stored_classes = self._values.names
        content_hashes(self._labels, self.volumes.hashes)  # all at once is much faster
        self._scans.decode_all()  # a bad file is named before training begins
        for row in range(len(frame)):
            self._mask(row)
        table = one_image_a_case(frame.drop(columns="sequences"))
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
        return self._scans.scan(case, index, self.input_size)

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """The mask of a slice: (H, W) class numbers."""
        case, index = self._locate(image)
        mask = np.array(self._mask(case)[index])
        return self.slices.pad(mask, self.input_size, self._scans.grids[case].path, fill=0)

    def mask_name(self, image: int) -> str:
        """The file of a slice's mask."""
        return str(self._labels[self._locate(image)[0]])

    def true_mask(self, case: int) -> NDArray[np.uint8]:
        """The mask of a case on its original grid: (X, Y, Z) class numbers, or (L, X, Y, Z) of overlapping regions."""
        _ = self.table  # finds the files
        volume = read_volume(self._labels[case], self.limits)
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
        seen: set[int] = {0}
        for file in self._labels:
            seen |= {int(value) for value in np.unique(read_volume(file, self.limits).array)}
        seen.discard(-1 if self.ignore_value is None else self.ignore_value)
        log.info("classes are the values in the masks: %s", ", ".join(map(str, sorted(seen))))
        return {"background" if value == 0 else str(value): value for value in sorted(seen)}

    def _mask(self, case: int) -> NDArray[np.uint8]:
        file = self._labels[case]
        return self.volumes.get(file, self._mask_settings, partial(self._cut_mask, file))

    @cached_property
    def _mask_settings(self) -> dict[str, Setting]:
        return self.slices.mask_settings(self._values)

    def _cut_mask(self, file: Path) -> NDArray[np.uint8]:
        return self.slices.cut_mask(read_volume(file, self.limits), self._values)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(N, 2): case and index of each slice."""
        return self.table.images[["case", "frame"]].to_numpy(np.int64)

    def _locate(self, image: int) -> tuple[int, int]:
        case, index = self._places[image]
        return int(case), int(index)
