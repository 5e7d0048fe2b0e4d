"""For every data class and format: what validation, the last evaluation, ``test``, ``predict`` and the caches show.

All of it is the same for one file, bit for bit. The fast tests have each format and each data class; all pairs of them
are slow.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage

from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.readers.raster import write_png
from datamodules.readers.volume import read_grid, write_volume
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from tests.datamodules import dicom_on_disk
from tests.datamodules.boxes_on_disk import Box, Picture, coco_content, voc_text, yolo_text
from tests.datamodules.volumes_on_disk import AFFINES, itk_image, write_nifti
from tests.tasks.seen import check_all_ways

SETTINGS: dict[str, Any] = {"num_workers": 0, "batch_size": 3, "augment": "none", "folds": 2, "test_fraction": 0.2}
CASES = 5
CLASS_NAMES = ["cyst", "tumour"]
HU: dict[str, Any] = {"window": "0:1600"}
Array = NDArray[Any]


def itk(file: Path, array: Array, affine: NDArray[np.float64]) -> None:
    """An array (X, Y, Z) as ITK writes it; packed where the format can."""
    SimpleITK.WriteImage(itk_image(array, affine), str(file), useCompression=file.suffix in (".nrrd", ".mha"))


# Flat images.


class Flat(NamedTuple):
    """A format of flat images: the end of its names, the values to draw, how they are written, flags it needs."""

    suffix: str
    values: tuple[Any, ...]  # type, lowest, highest, and perhaps channels
    write: Callable[[Path, Array, int], Any]
    flags: Mapping[str, Any] = {}

    def draw(self, case: int, size: tuple[int, int]) -> Array:
        kind, low, high, *channels = self.values
        rng = np.random.default_rng([3, case])
        if kind == "float32":
            return np.asarray((low + (high - low) * rng.random(size)).astype(np.float32))
        return rng.integers(low, high, (*size, *channels)).astype(kind)


def png(file: Path, array: Array, case: int) -> None:
    write_png(file, array)


def jpeg(file: Path, array: Array, case: int) -> None:
    Image.fromarray(array).save(file)


def on_its_side(file: Path, array: Array, case: int) -> None:
    """A photograph that its EXIF block turns upright: a quarter to the right."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(array)).save(file, exif=exif)


def tiff(file: Path, array: Array, case: int) -> None:
    tifffile.imwrite(file, array, photometric="minisblack", planarconfig="contig" if array.ndim == 3 else None)


def ct(file: Path, array: Array, case: int) -> None:
    dicom_on_disk.write(file, array, PatientID=f"P{case}", RescaleSlope=2, RescaleIntercept=-1024)


def radiograph(file: Path, array: Array, case: int) -> None:
    """12 bits of 16, white is 0, no suffix."""
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "Modality": "DX"}
    dicom_on_disk.write(file, array, PatientID=f"P{case}", BitsStored=12, HighBit=11, **inverted)


def slab(file: Path, array: Array, case: int) -> None:
    """A volume of one slice."""
    volume = array.T[:, :, None]
    if file.name.endswith((".nii", ".nii.gz")):
        write_nifti(file, volume, AFFINES["lps"])
    else:
        itk(file, volume, AFFINES["lps"])


FLAT = {
    "png8": Flat(".png", ("uint8", 0, 256), png),
    "png16": Flat(".png", ("uint16", 0, 65536), png),
    "rgb": Flat(".png", ("uint8", 0, 256, 3), png),
    "rgba16": Flat(".png", ("uint16", 0, 65536, 4), png, {"percentiles": "1,99"}),
    "jpeg": Flat(".jpg", ("uint8", 0, 256, 3), jpeg),
    "exif": Flat(".jpeg", ("uint8", 0, 256, 3), on_its_side),
    "tiff": Flat(".tif", ("float32", 0, 1), tiff),
    "five": Flat(".tiff", ("uint16", 0, 9000, 5), tiff, {"value_range": [0, 9000]}),
    "dicom": Flat(".dcm", ("int16", 0, 2048), ct, HU),
    "dicom12": Flat("", ("uint16", 0, 4096), radiograph),
    "nifti": Flat(".nii", ("int16", -1000, 1000), slab, HU),
    "nifti_gz": Flat(".nii.gz", ("float32", -1000, 1000), slab, HU),
    "nrrd": Flat(".nrrd", ("int16", -1000, 1000), slab, HU),
    "mha": Flat(".mha", ("uint16", 0, 3000), slab, HU),
    "mhd": Flat(".mhd", ("int16", -1000, 1000), slab, HU),
}


