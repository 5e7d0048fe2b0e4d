"""One case of a table as a sample: read, preprocessed, augmented, annotated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.patches import PatchPlace
from datamodules.preprocess import Preprocess
from datamodules.types import Batch, Draw, Sample, Scan, ScanInfo

Augment = Callable[..., dict[str, Any]]
ReadMask = Callable[[int, Scan], NDArray[Any]]


class ScanDataset(Dataset[Sample]):
    """The cases of one part.

    Args:
        read: row number of an image -> the scan as stored.
        images: (N,) row number of the image of each case.
        scans: identity of each case (case_id, patient_id, path), merged over what the reader says.
        preprocess: stored values -> (H, W, C) float32 in [0, 1].
        labels: (N, ...) target of each case, or None where nothing is known (predict).
        augment: image, seed words and mask -> dict with the augmented image and mask; None outside training.
        masks: row number of an image, and its scan -> the mask (H, W) or (L, H, W) on the scan's grid.
        patch: what is taken of each image: a random patch where there is ``augment``, else the middle; None: all of it.
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
    ) -> None:
        self.read, self.images, self.scans = read, images, scans
        self.preprocess, self.labels, self.augment, self.masks = preprocess, labels, augment, masks
        self.patch = patch
        self._memory: Sequence[NDArray[np.float32]] | NDArray[np.float32] | None = None
        self._mask_memory: Sequence[NDArray[Any]] | NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def preprocessed(self, case: int) -> tuple[NDArray[np.float32], ScanInfo]:
        """The image (H, W, C) in [0, 1] before augmentation, and what is known of the scan."""
        if self._memory is not None:
            return self._memory[case], self.scans[case]
        scan = self.read(int(self.images[case]))
        return self.preprocess(scan), self._info(scan, case)

    def preprocessed_mask(self, case: int) -> tuple[NDArray[np.float32], NDArray[Any] | None, ScanInfo]:
        """As :meth:`preprocessed`, with the mask (H, W) or (L, H, W) at the image's size where there are masks."""
        if self.masks is None or self._memory is not None:
            image, info = self.preprocessed(case)
            return image, None if self._mask_memory is None else self._mask_memory[case], info
        scan = self.read(int(self.images[case]))
        mask = self.preprocess.mask(self.masks(int(self.images[case]), scan))
        return self.preprocess(scan), mask, self._info(scan, case)

    def _of_patch(self, draw: Draw, patch: PatchPlace) -> tuple[NDArray[np.float32], NDArray[Any] | None, ScanInfo]:
        """A patch of a case; of a scan that is not in memory the patch alone is converted."""
        mask: NDArray[Any] | None = None
        if self._memory is not None:
            whole, info = self._memory[draw.case], self.scans[draw.case]
            mask = None if self._mask_memory is None else self._mask_memory[draw.case]
            size = whole.shape[:2]
        else:
            scan = self.read(int(self.images[draw.case]))
            info = self._info(scan, draw.case)
            if self.masks is not None:
                mask = self.preprocess.mask(self.masks(int(self.images[draw.case]), scan))
            opened = self.preprocess.opened(scan)
            size = opened.size
        top, left = patch.middle(size) if self.augment is None else patch.random(size, draw.seed, mask)
        height, width = patch.size
        if self._memory is not None:
            image = whole[top : top + height, left : left + width]
        else:
            image = opened.window(top, left, height, width)
        lacking = [(0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)]
        if any(after for _, after in lacking):
            image = np.pad(image, lacking, mode="edge")
        # A copy: collating must not hold the whole image, and memory must not change.
        return np.ascontiguousarray(image), None if mask is None else patch.cut(mask, top, left), info

    def _info(self, scan: Scan, case: int) -> ScanInfo:
        return cast("ScanInfo", {**scan.info, **self.scans[case]})

    def fill(self) -> None:
        """Read every case once and keep it; workers made afterwards share the memory."""
        if self.preprocess.size is None:  # images of many sizes
            everything = [self.preprocessed_mask(case) for case in range(len(self))]
            self._memory = [image for image, _, _ in everything]
            self._mask_memory = None if self.masks is None else [mask for _, mask, _ in everything if mask is not None]
            self.scans = [info for _, _, info in everything]
            return
        first, first_mask, _ = self.preprocessed_mask(0)
        memory = np.empty((len(self), *first.shape), dtype=np.float32)
        masks = None if first_mask is None else np.empty((len(self), *first_mask.shape), dtype=first_mask.dtype)
        scans: list[ScanInfo] = []
        for case in range(len(self)):
            memory[case], mask, info = self.preprocessed_mask(case)
            if masks is not None:
                masks[case] = mask
            scans.append(info)
        self._memory, self._mask_memory, self.scans = memory, masks, scans

    def __getitem__(self, draw: Draw | int) -> Sample:
        if not isinstance(draw, Draw):
            draw = Draw(draw)
        image, mask, info = (
            self.preprocessed_mask(draw.case) if self.patch is None else self._of_patch(draw, self.patch)
        )
        if self.augment is not None and mask is None:
            image = self.augment(image, draw.seed)["image"]
        elif self.augment is not None:
            changed = self.augment(image, draw.seed, mask=mask)
            image, mask = changed["image"], changed["mask"]
        # A view with the channels first: collate puts images together with the channels last, as they lie in memory.
        sample = Sample(image=torch.from_numpy(image).permute(2, 0, 1), scan=info)
        if draw.padding:
            sample["scan"] = cast("ScanInfo", {**info, "padding": True})
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        if mask is not None:
            sample["mask"] = torch.from_numpy(mask).long()
        return sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples together; the images' memory stays channels-last, which convolutions like best."""
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = Batch(image=images, scan=[sample["scan"] for sample in samples])
    if "label" in samples[0]:
        batch["label"] = torch.stack([sample["label"] for sample in samples])
    if "mask" in samples[0]:
        batch["mask"] = torch.stack([sample["mask"] for sample in samples])
    return batch
