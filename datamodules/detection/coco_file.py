"""COCO's JSON, checked: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from datamodules.faults import tolerated
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from scansuite.words import plain_words

_Id: TypeAlias = int | str


class CocoImage(NamedTuple):
    """An image of a file.

    Attributes:
        name: ``file_name``.
        size: (H, W) in pixels, None where the file does not say.
    """

    name: str
    size: tuple[int, int] | None


class CocoBox(NamedTuple):
    """A box of a file.

    Attributes:
        image: place of its image among the file's.
        label: name of its category.
        corners: xyxy in pixels, as the file has them.
        ignore: ``iscrowd``, or ``ignore`` as pycocotools reads it.
    """

    image: int
    label: str
    corners: tuple[float, float, float, float]
    ignore: bool


@dataclass
class CocoFile:
    """Images, classes (in the order of their ids) and boxes of a file."""

    images: list[CocoImage] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    boxes: list[CocoBox] = field(default_factory=list)


def read_coco(file: Path) -> CocoFile:
    """Read and check a file.

    Raises:
        SuiteError: it cannot be read, is cut off or of another form; an id is duplicated or is unknown; a box is not
            four numbers. Each names the file.
    """
    content = _load(file)
    names = _categories(content["categories"], file)
    read = CocoFile(classes=list(dict.fromkeys(names.values())))
    places: dict[_Id, int] = {}
    seen: set[str] = set()
    for number, entry in enumerate(content["images"]):
        with tolerated("annotation", file):
            identity, name = entry.get("id"), entry.get("file_name")
            if not isinstance(identity, int | str) or not isinstance(name, str) or not name:
                raise SuiteError(
                    f"{file}: image number {number + 1} has no id or no file_name: add it, or remove the entry"
                )
            if identity in places:
                raise SuiteError(
                    f"{file}: image id {identity} is duplicated ({read.images[places[identity]].name} and {name}): "
                    "give each image an id of its own"
                )
            if name in seen:
                raise SuiteError(f"{file}: image {name} is duplicated: keep one entry, with all its annotations")
            seen.add(name)
            places[identity] = len(read.images)
            read.images.append(CocoImage(name, _size(entry)))
    for number, entry in enumerate(content["annotations"]):
        category = entry.get("category_id")
        known = isinstance(category, int | str) and category in names
        with tolerated("annotation" if known else "unknown_label", file):
            read.boxes.append(_box(entry, f"{file}: annotation {entry.get('id', number + 1)}", places, names))
    return read


def _load(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{file}: no JSON, or cut off: {plain_words(error)}: mend it, or write it again") from None
    if not isinstance(content, dict):
        raise SuiteError(
            f"{file}: no COCO file: expected an object with images, annotations and categories: write these"
        )
    for name in ("images", "annotations", "categories"):
        entries = content.get(name)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SuiteError(
                f"{file}: no COCO file of boxes: {name!r} is {'no list of objects' if name in content else 'missing'}: "
                "give it a list, which may be empty"
            )
    return content


def _categories(entries: list[dict[str, Any]], file: Path) -> dict[_Id, str]:
    """Names by id, in the order of the ids."""
    names: dict[_Id, str] = {}
    for entry in entries:
        identity, name = entry.get("id"), entry.get("name")
        if not isinstance(identity, int | str) or not isinstance(name, str) or not name.strip():
            raise SuiteError(f"{file}: a category has no id or no name: {json.dumps(entry)[:80]}: add it")
        if identity in names:
            raise SuiteError(
                f"{file}: category id {identity} is duplicated ({names[identity]} and {name}): give each its own"
            )
        names[identity] = name.strip()
    return {identity: names[identity] for identity in sorted(names, key=lambda one: (isinstance(one, str), one))}


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    return None


def _box(entry: Mapping[str, Any], where: str, places: Mapping[_Id, int], names: Mapping[_Id, str]) -> CocoBox:
    image, category, numbers = entry.get("image_id"), entry.get("category_id"), entry.get("bbox")
    if not isinstance(image, int | str) or image not in places:
        raise SuiteError(
            f"{where}: image_id {json.dumps(image)[:40]} is the id of no image: add the image, or remove the annotation"
        )
    if not isinstance(category, int | str) or category not in names:
        shown = ", ".join(f"{identity} {name}" for identity, name in list(names.items())[:10])
        raise SuiteError(
            f"{where}: unknown class: category_id {json.dumps(category)[:40]} is none of the categories "
            f"({shown}): add it to them, or correct the annotation"
        )
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(isinstance(one, int | float) for one in numbers):
        raise SuiteError(
            f"{where}: bbox {json.dumps(numbers)[:60]} is not [x, y, width, height] in pixels: correct it, or "
            "remove the annotation"
        )
    try:
        x, y, width, height = map(float, numbers)
    except OverflowError:
        raise SuiteError(f"{where}: bbox {str(numbers)[:60]} is beyond every image: correct it") from None
    ignore = bool(entry.get("iscrowd", 0)) or bool(entry.get("ignore", 0))
    return CocoBox(places[image], names[category], (x, y, x + width, y + height), ignore)
