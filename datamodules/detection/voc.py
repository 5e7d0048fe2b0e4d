"""``Voc``: one XML file an image, as PASCAL VOC has it and labelImg writes it."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
import pandas as pd
from defusedxml import DefusedXmlException

from datamodules.cases.containment import refuse_outside
from datamodules.cases.ids import clean_id
from datamodules.cases.table import SPLIT_WORDS, by_case_id, case_id_of
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.detection.files import beside, images_by_stem, relative, split_of_folders
from datamodules.faults import report_fault, tolerated
from datamodules.readers.formats import images_below
from datamodules.readers.listing import files_below, is_clutter
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from scansuite.words import plain_words

log = logging.getLogger(__name__)

_SETS = "ImageSets/Main"
_CLASS_FLAG = re.compile(r"\s+-?[01]$")  # "2008_000008  1": whether a class is seen


class Voc(DetectionData):
    """Images with one XML file each. ``ImageSets/Main/{train,val,test}.txt`` are the split, where they are there.

    Without them every XML file is a case, and where every sub-folder bears the name of a part (``train``, ``val``,
    ``test`` and the like), that is the split. An image without boxes needs an XML file without objects; one without a
    file counts as not annotated. A case is named by its image's path below ``images``, without the suffix.
    ``difficult`` boxes are ignored. What is not given in ``<size>`` comes from the image.

    ``xmin`` to ``ymax`` are taken as the edges of the box, as labelImg means them and as torchvision, mmdetection and
    the tools of BCCD read them: the width is ``xmax - xmin``. PASCAL's own files count pixels from 1 and mean the last
    one inclusively; ``inclusive`` takes 1 from ``xmin`` and ``ymin``, as Detectron2 does.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``; left out: ``JPEGImages`` or ``images``, else ``root``.
        annotations: folder of the XML files in ``root``; left out: ``Annotations`` or ``annotations``, else ``images``.
        inclusive: whether ``xmin`` to ``ymax`` number the first and last pixel of a box, from 1.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`.
    """

    walks_folder: ClassVar[bool] = True

    def __init__(
        self,
        root: str = ".",
        *,
        images: str | None = None,
        annotations: str | None = None,
        inclusive: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.images, self.annotations_folder, self.inclusive = images, annotations, inclusive

    def read_annotations(self) -> Annotated:
        """Read the image sets and all XML files."""
        images = self._folder(self.images, ("JPEGImages", "images"), self.root, "--data.images")
        folder = self._folder(self.annotations_folder, ("Annotations", "annotations"), images, "--data.annotations")
        files = {
            case: folder / name
            for case, name in by_case_id(
                folder, files_below(folder, lambda file: file.suffix.lower() == ".xml")
            ).items()
        }
        if not files:
            raise SuiteError(
                f"{folder}: no XML files in it: Voc wants JPEGImages/ beside Annotations/ in --data.root, or "
                "--data.images and --data.annotations"
            )
        splits = self._image_sets(files, folder)
        names: list[str] = []
        below = images_by_stem(images, self.patterns, self.root)
        left_out = {case_id_of(name) for name in images_below(images)} - below.keys() if self.patterns else set()
        boxes = RawBoxes()
        sizes: list[tuple[int, int] | None] = []
        paths = []
        for name in [name for name in splits or files if name not in left_out]:
            with tolerated("annotation", files[name]):
                tree = _parse(files[name])
                path, size = self._image(tree, name, files[name], images, below), _size(tree, files[name])
                names.append(name)
                paths.append(path)
                sizes.append(size)
                self._add_boxes(boxes, len(names) - 1, tree, files[name])
        cases = pd.DataFrame({"case_id": names, "path": [relative(images / path, self.root) for path in paths]})
        parts = [splits[name] for name in names] if splits else split_of_folders(names)
        if parts is not None:
            cases["split"] = parts
        unused = len(below) - len(set(paths)) if not splits else 0
        if unused:
            log.warning("%s: %d images have no XML file and are left out", images, unused)
        where = [str(files[name]) for name in names]
        return Annotated(cases, sizes, boxes, where, published=parts is not None)

    def _folder(self, named: str | None, usual: tuple[str, ...], otherwise: Path, flag: str) -> Path:
        if named is None:
            return next((self.root / name for name in usual if (self.root / name).is_dir()), otherwise)
        folder = beside(self.root, named)
        if not folder.is_dir():
            raise SuiteError(f"{flag} {folder}: no such folder")
        return folder

    def _image_sets(self, files: dict[str, Path], folder: Path) -> dict[str, str]:
        """Part of each case that ImageSets name; empty where there are none."""
        sets = self.root / _SETS
        found = sorted(file for file in sets.glob("*.txt") if not is_clutter(file.name)) if sets.is_dir() else []
        named = [file for file in found if file.stem.lower() in SPLIT_WORDS]
        if not any(SPLIT_WORDS[file.stem.lower()] == "train" for file in named):
            named += [file for file in found if file.stem.lower() == "trainval"]
        parts: dict[str, str] = {}
        origin: dict[str, Path] = {}
        for file in named:
            for line in read_text(file).splitlines():
                name = clean_id(_CLASS_FLAG.sub("", line.strip()))
                if not name:
                    continue
                if origin.get(name, file) != file:
                    report_fault(
                        "split",
                        f"{file}: {name!r} stands in {origin[name].name} too: a case has one part: remove it from one",
                    )
                    continue
                if name not in files:
                    text = f"{name!r} has no {name}.xml in {folder}: an image without boxes needs one without objects"
                    report_fault("annotation", f"{file}: {text}", [str(file)])
                    continue
                parts[name], origin[name] = SPLIT_WORDS.get(file.stem.lower(), "train"), file
        if parts and len(parts) < len(files):
            log.warning("%s: %d XML files are in no image set and are left out", folder, len(files) - len(parts))
        return parts

    def _image(self, tree: Element, name: str, file: Path, images: Path, below: dict[str, str]) -> str:
        """The image of an XML file: that of its name, else the one it names."""
        if name in below:
            return below[name]
        named = (tree.findtext("filename") or "").strip()
        if named:
            refuse_outside(images, [named], str(file), allow=self.allow_outside)
        if named and (images / named).is_file():
            return named
        other = f" or {named}" if named else ""
        raise SuiteError(f"{file}: its image {name}.*{other} is missing in {images}: add it, or remove the file")

    def _add_boxes(self, boxes: RawBoxes, case: int, tree: Element, file: Path) -> None:
        for thing in tree.iterfind("object"):
            with tolerated("bad_box", file):
                label = (thing.findtext("name") or "").strip()
                if not label:
                    raise SuiteError(f"{file}: an object has no <name>: say what it is, or remove it")
                x1, y1, x2, y2 = (_number(thing, f"bndbox/{key}", file) for key in ("xmin", "ymin", "xmax", "ymax"))
                if self.inclusive:
                    x1, y1 = x1 - 1, y1 - 1
                difficult = (thing.findtext("difficult") or "0").strip() not in ("0", "false", "False", "")
                boxes.add(case, label, (x1, y1, x2, y2), str(file), difficult=difficult)


def _parse(file: Path) -> Element:
    """The root of an XML file, without ever expanding what could grow.

    Raises:
        SuiteError: it declares entities, is no XML, or no annotation.
    """
    try:
        root = defusedxml.ElementTree.parse(file).getroot()
    except DefusedXmlException:
        raise SuiteError(
            f"{file}: refused, because it declares entities, as XML bombs do and annotations "
            "need not: remove its DOCTYPE"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise SuiteError(f"{file}: no XML, or cut off: {plain_words(error)}: mend it, or write it again") from None
    except OSError as error:
        raise SuiteError(f"{file}: cannot be read: {error.strerror}: mend that, or take the file away") from None
    if root is None or root.tag != "annotation":
        raise SuiteError(
            f"{file}: no annotation of PASCAL VOC: expected <annotation>: take the file away, or write it anew"
        )
    return root


def _number(element: Element, path: str, file: Path) -> float:
    text = (element.findtext(path) or "").strip()
    try:
        return float(text)
    except ValueError:
        what = f"is {text[:40]!r}" if text else "is missing"
        raise SuiteError(f"{file}: <{path}> {what} where a number should stand: mend or remove the object") from None


def _size(tree: Element, file: Path) -> tuple[int, int] | None:
    """(H, W) as the file says; None where it says nothing, or 0 as some tools write."""
    if tree.find("size/width") is None or tree.find("size/height") is None:
        return None
    width, height = (_number(tree, f"size/{side}", file) for side in ("width", "height"))
    return (int(height), int(width)) if 1 <= width < math.inf and 1 <= height < math.inf else None
