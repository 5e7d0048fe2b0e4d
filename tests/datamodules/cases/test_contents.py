"""Identical images have equal pixels, for ``fit`` as for ``check``; every file is read once, and that is kept."""

from __future__ import annotations

import gzip
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
import tifffile
from PIL import Image
from pydicom.uid import RLELossless

from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.readers import formats
from datamodules.readers.hashing import array_hash, volume_hash
from datamodules.readers.volume import read_volume
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules import dicom_on_disk
from tests.datamodules.checks.checking import findings
from tests.datamodules.pictures_on_disk import picture, refuse_reading, write_masks, write_pairs
from tests.datamodules.volumes_on_disk import write_nifti

LPS = np.diag([-0.8, -0.9, 3.0, 1.0])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCANSUITE_CACHE", str(folder))
    return folder


# One hash of pixels.


def test_equal_pixels_are_one_image_whatever_holds_them(tmp_path: Path) -> None:
    image = picture(0, np.uint16)
    files = {
        "stored.png": imagecodecs.png_encode(image, level=0),
        "packed.png": imagecodecs.png_encode(image, level=9),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    tifffile.imwrite(tmp_path / "plain.tif", image)
    tifffile.imwrite(tmp_path / "deflate.tif", image, compression="zlib", predictor=True)
    tifffile.imwrite(tmp_path / "big.tif", image, byteorder=">", rowsperstrip=3)
    dicom_on_disk.write(tmp_path / "plain.dcm", image, RescaleSlope=None, RescaleIntercept=None)
    packed = dicom_on_disk.image(image, RescaleSlope=None, RescaleIntercept=None)
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "rle.dcm", enforce_file_format=True)
    hashes = {file.name: array_hash(formats.read(file).array) for file in tmp_path.iterdir()}
    assert len(hashes) == 7
    assert len(set(hashes.values())) == 1, hashes


def test_equal_voxels_are_one_volume_however_their_axes_are_stored(tmp_path: Path) -> None:
    voxels = picture(1, np.int16, (9, 8, 7))
    first = write_nifti(tmp_path / "a.nii.gz", voxels, LPS)
    (tmp_path / "later.nii.gz").write_bytes(gzip.compress(gzip.decompress(first.read_bytes()), 1, mtime=12345))
    write_nifti(tmp_path / "plain.nii", voxels, LPS)
    itk = SimpleITK.ReadImage(str(first))
    for name in ("b.mha", "c.mhd", "d.nrrd", "e.nhdr"):
        SimpleITK.WriteImage(itk, str(tmp_path / name), useCompression=name == "b.mha")
    nibabel.save(nibabel.as_closest_canonical(nibabel.load(first)), tmp_path / "turned.nii.gz")
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(itk, "SAR"), str(tmp_path / "other.nrrd"))
    files = [file for file in sorted(tmp_path.iterdir()) if file.suffix != ".raw"]
    hashes = {file.name: volume_hash(read_volume(file)) for file in files}
    assert len(hashes) == 9
    assert len(set(hashes.values())) == 1, hashes
    assert volume_hash(read_volume(write_nifti(tmp_path / "flipped.nii", voxels[::-1], LPS))) not in hashes.values()


def test_another_type_or_shape_or_value_is_another_image() -> None:
    """As in ``check``: 8 bits widened to 16 are scaled otherwise by the network's preprocessing, so they differ."""
    image = picture(2)
    others = [
        image.astype(np.uint16),
        image.reshape(-1, 40),
        image[..., None],
        np.where(image == image[3, 4], 1, image),
    ]
    hashes = [array_hash(one) for one in (image, *others)]
    assert len(set(hashes)) == 5
    assert array_hash(np.asfortranarray(image)) == hashes[0]
    assert array_hash(image.astype(">u2")) == hashes[1]


# The same split in both verbs.


def checked_split(data: ScanDataModule, folder: Path) -> list[str]:
    findings(data, folder)
    return [str(part) for part in data.table.cases["split"]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_verbs_draw_one_split_that_keeps_recompressed_images_together(seed: int, tmp_path: Path) -> None:
    """Number 3: 9 of 20 pairs stood in two parts, and ``check`` drew another split than ``fit``."""
    root = tmp_path / "scans"
    write_pairs(root)

    def data() -> ImageFolder:
        return ImageFolder(str(root), num_workers=0, split_seed=seed, folds=3)

    trained = data()
    split = trained.table.cases["split"].tolist()
    assert split == checked_split(data(), tmp_path / "check")
    contents = pd.Series(list(trained.contents))
    assert contents.nunique() == 17
    assert pd.Series(split).groupby(contents).nunique().max() == 1
    assert trained.images_in_two_parts == 0


def test_volumes_gzipped_at_another_second_are_one_case(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number in range(12):
        seed = number - 6 if number >= 9 else number
        for folder, kind in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
            shown = picture(seed, kind, (10, 11, 6))
            file = write_nifti(root / folder / f"case_{number:02d}.nii.gz", shown if kind is np.int16 else shown % 2)
            if number >= 9:
                file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), mtime=number))

    def data() -> Volumes:
        return Volumes(str(root), classes=["background", "organ"], num_workers=0, folds=3)

    trained = data()
    split = trained.table.cases["split"].tolist()
    assert split == checked_split(data(), tmp_path / "check")
    assert [split[number] for number in (9, 10, 11)] == [split[number] for number in (3, 4, 5)]
    assert len(trained.contents) == len(trained.table.images)
    assert len(set(trained.contents)) == 9


