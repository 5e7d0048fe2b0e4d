"""Base of data classes with boxes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.class_names import clean_map, refuse_unmeant, renamed, warn_of_unused
from datamodules.cases.contents import Unit
from datamodules.cases.ids import clean_text
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.detection.boxes import CORNERS, BoxesByCase, RawBoxes, tidy_boxes
from datamodules.evenly import evenly
from datamodules.faults import report_fault, tolerated
from datamodules.preprocess import Preprocess
from datamodules.readers.sizes import image_size
from datamodules.samples.annotation import Annotation
from datamodules.samples.box_geometry import scaled
from datamodules.samples.boxes import Boxes, LabelledBoxes
from datamodules.samples.ignored_boxes import IgnoredBoxes, MarkedBoxes
from datamodules.samples.patches import patch_place
from datamodules.settings import name_list
from datamodules.stored import Stored, StoredBoxes
from datamodules.types import Scan
from datamodules.useless import Useless, left_out
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

_LARGEST_SIDE = 512  # of what the model sees, where the user does not say
_MOST_SIZES = 20_000
_UNKNOWN_SIDE = 2**31 - 1  # of an image that cannot be read, while a check goes on


@dataclass
class Annotated:
    """Annotations as the files of a data set state them.

    Attributes:
        cases: one row an image: ``path`` relative to the root, ``case_id``, and ``split`` where the files give it.
        sizes: (H, W) of each image, None where the files do not say.
        boxes: of the images, with their row in ``cases``.
        where: for each image, what a message about its boxes names.
        classes: names in class order; None where the files have no list of them.
        published: the split is that of a published data set.
    """

    cases: pd.DataFrame
    sizes: list[tuple[int, int] | None]
    boxes: RawBoxes
    where: list[str]
    classes: list[str] | None = None
    published: bool = False

    def by_name(self) -> Annotated:
        """Copy in the order of the case ids, so that one data set in two formats gives one table."""
        order = np.argsort(self.cases["case_id"].to_numpy(dtype=object), kind="stable")
        place = np.argsort(order)
        return replace(
            self,
            cases=self.cases.iloc[order].reset_index(drop=True),
            sizes=[self.sizes[case] for case in order],
            boxes=replace(self.boxes, cases=[int(place[case]) for case in self.boxes.cases]),
            where=[self.where[case] for case in order],
        )


class DetectionData(ScanDataModule):
    """Adds boxes to :class:`~datamodules.base.ScanDataModule`; a case is an image.

    Images keep their aspect: they are resized to fit into ``image_size`` and filled up below and on the right with 0.
    Boxes that are marked ``iscrowd`` or ``difficult`` are ignored: they do not train, and whether they are found or not
    does not count. What is found in a crowd is not false; what is found on a difficult box is not where no other true
    box overlaps it more, and by at least the overlap of a hit.

    Args:
        root: folder of the data set.
        image_size: side, or ``H,W``, in pixels of what the model sees; left out: that of the largest image, with sides
            of at most 512.
        classes: names in class order; left out: those of the files.
        class_map: renames classes, ``{theirs: ours}``, so that another data set's names match; two may become one; left
            out: none.
        patch_size: side, or ``H,W``, in pixels of the patches to train on, for images that are large or unlike in size;
            they keep their resolution unless ``image_size`` is given too, and are evaluated by tiles; left out: whole
            images.
        zoom: factor on both sides of the images before patches are cut: 2 shows small structures to the network at
            twice their size (what is evaluated and written keeps the size as stored).
        patches: patches of each image in an epoch; ``auto``: as many as would cover it, and at most so many that an
            epoch has 250 steps.
        foreground_share: share (0 to 1) of the training patches that are laid over a box; left out: all alike.
        mosaic: chance (0 to 1) with which a training image is put together with three others to one; not where classes
            have sides.
        kwargs: see :class:`~datamodules.base.ScanDataModule`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        image_size: int | list[int] | str | None = None,
        classes: list[str] | str | None = None,
        class_map: dict[str, str] | None = None,
        patch_size: int | list[int] | str | None = None,
        zoom: float = 1.0,
        patches: int | Literal["auto"] = "auto",
        foreground_share: float | None = None,
        mosaic: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if not 0 <= mosaic <= 1:
            raise SuiteError(f"--data.mosaic {mosaic}: a chance lies between 0 and 1")
        self.patch, self.zoom = patch_place(patch_size, foreground_share, zoom, patches), zoom
        if self.patch is None and foreground_share is not None:
            raise SuiteError("--data.foreground_share is of patches: give --data.patch_size too")
        self.classes = name_list(classes) if isinstance(classes, str) else classes
        self.class_map, self.mosaic = clean_map(class_map), mosaic
        self._adopted_classes: list[str] | None = None
        self._sizes = np.zeros((0, 2), np.int64)
        self._own_classes: list[str] = []
        self._boxes = pd.DataFrame()

    has_boxes: ClassVar[bool] = True

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("patches", "there are none: give --data.patch_size too", "patch_size", left_out),
    )

    # What a data class says.

    def read_annotations(self) -> Annotated:
        """Read what is known of each image, without the images."""
        raise NotImplementedError(f"{type(self).__name__} reads no annotations")

    # What follows from it.

    def build_table(self) -> CaseTable:
        """One case an image, by name; the boxes go into a table of their own."""
        found = self.read_annotations().by_name()
        labels = [clean_text(label) for label in found.boxes.labels]
        if self.class_map:
            listed = map(clean_text, (*(self.classes or ()), *(found.classes or ())))
            warn_of_unused(self.class_map, dict.fromkeys([*listed, *labels]))
        found.boxes.labels = [self.class_map.get(label, label) for label in labels]
        self._own_classes = self._class_list(found)
        table = table_of_images(found.cases, published_split=found.published)
        pairs = zip(found.sizes, table.cases["path"], strict=True)
        self._sizes = np.full((len(table), 2), _UNKNOWN_SIDE, np.int64)
        for case, (size, path) in enumerate(pairs):
            if size is None:
                with suppress(SuiteError):  # is named with all images that cannot be read
                    self._sizes[case] = image_size(self.root / path, self.limits)
                continue
            with tolerated("size", case=case):  # a check comes to such images again
                height, width = size
                if max(height, width) >= _UNKNOWN_SIDE:
                    raise SuiteError(
                        f"{found.where[case]}: no image has {str(width)[:20]} x {str(height)[:20]} pixels: correct it"
                    )
                self._sizes[case] = height, width
        self._boxes = tidy_boxes(found.boxes, self._sizes, found.where)
        return table

    def _class_list(self, found: Annotated) -> list[str]:
        """Classes in class order, each of which a box may have."""
        declared = self.classes if self.classes is not None else found.classes
        if declared is None:
            names = sorted(set(found.boxes.labels))
            refuse_unmeant(names, str(self.root), "--data.classes")
            log.info("classes are the names in the files: %s", ", ".join(names))
        else:
            names = renamed(map(clean_text, declared), self.class_map)
        if not names:
            raise SuiteError(f"{self.root}: no box in any image and no list of classes: name them with --data.classes")
        known = set(names)
        for label, case in zip(found.boxes.labels, found.boxes.cases, strict=True):
            if label not in known:
                report_fault(
                    "unknown_label",
                    f"{found.where[case]}: unknown class {label!r}: {nearest(label, names)} (--data.classes, "
                    "--data.class_map)",
                    cases=[case],
                )
        found.boxes = found.boxes.of_classes(known)
        return names

    def read(self, image: int) -> Scan:
        """Read an image, and check that it is as large as its annotation says."""
        scan = super().read(image)
        if scan.array.shape[:2] != tuple(self._sizes[image]):
            (height, width), (rows, columns) = scan.array.shape[:2], self._sizes[image]
            report_fault(
                "size_mismatch",
                f"{self.root / str(self.table.images['path'].iat[image])}: the image has {width} x {height} pixels, "
                f"but its annotation says {columns} x {rows}: its boxes may be meant for another image: correct the "
                "size there, or take the image away",
            )
        return scan

    def stored_size(self, image: int) -> tuple[int, int]:
        """(H, W) of an image as its annotation says, or as its header does."""
        height, width = self._sizes[image].tolist()
        return height, width

    def units(self, table: CaseTable) -> list[Unit]:
        """An image, and the size that its annotation says."""
        pairs = zip(super().units(table), self._sizes.tolist(), strict=True)
        return [unit._replace(settings=f"{unit.settings} {height}x{width}") for unit, (height, width) in pairs]

    def leave_out(self, keep: NDArray[np.bool_]) -> None:
        """Forget sizes and boxes of the cases that cannot be read."""
        number = np.cumsum(keep) - 1
        boxes = self._boxes[keep[self._boxes["case"].to_numpy(np.int64)]].reset_index(drop=True)
        self._boxes = boxes.assign(case=number[boxes["case"].to_numpy(np.int64)])
        self._sizes = self._sizes[keep]

    def stored(self, table: CaseTable) -> Stored:
        """Boxes, beside what the base says."""
        return replace(super().stored(table), boxes=StoredBoxes(self._boxes, self._own_classes))

    def strata(self, table: CaseTable) -> NDArray[np.float64]:
        """(N, C) which classes an image shows."""
        shown = np.zeros((len(table), len(self._own_classes)))
        evaluated = self._boxes[~self._boxes["ignore"]]
        number = {name: index for index, name in enumerate(self._own_classes)}
        shown[evaluated["case"], [number[label] for label in evaluated["label"]]] = 1
        return shown

    def adopt_classes(self, class_names: Sequence[str]) -> None:
        """Take the classes of a trained model and their order; the data's classes are matched by name."""
        self._adopted_classes = list(class_names)

    @cached_property
    def preprocess(self) -> Preprocess:
        """The one spec that turns stored values into what the model sees; the aspect is kept."""
        return self._adopted if self._adopted is not None else replace(super().preprocess, fit="pad")

    def _size(self) -> tuple[int, int]:
        if self.image_size:
            return super()._size()
        rows = self.rows("train") if self.split != "all_test" else np.arange(len(self.table))
        height, width = (int(side) for side in self._sizes[rows].max(axis=0))
        longest = max(height, width)
        wanted = min(max(longest, self.min_image_size), max(_LARGEST_SIDE, self.min_image_size))
        if wanted != longest:
            height, width = (max(1, round(side * wanted / longest)) for side in (height, width))
            log.info("images are shown to the model at %d x %d pixels (--data.image_size)", width, height)
        return height, width

    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        """Boxes, and where samples are evaluated those that are ignored."""
        boxes = Boxes(self.boxes_of)
        return (boxes,) if augmented else (boxes, IgnoredBoxes(self.ignored_boxes_of))

    def _refuse_mirrors(self) -> None:
        super()._refuse_mirrors()
        if self.mosaic:
            raise SuiteError(
                f"--data.mosaic {self.mosaic} puts images side by side, but classes have sides, which their place "
                "tells: leave it out, or give --data.sided false if it does not"
            )

    def boxes_of(self, case: int) -> LabelledBoxes:
        """Boxes of a case (row of the table) that are not ignored, in pixels as stored, and their class numbers."""
        return self._by_case[case]

    def ignored_boxes_of(self, case: int) -> MarkedBoxes:
        """The others, and whether they are ignored as VOC's difficult."""
        return self._by_case.ignored(case)

    @cached_property
    def _by_case(self) -> BoxesByCase:
        _ = self.table  # finds the boxes
        number = {name: index for index, name in enumerate(self.class_names)}
        # Boxes of cases that are in no part may be of any class.
        labels = np.array([number.get(label, -1) for label in self._boxes["label"]], np.int64)
        return BoxesByCase(self._boxes, labels, len(self.table))

    def true_boxes(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """The boxes of the given cases (rows of the table) for evaluation.

        Returns:
            ``case_id``, ``label`` (class name), ``x1``, ``y1``, ``x2``, ``y2`` in pixels as stored, ``ignore`` and
            ``difficult``; in the order of ``rows``.
        """
        _ = self.class_names  # refuses classes that the model does not know
        place = pd.Series(np.arange(len(rows)), index=rows)
        chosen = self._boxes[self._boxes["case"].isin(rows)]
        chosen = chosen.iloc[np.argsort(place[chosen["case"]].to_numpy(), kind="stable")]
        names = self.table.cases["case_id"].to_numpy()[chosen["case"]]
        return pd.DataFrame({"case_id": pd.Series(names, dtype="str")}).join(
            chosen[["label", *CORNERS, "ignore", "difficult"]].reset_index(drop=True)
        )

    # Facts that the model asks for.

    @cached_property
    def class_names(self) -> list[str]:
        """Names in class order; there is no background.

        Raises:
            SuiteError: the data have boxes of a class that the trained model does not know.
        """
        table = self.table
        if self._adopted_classes is None:
            if self.split != "all_test":
                self._warn_of_absent(table)
            return self._own_classes
        parted = table.cases["split"].notna().to_numpy()[self._boxes["case"]]  # others may have any classes
        for name in self._boxes["label"][parted].unique():
            if name not in self._adopted_classes:
                raise SuiteError(
                    f"{self.root}: class {name!r} is none of the model's ({', '.join(self._adopted_classes)}): rename "
                    "it with --data.class_map"
                )
        return self._adopted_classes

    def _warn_of_absent(self, table: CaseTable) -> None:
        evaluated = self._boxes[~self._boxes["ignore"]]
        split = table.cases["split"].to_numpy()[evaluated["case"]]
        for part in ("train", "val", "test"):
            present = set(evaluated["label"][split == part])
            absent = [name for name in self._own_classes if name not in present]
            if absent and len(self.rows(part)):
                log.warning("the %s part has no box of %s", part, ", ".join(absent))

    @property
    def num_classes(self) -> int:
        """Number of classes, without a background."""
        return len(self.class_names)

    @cached_property
    def max_detections(self) -> int:
        """Boxes an image that are evaluated: 1.5 times the most that a training image has, and at least 100."""
        most = max((len(self.boxes_of(int(case))[1]) for case in self.rows("train")), default=0)
        return max(100, math.ceil(1.5 * most))

    @cached_property
    def box_sizes(self) -> list[list[float]]:
        """[width, height] of (at most 20000, evenly chosen) training boxes in pixels of the model's image."""
        sizes = [np.zeros((0, 2))]
        for case in self.rows("train"):
            stored = (int(self._sizes[case][0]), int(self._sizes[case][1]))
            corners = scaled(self.boxes_of(int(case))[0], stored, self.preprocess.content_size(stored))
            sizes.append(corners[:, 2:] - corners[:, :2])
        everything = np.concatenate(sizes)
        chosen = evenly(len(everything), _MOST_SIZES)
        plain: list[list[float]] = everything[chosen].tolist()
        return plain
