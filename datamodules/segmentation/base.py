"""Base of data classes with a mask for each scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.class_names import clean_map, warn_of_unused
from datamodules.cases.scan_rows import ScanRows
from datamodules.evenly import evenly
from datamodules.samples.annotation import Annotation
from datamodules.samples.label_values import IGNORE
from datamodules.samples.masks import Masks
from datamodules.samples.patches import patch_place
from datamodules.samples.picture import picture
from datamodules.samples.sources import Samples
from datamodules.settings import name_list
from datamodules.stored import Stored, StoredMasks
from datamodules.types import Scan, ScanInfo
from datamodules.useless import Useless, left_out
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.cases.table import CaseTable
    from datamodules.samples.slices import SliceSpec

_COUNTED_MASKS = 256
# Of flat images; of volumes whole slices can be drawn by what they hold.
PATCHES_ALONE = Useless("foreground_share", "it is of patches: give --data.patch_size too", "patch_size", left_out)


class SegmentationData(ScanDataModule):
    """Adds masks to :class:`~datamodules.base.ScanDataModule`.

    A data class sets ``stored_classes`` (background first) in its table and reads masks with :meth:`read_classes`.
    Every image of a case is a sample of its own; splits keep the images of a case, and the cases of a patient,
    together.

    Args:
        root: folder of the data set.
        classes: names for the label values 0, 1, 2, ..., background first; or ``{name: value}`` (or a list of values);
            left out: as the data say, else background and foreground.
        ignore_value: label value of pixels that neither train nor are evaluated; left out: none.
        overlapping: classes may overlap: each is predicted by itself, without a background.
        regions: overlapping regions to predict instead of the classes, each a union of them, ``{region: [classes]}``;
            left out: none.
        class_map: renames classes, ``{theirs: ours}``, so that another data set's names match; two may become one; left
            out: none.
        patch_size: side, or ``H,W``, in pixels of the patches to train on, for images that are large or unlike in size;
            they keep their resolution unless ``image_size`` is given too, and are evaluated by tiles; left out: whole
            images, resized to ``image_size``.
        zoom: factor on both sides of the images before patches are cut: 2 shows small structures to the network at
            twice their size (what is evaluated and written keeps the size as stored).
        patches: patches of each image in an epoch; ``auto``: as many as would cover it (one of each slice of volumes),
            and at most so many that an epoch has 250 steps.
        foreground_share: share (0 to 1) of the training patches whose centre belongs to a class (of slices of volumes:
            that hold a class); left out: all alike.
        kwargs: see :class:`~datamodules.base.ScanDataModule`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        classes: list[str] | dict[str, int | list[int]] | str | None = None,
        ignore_value: int | None = None,
        overlapping: bool = False,
        regions: dict[str, list[str]] | None = None,
        class_map: dict[str, str] | None = None,
        patch_size: int | list[int] | str | None = None,
        zoom: float = 1.0,
        patches: int | Literal["auto"] = "auto",
        foreground_share: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.foreground_share = foreground_share
        self.patch, self.zoom = patch_place(patch_size, foreground_share, zoom, patches), zoom
        self.classes = name_list(classes) if isinstance(classes, str) else classes
        self.ignore_value, self.regions, self.class_map = ignore_value, regions, clean_map(class_map)
        self.overlapping = overlapping or regions is not None
        self.slices: SliceSpec | None = None  # how volumes are cut, where the data are volumes
        self.stored_classes: tuple[str, ...] = ()
        self.separate_masks = False  # whether read_classes gives one mask a class
        self._adopted_classes: list[str] | None = None

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("patches", "there are none: give --data.patch_size too", "patch_size", left_out),
    )

    # What a data class says.

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """The mask of image number ``image`` on the scan's grid.

        Returns:
            (H, W) class numbers in the order of ``stored_classes``, with :data:`~.masks.IGNORE`; or, where every class
            has a mask of its own, (L, H, W) of 0 and 1 for the classes after the background.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no masks")

    def mask_name(self, image: int) -> str:
        """The file of an image's mask, for messages."""
        raise NotImplementedError(f"{type(self).__name__} names no masks")

    def annotation_meaning(self) -> str:
        """How stored class numbers become the model's."""
        order = self._members if self.overlapping else self._order
        numbers = None if order is None else order.tolist()
        return f"{self.stored_classes} {self.separate_masks} {self.overlapping} {self.class_names} {numbers}"

    @property
    def has_ignored(self) -> bool:
        """Whether pixels may be :data:`~.masks.IGNORE`."""
        return self.ignore_value is not None

    # What follows from it.

    def adopt_classes(self, class_names: Sequence[str], *, overlapping: bool) -> None:
        """Take the classes of a trained model and their order; the data's classes are matched by name.

        Raises:
            SuiteError: the data's classes overlap and the model's do not, or the other way round.
        """
        if overlapping != self.overlapping:
            raise SuiteError(
                f"--data.overlapping {str(self.overlapping).lower()}: the model was trained with "
                f"{str(overlapping).lower()}: give the same"
            )
        self._adopted_classes = list(class_names)

    def read_mask(self, image: int) -> NDArray[np.uint8]:
        """The mask of image number ``image`` as the model knows its classes.

        Returns:
            (H, W) class numbers, or (L, H, W) of 0 and 1 for overlapping classes; :data:`~.masks.IGNORE` in both.
        """
        return self.as_model_sees(self.read_classes(image))

    def as_model_sees(self, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stored class numbers of any shape (or a mask for each class, where ``separate_masks``) -> the model's."""
        if self.separate_masks:
            members = self._members[:, 1:].astype(bool)
            regions = np.stack([(stored[member] == 1).any(axis=0) for member in members]).astype(np.uint8)
            return np.where((stored == IGNORE).any(axis=0), np.uint8(IGNORE), regions)
        if self.overlapping:
            regions = self._members[:, np.minimum(stored, len(self.stored_classes) - 1)]
            return np.where(stored == IGNORE, np.uint8(IGNORE), regions)
        return stored if self._order is None else self._order[stored]

    def read_whole(self, image: int) -> Scan:
        """An image, and its mask, of which no class needs to be known to a model yet."""
        scan = self.read(image)
        self._refuse_other_size(self.read_classes(image), image, scan)
        return scan

    def stored(self, table: CaseTable) -> Stored:
        """Masks, beside what the base says."""
        masks = StoredMasks(self.read_classes, self.stored_classes, self.separate_masks)
        return replace(super().stored(table), masks=masks)

    def _checked_mask(self, image: int, scan: Scan) -> NDArray[np.uint8]:
        mask = self.read_mask(image)
        self._refuse_other_size(mask, image, scan)
        return mask

    def _refuse_other_size(self, mask: NDArray[np.uint8], image: int, scan: Scan) -> None:
        if mask.shape[-2:] != scan.array.shape[:2]:
            (rows, columns), (height, width) = mask.shape[-2:], scan.array.shape[:2]
            raise SuiteError(
                f"{self.mask_name(image)}: the mask is {rows} x {columns}, but its image "
                f"{scan.info.get('path', 'scan')} is {height} x {width} pixels: give a mask of the image's size",
                kind="grid_mismatch",
            )

    @cached_property
    def _own_names(self) -> list[str]:
        """Classes as the data name them, in the data's order; those that ``class_map`` joins have one name."""
        _ = self.table  # finds the classes
        if self.regions is not None:
            return [self.class_map.get(name, name) for name in self.regions]
        stored = self.stored_classes[1:] if self.overlapping else self.stored_classes
        return [self.class_map.get(name, name) for name in stored]

    @cached_property
    def _members(self) -> NDArray[np.uint8]:
        """(L, C): 1 where stored class C belongs to region L of the model."""
        names = self._own_names
        regions = self.regions if self.regions is not None else {name: [name] for name in self.stored_classes[1:]}
        members = np.zeros((len(self.class_names), len(self.stored_classes)), np.uint8)
        for name, (region, classes) in zip(names, regions.items(), strict=True):
            if name not in self.class_names:  # made background
                continue
            for one in classes:
                if one not in self.stored_classes:
                    raise SuiteError(
                        f"--data.regions: {region} names {one!r}, which is none of {', '.join(self.stored_classes)}"
                    )
                members[self.class_names.index(name), self.stored_classes.index(one)] = 1
        return members

    @cached_property
    def _order(self) -> NDArray[np.uint8] | None:
        """Stored class number -> the model's, or None where they are the same."""
        if self._own_names == self.class_names:
            return None
        order = np.full(256, IGNORE, np.uint8)
        order[: len(self._own_names)] = [self.class_names.index(name) for name in self._own_names]
        return order

    def images_by_case(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Row numbers of all images of each of the given cases."""
        return [self.table.images_by_case[row] for row in rows]

    def samples(self, rows: NDArray[np.int64]) -> Samples:
        """All images of the given cases."""
        images, owners = self.table.images_by_case.together(rows)
        return Samples(images, ScanRows(self.table.cases, owners))

    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        """Masks."""
        return (Masks(self._checked_mask),)

    def to_grid(self, case: int, planes: NDArray[Any]) -> NDArray[Any]:
        """Put the images of a case (row of the table) together on its original grid.

        Args:
            case: row of the table.
            planes: (S, H, W) of its S images as stored, or (S, L, H, W) of overlapping regions.

        Returns:
            (H, W) or (L, H, W); a volume's class gives (X, Y, Z) or (L, X, Y, Z).
        """
        return np.asarray(planes[0])

    def to_planes(self, case: int, whole: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_grid`."""
        return whole[None]

    def pixel_spacing(self, case: int, scan: ScanInfo) -> tuple[float, float] | None:
        """Mm per row and column of a case's images as stored, where known."""
        spacing = scan.get("spacing")
        return None if spacing is None else (spacing[0], spacing[1])

    def picture(self, case: int, index: int) -> NDArray[np.float32]:
        """Image number ``index`` of a case (row of the table) as people see it: (H, W, C) in [0, 1], as stored."""
        return picture(self.read(int(self.table.images_by_case[case][index])), self.preprocess)

    def true_mask(self, case: int) -> NDArray[np.uint8]:
        """The whole mask of a case (row of the table) on its original grid, as :meth:`read_mask` gives it."""
        return self.read_mask(int(self.first_images(np.array([case]))[0]))

    # Facts that the model asks for.

    @cached_property
    def class_names(self) -> list[str]:
        """Names in class order: background first, or the regions of overlapping classes, which have none.

        Raises:
            SuiteError: the data have a class that the trained model does not know.
        """
        names = list(dict.fromkeys(self._own_names))
        if self.class_map:
            warn_of_unused(self.class_map, self.regions or self.stored_classes)
        if self.overlapping and self.regions is None:  # what is made background is no region
            background = self.stored_classes[0]
            names = [name for name in names if name != self.class_map.get(background, background)]
        if self._adopted_classes is None:
            return names
        strange = [name for name in names if name not in self._adopted_classes]
        if strange:
            raise SuiteError(
                f"{self.root}: class {strange[0]!r} is none of the model's ({', '.join(self._adopted_classes)}): "
                "rename it with --data.class_map"
            )
        return self._adopted_classes

    @property
    def num_classes(self) -> int:
        """Number of classes with the background, or of overlapping regions."""
        return len(self.class_names)

    @property
    def ignore_index(self) -> int | None:
        """Class number of pixels that neither train nor are evaluated, or None where there are none."""
        return IGNORE if self.has_ignored else None

    @cached_property
    def class_counts(self) -> list[float]:
        """Pixels of each class in (at most 256) training images."""
        images = np.concatenate(self.images_by_case(self.rows("train")))
        images = images[evenly(len(images), _COUNTED_MASKS)]
        counts = np.zeros(self.num_classes)
        for image in images:
            mask = self.read_mask(int(image))
            if self.overlapping:
                counts += (mask == 1).sum(axis=(1, 2))
            else:
                counts += np.bincount(mask.ravel(), minlength=IGNORE + 1)[: self.num_classes]
        return [float(count) for count in counts]
