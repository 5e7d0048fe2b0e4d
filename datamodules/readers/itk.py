"""NRRD and MetaImage (MHA, MHD with its raw file), through ``SimpleITK``."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.grid import Grid, Volume, check_volume, geometry_header, is_invertible
from datamodules.readers.itk_header import ItkHeader, read_header
from datamodules.readers.limits import Limits
from datamodules.readers.unpack import Unpacked
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    import SimpleITK


def decode_itk(path: Path, opened: Unpacked, limits: Limits, *, decode: bool, labels: bool = False) -> Grid:
    """Decode an open file: its grid, or with ``decode`` a :class:`~datamodules.readers.grid.Volume`.

    ITK's axes run to the patient's left and back; the affine given here is in RAS mm. A flat image has Z = 1, and a
    fourth axis or the samples of a voxel are the last axis of the array.

    Args:
        path: of the file, for messages and for the reader.
        opened: the file; where it had to be unpacked it is put into a file that ITK can read.
        limits: checked in the header.
        decode: read the voxels too.
        labels: the file is a mask; its values are the same.

    Raises:
        SuiteError: the affine cannot be inverted, or there are frames along several axes.
        ValueError, RuntimeError: the file is damaged, truncated, too large or not of these kinds.
    """
    if not opened.packed:
        header = read_header(opened.stream, path, limits)
        return _read(path, path, header, limits, decode=decode)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"volume{Path(opened.name).suffix.lower()}"
        with plain.open("wb") as file:
            shutil.copyfileobj(opened.stream, file, 1 << 20)
        with plain.open("rb") as again:
            header = read_header(again, plain, limits)
        if header.data_file is not None:
            raise ValueError("its voxels are in another file, which a packed header cannot have beside it")
        return _read(path, plain, header, limits, decode=decode)


def _read(path: Path, file: Path, header: ItkHeader, limits: Limits, *, decode: bool) -> Grid:
    import SimpleITK

    _quiet()
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(header.reader)
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    size, samples = reader.GetSize(), reader.GetNumberOfComponents()
    if "complex" in SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()):
        raise ValueError("complex voxels are not read")
    check_volume((*size, samples), header.itemsize, limits)
    frames = tuple(count for count in (*size[3:], samples) if count > 1)
    if len(frames) > 1:
        raise SuiteError(f"{path}: has frames along several axes (shape {(*size, samples)}): save them along one")
    affine = _affine(reader, header.millimetres)
    if not is_invertible(affine):
        raise SuiteError(f"{path}: its affine cannot be inverted: repair its spacing or directions")
    x, y, z = (*size, 1)[:3]
    grid = Grid(str(path), (x, y, z), affine, geometry_header((x, y, z, *frames), affine))
    if not decode:
        return grid
    # ITK puts the samples of a voxel together, wherever they stand in the file.
    as_stored = header.sizes == tuple(size) if samples == 1 else header.sizes == (samples, *size)
    plain = header.start is not None and as_stored and (samples == 1 or header.samples_first)
    if header.encoding == "ascii" and not plain:
        raise ValueError("voxels written as text are read with their samples in front only")
    if header.encoding != "raw" and plain:
        kind = _number_type(SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()), header)
        data = file if header.data_file is None else file.with_name(header.data_file)
        # Samples are the fastest axis of the file and the last of the array.
        values = (_inflated if header.encoding == "gzip" else _spelt)(data, header, kind).reshape(
            (samples, *size), order="F"
        )
        values = np.moveaxis(values, 0, -1).reshape((x, y, z, *frames), order="F")
        values = values.astype(kind.newbyteorder("="), copy=False)
    else:
        values = SimpleITK.GetArrayFromImage(reader.Execute())
        if samples > 1:
            values = np.moveaxis(values, -1, 0)  # samples in front: then all axes are turned round
        values = values.transpose().reshape((x, y, z, *frames), order="F")
    return Volume(grid.path, grid.shape, grid.affine, grid.header, values)


def _number_type(described: str, header: ItkHeader) -> np.dtype[Any]:
    """NumPy's type for ITK's ``vector of 16-bit signed integer``, in the file's byte order."""
    match = re.search(r"(\d+)-bit (unsigned|signed|float)", described)
    if match is None or int(match[1]) != 8 * header.itemsize:
        raise ValueError(f"voxels of type {described!r} are not read")
    kind = {"unsigned": "u", "signed": "i", "float": "f"}[match[2]]
    return np.dtype(f"{'>' if header.big_endian else '<'}{kind}{header.itemsize}")


def _inflated(file: Path, header: ItkHeader, kind: np.dtype[Any]) -> NDArray[Any]:
    """The voxels of a gzip or zlib stream, no more than promised, with its checksum checked: ITK passes over it.

    Raises:
        ValueError: there are fewer voxels than the header says.
        RuntimeError: there are more, or the stream is damaged or cut off.
    """
    import imagecodecs

    wanted = math.prod(header.sizes) * header.itemsize
    with file.open("rb") as stream:
        stream.seek(header.start or 0)
        packed = stream.read()
    unpack = imagecodecs.gzip_decode if packed[:2] == b"\x1f\x8b" else imagecodecs.deflate_decode
    found = unpack(packed, out=wanted)
    if len(found) != wanted:
        raise ValueError("it has another number of voxels than its header says")
    return np.frombuffer(found, kind)


def _spelt(file: Path, header: ItkHeader, kind: np.dtype[Any]) -> NDArray[Any]:
    """The voxels of a file that has them as text, which teem parses into a buffer without looking how long it is.

    Raises:
        ValueError, OverflowError: there are fewer or more than the header says, or what is no number of its type.
    """
    with file.open("rb") as stream:
        stream.seek(header.start or 0)
        words = stream.read().split()
    if len(words) != math.prod(header.sizes):
        raise ValueError("it has another number of voxels than its header says")
    return np.array([float(word) if kind.kind == "f" else int(word) for word in words], kind)


def _affine(reader: SimpleITK.ImageFileReader, millimetres: float) -> NDArray[np.float64]:
    """(4, 4) voxel index -> RAS mm from ITK's spacing, directions and origin."""
    axes = reader.GetDimension()
    direction = np.array(reader.GetDirection(), np.float64).reshape(axes, axes)
    kept = min(axes, 3)
    affine = np.eye(4)
    affine[:kept, :kept] = direction[:kept, :kept] * np.array(reader.GetSpacing()[:kept])
    affine[:kept, 3] = reader.GetOrigin()[:kept]
    affine[:3] *= millimetres
    affine[:2] *= -1  # left and posterior become right and anterior
    return affine


@cache
def _quiet() -> None:
    """ITK's warnings about odd headers are common and harmless; a line on standard error for each is neither."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