def test_recompressed_images_in_two_given_parts_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    write_pairs(root)
    names = [f"{'ab'[number % 2]}/{number:02d}" for number in range(20)]
    parts = ["test" if number in (9, 10) else "val" if number in (1, 2, 4) else "train" for number in range(20)]
    pd.DataFrame({"case_id": names, "split": parts}).to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(SuiteError, match=r"1 identical images stand in more than one part.*a/00 .*b/09"):
        _ = ImageFolder(str(root), num_workers=0, split_file=str(tmp_path / "split.csv")).table
    evaluated = ImageFolder(str(root), num_workers=0, split="all_test")
    assert len(evaluated.contents) == 20
    assert len(set(evaluated.contents)) == 17


# Kept.


def test_the_second_run_reads_nothing_and_another_version_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "scans"
    write_pairs(root)
    first = ImageFolder(str(root), num_workers=0)
    contents = list(first.contents)
    (root / "a" / "00.png").write_bytes(imagecodecs.png_encode(picture(99)))
    monkeypatch.chdir(root)
    with monkeypatch.context() as patched:
        read = refuse_reading(patched, but="00.png")
        again = list(ImageFolder(".", num_workers=0).contents)
    assert read == ["00.png"]
    assert again[1:] == contents[1:]
    assert again[0] not in contents
    with monkeypatch.context() as patched:
        refuse_reading(patched)
        assert list(ImageFolder(str(root), num_workers=0).contents) == again
        patched.setattr("datamodules.cases.contents.behaviour", lambda: "mended")
        with pytest.raises(SuiteError, match=r"was read again.*20 of 20 cases"):
            _ = ImageFolder(str(root), num_workers=0).contents


def test_a_mask_that_has_changed_is_read_again(tmp_path: Path) -> None:
    root = write_masks(tmp_path)
    data = MaskFolder(str(root), num_workers=0, classes=["background", "organ"])
    before = list(data.contents)
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(root / "masks" / "03.png")
    with pytest.raises(SuiteError, match=r"masks/03\.png: unknown label value 7.*1 of 12 cases"):
        _ = MaskFolder(str(root), num_workers=0, classes=["background", "organ"], mask_kind="index").table
    named = MaskFolder(str(root), num_workers=0, classes={"background": 0, "organ": 1, "other": 7}, mask_kind="index")
    assert list(named.contents) == before


def test_a_volume_whose_voxels_lie_apart_is_read_again(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        image = SimpleITK.GetImageFromArray(picture(number, np.int16, (5, 8, 8)))
        SimpleITK.WriteImage(image, str(tmp_path / f"{number}.mhd"))
        rows.append({"path": f"{number}.mhd", "label": "ab"[number % 2], "case_id": f"v{number}"})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)

    def data() -> ImageTable:
        return ImageTable(str(tmp_path), num_workers=0, bags=True, split="all_test")

    before = list(data().contents)
    assert len(before) == 30
    (tmp_path / "2.raw").write_bytes(picture(77, np.int16, (5, 8, 8)).tobytes())
    after = list(data().contents)
    assert [one == other for one, other in zip(before, after, strict=True)] == [not 10 <= row < 15 for row in range(30)]
    assert array_hash(read_volume(tmp_path / "2.mhd").array) != array_hash(picture(2, np.int16, (5, 8, 8)))


def test_without_a_cache_the_answers_are_the_same(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    write_pairs(root)
    (tmp_path / "taken").write_text("")
    kept = list(ImageFolder(str(root), num_workers=0).contents)
    assert list(ImageFolder(str(root), num_workers=0, cache_dir=str(tmp_path / "taken" / "cache")).contents) == kept


def test_it_is_said_when_reading_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "scans"
    write_pairs(root)
    caplog.set_level("INFO")
    _ = ImageFolder(str(root), num_workers=0, cache_dir=str(tmp_path / "one")).table
    assert "images once" not in caplog.text
    monkeypatch.setattr("datamodules.cases.contents._SAY_AFTER", -1.0)
    _ = ImageFolder(str(root), num_workers=0, cache_dir=str(tmp_path / "two")).table
    said = [record.message for record in caplog.records if "images" in record.message and "read" in record.message]
    assert len(said) == 2
    assert said[0].startswith("reading 20 images once")
    assert said[1].startswith("20 images read in")
