"""What names an entry of the volume cache: all files that it is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from datamodules.caching.cache import VolumeCache
from datamodules.readers.hashing import content_hashes, parts_of
from datamodules.readers.volume import read_volume
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import write_nifti

HEADERS = {
    ".mhd": "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_UCHAR\nElementDataFile = {}\n",
    ".nhdr": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 6 5 4\nencoding: raw\ndata file: {}\n\n",
}
HEADERS |= {".mha": HEADERS[".mhd"], ".nrrd": HEADERS[".nhdr"]}  # they may leave the voxels to another file as well


def write_apart(header: Path, values: NDArray[np.uint8]) -> Path:
    """A header beside its voxels (Z, Y, X); equal names give equal headers, whatever the voxels."""
    header.parent.mkdir(parents=True, exist_ok=True)
    header.with_suffix(".raw").write_bytes(values.tobytes())
    header.write_text(HEADERS[header.suffix].format(f"{header.stem}.raw"))
    return header


def volumes(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 2, (4, 5, 6)).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("suffix", HEADERS)
def test_headers_with_other_voxels_are_other_entries(suffix: str, tmp_path: Path) -> None:
    """Number 5: the key held only the header, so the masks of other cases were trained on."""
    first, second = volumes(2)
    files = [write_apart(tmp_path / name / f"mask{suffix}", one) for name, one in (("a", first), ("b", second))]
    assert files[0].read_bytes() == files[1].read_bytes()
    cache = VolumeCache(tmp_path / "cache")

    def kept(file: Path) -> NDArray[Any]:
        return np.asarray(cache.get(file, {}, lambda: read_volume(file).array))

    for file, voxels in zip(files, (first, second), strict=True):
        np.testing.assert_array_equal(kept(file), voxels.T)
        np.testing.assert_array_equal(kept(file), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))).T)


@pytest.mark.parametrize("suffix", HEADERS)
def test_new_voxels_behind_an_old_header_are_seen(suffix: str, tmp_path: Path) -> None:
    first, second = volumes(2)
    file = write_apart(tmp_path / f"scan{suffix}", first)
    folder = tmp_path / "cache"
    VolumeCache(folder).get(file, {}, lambda: read_volume(file).array)
    write_apart(file, second)
    kept = VolumeCache(folder).get(file, {}, lambda: read_volume(file).array)
    np.testing.assert_array_equal(kept, second.T)


def test_each_case_has_its_own_mask(tmp_path: Path) -> None:
    """The same through the data class: six cases whose masks bear one name in folders of their own."""
    masks = volumes(6)
    rows = []
    for case, mask in enumerate(masks):
        image = np.random.default_rng(case).normal(size=(6, 5, 4)).astype(np.float32)
        write_nifti(tmp_path / f"scans/{case}.nii.gz", image, np.diag([-1.0, -1.0, 1.0, 1.0]))
        write_apart(tmp_path / f"masks/{case}/mask.mhd", mask)
        rows.append(f"scans/{case}.nii.gz,masks/{case}/mask.mhd")
    (tmp_path / "pairs.csv").write_text("\n".join(["path,label", *rows]))
    data = Volumes(str(tmp_path), table="pairs.csv", classes="background,lesion", folds=2, image_size=8)
    for case, mask in enumerate(masks):
        np.testing.assert_array_equal(data.true_mask(case), mask.T)
        images = data.table.images_by_case[case]
        stored = data.slices.to_planes(mask.T, data.grid(case))
        np.testing.assert_array_equal([data.read_classes(int(image)) for image in images], stored)


def test_parts_of_a_path(tmp_path: Path) -> None:
    (voxels,) = volumes(1)
    header = write_apart(tmp_path / "series" / "scan.mhd", voxels)
    packed = write_nifti(tmp_path / "scan.nii.gz", voxels)
    broken = tmp_path / "broken.mhd"
    broken.write_text("ElementDataFile = none.raw\n")
    assert parts_of(header) == [header, header.with_suffix(".raw")]
    assert parts_of(header.parent) == [header, header.with_suffix(".raw")]
    assert parts_of(packed) == [packed]
    assert parts_of(broken) == [broken]
    assert content_hashes([broken], None)
    with pytest.raises(SuiteError):
        content_hashes([tmp_path / "none.mhd"], None)