def write_flat(form: Flat, root: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """An image for each name (without suffix), of unlike sizes; name -> (H, W)."""
    sizes = {name: (19 + 4 * case, 12 + (29 - 5 * case) % 37) for case, name in enumerate(names)}
    for case, (name, size) in enumerate(sizes.items()):
        file = root / f"{name}{form.suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        form.write(file, form.draw(case, size), case)
    return sizes


NAMES = [f"s{case}" for case in range(CASES)]
LABELS = [CLASS_NAMES[case % 2] for case in range(CASES)]
Made = tuple[Callable[..., Any], list[Path]]  # flags -> data module, and what predict is given


def made(kind: Any, root: Path, inputs: Path, **own: Any) -> Made:
    return lambda **flags: kind(str(root), **{**own, **flags}), [inputs]


def with_boxes(form: Flat, folder: Path) -> list[Picture]:
    sizes = write_flat(form, folder, NAMES)
    return [
        Picture(name, "", size, [Box(label, (1, 2, 9, 8))])
        for (name, size), label in zip(sizes.items(), LABELS, strict=True)
    ]


def image_folder(form: Flat, root: Path) -> Made:
    write_flat(form, root, [f"{label}/{name}" for name, label in zip(NAMES, LABELS, strict=True)])
    return made(ImageFolder, root, root, image_size=[24, 28])


def image_table(form: Flat, root: Path) -> Made:
    write_flat(form, root / "images", NAMES)
    rows = [f"images/{name}{form.suffix},{label}" for name, label in zip(NAMES, LABELS, strict=True)]
    (root / "cases.csv").write_text("\n".join(["path,label", *rows]))
    return made(ImageTable, root, root / "cases.csv", table="cases.csv", image_size=[24, 28])


def bags(form: Flat, root: Path) -> Made:
    """Three images a case, the last has one; two of them are evaluated."""
    files = [f"s{number}" for number in range(3 * CASES - 2)]
    write_flat(form, root / "images", files)
    rows = [
        f"images/{file}{form.suffix},{NAMES[number // 3]},{LABELS[number // 3]}" for number, file in enumerate(files)
    ]
    (root / "cases.csv").write_text("\n".join(["path,case_id,label", *rows[::-1]]))
    flags: dict[str, Any] = {"image_size": [24, 28], "bags": True, "bag_limit": 2}
    return made(ImageTable, root, root / "cases.csv", table="cases.csv", **flags)


def mask_folder(form: Flat, root: Path) -> Made:
    (root / "masks").mkdir(parents=True)
    for name, size in write_flat(form, root / "images", NAMES).items():
        write_png(root / "masks" / f"{name}.png", np.random.default_rng(4).integers(0, 2, size).astype(np.uint8))
    return made(MaskFolder, root, root / "images", classes="background,cell", patch_size=20)


def coco(form: Flat, root: Path) -> Made:
    content = coco_content(with_boxes(form, root / "images"))
    for image in content["images"]:
        image["file_name"] = image["file_name"].removesuffix(".png") + form.suffix
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(content))
    return made(Coco, root, root / "images")


