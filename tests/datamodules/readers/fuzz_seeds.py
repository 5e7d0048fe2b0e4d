"""Small whole files of every format that is read: what the fuzzer damages."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import pandas as pd
import SimpleITK
import tifffile
from PIL import Image

# Sides that stand in headers seldom by chance: the fuzzer looks for them there.
HEIGHT, WIDTH, DEPTH = 29, 37, 5


class Seed(NamedTuple):
    """A whole file.

    Attributes:
        format: under which its cases are counted.
        target: how it is read.
        suffix: of its name.
        data: its bytes.
    """

    format: str
    target: str
    suffix: str
    data: bytes


def make_seeds(folder: Path, shared: Path | None) -> list[Seed]:
    """All seeds, in a fixed order; real files where there are some.

    Args:
        folder: to write to on the way.
        shared: folder of the real scans, or None.
    """
    made = [*_rasters(folder), *_volumes(folder), *_dicoms(folder), *_tables(folder)]
    return [*made, *_real(shared)] if shared is not None else made


def picture(channels: int = 0, dtype: Any = np.uint8) -> Any:
    shape = (HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH)
    rng = np.random.default_rng(1)
    smooth = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).reshape(HEIGHT, WIDTH, *[1] * (len(shape) - 2))
    return (smooth + rng.integers(0, 60, shape)).astype(dtype)


def _rasters(folder: Path) -> Iterator[Seed]:
    def pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    grey, colour = Image.fromarray(picture()), Image.fromarray(picture(3))
    bits, palette = grey.point(lambda value: 255 * (value > 60)).convert("1"), colour.quantize(16)
    deep = Image.fromarray(picture(dtype=np.uint16) * 600)
    for image in (grey, colour, bits, palette, deep):
        yield Seed("PNG", "image", ".png", pillow(image, "PNG"))
    exif = Image.Exif()
    exif[274] = 6
    yield Seed("JPEG", "image", ".jpg", pillow(grey, "JPEG"))
    yield Seed("JPEG", "image", ".jpg", pillow(colour, "JPEG", exif=exif))
    yield Seed("JPEG", "image", ".jpg", pillow(colour, "JPEG", progressive=True))
    yield Seed("JPEG", "image", ".jpg", pillow(colour.convert("CMYK"), "JPEG"))
    for image in (grey, colour, bits, palette):
        yield Seed("BMP", "image", ".bmp", pillow(image, "BMP"))
    yield Seed("TIFF", "image", ".tif", pillow(bits, "TIFF", compression="group4"))
    yield Seed("TIFF", "image", ".tif", pillow(palette, "TIFF", compression="tiff_lzw"))
    stack = np.stack([picture(dtype=np.uint16)] * DEPTH)
    for array, options in (
        (picture(dtype=np.float32), {}),
        (picture(3), {"compression": "lzw", "photometric": "rgb"}),
        (picture(dtype=np.uint16), {"compression": "deflate", "predictor": True}),
        (picture(3), {"compression": "jpeg", "photometric": "rgb"}),
        (picture(dtype=np.uint16), {"compression": "jpeg2000"}),
        (picture(3), {"tile": (16, 16), "compression": "packbits", "photometric": "rgb"}),
        (picture(dtype=np.int16), {"compression": "zstd", "bigtiff": True}),
        (stack, {"photometric": "minisblack"}),
        (stack, {"imagej": True}),
        (stack, {"photometric": "minisblack", "truncate": True, "metadata": {"axes": "ZYX"}}),
        (stack, {"volumetric": True, "tile": (16, 16, 16), "photometric": "minisblack"}),
    ):
        file = folder / "seed.tif"
        tifffile.imwrite(file, array, **options)
        for target in ("image", "volume")[: 2 if array.ndim == 3 else 1]:
            yield Seed("TIFF", target, ".tif", file.read_bytes())


def _volumes(folder: Path) -> Iterator[Seed]:
    array = np.random.default_rng(2).integers(-50, 200, (WIDTH, HEIGHT, DEPTH)).astype(np.int16)
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        for values in (array, np.stack([array, array], axis=3), array.astype(np.float32)):
            image = kind(values, np.diag([0.8, 0.9, 3.0, 1.0]))
            if values is array:
                image.header.set_slope_inter(2.0, -1024.0)
            data = image.to_bytes()
            yield Seed("NIfTI", "volume", ".nii", data)
            yield Seed("NIfTI gz", "volume", ".nii.gz", gzip.compress(data, mtime=0))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scan/a.nii", data)
    yield Seed("zip", "volume", ".zip", packed.getvalue())
    flat = nibabel.Nifti1Image(array[:, :, :1], np.diag([-0.8, -0.9, 3.0, 1.0])).to_bytes()
    yield Seed("NIfTI", "image", ".nii", flat)
    itk = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    itk.SetSpacing((0.8, 0.9, 3.0))
    vector = SimpleITK.GetImageFromArray(np.stack([array.T] * 2, axis=3), isVector=True)
    for name, suffix in (("NRRD", ".nrrd"), ("MHA", ".mha")):
        for image, compressed in ((itk, False), (itk, True), (vector, True), (vector, False)):
            file = folder / f"seed{suffix}"
            SimpleITK.WriteImage(image, str(file), useCompression=compressed)
            yield Seed(name, "volume", suffix, file.read_bytes())
        yield Seed(name, "volume", f"{suffix}.gz", gzip.compress(file.read_bytes(), mtime=0))
        yield Seed(name, "image", suffix, file.read_bytes())
    ascii_numbers = " ".join(map(str, range(2 * 3 * 4))).encode()
    head = b"NRRD0004\ntype: short\ndimension: 3\nspace: RAS\nsizes: 2 3 4\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n"
    yield Seed("NRRD", "volume", ".nrrd", head + b"encoding: ascii\n\n" + ascii_numbers)


def _dicoms(folder: Path) -> Iterator[Seed]:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        for channels, frames in ((0, 1), (3, 1), (0, 2)):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.3.4")
            meta.TransferSyntaxUID = syntax
            data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
            data.SOPClassUID, data.SOPInstanceUID, data.PatientID, data.Modality = CTImageStorage, "1.2.3.4", "p", "CT"
            data.Rows, data.Columns, data.SamplesPerPixel = HEIGHT, WIDTH, channels or 1
            data.PhotometricInterpretation = "RGB" if channels else "MONOCHROME2"
            bits = 8 if channels else 16
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
            if channels:
                data.PlanarConfiguration = 0
            if frames > 1:
                data.NumberOfFrames = frames
            data.RescaleSlope, data.RescaleIntercept = 1, -1024
            data.WindowCenter, data.WindowWidth = 40, 400
            pixels = picture(channels, np.uint8 if channels else np.uint16).tobytes() * frames
            data.PixelData = pixels + bytes(len(pixels) % 2)
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, data, enforce_file_format=True)
            yield Seed("DICOM", "image", ".dcm", buffer.getvalue())


def _tables(folder: Path) -> Iterator[Seed]:
    frame = pd.DataFrame(
        {"path": ["a.png", "b.png"], "label": ["x", "y"], "patient_id": ["1", "007"], "split": ["train", "valid"]}
    )
    yield Seed("CSV", "table", ".csv", frame.to_csv(index=False).encode())
    yield Seed("CSV", "table", ".csv.gz", gzip.compress(frame.to_csv(index=False).encode(), mtime=0))
    frame.to_parquet(folder / "seed.parquet")
    yield Seed("Parquet", "table", ".parquet", (folder / "seed.parquet").read_bytes())
    box = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1.5, 2, 10, 12], "iscrowd": 0}
    images = [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}, {"id": 2, "file_name": "b.png"}]
    content = {"images": images, "annotations": [box], "categories": [{"id": 3, "name": "cell"}]}
    yield Seed("COCO", "coco", ".json", json.dumps(content).encode())
    corners = "<xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>25</ymax>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>"
    thing = f"<object><name>cell</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"
    xml = f'<?xml version="1.0"?><annotation><filename>a.png</filename>{size}{thing}</annotation>'
    yield Seed("VOC", "voc", ".xml", xml.encode())
    yield Seed("YOLO", "yolo", ".txt", b"0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.05 0.1\n")
    yield Seed("YOLO", "yolo_yaml", ".yaml", b"path: .\ntrain: images\nnc: 2\nnames:\n  0: cell\n  1: nucleus\n")
    labels = {"labels": {"0": "background", "1": "liver"}, "modality": {"0": "CT"}, "training": []}
    yield Seed("dataset.json", "description", ".json", json.dumps(labels).encode())
    buffer = io.BytesIO()
    arrays = {f"{split}_images": np.stack([picture()] * 3) for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": np.array([[0], [1], [0]], np.uint8) for split in ("train", "val", "test")}
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    yield Seed("npz", "medmnist", ".npz", buffer.getvalue())


def _real(shared: Path) -> Iterator[Seed]:
    for format_, target, pattern, count in (
        ("DICOM", "image", "dicom_syntaxes/*.dcm", 60),
        ("PNG", "image", "nih_cxr64/**/*.png", 3),
        ("NIfTI gz", "volume", "msd_hippocampus/*/[!.]*.nii.gz", 2),
        ("VOC", "voc", "bccd/**/*.xml", 2),
    ):
        files = [file for file in sorted(shared.glob(pattern)) if file.stat().st_size < 120_000][:count]
        for file in files:
            suffix = ".nii.gz" if file.name.endswith(".nii.gz") else file.suffix
            yield Seed(format_, target, suffix, file.read_bytes())
