"""Images for benchmarks, drawn so that they cost as much to decode as scans do, written in several formats.

Smooth shapes under fine noise: a PNG of them is about half of what is stored, as one of a radiograph is. Flat images
would decode in no time, noise alone would not compress at all.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

FORMATS = ("png", "jpeg", "dicom", "dicom-jpeg")
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "dicom": ".dcm", "dicom-jpeg": ".dcm"}
CLASSES = ("a", "b")
_BOXES = 8  # an image, in detection


def draw(number: int, side: int) -> NDArray[np.float32]:
    """Draw image ``number``: (side, side) float32 in [0, 1], a smooth field with fine noise."""
    rng = np.random.default_rng(number)
    coarse = cv2.resize(rng.random((8, 8), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.standard_normal((side, side), np.float32), (0, 0), 1.5)
    grain = rng.standard_normal((side, side), np.float32)
    image: NDArray[np.float32] = np.clip(0.15 + 0.7 * coarse + 0.05 * fine + 0.01 * grain, 0, 1)
    return image


def write_image(file: Path, number: int, side: int, kind: str) -> None:
    """Write image ``number`` as one of :data:`FORMATS`: 8 bits, or 12 of 16 in uncompressed DICOM."""
    image = draw(number, side)
    file.parent.mkdir(parents=True, exist_ok=True)
    grey = np.round(255 * image).astype(np.uint8)
    if kind == "png":
        Image.fromarray(grey).save(file)
    elif kind == "jpeg":
        Image.fromarray(grey).save(file, quality=90)
    elif kind == "dicom":
        _dicom(np.round(4095 * image).astype(np.uint16), 12, None).save_as(file, enforce_file_format=True)
    else:
        packed = io.BytesIO()
        Image.fromarray(grey).save(packed, "JPEG", quality=90)
        _dicom(grey, 8, packed.getvalue()).save_as(file, enforce_file_format=True)


def _dicom(array: NDArray[np.uint8 | np.uint16], bits: int, jpeg: bytes | None) -> FileDataset:
    """A radiograph of a patient of its own."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if jpeg is None else JPEGBaseline8Bit
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.Modality = str(meta.MediaStorageSOPInstanceUID), "CR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = array.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * array.itemsize, bits, bits - 1
    dataset.PixelData = array.tobytes() if jpeg is None else encapsulate([jpeg])
    dataset["PixelData"].VR = "OW" if array.itemsize > 1 else "OB"
    return dataset


def classification_files(root: Path, count: int, side: int, kind: str) -> None:
    """``train/`` and ``val/`` with a folder a class, for ``ImageFolder``."""
    _in_parallel(partial(_one_of_a_class, root, side, kind), count + 2 * len(CLASSES))


def _one_of_a_class(root: Path, side: int, kind: str, number: int) -> None:
    part = "val" if number < 2 * len(CLASSES) else "train"
    write_image(root / part / CLASSES[number % len(CLASSES)] / f"{number}{SUFFIXES[kind]}", number, side, kind)


def segmentation_files(root: Path, count: int, side: int, kind: str) -> None:
    """``images/`` beside ``masks/`` of two classes, for ``MaskFolder``."""
    _in_parallel(partial(_one_with_a_mask, root, side, kind), count + 4)


def _one_with_a_mask(root: Path, side: int, kind: str, number: int) -> None:
    part = "val" if number < 4 else "train"
    write_image(root / "images" / part / f"{number}{SUFFIXES[kind]}", number, side, kind)
    mask = root / "masks" / part / f"{number}.png"
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((draw(number, side) > 0.5).astype(np.uint8)).save(mask)


def detection_files(root: Path, count: int, side: int, kind: str) -> None:
    """``images/`` and ``labels/`` with ``data.yaml``, for ``Yolo``."""
    _in_parallel(partial(_one_with_boxes, root, side, kind), count + 4)
    described = {"train": "images/train", "val": "images/val", "names": list(CLASSES)}
    (root / "data.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")


def _one_with_boxes(root: Path, side: int, kind: str, number: int) -> None:
    part = "val" if number < 4 else "train"
    write_image(root / "images" / part / f"{number}{SUFFIXES[kind]}", number, side, kind)
    rng = np.random.default_rng([number, 1])
    sizes = rng.uniform(0.05, 0.2, (_BOXES, 2))
    centres = rng.uniform(sizes / 2, 1 - sizes / 2)
    lines = [
        f"{rng.integers(len(CLASSES))} {x:.5f} {y:.5f} {width:.5f} {height:.5f}"
        for (x, y), (width, height) in zip(centres, sizes, strict=True)
    ]
    labels = root / "labels" / part / f"{number}.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text("\n".join(lines), encoding="utf-8")


def _in_parallel(one: partial[None], count: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < 64:
        _several(one, range(count))
        return
    share = max(16, count // (4 * cores))
    parts = [range(start, min(start + share, count)) for start in range(0, count, share)]
    # Forked where that can be, as the loaders are: a spawned process would import all of the benchmark.
    kind = "fork" if "fork" in get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(cores, mp_context=get_context(kind)) as pool:
        list(pool.map(partial(_several, one), parts))


def _several(one: partial[None], numbers: Sequence[int]) -> None:
    cv2.setNumThreads(0)
    for number in numbers:
        one(number)
