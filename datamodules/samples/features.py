"""Samples that are features: what a frozen network has made of each image, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor

from datamodules.samples.dataset import SampleDataset
from datamodules.samples.moving import MovingBatch
from datamodules.samples.sources import Source
from datamodules.types import Batch, Draw, Sample, ScanInfo
from scansuite.random_streams import FEATURE_COPY


@dataclass(frozen=True, eq=False)
class FeatureDataset(SampleDataset):
    """Samples of which ``image`` is a vector of features.

    Attributes:
        features: (N, K, F) float32: of each sample K copies, the first of the image as it is, the others augmented.
        scans: what is known of each scan.
        labels: (N, ...) target of each; None: nothing is known.
    """

    features: Tensor
    scans: Sequence[ScanInfo]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    def sample(self, draw: Draw) -> Sample:
        """The features of a case: of one of its copies, drawn from the seed words."""
        copies = self.features.shape[1]
        copy = int(np.random.default_rng([*draw.seed, FEATURE_COPY]).integers(copies)) if copies > 1 else 0
        scan = cast("ScanInfo", {**self.scans[draw.case]})
        if draw.padding:
            scan["padding"] = True
        sample = Sample(image=self.features[draw.case, copy], scan=scan)
        if self.labels is not None:
            sample["label"] = self.labels[draw.case]
        return sample

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Put samples together: ``image`` is (B, F)."""
        batch = MovingBatch(
            image=torch.stack([sample["image"] for sample in samples]), scan=[sample["scan"] for sample in samples]
        )
        if self.labels is not None:
            batch["label"] = torch.stack([sample["label"] for sample in samples])
        return cast("Batch", batch)

    def in_memory(self) -> Self:
        """This."""
        return self

    def with_source(self, change: Callable[[Source], Source]) -> Self:
        """This: no image is read for it any more."""
        return self

    @property
    def augmented(self) -> bool:
        """Whether there are augmented copies."""
        return self.features.shape[1] > 1

    @property
    def num_images(self) -> int:
        """Number of images that the features are of."""
        return len(self)

    @property
    def pixel_bytes(self) -> float:
        """Bytes of a number."""
        return 4.0
