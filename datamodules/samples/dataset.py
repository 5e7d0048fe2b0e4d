"""One case of a table as a sample: read, preprocessed, augmented, annotated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.preprocess import Preprocess
from datamodules.samples.box_geometry import cropped, scaled
from datamodules.samples.mosaic import BoxedImage, mosaic
from datamodules.samples.patches import PatchPlace
from datamodules.samples.tiles import fill_up
from datamodules.types import Batch, Draw, Sample, Scan, ScanInfo
from scansuite.random_streams import MOSAIC_CHOICE

Augment = Callable[..., dict[str, Any]]
ReadMask = Callable[[int, Scan], NDArray[Any]]
Boxes: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]  # (N, 4) xyxy in pixels, (N,) class numbers
ReadBoxes = Callable[[int], Boxes]
# (M, 4) xyxy in pixels, (M,) class numbers, (M,) VOC's difficult and no crowd.
IgnoredBoxes: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]


class _Shown(NamedTuple):
    """What the model is shown of a case, before augmentation."""

    image: NDArray[np.float32]  # (H, W, C) in [0, 1]
    mask: NDArray[Any] | None  # (H, W) or (L, H, W)
    boxes: Boxes | None  # in pixels of the image
    info: ScanInfo
    content: tuple[int, int]  # (h, w) of the image that show the scan


class ScanDataset(Dataset[Sample]):
    """The cases of one part.

    Args:
        read: row number of an image -> the scan as stored.
        images: (N,) row number of the image of each case.
        scans: identity of each case (case_id, patient_id, path), merged over what the reader says.
        preprocess: stored values -> (H, W, C) float32 in [0, 1].
        labels: (N, ...) target of each case, or None where nothing is known (predict).
        augment: image, seed words, mask, boxes and labels -> dict of the same, augmented; None outside training.
        masks: row number of an image, and its scan -> the mask (H, W) or (L, H, W) on the scan's grid.
        patch: what is taken of each image: a random patch where there is ``augment``, else the middle; None: all of it.
        boxes: row number of an image -> its boxes in pixels as stored, and their class numbers.
        mosaic: chance with which a case is shown in a mosaic with three others, where there are boxes and ``augment``.

    Attributes:
        ignored: row number of an image -> its boxes that are neither to be found nor to be missed, in pixels as stored;
            None where they are not asked for, as in training.
    """

    def __init__(
        self,
        read: Callable[[int], Scan],
        images: NDArray[np.int64],
        scans: Sequence[ScanInfo],
        preprocess: Preprocess,
        labels: Tensor | None = None,
        augment: Augment | None = None,
        masks: ReadMask | None = None,
        patch: PatchPlace | None = None,
        boxes: ReadBoxes | None = None,
        mosaic: float = 0.0,
    ) -> None:
        self.read, self.images, self.scans = read, images, scans
        self.preprocess, self.labels, self.augment, self.masks = preprocess, labels, augment, masks
        self.patch, self.boxes, self.mosaic = patch, boxes, mosaic
        self.ignored: Callable[[int], IgnoredBoxes] | None = None
        self._memory: Sequence[NDArray[np.float32]] | NDArray[np.float32] | None = None
        self._mask_memory: Sequence[NDArray[Any]] | NDArray[Any] | None = None
        self._box_memory: Sequence[Boxes] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_images(self) -> int:
        """How many images are read."""
        return len(self.images)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Put samples of this data set together."""
        return collate(samples)

    def preprocessed(self, case: int) -> tuple[NDArray[np.float32], ScanInfo]:
        """The image (H, W, C) in [0, 1] before augmentation, and what is known of the scan."""
        if self._memory is not None:
            return self._memory[case], self.scans[case]
        scan = self.read(int(self.images[case]))
        return self.preprocess(scan), self._info(scan, case)

    def _whole(self, case: int) -> _Shown:
        """All of a case, with mask and boxes on the model's image."""
        if self._memory is not None:
            image, info = self._memory[case], self.scans[case]
            mask, boxes = self._remembered(case)
        else:
            scan = self.read(int(self.images[case]))
            image, info = self.preprocess(scan), self._info(scan, case)
            mask, boxes = self._annotations(case, scan)
        return _Shown(image, mask, boxes, info, _content(image.shape[:2], info))

    def _patch(self, draw: Draw, patch: PatchPlace) -> _Shown:
        """A patch of a case; of a scan that is not in memory the patch alone is converted."""
        if self._memory is not None:
            whole, info = self._memory[draw.case], self.scans[draw.case]
            mask, boxes = self._remembered(draw.case)
            size = _content(whole.shape[:2], info)
        else:
            scan = self.read(int(self.images[draw.case]))
            info = self._info(scan, draw.case)
            mask, boxes = self._annotations(draw.case, scan)
            opened = self.preprocess.opened(scan)
            size = _content(opened.size, info)
        if self.augment is None:
            top, left = patch.middle(size)
        else:
            top, left = patch.random(size, draw.seed, mask, boxes=None if boxes is None else boxes[0])
        height, width = (
            min(part, side - start) for part, side, start in zip(patch.size, size, (top, left), strict=True)
        )
        if self._memory is not None:
            image = whole[top : top + patch.size[0], left : left + patch.size[1]]
        else:
            image = opened.tile(top, left, *patch.size)
        image = fill_up(image, patch.size)
        if boxes is not None:
            seen, kept = cropped(boxes[0], top, left, (height, width))
            boxes = (seen, boxes[1][kept])
        # A copy: collating must not hold the whole image, and memory must not change.
        mask = None if mask is None else patch.cut(mask, top, left)
        return _Shown(np.ascontiguousarray(image), mask, boxes, info, (height, width))

    def _annotations(self, case: int, scan: Scan) -> tuple[NDArray[Any] | None, Boxes | None]:
        """Mask and boxes of a case on the model's image."""
        number = int(self.images[case])
        mask = None if self.masks is None else self.preprocess.mask(self.masks(number, scan))
        if self.boxes is None:
            return mask, None
        boxes, labels = self.boxes(number)
        stored = (scan.array.shape[0], scan.array.shape[1])
        return mask, (scaled(boxes, stored, self.preprocess.content_size(stored)), labels)

    def _remembered(self, case: int) -> tuple[NDArray[Any] | None, Boxes | None]:
        mask = None if self._mask_memory is None else self._mask_memory[case]
        return mask, None if self._box_memory is None else self._box_memory[case]

    def _info(self, scan: Scan, case: int) -> ScanInfo:
        info = cast("ScanInfo", {**scan.info, **self.scans[case]})
        if self.preprocess.fills:
            info["content_size"] = self.preprocess.content_size((scan.array.shape[0], scan.array.shape[1]))
        return info

    def fill(self) -> None:
        """Read every case once and keep it; workers made afterwards share the memory."""
        first = self._whole(0)
        one_size = self.preprocess.size is not None
        memory: Any = np.empty((len(self), *first.image.shape), np.float32) if one_size else [None] * len(self)
        masks: Any = None
        if first.mask is not None:
            masks = np.empty((len(self), *first.mask.shape), first.mask.dtype) if one_size else [None] * len(self)
        boxes: list[Boxes] = []
        scans: list[ScanInfo] = []
        for case in range(len(self)):
            whole = self._whole(case)
            memory[case] = whole.image
            if masks is not None:
                masks[case] = whole.mask
            if whole.boxes is not None:
                boxes.append(whole.boxes)
            scans.append(whole.info)
        self._memory, self._mask_memory, self.scans = memory, masks, scans
        self._box_memory = boxes if self.boxes is not None else None

    def _shown(self, draw: Draw) -> _Shown:
        return self._whole(draw.case) if self.patch is None else self._patch(draw, self.patch)

    def _in_mosaic(self, draw: Draw, shown: _Shown) -> _Shown:
        """Perhaps a mosaic of a case and three others, drawn from the seed words."""
        rng = np.random.default_rng([*draw.seed, MOSAIC_CHOICE])
        if rng.random() >= self.mosaic:
            return shown
        others = [
            self._shown(Draw(int(case), (*draw.seed, number)))
            for number, case in enumerate(rng.integers(len(self), size=3), start=1)
        ]
        parts = [BoxedImage(one.image, *one.boxes, one.content) for one in (shown, *others) if one.boxes is not None]
        image, boxes, labels, content = mosaic(parts, draw.seed)
        return _Shown(image, None, (boxes, labels), shown.info, content)

    def __getitem__(self, draw: Draw | int) -> Sample:
        if not isinstance(draw, Draw):
            draw = Draw(draw)
        shown = self._shown(draw)
        if self.mosaic and self.augment is not None and shown.boxes is not None:
            shown = self._in_mosaic(draw, shown)
        given: dict[str, Any] = {"image": shown.image}
        if shown.mask is not None:
            given["mask"] = shown.mask
        if shown.boxes is not None:
            given |= {"boxes": shown.boxes[0].astype(np.float32), "labels": shown.boxes[1]}
        if self.augment is not None:
            given = self.augment(given.pop("image"), draw.seed, **given)
        # A view with the channels first: collate puts images together with the channels last, as they lie in memory.
        sample = Sample(image=torch.from_numpy(given["image"]).permute(2, 0, 1), scan=shown.info)
        if draw.padding:
            sample["scan"] = cast("ScanInfo", {**shown.info, "padding": True})
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        if shown.mask is not None:
            sample["mask"] = torch.from_numpy(given["mask"]).long()
        if shown.boxes is not None:
            sample["boxes"] = torch.from_numpy(given["boxes"])
            sample["labels"] = torch.from_numpy(given["labels"])
        if self.ignored is not None and self.augment is None:
            sample["ignored"] = self._ignored(draw.case, shown, self.ignored)
            sample["scan"] = cast("ScanInfo", {**sample["scan"], "content_size": shown.content})
        return sample

    def _ignored(self, case: int, shown: _Shown, ignored: Callable[[int], IgnoredBoxes]) -> Tensor:
        """(M, 6) ignored boxes on what is shown of a case that is not augmented; see :class:`Sample`."""
        corners, labels, difficult = ignored(int(self.images[case]))
        stored = shown.info["original_size"]
        whole = self.preprocess.content_size(stored)
        corners, marks = scaled(corners, stored, whole), np.stack([labels, difficult], axis=1)
        if self.patch is not None:
            corners, seen = cropped(corners, *self.patch.middle(whole), shown.content)
            marks = marks[seen]
        return torch.from_numpy(np.concatenate([corners, marks], axis=1).astype(np.float32))


def _content(size: tuple[int, ...], info: ScanInfo) -> tuple[int, int]:
    """(h, w) of the model's image of (H, W) pixels that show the scan; what follows was filled up."""
    return info.get("content_size", (size[0], size[1]))


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples together; the images' memory stays channels-last, which convolutions like best."""
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = Batch(image=images, scan=[sample["scan"] for sample in samples])
    if "label" in samples[0]:
        batch["label"] = torch.stack([sample["label"] for sample in samples])
    if "mask" in samples[0]:
        batch["mask"] = torch.stack([sample["mask"] for sample in samples])
    if "boxes" in samples[0]:
        batch["boxes"] = [sample["boxes"] for sample in samples]
        batch["labels"] = [sample["labels"] for sample in samples]
    if "ignored" in samples[0]:
        batch["ignored"] = [sample["ignored"] for sample in samples]
    return batch
