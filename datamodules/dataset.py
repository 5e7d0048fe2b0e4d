"""One case of a table as a sample: read, preprocessed, augmented, annotated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.preprocess import Preprocess
from datamodules.types import Batch, Draw, Sample, Scan, ScanInfo

Augment = Callable[..., dict[str, Any]]


class ScanDataset(Dataset[Sample]):
    """The cases of one part.

    Args:
        read: row number of an image -> the scan as stored.
        images: (N,) row number of the image of each case.
        scans: identity of each case (case_id, patient_id, path), merged over what the reader says.
        preprocess: stored values -> (H, W, C) float32 in [0, 1].
        labels: (N, ...) target of each case, or None where nothing is known (predict).
        augment: image and seed words -> dict with the augmented image; None outside training.
    """

    def __init__(
        self,
        read: Callable[[int], Scan],
        images: NDArray[np.int64],
        scans: Sequence[ScanInfo],
        preprocess: Preprocess,
        labels: Tensor | None = None,
        augment: Augment | None = None,
    ) -> None:
        self.read, self.images, self.scans = read, images, scans
        self.preprocess, self.labels, self.augment = preprocess, labels, augment
        self._memory: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def preprocessed(self, case: int) -> tuple[NDArray[np.float32], ScanInfo]:
        """The image (H, W, C) in [0, 1] before augmentation, and what is known of the scan."""
        if self._memory is not None:
            return self._memory[case], self.scans[case]
        scan = self.read(int(self.images[case]))
        return self.preprocess(scan), cast("ScanInfo", {**scan.info, **self.scans[case]})

    def fill(self) -> None:
        """Read every case once and keep it; workers made afterwards share the memory."""
        first, _ = self.preprocessed(0)
        memory = np.empty((len(self), *first.shape), dtype=np.float32)
        scans: list[ScanInfo] = []
        for case in range(len(self)):
            memory[case], info = self.preprocessed(case)
            scans.append(info)
        self._memory, self.scans = memory, scans

    def __getitem__(self, draw: Draw | int) -> Sample:
        if not isinstance(draw, Draw):
            draw = Draw(draw)
        image, info = self.preprocessed(draw.case)
        if self.augment is not None:
            image = self.augment(image, draw.seed)["image"]
        # A view with the channels first: collate puts images together with the channels last, as they lie in memory.
        sample = Sample(image=torch.from_numpy(image).permute(2, 0, 1), scan=info)
        if draw.padding:
            sample["scan"] = cast("ScanInfo", {**info, "padding": True})
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        return sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples together; the images' memory stays channels-last, which convolutions like best."""
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = Batch(image=images, scan=[sample["scan"] for sample in samples])
    if "label" in samples[0]:
        batch["label"] = torch.stack([sample["label"] for sample in samples])
    return batch