def voc(form: Flat, root: Path) -> Made:
    (root / "Annotations").mkdir(parents=True)
    for one in with_boxes(form, root / "JPEGImages"):
        text = voc_text(one).replace(f"{one.name}.png", f"{one.name}{form.suffix}")
        (root / "Annotations" / f"{one.name}.xml").write_text(text)
    return made(Voc, root, root / "JPEGImages", image_size=[24, 28])


def yolo(form: Flat, root: Path) -> Made:
    (root / "labels").mkdir(parents=True)
    for one in with_boxes(form, root / "images"):
        (root / "labels" / f"{one.name}.txt").write_text(yolo_text(one))
    (root / "data.yaml").write_text(yaml.safe_dump({"names": CLASS_NAMES}))
    return made(Yolo, root, root / "images", patch_size=20)


def instance_masks(form: Flat, root: Path) -> Made:
    (root / "masks").mkdir(parents=True)
    for name, size in write_flat(form, root / "images", NAMES).items():
        mask = np.zeros(size, np.uint16)
        mask[2:8, 1:9], mask[10:12, 3:7] = 1, 2
        write_png(root / "masks" / f"{name}.png", mask)
    return made(InstanceMasks, root, root / "images", image_size=40, patch_size=20)


DATA = {
    "ImageFolder": image_folder, "ImageTable": image_table, "bags": bags, "MaskFolder": mask_folder, "Coco": coco,
    "Voc": voc, "Yolo": yolo, "InstanceMasks": instance_masks,
}  # fmt: skip


def some_fast(*lists: Iterable[Any], every: int) -> list[Any]:
    """All combinations, of which every so many-th is fast; each word of each list is in one of those."""
    pairs = []
    for places in product(*(list(enumerate(words)) for words in lists)):
        slow = sum(number for number, _ in places) % every > 0
        pairs.append(pytest.param(*(word for _, word in places), marks=[pytest.mark.slow] if slow else []))
    return pairs


@pytest.mark.parametrize(("name", "form"), some_fast(DATA, FLAT, every=5))
def test_flat_images(name: str, form: str, tmp_path: Path) -> None:
    build, inputs = DATA[name](FLAT[form], tmp_path / "data")
    shown = check_all_ways(partial(build, **SETTINGS, **FLAT[form].flags), inputs, tmp_path / "caches")
    assert len(shown) == (2 * CASES - 1 if name == "bags" else CASES)


# Volumes.


def enhanced(file: Path, array: Array, affine: Array) -> None:
    """An enhanced CT, all slices in one file."""
    slices = np.ascontiguousarray(array.transpose(2, 1, 0))
    data = dicom_on_disk.image(slices[0], SOPClassUID=EnhancedCTImageStorage, PatientID=file.stem)
    data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    measures, orientation, frames = Dataset(), Dataset(), []
    measures.PixelSpacing, measures.SliceThickness = [float(affine[1, 1]), float(affine[0, 0])], float(affine[2, 2])
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([orientation])
    for number in range(len(slices)):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number * float(affine[2, 2])]
        frame.PlanePositionSequence = Items([position])
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = Items([shared]), Items(frames)
    data.NumberOfFrames = len(slices)
    data.PixelData = slices.tobytes()
    data.save_as(file, enforce_file_format=True)


def nifti(file: Path, array: Array, affine: Array) -> None:
    write_nifti(file, array, affine)


def scaled(file: Path, array: Array, affine: Array) -> None:
    """Values with a slope, stored in the other byte order."""
    image = nibabel.Nifti1Image(array.astype(">i2"), affine, nibabel.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, file)


def zipped(file: Path, array: Array, affine: Array) -> None:
    inner = file.with_name("inside.nii")
    write_nifti(inner, array, affine)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, f"scans/{file.stem}.nii")
    inner.unlink()


def pages(file: Path, array: Array, affine: Array) -> None:
    tifffile.imwrite(file, np.ascontiguousarray(array.transpose(2, 1, 0)), photometric="minisblack")


