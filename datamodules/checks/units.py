"""Units that a check reads: images, or whole volumes; each fills a record and notes what is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable
from datamodules.checks.kinds import known_kind
from datamodules.checks.masks import check_mask
from datamodules.checks.measures import FAILED, READ, Note, keep_hash, measure, measure_volume
from datamodules.checks.scale import scale_of
from datamodules.faults import collecting
from datamodules.readers import formats
from datamodules.readers.dicom import header as dicom_header
from datamodules.readers.hashing import volume_hash
from datamodules.readers.volume import Volume, check_same_grid, is_volume, read_grid, read_volume
from datamodules.segmentation.volume_labels import check_label
from datamodules.stored import StoredMasks, StoredVolume
from datamodules.types import Scan
from scansuite.errors import SuiteError


class Units(ABC):
    """Units that are read of a data module.

    Args:
        data: the data module.

    Attributes:
        masks: of the images.
    """

    masks: StoredMasks | None = None

    def __init__(self, data: ScanDataModule) -> None:
        self.data = data
        self.flat_scale, self.volume_scale = (scale_of(data, volumes=volumes) for volumes in (False, True))

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def owners(self) -> NDArray[np.int64]:
        """Row of the case table of each unit, -1 for none."""

    @abstractmethod
    def path(self, unit: int) -> str:
        """Path that a finding names, relative to the root where it lies there."""

    @abstractmethod
    def volume(self, unit: int) -> StoredVolume | None:
        """The volume that a unit is, or None for an image."""

    @abstractmethod
    def read(self, unit: int) -> Scan:
        """Read an image.

        Raises:
            SuiteError: it cannot be read.
        """

    def examine(self, unit: int, record: np.void, note: Note) -> None:
        """Read a unit, fill its record, note what is wrong."""
        record["status"] = FAILED
        volume = self.volume(unit)
        with collecting(lambda fault: note(fault.kind, fault.text)):
            if volume is None:
                self._examine_image(unit, record, note)
            else:
                self._examine_volume(volume, record, note)

    def _examine_image(self, unit: int, record: np.void, note: Note) -> None:
        try:
            scan = self.read(unit)
        except SuiteError as error:
            note(known_kind(error, "unreadable"), str(error))
            return
        measure(scan, record, note, self.flat_scale)
        record["modality"] = dicom_modality(self.data.root / self.path(unit))
        record["status"] = READ
        if self.masks is not None:
            _examine_mask(self.masks, unit, scan, record, note)

    def _examine_volume(self, volume: StoredVolume, record: np.void, note: Note) -> None:
        images = []
        for file in volume.images:
            try:
                images.append(read_volume(file, self.data.limits))
            except SuiteError as error:
                note(known_kind(error, "unreadable"), str(error))
        if len(images) < len(volume.images):
            return
        for other in images[1:]:
            try:
                check_same_grid(images[0], other)
            except SuiteError as error:
                note(known_kind(error, "grid_mismatch"), str(error))
        for image in images:
            measure_volume(image, record, note, self.volume_scale)
        if len(images) > 1:
            keep_hash(record, volume_hash(images[0]))
            record["channels"] = sum(1 if image.array.ndim == 3 else image.array.shape[3] for image in images)
        record["status"] = READ
        if volume.mask is not None:
            self._examine_volume_mask(volume, volume.mask, images[0], record, note)

    def _examine_volume_mask(
        self, volume: StoredVolume, mask: Path, image: Volume, record: np.void, note: Note
    ) -> None:
        try:
            check_label(image, mask, self.data.limits)
        except SuiteError as error:
            kind = known_kind(error, "mask_unreadable")
            note(kind, str(error))
            if kind != "grid_mismatch":
                return
        if volume.classes is None:
            return
        try:
            classes = volume.classes(read_grid(volume.images[0], self.data.limits))
        except SuiteError as error:
            note(known_kind(error, "mask_unreadable"), str(error))
            return
        check_mask(classes, record, note)

    def picture(self, unit: int) -> NDArray[Any]:
        """(H, W[, C]) for a thumbnail; the middle slice of a volume.

        Raises:
            SuiteError: it cannot be read.
        """
        volume = self.volume(unit)
        if volume is None:
            with collecting(lambda fault: None):
                return self.read(unit).array
        array = read_volume(volume.images[0], self.data.limits).array
        return np.asarray(array[:, :, array.shape[2] // 2])


class TableUnits(Units):
    """The images of a case table, or whole volumes, with their masks where there are some.

    Args:
        data: has adopted the table.
        table: the cases.
    """

    def __init__(self, data: ScanDataModule, table: CaseTable) -> None:
        super().__init__(data)
        stored = data.stored(table)
        self._images, self.masks, self._volume = table.images, stored.masks, stored.volume

    def __len__(self) -> int:
        return len(self._images)

    def owners(self) -> NDArray[np.int64]:
        """Row of the case table of each image."""
        return self._images["case"].to_numpy(np.int64)

    def path(self, unit: int) -> str:
        """As the table has it."""
        return str(self._images["path"].iat[unit])

    def volume(self, unit: int) -> StoredVolume | None:
        """As the data class says."""
        return None if self._volume is None else self._volume(unit)

    def read(self, unit: int) -> Scan:
        """As training reads it."""
        return self.data.read(unit)


class FileUnits(Units):
    """Files of a folder, where no table of cases can be built.

    Args:
        data: whose root the files lie in.
        paths: relative to it.
    """

    def __init__(self, data: ScanDataModule, paths: Sequence[str]) -> None:
        super().__init__(data)
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def owners(self) -> NDArray[np.int64]:
        """No file is a case."""
        return np.full(len(self.paths), -1)

    def path(self, unit: int) -> str:
        """The file, relative to the root."""
        return self.paths[unit]

    def volume(self, unit: int) -> StoredVolume | None:
        """By the file's name."""
        file = self.data.root / self.paths[unit]
        return StoredVolume([file]) if is_volume(file.name) else None

    def read(self, unit: int) -> Scan:
        """As any file is read."""
        return formats.read(self.data.root / self.paths[unit], self.data.limits)


def _examine_mask(masks: StoredMasks, unit: int, scan: Scan, record: np.void, note: Note) -> None:
    try:
        mask = masks.read(unit)
    except SuiteError as error:
        note(known_kind(error, "mask_unreadable"), str(error))
        return
    if mask.shape[-2:] != scan.array.shape[:2]:
        rows, columns = mask.shape[-2:]
        height, width = scan.array.shape[:2]
        note("grid_mismatch", f"the mask is {rows} x {columns}, but its image is {height} x {width} pixels")
    check_mask(mask, record, note, separate=masks.separate)


def loose_files(root: Path) -> list[str]:
    """Raster files and volumes below a folder, relative to it, sorted, without hidden ones."""
    if root.is_file():
        return []
    return formats.images_below(root)


def dicom_modality(path: Path) -> str:
    """The Modality of a DICOM file, "" for other files and where it is not said."""
    if formats.kind_of(path) != "dicom" or not dicom_header.is_dicom(path):
        return ""
    import pydicom

    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).get("Modality", ""))[:4]
    except Exception:  # whatever is wrong with it, the reader has said so
        return ""
