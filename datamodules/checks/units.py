"""What a check reads, one after the other: images, or whole volumes; each fills a record and notes what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.checks.kinds import known_kind
from datamodules.checks.masks import check_mask
from datamodules.checks.measures import FAILED, READ, Note, keep_hash, measure, measure_volume
from datamodules.checks.scale import scale_of
from datamodules.classification.image_table import ImageTable
from datamodules.faults import Fault, collecting
from datamodules.preprocess import Preprocess
from datamodules.readers import formats
from datamodules.readers.dicom import header as dicom_header
from datamodules.readers.hashing import volume_hash
from datamodules.readers.limits import Limits
from datamodules.readers.volume import check_same_grid, is_volume, read_grid, read_volume
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.volume_labels import check_label
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Scan
from scansuite.errors import SuiteError


class Units:
    """Images of a data module, with their masks where there are some.

    Args:
        data: whose table is built.
    """

    def __init__(self, data: ScanDataModule) -> None:
        self.data = data
        self.flat_scale, self.volume_scale = (scale_of(data, volumes=volumes) for volumes in (False, True))

    def __len__(self) -> int:
        return len(self.data.table.images)

    def cases(self) -> NDArray[np.int64]:
        """Row of the case table of each unit."""
        return self.data.table.images["case"].to_numpy(np.int64)

    def path(self, unit: int) -> str:
        """What a finding names, relative to the root where it lies there."""
        return str(self.data.table.images["path"].iat[unit])

    def examine(self, unit: int, record: Any, note: Note) -> None:
        """Read a unit, fill its record, note what is wrong."""
        record["status"] = FAILED
        file = self._whole_volume(unit)
        if file is not None:
            _examine_volume(file, self.data.limits, record, note, self.volume_scale)
            return
        scan = self._scan(unit, note)
        if scan is None:
            return
        measure(scan, record, note, self.flat_scale)
        record["modality"] = self._modality(unit)
        record["status"] = READ
        if isinstance(self.data, SegmentationData):
            self._mask(self.data, unit, scan, record, note)

    def _whole_volume(self, unit: int) -> Path | None:
        """The file or folder of a unit that training would cut into slices."""
        if not isinstance(self.data, ImageTable):
            return None
        file = self.data.root / self.path(unit)
        return file if formats.is_stack(file) else None

    def _scan(self, unit: int, note: Note) -> Scan | None:
        def pass_on(fault: Fault) -> None:
            note(fault.kind, fault.text)

        try:
            with collecting(pass_on):
                return self.data.read(unit)
        except SuiteError as error:
            note(known_kind(error, "unreadable"), str(error))
            return None

    def _mask(self, data: SegmentationData, unit: int, scan: Scan, record: Any, note: Note) -> None:
        try:
            mask = data.read_classes(unit)
        except SuiteError as error:
            note(known_kind(error, "mask_unreadable"), str(error))
            return
        if mask.shape[-2:] != scan.array.shape[:2]:
            rows, columns = mask.shape[-2:]
            height, width = scan.array.shape[:2]
            note("grid_mismatch", f"the mask is {rows} x {columns}, but its image is {height} x {width} pixels")
        check_mask(mask, record, note, separate=data.separate_masks)

    def _modality(self, unit: int) -> str:
        return dicom_modality(self.data.root / self.path(unit))

    def picture(self, unit: int) -> NDArray[Any]:
        """(H, W[, C]) for a thumbnail.

        Raises:
            SuiteError: it cannot be read.
        """
        file = self._whole_volume(unit)
        if file is not None:
            return _middle(file, self.data.limits)
        with collecting(lambda fault: None):
            return self.data.read(unit).array


class VolumeUnits(Units):
    """Whole volumes with their masks."""

    data: Volumes

    def examine(self, unit: int, record: Any, note: Note) -> None:
        """Read a volume and its mask, fill its record, note what is wrong."""
        record["status"] = FAILED
        data = self.data
        sequences, labels = data.files_of(unit)
        images = []
        for file in sequences:
            try:
                images.append(read_volume(file, data.limits))
            except SuiteError as error:
                note(known_kind(error, "unreadable"), str(error))
        if len(images) < len(sequences):
            return
        for other in images[1:]:
            self._same_grid(images[0], other, note)
        for image in images:
            measure_volume(image, record, note, self.volume_scale)
        keep_hash(record, volume_hash(images[0]))
        record["channels"] = sum(1 if image.array.ndim == 3 else image.array.shape[3] for image in images)
        record["status"] = READ
        try:
            check_label(images[0], labels, data.limits)
        except SuiteError as error:
            kind = known_kind(error, "mask_unreadable")
            note(kind, str(error))
            if kind != "grid_mismatch":
                return
        try:
            classes = data.classes_on(unit, read_grid(sequences[0], data.limits))
        except SuiteError as error:
            note(known_kind(error, "mask_unreadable"), str(error))
            return
        check_mask(classes, record, note)

    def _same_grid(self, one: Any, other: Any, note: Note) -> None:
        try:
            check_same_grid(one, other)
        except SuiteError as error:
            note("grid_mismatch", str(error))

    def picture(self, unit: int) -> NDArray[Any]:
        """The middle slice."""
        return _middle(self.data.files_of(unit)[0][0], self.data.limits)


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

    def cases(self) -> NDArray[np.int64]:
        """No file is a case."""
        return np.full(len(self.paths), -1)

    def path(self, unit: int) -> str:
        """The file, relative to the root."""
        return self.paths[unit]

    def examine(self, unit: int, record: Any, note: Note) -> None:
        """Read a file, fill its record, note what is wrong."""
        record["status"] = FAILED
        file = self.data.root / self.paths[unit]
        if is_volume(file.name):
            _examine_volume(file, self.data.limits, record, note, self.volume_scale)
            return
        try:
            measure(formats.read(file, self.data.limits), record, note, self.flat_scale)
        except SuiteError as error:
            note(known_kind(error, "unreadable"), str(error))
            return
        record["modality"] = dicom_modality(file)
        record["status"] = READ

    def picture(self, unit: int) -> NDArray[Any]:
        """(H, W[, C]); the middle slice of a volume."""
        file = self.data.root / self.paths[unit]
        limits = self.data.limits
        return _middle(file, limits) if is_volume(file.name) else formats.read(file, limits).array


def units_of(data: ScanDataModule) -> Units:
    """What is read of a data module."""
    return VolumeUnits(data) if isinstance(data, Volumes) else Units(data)


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


def _examine_volume(file: Path, limits: Limits, record: Any, note: Note, scale: Preprocess | None) -> None:
    try:
        volume = read_volume(file, limits)
    except SuiteError as error:
        note(known_kind(error, "unreadable"), str(error))
        return
    measure_volume(volume, record, note, scale)
    record["status"] = READ


def _middle(file: Path, limits: Limits) -> NDArray[Any]:
    array = read_volume(file, limits).array
    return np.asarray(array[:, :, array.shape[2] // 2])
