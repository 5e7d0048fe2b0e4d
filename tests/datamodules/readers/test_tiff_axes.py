"""Channels and time points of ImageJ, OME and tifffile are no slices; samples are alpha where ExtraSamples says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from datamodules.cases.table import table_of_images
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.preprocess import Preprocess
from datamodules.readers import formats
from datamodules.readers.volume import read_grid, read_volume, write_volume
from datamodules.samples.slices import SliceSpec
from datamodules.segmentation.volume_inputs import VolumeCases
from scansuite.errors import SuiteError

H, W = 9, 7
KINDS: dict[str, dict[str, Any]] = {"imagej": {"imagej": True}, "ome": {"ome": True}, "shaped": {}}


def values(*shape: int, kind: Any = np.uint16) -> NDArray[Any]:
    return np.random.default_rng(len(shape)).integers(0, 250, shape).astype(kind)


def write(file: Path, array: NDArray[Any], axes: str, kind: str, **more: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    path = file.with_suffix(".ome.tif") if kind == "ome" else file.with_suffix(".tif")
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, metadata={"axes": axes}, **KINDS[kind], **more)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_channels_of_one_image_are_its_last_axis(tmp_path: Path, kind: str, channels: int) -> None:
    array = values(channels, H, W)
    file = write(tmp_path / "a", array, "CYX", kind)
    scan = formats.read(file)
    assert np.array_equal(scan.array, array.transpose(1, 2, 0))
    assert formats.count_frames(file) == 1
    assert not formats.is_stack(file)
    seen = Preprocess(channels=channels)(scan)  # none of them is alpha
    assert np.allclose(seen * 65535, scan.array, atol=1e-2)
    if channels in (2, 4):
        with pytest.raises(SuiteError, match=rf"a\S*: has {channels} channels, but the model takes 3, and no rule"):
            Preprocess(channels=3)(scan)
    volume = read_volume(file)
    assert np.array_equal(volume.array, array.transpose(2, 1, 0)[:, :, None])
    assert read_grid(file).header.get_data_shape() == (W, H, 1, channels)


@pytest.mark.parametrize(
    ("kind", "axes"),
    [("imagej", "ZCYX"), ("ome", "ZCYX"), ("ome", "CZYX"), ("shaped", "ZCYX"), ("shaped", "CZYX")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_channels_of_slices_are_the_last_axis_of_a_volume(tmp_path: Path, kind: str, axes: str, packed: bool) -> None:
    array = values(4, 3, H, W)  # slices, channels
    stored = array if axes == "ZCYX" else array.transpose(1, 0, 2, 3)
    more = {"compression": "zlib"} if packed else {}
    file = write(tmp_path / "a", np.ascontiguousarray(stored), axes, kind, **more)
    volume = read_volume(file)
    assert volume.shape == read_grid(file).shape == (W, H, 4)
    assert np.array_equal(volume.array, array.transpose(3, 2, 0, 1))
    assert np.array_equal(formats.read(file, frame=2).array, array[2].transpose(1, 2, 0))
    assert formats.count_frames(file) == 4
    with pytest.raises(SuiteError, match="it has 4 pages, and one image is wanted"):
        formats.read(file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", ["TYX", "TZYX", "TCYX"])
def test_time_points_are_refused_by_name(tmp_path: Path, kind: str, axes: str) -> None:
    file = write(tmp_path / "a", values(*[5, 2][: len(axes) - 2], H, W), axes, kind)
    for read in (read_volume, read_grid, formats.read, lambda path: formats.read(path, frame=1)):
        with pytest.raises(
            SuiteError, match=r"it has 5 time points, which are no slices: save one of them a file"
        ) as error:
            read(file)
        assert str(error.value).startswith(str(file))


def test_channels_of_several_samples_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a", values(2, H, W, 3, kind=np.uint8), "CYXS", "imagej")
    with pytest.raises(SuiteError, match="it has 2 channels of 3 samples each: save one channel a file"):
        read_volume(file)


@pytest.mark.parametrize("kind", KINDS)
def test_slices_stay_slices_and_samples_colours(tmp_path: Path, kind: str) -> None:
    array = values(6, H, W)
    assert np.array_equal(read_volume(write(tmp_path / "z", array, "ZYX", kind)).array, array.transpose(2, 1, 0))
    colour = values(6, H, W, 3, kind=np.uint8)
    file = write(tmp_path / "rgb", colour, "ZYXS", kind)
    assert np.array_equal(read_volume(file).array, colour.transpose(2, 1, 0, 3))
    assert np.array_equal(formats.read(file, frame=3).array, colour[3])


def test_pages_of_ome_lie_where_tiffdata_says(tmp_path: Path) -> None:
    array = values(6, H, W)
    order = [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]  # (slice, channel) of each page
    blocks = "".join(f'<TiffData IFD="{ifd}" FirstZ="{z}" FirstC="{c}"/>' for ifd, (z, c) in enumerate(order))
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" SizeX="{W}" SizeY="{H}" SizeZ="3" SizeC="2" SizeT="1" '
        f'Type="uint16">{blocks}</Pixels></Image></OME>'
    )
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(file, array, photometric="minisblack", description=text, metadata=None)
    volume = read_volume(file)
    assert np.array_equal(volume.array, tifffile.imread(file).transpose(3, 2, 0, 1))
    for page, (z, c) in enumerate(order):
        assert np.array_equal(volume.array[:, :, z, c], array[page].T)
    file.write_bytes(file.read_bytes().replace(b'SizeC="2"', b'SizeC="4"'))
    with pytest.raises(SuiteError, match="it describes 12 pages, but has 6"):
        read_volume(file)


def test_images_of_their_own_are_no_slices(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for number in range(2):
            writer.write(values(3, H, W) + number, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(SuiteError, match="it has 2 images, which are no slices: save one a file"):
        read_volume(tmp_path / "a.ome.tif")


def samples(file: Path, count: int, extra: list[Any] | None, *, planes: bool = False) -> NDArray[Any]:
    array = values(H, W, count, kind=np.uint8)
    first = 3 if extra is not None and count - len(extra) == 3 else 1
    tifffile.imwrite(
        file,
        np.ascontiguousarray(array.transpose(2, 0, 1)) if planes else array,
        photometric="rgb" if first == 3 else "minisblack",
        planarconfig="separate" if planes else "contig",
        extrasamples=extra,
    )
    return array


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize(
    ("count", "extra", "alpha"),
    [
        (2, ["unspecified"], False),
        (4, ["unspecified"] * 3, False),
        (4, ["unspecified"], False),  # RGB and one more
        (2, ["unassalpha"], True),
        (4, ["unassalpha"], True),
        (4, ["assocalpha"], True),
        (4, ["assocalpha", "unspecified", "unspecified"], True),
        (5, ["unspecified", "assocalpha"], True),
    ],
)
def test_samples_are_lost_only_where_extrasamples_says_alpha(
    tmp_path: Path, count: int, extra: list[str], alpha: bool, planes: bool
) -> None:
    file = tmp_path / "a.tif"
    array = samples(file, count, extra, planes=planes)
    place = count - len(extra) + next((number for number, one in enumerate(extra) if one.endswith("alpha")), 0)
    kept = np.delete(array, place, axis=2) if alpha else array
    scan = formats.read(file)
    wanted = kept.shape[2]
    assert np.allclose(Preprocess(channels=wanted)(scan) * 255, kept, atol=1e-3)
    found = read_volume(file).array
    assert np.array_equal(found.reshape(W, H, wanted), kept.transpose(1, 0, 2))
    folder = tmp_path / "set"
    for number in range(12):
        target = folder / "ab"[number % 2] / f"{number}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        samples(target, count, extra, planes=planes)
    if not planes:
        data = ImageFolder(str(folder), num_workers=0, cache_dir=str(tmp_path / "cache"), split="all_test")
        assert data.in_channels == wanted
        assert data.preprocess(data.read(0)).shape[2] == wanted


def test_png_with_alpha_loses_it_as_before(tmp_path: Path) -> None:
    from datamodules.readers.raster import write_png

    for count, wanted in ((2, 1), (4, 3)):
        array = values(H, W, count, kind=np.uint8)
        write_png(tmp_path / "a.png", array)
        scan = formats.read(tmp_path / "a.png")
        assert np.array_equal(scan.array, array)
        assert np.allclose(Preprocess(channels=wanted)(scan) * 255, array[:, :, :wanted], atol=1e-3)


def test_frames_of_a_flat_volume_are_no_alpha(tmp_path: Path) -> None:
    grid = read_volume(write(tmp_path / "a", values(4, H, W, kind=np.uint8), "CYX", "ome"))
    write_volume(tmp_path / "a.nii.gz", grid.array, grid)
    scan = formats.read(tmp_path / "a.nii.gz")
    assert Preprocess(channels=4)(scan).shape == (H, W, 4)
    with pytest.raises(SuiteError, match="has 4 channels, but the model takes 3"):
        Preprocess(channels=3)(scan)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_samples_of_10_12_or_14_bits_have_the_range_of_their_bits(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    ramp = np.linspace(0, top, H * 8).astype(np.uint16).reshape(H, 8)
    packed = np.packbits(
        np.unpackbits(ramp.astype(">u2").view(np.uint8).reshape(H, 8, 2), axis=2)[:, :, -bits:].ravel()
    )
    tifffile.imwrite(tmp_path / "full.tif", ramp, photometric="minisblack", rowsperstrip=H, metadata=None)
    with tifffile.TiffFile(tmp_path / "full.tif") as opened:
        tags = opened.pages.first.tags
        places = {name: tags[name].valueoffset for name in ("BitsPerSample", "StripByteCounts")}
        start = opened.pages.first.dataoffsets[0]
        wide = tags["StripByteCounts"].dtype == 4
    data = bytearray((tmp_path / "full.tif").read_bytes())
    data[places["BitsPerSample"] : places["BitsPerSample"] + 2] = bits.to_bytes(2, "little")
    count = len(packed).to_bytes(4 if wide else 2, "little")
    data[places["StripByteCounts"] : places["StripByteCounts"] + len(count)] = count
    data[start : start + len(packed)] = packed.tobytes()
    (tmp_path / "packed.tif").write_bytes(data)
    scan = formats.read(tmp_path / "packed.tif")
    assert np.array_equal(scan.array, ramp)
    assert np.allclose(Preprocess(channels=1)(scan)[:, :, 0], ramp / top, atol=1e-6)
    # 16 bits of which OME says that so many hold data.
    tifffile.imwrite(tmp_path / "a.ome.tif", ramp, ome=True, metadata={"axes": "YX", "SignificantBits": bits})
    scan = formats.read(tmp_path / "a.ome.tif")
    assert np.allclose(Preprocess(channels=1)(scan)[:, :, 0], ramp / top, atol=1e-6)


def test_volumes_with_channels_are_cut_and_predicted_alike(tmp_path: Path) -> None:
    array = values(4, 2, 32, 32)
    for case in range(6):
        write(tmp_path / f"{case}", np.roll(array, case, axis=3), "ZCYX", "ome")
    rows = "".join(f"{case}.ome.tif,{'ab'[case % 2]}\n" for case in range(6))
    (tmp_path / "table.csv").write_text(f"path,label\n{rows}")
    shared: dict[str, Any] = {"num_workers": 0, "cache_dir": str(tmp_path / "cache"), "split": "all_test"}
    data = ImageTable(str(tmp_path), table="table.csv", bags=True, image_size=32, **shared)
    assert data.in_channels == 2
    trained = data.preprocess(data.read(1))
    import pandas as pd

    table = table_of_images(pd.DataFrame({"path": [str(tmp_path / "0.ome.tif")], "case_id": ["0"]}))
    predicted = VolumeCases(table, data.preprocess, SliceSpec()).images(0)[1]
    assert np.array_equal(data.preprocess(predicted), trained)
