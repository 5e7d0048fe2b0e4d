"""Layouts of folders: data classes that could read a folder for which none was named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from datamodules.cases.bids import is_bids
from datamodules.cases.side_by_side import side_by_side, told_apart
from datamodules.readers.format_table import by_name
from datamodules.readers.formats import is_image
from datamodules.readers.listing import entries, path_below
from datamodules.readers.volume import is_volume, may_be_volume

# What each class wants to find.
WANTED = {
    "ImageFolder": "a folder of images for each class",
    "ImageTable": "a table (.csv, .tsv, .parquet) of paths and labels",
    "MedMNIST": "the .npz file of a MedMNIST set",
    "MaskFolder": "images/ beside masks/ or labels/, or masks beside their images (case1.png with case1_mask.png)",
    "Volumes": "volumes in imagesTr/ beside labelsTr/, or masks beside their images",
    "InstanceMasks": "images/ beside masks/ or labels/ in which each object has a number",
    "Bids": "BIDS: sub-01/anat/sub-01_T1w.nii.gz",
    "BidsImages": "BIDS of flat images: sub-01/micr/sub-01_sample-A_SEM.png",
    "Coco": "JSON annotations",
    "Voc": "XML annotations",
    "BoxTable": "a table (.csv, .tsv, .parquet) of paths and boxes",
    "Yolo": "a data.yaml, or images/ beside text files",
}
_TABLES = (".csv", ".tsv", ".parquet")
_MASKS = ("masks", "labels")
_LOOKED_AT = 50  # entries of a folder


def classes_for(path: Path) -> dict[str, str]:
    """The data classes that would read a folder or file, and what there is in it that they read.

    The first entries are looked at, and of no file more than its name and first bytes.
    """
    if path.is_file():
        return _of_files([path])
    if is_bids(path):
        return {
            name: f"folders of subjects as BIDS has them{'' if name == 'Bids' else ', with flat images'}"
            for name in ("Bids", *(("BidsImages",) if _has_flat_images(path) else ()))
        }
    inside = entries(path)
    files = [Path(entry.path) for entry in inside if entry.is_file()]
    folders = {entry.name: Path(entry.path) for entry in inside if entry.is_dir()}
    found = _of_files(files)
    if {"imagesTr", "labelsTr"} <= folders.keys():
        found["Volumes"] = "imagesTr/ beside labelsTr/"
    masks = next((name for name in _MASKS if name in folders), None)
    if "images" in folders and masks is not None:
        lying = f"images/ beside {masks}/"
        if _some(folders[masks], ".txt"):
            found["Yolo"] = lying
        elif any(may_be_volume(file.name) for file in _files(folders["images"])):
            found["Volumes"] = f"{lying} (with --data.images images --data.labels {masks})"
        else:
            found |= {"MaskFolder": lying, "InstanceMasks": lying}
    if not masks or "images" not in folders:
        found |= _beside(path)
    for name in ("Annotations", "annotations"):
        if name in folders and _some(folders[name], ".xml"):
            found["Voc"] = f"XML files in {name}/"
        if name in folders and _some(folders[name], ".json"):
            found["Coco"] = f"JSON files in {name}/"
    if found.keys() <= {"ImageTable", "BoxTable"}:
        classes = [name for name, folder in folders.items() if _holds_images(folder)]
        if classes and not any(is_image(file) for file in files[:_LOOKED_AT]):
            found["ImageFolder"] = f"folders of images ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"
    return found


def advice(path: Path, known: Collection[str]) -> str:
    """Advice for a folder or file that no class was named for.

    Args:
        path: the folder or file.
        known: names of the data classes of the task.
    """
    if not path.exists():
        return f"{path}: no such file or folder"
    found = classes_for(path)
    fitting = {name: what for name, what in found.items() if name in known}
    if fitting:
        return f"it holds {' and '.join(dict.fromkeys(fitting.values()))}: give --data {' or --data '.join(fitting)}"
    others = f" (what lies there is for another task: {', '.join(found)})" if found else ""
    wanted = "; ".join(f"--data {name} reads {WANTED[name]}" for name in known if name in WANTED)
    return f"it holds nothing that a data class of this task knows{others}: {wanted}"


def _of_files(files: list[Path]) -> dict[str, str]:
    """What files that lie directly in a folder say."""
    found: dict[str, str] = {}
    for file in files:
        suffix, name = file.suffix.lower(), file.name
        if suffix == ".npz":
            found.setdefault("MedMNIST", f"{name}")
        elif suffix in _TABLES:
            for table in ("ImageTable", "BoxTable"):
                found.setdefault(table, f"{name} (with --data.table {name})")
        elif suffix == ".json" and name != "dataset.json":
            found.setdefault("Coco", f"{name}")
        elif suffix == ".xml":
            found.setdefault("Voc", f"{name}")
        elif suffix in (".yaml", ".yml") and file.stem in ("data", "dataset"):
            found.setdefault("Yolo", f"{name}")
    return found


def _files(folder: Path) -> list[Path]:
    """Some of the files in a folder, or in its sub-folders where it has none."""
    inside = entries(folder)[:_LOOKED_AT]
    files = [Path(entry.path) for entry in inside if entry.is_file()]
    return files or [file for entry in inside[:3] if entry.is_dir() for file in _files(Path(entry.path))]


def _beside(path: Path) -> dict[str, str]:
    """The classes that would read masks beside their images, where there are such; some of the files are looked at."""
    found: dict[str, str] = {}
    places = ["", *(entry.name for entry in entries(path) if entry.is_dir())][:4]
    for place in places:
        names = [entry.name for entry in entries(path / place) if entry.is_file()][: 4 * _LOOKED_AT]
        for name, fits in (("MaskFolder", _is_flat), ("Volumes", is_volume)):
            chosen = [path_below(place, one) for one in names if fits(one)]
            pairs = side_by_side(*told_apart(chosen))
            if pairs:
                found.setdefault(name, f"masks beside their images ({pairs.example()})")
    return found


def _is_flat(name: str) -> bool:
    return by_name(name) is not None and not is_volume(name)


def _has_flat_images(path: Path) -> bool:
    subjects = [Path(entry.path) for entry in entries(path) if entry.name.startswith("sub-") and entry.is_dir()]
    folders = [Path(entry.path) for subject in subjects[:3] for entry in entries(subject) if entry.is_dir()]
    return any(_is_flat(file.name) for folder in folders for file in _files(folder))


def _some(folder: Path, suffix: str) -> bool:
    return any(file.suffix.lower() == suffix for file in _files(folder))


def _holds_images(folder: Path) -> bool:
    return any(is_image(file) for file in _files(folder))
