"""``Coco``: boxes in COCO's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.cases.containment import refuse_outside
from datamodules.cases.named_files import exists
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.detection.coco_file import CocoFile, read_coco
from datamodules.detection.files import beside, part_in, relative, short_names
from datamodules.faults import report_fault
from datamodules.readers.listing import is_clutter
from scansuite.errors import SuiteError

_TRIED = 20  # images that are looked for to find their folder: the first may be the one that is missing


class Coco(DetectionData):
    """Images with COCO JSON: one file for all, or one for each of ``train``, ``val`` and ``test``, which is the split.

    Files are looked for in ``root``, in ``root/annotations`` and in folders named after the parts; a file's part is the
    word in its name (``instances_train2017.json``) or its folder (``valid/_annotations.coco.json``). ``bbox`` is
    ``[x, y, width, height]`` from 0, as COCO has it; boxes with ``iscrowd`` (or ``ignore``) are ignored. A case is
    named by its image's ``file_name`` without the suffix, and without an ``images/`` in front.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``, that ``file_name`` is relative to; left out: where they are found.
        annotations: JSON file in ``root``, or several with the part in their names; left out: where they are found.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        images: str | None = None,
        annotations: list[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.images = images
        self.annotation_files = annotations.split(",") if isinstance(annotations, str) else annotations

    def read_annotations(self) -> Annotated:
        """Read all JSON files."""
        boxes = RawBoxes()
        where: list[str] = []
        classes: dict[str, None] = {}
        names: list[str] = []
        paths: list[str] = []
        parts: list[str | None] = []
        sizes: list[tuple[int, int] | None] = []
        for file, part in self._files():
            content = read_coco(file)
            folder = self._image_folder(file, part, content)
            refuse_outside(folder, (image.name for image in content.images), str(file), allow=self.allow_outside)
            cases_of: dict[int, int] = {}
            for number, image in enumerate(content.images):
                if not exists(folder / image.name):
                    text = f"{file}: image {image.name} is missing in {folder}: add it, or remove its entry"
                    report_fault("missing_file", text, [str(folder / image.name)])
                    continue
                cases_of[number] = len(names)
                names.append(image.name.removeprefix("images/"))
                paths.append(relative(folder / image.name, self.root))
                parts.append(part)
                sizes.append(image.size)
                where.append(f"{file} (image {image.name})")
            for box in content.boxes:
                case = cases_of.get(box.image)
                if case is None:
                    continue  # in a check, where its image is missing
                boxes.add(case, box.label, box.corners, where[case], ignore=box.ignore)
            classes |= dict.fromkeys(content.classes)
        cases = pd.DataFrame({"case_id": short_names(names, paths), "path": paths})
        published = parts[:1] != [None]
        if published:
            cases["split"] = parts
        return Annotated(cases, sizes, boxes, where, classes=list(classes), published=published)

    def _files(self) -> list[tuple[Path, str | None]]:
        """The JSON files, each with its part; one file alone has none."""
        files = self._named_files() if self.annotation_files is not None else self._found_files()
        if len(files) == 1:
            return [(files[0], None)]
        parts = {file: self._part_of(file) for file in files}
        for file, part in parts.items():
            same = [str(other.relative_to(self.root)) for other in files if parts[other] == part]
            if part is None or len(same) > 1:
                what = f"{' and '.join(same)} are both of {part}" if part else f"{file.name} names no part of a split"
                raise SuiteError(f"{file.parent}: {what}: name the JSON files to take with --data.annotations")
        return list(parts.items())

    def _named_files(self) -> list[Path]:
        files = [beside(self.root, name.strip()) for name in self.annotation_files or ()]
        for file in files:
            if not file.is_file():
                raise SuiteError(f"--data.annotations {file}: no such file")
        return files

    def _found_files(self) -> list[Path]:
        patterns = ("*.json", "annotations/*.json", "*/_*.coco.json")
        named = {file for pattern in patterns for file in self.root.glob(pattern)}
        files = sorted(file for file in named if not any(map(is_clutter, file.relative_to(self.root).parts)))
        if any(file.name.startswith("instances") for file in files):  # beside captions and keypoints of the same images
            files = [file for file in files if file.name.startswith("instances")]
        if not files:
            raise SuiteError(
                f"{self.root}: no JSON file in it or in annotations/: Coco wants --data.root DIR with one, or "
                "--data.annotations FILE"
            )
        return files

    def _part_of(self, file: Path) -> str | None:
        return part_in(file.stem) or (part_in(file.parent.name) if file.parent != self.root else None)

    def _image_folder(self, file: Path, part: str | None, content: CocoFile) -> Path:
        """The folder that ``file_name`` is relative to: the first of the usual ones that holds the first image."""
        if not content.images:
            return self.root
        first = content.images[0].name
        tried = [image.name for image in content.images[:_TRIED]]
        tops = [beside(self.root, self.images)] if self.images is not None else [self.root / "images", self.root]
        words = [file.stem.split("_")[-1], *([part] if part else [])]  # instances_train2017.json goes with train2017/
        places = [file.parent] if self.images is None else []
        places += [top / word for top in tops for word in words] + tops
        for place in places:
            if any(exists(place / name) for name in tried):
                return place
        shown = ", ".join(map(str, tops))
        raise SuiteError(f"{file}: image {first} is missing in {shown}: name the folder with --data.images")
