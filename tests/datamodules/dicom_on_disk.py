"""DICOM files made up for the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Several
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
PATIENT, NAME = "PAT-4711", "Doe^Jane"


def image(array: NDArray[Any], **tags: Any) -> FileDataset:
    """An uncompressed CT image of (H, W) or (H, W, 3) samples, with every tag that a scanner writes; ``tags`` win."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID") or generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * array.itemsize
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "StudyDate": "20200301", "StudyTime": "120000",
        "SeriesDate": "20200301", "SeriesTime": "120000", "AcquisitionDate": "20200301", "AcquisitionTime": "120000",
        "ContentDate": "20200301", "ContentTime": "120000", "Manufacturer": "ACME", "PatientName": NAME,
        "PatientID": PATIENT, "PatientBirthDate": "19600301", "PatientSex": "F", "PatientAge": "060Y",
        "StudyInstanceUID": "1.2.826.0.1.1", "SeriesInstanceUID": "1.2.826.0.1.1.1", "StudyID": "1",
        "SeriesNumber": 2, "AccessionNumber": "A1", "ReferringPhysicianName": "",
        "FrameOfReferenceUID": "1.2.826.0.1.2", "PositionReferenceIndicator": "", "PatientPosition": "HFS",
        "SamplesPerPixel": 1 if array.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if array.ndim == 2 else "RGB",
        "Rows": array.shape[0], "Columns": array.shape[1], "BitsAllocated": bits, "BitsStored": bits,
        "HighBit": bits - 1, "PixelRepresentation": int(array.dtype.kind == "i"),
    }  # fmt: skip
    if array.ndim == 3:
        values["PlanarConfiguration"] = 0
    for keyword, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def write(path: Path, array: NDArray[Any], **tags: Any) -> Path:
    """Save :func:`image`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image(array, **tags).save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    array: NDArray[np.int16],
    *,
    direction: Several[float] = AXIAL,
    origin: Several[float] = (-50.0, -40.0, 30.0),
    spacing: tuple[float, float] = (0.8, 0.7),
    step: float = 2.5,
    uid: str = "1.2.826.0.1.1.1",
    **tags: Any,
) -> list[Path]:
    """A CT series of (slices, rows, columns) HU, its files named in random order; returned in order of position."""
    normal = np.cross(direction[:3], direction[3:])
    names = np.random.default_rng(0).permutation(len(array))
    files = []
    for number, one in enumerate(array):
        position = np.array(origin) + number * step * normal
        file = write(
            folder / f"IM{names[number]:04d}",
            (one + 1024).astype(np.int16),
            **{
                "SeriesInstanceUID": uid, "SOPInstanceUID": f"{uid}.{number + 1}", "InstanceNumber": number + 1,
                "ImagePositionPatient": [float(f"{side:.6f}") for side in position],
                "ImageOrientationPatient": list(direction), "PixelSpacing": list(spacing), "SliceThickness": step,
                "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU", "WindowCenter": [40, -600],
                "WindowWidth": [400, 1500],
                **tags,
            },
        )  # fmt: skip
        files.append(file)
    return files


def item(**tags: Any) -> Sequence:
    """A sequence of one item."""
    one = Dataset()
    for keyword, value in tags.items():
        setattr(one, keyword, value)
    return Sequence([one])


def write_enhanced(
    file: Path,
    array: NDArray[Any],
    *,
    step: float = 2.5,
    per_frame: bool = False,
    measures: Mapping[str, Any] | None = None,
    contents: Iterable[Mapping[str, Any]] = (),
    **tags: Any,
) -> Path:
    """An enhanced CT of (frames, rows, columns), its pixels 0.8 x 0.7 mm.

    Args:
        file: to write.
        array: samples.
        step: mm from frame to frame.
        per_frame: each frame has its own PixelMeasures; else they share one.
        measures: further tags of PixelMeasures.
        contents: further tags of FrameContent, frame by frame.
        tags: of the file; they win.
    """
    dataset = image(array[0], SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(array), **tags)
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.PixelData = array.tobytes()
    measured = item(PixelSpacing=[0.8, 0.7], **(measures or {}))
    dataset.SharedFunctionalGroupsSequence = item(PlaneOrientationSequence=item(ImageOrientationPatient=list(AXIAL)))
    if not per_frame:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = measured
    frames = []
    nothing: Mapping[str, Any] = {}
    for number, (_, content) in enumerate(zip_longest(array, contents, fillvalue=nothing)):
        numbers = {"StackID": "1", "InStackPositionNumber": number + 1, "DimensionIndexValues": [1, number + 1]}
        frame = item(
            PlanePositionSequence=item(ImagePositionPatient=[-50, -40, 30 + number * step]),
            FrameContentSequence=item(**numbers, **content),
        )[0]
        if per_frame:
            frame.PixelMeasuresSequence = measured
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)
    return file


def blob(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """(slices, rows, columns) HU of noise with a body that has no symmetry."""
    rng = np.random.default_rng(seed)
    array = rng.integers(-1000, -900, shape).astype(np.int16)
    z, y, x = np.indices(shape) / np.array(shape).reshape(3, 1, 1, 1)
    array[(x - 0.4) ** 2 + (y - 0.6) ** 2 + (z - 0.3) ** 2 < 0.08] = 60
    array[: shape[0] // 3, : shape[1] // 4, : shape[2] // 5] = 400
    return array
