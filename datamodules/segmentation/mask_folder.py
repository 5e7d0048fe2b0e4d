"""``MaskFolder``: flat images beside their masks."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.contents import Unit
from datamodules.cases.table import CaseTable, by_case_id, table_of_images
from datamodules.evenly import evenly
from datamodules.faults import report_fault, tolerated
from datamodules.readers import formats
from datamodules.readers.listing import entries
from datamodules.readers.raster import is_jpeg
from datamodules.readers.sizes import image_size
from datamodules.samples.label_values import LabelValues, label_values
from datamodules.segmentation.base import PATCHES_ALONE, SegmentationData
from datamodules.segmentation.jpeg_masks import SPLIT, refuse_jpeg
from datamodules.segmentation.mask_pairs import MaskPairs, find_pairs, partner
from datamodules.segmentation.masks import (
    Palette,
    foreground,
    number_objects,
    read_label_file,
    read_palette,
    seen_values,
    stack_classes,
)
from datamodules.segmentation.pair_table import NO_TABLE, PairColumns, read_pairs
from datamodules.useless import Useless, given, left_out
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

MaskKind = Literal["auto", "index", "binary", "instances", "colour", "files"]

_PROBED_MASKS = 24


class MaskFolder(SegmentationData):
    """Images in one folder, masks in another or beside them (or the same rows of a table), paired by name.

    Where every sub-folder of ``images`` bears the name of a part (``train``, ``val``, ``test`` and the like), that is
    the split. A case is named by its image's path below ``images``, without the suffix.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``.
        masks: folder of the masks in ``root``; left out: ``masks`` or ``labels``, or where the images are. A mask has
            its image's name, with ``_mask``, ``_seg`` or ``_label`` behind it where both lie in one folder (or
            ``mask_001`` for ``img_001``), and any suffix of an image.
        mask_kind: ``index`` (values are classes), ``binary`` (0, and 1 or 255; as JPEG black and white, split at 128),
            ``instances`` (0 is background, each object a number: all become one class), ``colour`` (needs ``palette``),
            ``files`` (one binary mask a class, in a folder of the class's name); ``auto`` looks at the files, and asks
            where they do not say.
        palette: CSV (``class,r,g,b`` or ``class,colour``) or JSON file with the colour of each class, background first;
            left out: masks are no colours.
        table: CSV, TSV or Parquet with paths of images and masks relative to ``root``, and any of ``case_id``,
            ``patient_id``, ``split`` and further columns, instead of the two folders; left out: the folders.
        path_column: column of ``table`` with the image's path.
        mask_column: column of ``table`` with the mask's path; left out: ``mask`` or ``label``.
        kwargs: see :class:`~datamodules.segmentation.base.SegmentationData`.
    """

    walks_folder: ClassVar[bool] = True

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("images", "--data.table names the images", "table", given),
        Useless("masks", "--data.table names the masks", "table", given),
        Useless("include", "--data.table names the images", "table", given),
        Useless("exclude", "--data.table names the images", "table", given),
        Useless("classes", "--data.palette names the classes", "palette", given),
        Useless("ignore_value", "--data.palette says which colour is left out", "palette", given),
        Useless("path_column", NO_TABLE, "table", left_out),
        Useless("mask_column", NO_TABLE, "table", left_out),
        PATCHES_ALONE,
    )

    def __init__(
        self,
        root: str = ".",
        *,
        images: str = "images",
        masks: str | None = None,
        mask_kind: MaskKind = "auto",
        palette: str | None = None,
        table: str | None = None,
        path_column: str = "path",
        mask_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.images_folder, self.masks_folder, self.mask_kind = images, masks, mask_kind
        self.columns = PairColumns(path_column, mask_column)
        self._masks = "mask"  # column of the case table with their paths
        self.palette_file = None if palette is None else _beside(self.root, self.local(palette, "palette"))
        self.table_file = None if table is None else _beside(self.root, self.local(table, "table"))
        self._kind: MaskKind = mask_kind
        self._pairs: MaskPairs | None = None  # of folders, once they are found
        self._mask_top = ""
        self._reader: LabelValues | Palette | None = None
        if palette is not None and mask_kind not in ("auto", "colour"):
            raise SuiteError(f"--data.palette says that masks are colours, but --data.mask_kind is {mask_kind}")
        if mask_kind == "colour" and palette is None:
            raise SuiteError("--data.mask_kind colour: say what the colours mean with --data.palette FILE")
        if mask_kind == "files" and table is not None:
            raise SuiteError("--data.mask_kind files: a table names one mask a row: leave out --data.table")

    def build_table(self) -> CaseTable:
        """Pair images with masks; one case an image, with its mask's path (or folder of masks) in a column."""
        self._masks = "mask"
        frame = self.pairs_of_folders() if self.table_file is None else self._from_table(self.table_file)
        self._kind = self._find_kind(frame)
        if self._kind == "files":
            self.separate_masks = self.overlapping
            frame = self._with_class_files(frame)
        else:
            frame = frame if self._pairs is None else self._pairs.with_masks(self.root)
        self._choose_reader(frame)
        self._tell_of_jpeg(frame)
        return table_of_images(frame, where=self.table_file)

    def mask_name(self, image: int) -> str:
        """The file of an image's mask, for messages."""
        return str(self.root / self._mask_path(image))

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """Read the mask of an image: (H, W) class numbers, or (L, H, W) of 0 and 1."""
        path = self.root / self._mask_path(image)
        if self._kind == "files":
            return self._read_class_files(image)
        if is_jpeg(path) and not self._takes_jpeg:
            raise refuse_jpeg(str(path))
        if isinstance(self._reader, Palette):
            return self._reader.read(formats.read(path, self.limits).array, str(path))
        array = read_label_file(path, self.limits)
        if self._kind == "instances":
            return foreground(array, str(path), self.ignore_value)
        assert self._reader is not None  # build_table has chosen it
        return self._reader.read(array, str(path))

    def stored_size(self, image: int) -> tuple[int, int]:
        """(H, W) of an image, from its header where that says it."""
        return image_size(self.root / str(self.table.images["path"].iat[image]), self.limits)

    def units(self, table: CaseTable) -> list[Unit]:
        """An image with its masks, and what their values mean."""
        cases = table.cases
        masks = [
            self._class_files[case] if self._kind == "files" else [mask]
            for case, mask in zip(cases["case_id"], cases[self._masks], strict=True)
        ]
        meaning = f"{self._kind} {self._reader} {self.ignore_value} {self.stored_classes} {self.overlapping}"
        return [
            Unit((*unit.files, *(str(self.root / mask) for mask in some)), f"{unit.settings} {meaning}")
            for unit, some in zip(super().units(table), masks, strict=True)
        ]

    @property
    def has_ignored(self) -> bool:
        """Whether pixels may be left out of training and evaluation."""
        return super().has_ignored or (isinstance(self._reader, Palette) and self._reader.ignore is not None)

    def _mask_path(self, image: int) -> str:
        case = int(self.table.images["case"].to_numpy()[image])
        return str(self.table.cases[self._masks].iat[case])

    # Which file belongs to which.

    def pairs_of_folders(self) -> pd.DataFrame:
        """Images and masks without a table: ``path``, ``case_id``, ``mask`` and, where folders say it, ``split``."""
        found = find_pairs(self.root, self.images_folder, self.masks_folder, self.patterns)
        self._mask_top, self._pairs = found.masks, found
        return found.frame

    def _from_table(self, file: Path) -> pd.DataFrame:
        frame, self._masks = read_pairs(
            self.root, file, self.columns, self.limits, allow_outside=self.allow_outside, form=self.table_form
        )
        return frame

    # One binary file a class.

    def _with_class_files(self, frame: pd.DataFrame) -> pd.DataFrame:
        top = self.root / self._mask_top
        folders = [entry.name for entry in entries(top) if entry.is_dir()]
        names = self._class_folders(folders)
        self.stored_classes = names
        self._class_files: dict[str, list[str]] = {}
        stems = {name: by_case_id(top / name, formats.images_below(top / name)) for name in names[1:]}
        for path, case in zip(frame["path"], frame["case_id"], strict=True):
            files = [partner(case, stems[name]) for name in names[1:]]
            for name, file in zip(names[1:], files, strict=True):
                if file is None:
                    report_fault(
                        "mask_pair",
                        f"{self.root / path}: no mask of class {name!r} in {top / name}: add it (an empty one, where "
                        "the class is absent)",
                    )
            if None not in files:
                self._class_files[case] = [
                    f"{self._mask_top}/{name}/{file}" for name, file in zip(names[1:], files, strict=True)
                ]
        frame = frame[frame["case_id"].isin(list(self._class_files))].reset_index(drop=True)
        return frame.assign(mask=[self._class_files[case][0] for case in frame["case_id"]])

    def _class_folders(self, folders: list[str]) -> tuple[str, ...]:
        if self.classes is None:
            return ("background", *(name for name in folders if name != "background"))
        names = tuple(self.classes)
        names = names if names[0] not in folders or names[0] == "background" else ("background", *names)
        missing = [name for name in names[1:] if name not in folders]
        if missing:
            raise SuiteError(
                f"--data.classes: {missing[0]!r} has no folder in {self.root / self._mask_top}: "
                f"{nearest(missing[0], folders)}"
            )
        return names

    def _read_class_files(self, image: int) -> NDArray[np.uint8]:
        case = self.table.cases["case_id"].iat[int(self.table.images["case"].to_numpy()[image])]
        files = [self.root / file for file in self._class_files[str(case)]]
        spoilt = None if self._takes_jpeg else next(filter(is_jpeg, files), None)
        if spoilt is not None:
            raise refuse_jpeg(str(spoilt))
        binary = _binary(("background", "class"), self.ignore_value)
        masks = [binary.read(read_label_file(file, self.limits), str(file)) for file in files]
        for file, mask in zip(files, masks, strict=True):
            if mask.shape != masks[0].shape:
                raise SuiteError(
                    f"{file}: the mask is {mask.shape[0]} x {mask.shape[1]}, but {files[0]} is {masks[0].shape[0]} x "
                    f"{masks[0].shape[1]} pixels",
                    kind="grid_mismatch",
                )
        if self.overlapping:
            return np.stack(masks)
        return stack_classes(masks, self.stored_classes[1:], str(files[0]))

    # What the masks hold.

    def _find_kind(self, frame: pd.DataFrame) -> MaskKind:
        if self.mask_kind != "auto":
            return self.mask_kind
        if self.palette_file is not None:
            return "colour"
        if self.table_file is None and frame[self._masks].isna().all() and _has_folders(self.root / self._mask_top):
            return "files"
        if isinstance(self.classes, dict) or (self.classes is not None and len(self.classes) > 2):
            return "index"
        by_mask = self._seen_values(frame)
        # A mask in JPEG that could be read is black and white, beside others of 0 and 1 as well.
        jpeg = [file for file in by_mask if is_jpeg(file)]
        seen = {0}.union(*(values for file, values in by_mask.items() if file not in jpeg))
        if seen <= {0, 1} or seen <= {0, 255}:
            return "binary"
        if jpeg:
            raise refuse_jpeg(str(jpeg[0]))
        if number_objects(list(by_mask.values())):
            log.info("masks number objects, up to %d: all are one class (--data.mask_kind index if not)", max(seen))
            return "instances"
        shown = ", ".join(map(str, sorted(seen)[:12])) + (", ..." if len(seen) > 12 else "")
        named = "" if self.classes is None else f", but --data.classes names {' and '.join(self.classes)} alone"
        rarest = min(sorted(seen - {0, 1}), key=lambda value: sum(value in values for values in by_mask.values()))
        file = next((file for file, values in by_mask.items() if rarest in values), self.root)
        raise SuiteError(
            f"{self.root}: masks hold the values {shown} ({rarest} in {file}){named}: name them with --data.classes, "
            "background first, if they are classes (--data.mask_kind index); or say --data.mask_kind instances, if "
            "each object has a number of its own; or --data.ignore_value, if one is neither"
        )

    def _seen_values(self, frame: pd.DataFrame) -> dict[Path, set[int]]:
        """Values in each of some masks."""
        by_mask = {}
        for file in self._some_masks(frame):
            try:
                array = read_label_file(file, self.limits)
            except SuiteError:  # is named with all that cannot be read
                continue
            with tolerated("mask_probe", file):
                by_mask[file] = seen_values(array, str(file), self.ignore_value)
        return by_mask

    def _some_masks(self, frame: pd.DataFrame) -> list[Path]:
        files = frame[self._masks].dropna()
        return [self.root / file for file in files.iloc[evenly(len(files), _PROBED_MASKS)]]

    @property
    def _takes_jpeg(self) -> bool:
        """Whether masks hold what is left of them in JPEG: black and white, and nothing that is ignored."""
        if self._kind == "files":
            return self.ignore_value is None
        reader = self._reader
        if self._kind not in ("binary", "index") or not isinstance(reader, LabelValues) or reader.ignore:
            return False
        return len(reader.values) == 2 and 0 in reader.values[0] and 255 in reader.values[1]

    def _tell_of_jpeg(self, frame: pd.DataFrame) -> None:
        black = 0
        for file in filter(is_jpeg, self._some_masks(frame)) if self._takes_jpeg else ():
            with suppress(SuiteError):  # is named with all that cannot be read
                if read_label_file(file, self.limits).any():
                    log.info(
                        "masks are saved as JPEG (%s), which has blurred their outlines: they are split at %d; PNG "
                        "keeps them", file.name, SPLIT,
                    )  # fmt: skip
                    return
                black += 1
        if black:  # what 0 and 1 become
            log.warning(
                "%s: no white in masks that are saved as JPEG (%d looked at): if classes had low numbers, JPEG has "
                "erased them: save them as PNG again, from where they were drawn", self.root, black,
            )  # fmt: skip

    def _choose_reader(self, frame: pd.DataFrame) -> None:
        if self._kind == "files":
            return
        if self._kind == "colour":
            assert self.palette_file is not None  # refused in __init__
            self._reader = read_palette(self.palette_file, self.table_form)
            self.stored_classes = self._reader.names
            return
        classes = self.classes if self.classes is not None else ["background", "foreground"]
        if self._kind in ("binary", "instances") and (isinstance(classes, dict) or len(classes) != 2):
            raise SuiteError(
                f"--data.classes: {self._kind} masks have two classes, background first, not "
                f"{', '.join(classes) or 'none'}: "
                "give --data.classes background,NAME"
            )
        if self._kind == "index":
            self._reader = label_values(classes, self.ignore_value)
        else:
            self._reader = _binary(tuple(classes), self.ignore_value)
        self.stored_classes = self._reader.names


def _binary(names: tuple[str, ...], ignore_value: int | None = None) -> LabelValues:
    ignore = () if ignore_value is None else (ignore_value,)
    return LabelValues(names, ((0,), tuple(value for value in (1, 255) if value not in ignore)), ignore)


def _beside(root: Path, name: Path) -> Path:
    """A file named by a flag: looked for in ``root`` first, then as it stands."""
    return root / name if (root / name).is_file() or not name.is_file() else name


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in entries(folder))
