"""``Yolo``: one text file an image, with ``data.yaml``, as Ultralytics' tools have it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pandas as pd
import yaml

from datamodules.cases.containment import refuse_outside
from datamodules.cases.named_files import exists
from datamodules.cases.table import SPLIT_WORDS
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.detection.files import (
    beside,
    images_by_stem,
    relative,
    short_names,
    split_of_folders,
)
from datamodules.faults import report_fault, tolerated
from datamodules.readers.listing import entries, passed_over
from datamodules.readers.sizes import image_size
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from scansuite.words import number_of, plain_words

_LARGEST_FRACTION = 2.0  # boxes may reach out of the image, but what is larger were pixels


class Yolo(DetectionData):
    """Images with a text file each: a line a box, ``class x y width height`` in fractions of the image's sides.

    ``data.yaml`` names the classes and, with ``train``, ``val`` and ``test`` (a folder, a list of folders, or a text
    file with a path a line), the split; without these all images of ``images`` are taken. ``images/x.jpg`` goes with
    ``labels/x.txt``, else with ``x.txt`` beside it; an image without a text file has no boxes. A case is named by its
    image's path below the folder of its part (or below ``images/``, where a text file lists it), without the suffix.

    Args:
        root: folder of the data set.
        data_yaml: YAML file in ``root``, without which ``classes`` must be given; left out: ``data.yaml``,
            ``dataset.yaml`` or the only one there is.
        images: folder of the images in ``root``, instead of those that ``data_yaml`` names; where every sub-folder
            bears the name of a part (``train``, ``val``, ``test`` and the like), that is the split; left out: those.
        annotations: folder of the text files in ``root``, in the images' order of sub-folders; left out: ``labels`` in
            the place of ``images`` in their paths.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`.
    """

    walks_folder: ClassVar[bool] = True

    def __init__(
        self,
        root: str = ".",
        *,
        data_yaml: str | None = None,
        images: str | None = None,
        annotations: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.data_yaml, self.images, self.annotations_folder = data_yaml, images, annotations

    def read_annotations(self) -> Annotated:
        """Read ``data.yaml`` and all text files."""
        file = self._yaml_file()
        described = {} if file is None else _read_yaml(file)
        names = self._names(file, described)
        found = self._images_of_parts(file, described)
        paths = [path for _, _, path in found]
        boxes, where = RawBoxes(), []
        sizes: list[tuple[int, int] | None] = []
        for case, (_, name, path) in enumerate(found):
            labels = self._label_file(path, name)
            size: tuple[int, int] | None = None
            with suppress(SuiteError):  # is named with all images that cannot be read
                size = image_size(path, self.limits)
            sizes.append(size)
            where.append(str(labels))
            if labels.is_file() and size is not None:
                with tolerated("annotation", labels):
                    _read_labels(labels, case, size, names, boxes)
        relative_paths = [relative(path, self.root) for path in paths]
        cases = pd.DataFrame({"case_id": short_names([name for _, name, _ in found], relative_paths)})
        cases["path"] = relative_paths
        published = found[0][0] is not None
        if published:
            cases["split"] = [part for part, _, _ in found]
        return Annotated(cases, sizes, boxes, where, classes=list(names), published=published)

    def _yaml_file(self) -> Path | None:
        if self.data_yaml is not None:
            file = beside(self.root, self.data_yaml)
            if not file.is_file():
                raise SuiteError(f"--data.data_yaml {file}: no such file")
            return file
        files = (Path(entry.path) for entry in entries(self.root))
        found = [file for file in files if file.suffix.lower() in (".yaml", ".yml")]
        usual = [file for file in found if file.stem in ("data", "dataset")]
        found = usual[:1] or found
        if len(found) > 1:
            shown = ", ".join(file.name for file in found[:5])
            raise SuiteError(f"{self.root}: several YAML files ({shown}): name one with --data.data_yaml")
        if not found and self.classes is None:
            raise SuiteError(
                f"{self.root}: no data.yaml: Yolo wants one with names (and train, val, test), or --data.classes"
            )
        return found[0] if found else None

    def _names(self, file: Path | None, described: dict[str, Any]) -> list[str]:
        """Class of each number; those of ``data.yaml`` go before ``--data.classes``, which may order them anew."""
        names = described.get("names")
        if names is None:
            if self.classes is None:
                raise SuiteError(
                    f"{file}: no names: list the classes there (names: [lesion, ...]) or in --data.classes"
                )
            return list(self.classes)
        if isinstance(names, dict):
            numbers = [str(number) for number in range(len(names))]
            if set(names) != set(numbers):
                raise SuiteError(f"{file}: names must be numbered 0 to {len(names) - 1}, one class each")
            names = [names[number] for number in numbers]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise SuiteError(
                f"{file}: names is {str(names)[:60]!r}: expected a list of classes: write one (names: [lesion])"
            )
        count = described.get("nc", str(len(names)))
        if count != str(len(names)):
            raise SuiteError(
                f"{file}: nc is {count}, but there are {number_of(len(names), 'name')}: correct one of them"
            )
        return names

    def _images_of_parts(self, file: Path | None, described: dict[str, Any]) -> list[tuple[str | None, str, Path]]:
        """Part, name within it, and path of each image."""
        given = {SPLIT_WORDS[word]: entry for word, entry in described.items() if word in SPLIT_WORDS and entry}
        if self.images is not None or not given:
            folder = beside(self.root, self.images or "images")
            if not folder.is_dir():
                raise SuiteError(f"--data.images {folder}: no such folder, and data.yaml names no train, val or test")
            below = list(images_by_stem(folder, self.patterns, self.root).values())
            parts: Sequence[str | None] = split_of_folders(below) or [None] * len(below)
            found = [(part, _within(name, part), folder / name) for part, name in zip(parts, below, strict=True)]
        else:
            assert file is not None  # it gave the parts
            found = []
            for part, entry in given.items():
                places = [self._resolve(file, described, part, text) for text in _texts(entry, file, part)]
                found += [(part, name, path) for place in places for name, path in self._images_at(place)]
            taken = set(self.patterns.chosen([relative(path, self.root) for _, _, path in found], self.root))
            found = [one for one in found if relative(one[2], self.root) in taken]
        if not found:
            raise SuiteError(f"{file or self.root}: no images found{passed_over(self.root)}")
        return found

    def _resolve(self, file: Path, described: dict[str, Any], part: str, text: str) -> Path:
        """Where an entry of ``data.yaml`` is on this machine: often it was written on another one."""
        # Roboflow writes ../train/images for what is train/images beside the file.
        plain = text.removeprefix("./")
        while plain.startswith("../"):
            plain = plain.removeprefix("../")
        tops = [file.parent / str(described.get("path") or ""), self.root / str(described.get("path") or "")]
        for place in [*(top / text for top in tops), self.root / text, file.parent / plain, self.root / plain]:
            if exists(place):
                refuse_outside(self.root, [str(place.absolute())], f"{file}: {part}", allow=self.allow_outside)
                return place
        raise SuiteError(f"{file}: {part}: {text[:200]} is not below {self.root}: correct the path")

    def _images_at(self, place: Path) -> list[tuple[str, Path]]:
        if place.is_dir():
            return [(name, place / name) for name in images_by_stem(place).values()]
        if place.suffix.lower() != ".txt":
            raise SuiteError(f"{place}: neither a folder of images nor a .txt file that lists them: correct the path")
        found = []
        for line in filter(None, map(str.strip, read_text(place).splitlines())):
            tries = (place.parent / line, self.root / line)
            path = next((one for one in tries if exists(one)), None)
            if path is None:
                text = f"{place}: image {line[:200]} is missing: correct the path, or remove the line"
                report_fault("missing_file", text, [line])
                continue
            refuse_outside(self.root, [str(path.absolute())], str(place), allow=self.allow_outside)
            found.append((_below_images(line), path))
        return found

    def _label_file(self, path: Path, name: str) -> Path:
        """The text file of an image, whether it is there or not."""
        if self.annotations_folder is not None:
            folder = beside(self.root, self.annotations_folder)
            if not folder.is_dir():
                raise SuiteError(f"--data.annotations {folder}: no such folder")
            below = _below_images(relative(path, self.root))
            full = (folder / below).with_suffix(".txt")
            return full if full.is_file() else (folder / name).with_suffix(".txt")
        parts = list(path.parts)
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] == "images":
                return Path(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt")
        return path.with_suffix(".txt")


def _within(name: str, part: str | None) -> str:
    """A path below a folder, without the sub-folder of its part."""
    return name if part is None else name.split("/", 1)[1]


def _below_images(path: str) -> str:
    """A path without what stands before, and with, its last folder called images."""
    parts = PurePosixPath(path).parts
    last = max((place for place, part in enumerate(parts[:-1]) if part == "images"), default=-1)
    return str(PurePosixPath(*parts[last + 1 :]))


def _texts(entry: Any, file: Path, part: str) -> list[str]:
    texts = entry if isinstance(entry, list) else [entry]
    if not all(isinstance(text, str) for text in texts):
        raise SuiteError(f"{file}: {part} is {str(entry)[:60]!r}: expected a path or a list of paths: correct it")
    return texts


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        # BaseLoader knows text, lists and mappings alone: a class called "no" or "007" stays so.
        content = yaml.load(read_text(file), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SuiteError(f"{file}: no YAML: {plain_words(error)}: mend it") from None
    if not isinstance(content, dict):
        raise SuiteError(f"{file}: expected names and, for a split, train, val and test: write these (names: [lesion])")
    return content


def _read_labels(file: Path, case: int, size: tuple[int, int], names: list[str], boxes: RawBoxes) -> None:
    """Add the boxes of a text file."""
    for row, line in enumerate(read_text(file).splitlines(), start=1):
        columns = line.split()
        if not columns:
            continue
        with tolerated("bad_box", file):
            _add_box(boxes, case, columns, size, names, f"{file}, row {row}")


def _add_box(
    boxes: RawBoxes, case: int, columns: list[str], size: tuple[int, int], names: list[str], where: str
) -> None:
    """Add the box of a line."""
    height, width = size
    line = " ".join(columns)
    if len(columns) != 5:
        raise SuiteError(
            f"{where}: {number_of(len(columns), 'column')}, where class, x, y, width and height should stand: "
            "correct the line, or remove it"
        )
    try:
        number, x, y, w, h = map(float, columns)
    except ValueError:
        raise SuiteError(f"{where}: {line[:60]!r} are not five numbers: correct the line, or remove it") from None
    if number not in range(len(names)):
        report_fault(
            "unknown_label",
            f"{where}: unknown class {columns[0]}: the names of data.yaml are numbered 0 to {len(names) - 1}: add "
            "its name there, or correct the line",
            [where],
        )
        return
    if max(abs(x), abs(y), abs(w), abs(h)) > _LARGEST_FRACTION and max(x, y, w, h) < float("inf"):
        raise SuiteError(
            f"{where}: {line[:60]!r}: x, y, width and height must be fractions of the sides: "
            "divide pixels by the image's width and height"
        )
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    boxes.add(case, names[int(number)], corners, where)