def series(folder: Path, array: Array, affine: Array) -> None:
    slices = np.ascontiguousarray(array.transpose(2, 1, 0))
    dicom_on_disk.write_series(folder, slices, uid=f"1.2.{folder.name[1:]}", PatientID=folder.name)


def two_sequences(file: Path, array: Array, affine: Array) -> None:
    for number in range(2):
        write_nifti(file.with_name(f"{file.stem}_{number:04d}.nii.gz"), array * (1 - 2 * number), affine)


def frames(file: Path, array: Array, affine: Array) -> None:
    write_nifti(file, np.stack([array, array[::-1]], axis=-1), affine)


VOLUMES: dict[str, tuple[str, str, Callable[[Path, Array, Array], None]]] = {
    "nii": (".nii", "int16", nifti),
    "nii.gz": (".nii.gz", "float32", nifti),
    "slope": (".nii", "int16", scaled),
    "bytes": (".nii.gz", "uint8", nifti),
    "int32": (".nii", "int32", nifti),
    "nrrd": (".nrrd", "uint16", itk),
    "nhdr": (".nhdr", "int16", itk),
    "mha": (".mha", "float32", itk),
    "mhd": (".mhd", "int16", itk),
    "zip": (".zip", "int16", zipped),
    "tiff": (".tif", "uint16", pages),
    "dicom_series": ("", "int16", series),
    "dicom_frames": (".dcm", "int16", enhanced),
    "sequences": (".nii", "int16", two_sequences),
    "frames": (".nii", "int16", frames),
}


def write_volumes(form: str, root: Path) -> list[Path]:
    """Volumes of unlike size, masks on their grids, and a table; the (first) files."""
    suffix, kind, write = VOLUMES[form]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    rows = ["path,label"]
    files = []
    for case, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        rng = np.random.default_rng([5, case])
        array = rng.integers(0, 200, (9 + 3 * case, 17 - 2 * case, 3)).astype(kind)
        affine = np.diag([0.7, 0.8, 2.5, 1.0])
        file = root / "imagesTr" / f"{name}{suffix}"
        write(file, array, affine)
        if form == "sequences":
            file = file.with_name(f"{name}_0000.nii.gz")
        grid = read_grid(file)
        write_volume(root / "labelsTr" / f"{name}.nii.gz", rng.integers(0, 2, grid.shape).astype(np.uint8), grid)
        rows.append(f"imagesTr/{file.name},{label}")
        files.append(file)
    (root / "cases.csv").write_text("\n".join(rows))
    return files


@pytest.mark.parametrize(("form", "size"), some_fast(VOLUMES, ["mm", "pixels"], every=2))
def test_volumes(form: str, size: str, tmp_path: Path) -> None:
    """Also arrays from an empty cache, from a filled one, and straight from the files."""
    root = tmp_path / "data"
    flags: dict[str, Any] = {"spacing": [1.1, 0.5], "neighbors": 1} if size == "mm" else {"image_size": 12, **HU}
    files = write_volumes(form, root)
    build = partial(Volumes, str(root), classes="background,organ", **SETTINGS, **flags)
    inputs = files if form == "dicom_frames" else [root / "imagesTr"]
    assert len(check_all_ways(build, inputs, tmp_path / "caches")) == 3 * CASES


# ImageTable takes volumes of one file (or series); a DICOM file with frames it refuses (``formats.is_stack``).
TABLE_VOLUMES = [form for form in VOLUMES if form not in ("sequences", "dicom_frames")]


@pytest.mark.parametrize(("form", "bags"), some_fast(TABLE_VOLUMES, [False, True], every=4))
def test_volumes_with_a_target(form: str, bags: bool, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_volumes(form, root)
    flags: dict[str, Any] = {"spacing": 0.6} if bags else {"image_size": [11, 25], **HU}
    build = partial(ImageTable, str(root), table="cases.csv", bags=bags, **SETTINGS, **flags)
    assert len(check_all_ways(build, [root / "cases.csv"], tmp_path / "caches")) == 3 * CASES
