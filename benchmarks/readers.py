"""Benchmark of reading a file beside the plain library of its format.

    python -m benchmarks.readers [--reads 15]

Files of usual sizes are made anew. Each is read by the suite (checks of size, truncation and checksum included) and by
the library alone, in turn; times are medians in ms over ``--reads`` reads, and the ratio is the median of the ratios
of neighbouring reads, which what else the machine does disturbs least.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pydicom
import SimpleITK
import tifffile
from PIL import Image

from datamodules.readers import formats
from datamodules.readers.volume import read_volume

Read = Callable[[Path], object]


def seconds(read: Read, file: Path) -> float:
    """How long one reading takes."""
    start = time.perf_counter()
    read(file)
    return time.perf_counter() - start


def itk(file: Path) -> Any:
    """SimpleITK's array of a file."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def make_files(folder: Path) -> dict[str, tuple[Path, Read, Read]]:
    """Name -> file, the suite's reader, and the library's."""
    rng = np.random.default_rng(0)
    rows = np.linspace(0, 6, 1024)
    smooth = np.sin(rows)[:, None] * np.cos(rows)[None, :]
    deep = ((smooth + 1.2) * 12_000 + rng.normal(0, 60, smooth.shape)).astype(np.uint16)
    grey = (deep >> 7).astype(np.uint8)
    volume = np.stack([deep[:256, :256].astype(np.int16) + level for level in range(64)], axis=2)
    files: dict[str, tuple[Path, Read, Read]] = {}

    def flat(name: str, file: str, plain: Read) -> Path:
        files[name] = (folder / file, formats.read, plain)
        return folder / file

    def deep_file(name: str, file: str, plain: Read) -> Path:
        files[name] = (folder / file, read_volume, plain)
        return folder / file

    flat("PNG 16 bit", "a.png", lambda file: imagecodecs.png_decode(file.read_bytes())).write_bytes(
        imagecodecs.png_encode(deep)
    )
    Image.fromarray(grey).save(flat("JPEG", "a.jpg", lambda file: np.asarray(Image.open(file))), quality=90)
    Image.fromarray(grey).save(flat("BMP", "a.bmp", lambda file: np.asarray(Image.open(file))))
    for name, compression in (("TIFF", None), ("TIFF LZW", "lzw"), ("TIFF deflate", "deflate")):
        file = flat(name, f"a_{compression}.tif", tifffile.imread)
        tifffile.imwrite(file, deep, compression=compression)
    tifffile.imwrite(deep_file("TIFF, 64 pages", "pages.tif", tifffile.imread), volume.T, photometric="minisblack")
    image = nibabel.Nifti1Image(volume, np.diag([0.8, 0.8, 2.5, 1.0]))
    for name, suffix in (("NIfTI", ".nii"), ("NIfTI gz", ".nii.gz")):
        file = deep_file(name, f"a{suffix}", lambda file: np.asarray(nibabel.load(file).dataobj).sum())
        files[name] = (file, lambda file: read_volume(file).array.sum(), files[name][2])  # a mapped file must be read
        nibabel.save(image, file)
    stack = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.T))
    for name, suffix, compressed in (
        ("NRRD", "_raw.nrrd", False), ("NRRD gzip", ".nrrd", True), ("MHA", "_raw.mha", False),
        ("MHA zlib", ".mha", True),
    ):  # fmt: skip
        SimpleITK.WriteImage(stack, str(deep_file(name, f"a{suffix}", itk)), useCompression=compressed)
    flat("DICOM", "a.dcm", lambda file: pydicom.dcmread(file).pixel_array).write_bytes(dicom(deep))
    return files


def dicom(array: Any) -> bytes:
    """A CT image of 16 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.PatientID, data.Modality = CTImageStorage, "1.2.3", "p", "CT"
    data.Rows, data.Columns = array.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = array.tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=15)
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'format':16s} {'suite':>9s} {'library':>9s} {'ratio':>6s}")
        for name, (file, ours, theirs) in make_files(Path(folder)).items():
            ours(file), theirs(file)  # imports, and the page cache
            pairs = [(seconds(ours, file), seconds(theirs, file)) for _ in range(arguments.reads)]
            here, there = (1000 * statistics.median(one) for one in zip(*pairs, strict=True))
            ratio = statistics.median(mine / plain for mine, plain in pairs)
            ratios.append(ratio)
            print(f"{name:16s} {here:6.1f} ms {there:6.1f} ms {ratio:6.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}, largest {max(ratios):.2f}")


if __name__ == "__main__":
    main()
