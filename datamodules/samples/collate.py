"""Samples put together to batches, by our loaders and by those of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data._utils.collate import default_collate_fn_map

from datamodules.samples.annotation import Annotation
from datamodules.samples.moving import MovingBatch
from datamodules.types import Batch, Sample, ScanInfo

Collate = Callable[[Sequence[Sample]], Batch]


def sample_of(image: NDArray[Any], limits: NDArray[np.float32] | None, scan: ScanInfo) -> Sample:
    """A sample of an image (H, W) or (H, W, C), with its limits where it is as stored.

    The channels of the tensor come first, but lie last in memory, where they were. Memory is copied only where a tensor
    cannot have it: turned around, or mapped from a file.
    """
    array = np.ascontiguousarray(image if image.ndim == 3 else image[:, :, None])
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).permute(2, 0, 1)
    return Sample(image=tensor, scan=scan) | ({} if limits is None else {"limits": torch.tensor(limits)})


def collate(samples: Sequence[Sample], annotations: Sequence[Annotation[Any]] = ()) -> Batch:
    """Put samples together; the images' memory stays channels-last, which convolutions like best."""
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = MovingBatch(image=images, scan=[sample["scan"] for sample in samples])
    for name in ("label", "limits", "augment"):
        if name in samples[0]:
            batch[name] = torch.stack([cast("dict[str, Any]", sample)[name] for sample in samples])
    for annotation in annotations:
        batch.update(annotation.collate(samples))
    return cast("Batch", batch)


class DataSetSample(dict[str, Any]):
    """A sample that torch's own ``default_collate`` puts together as its data set does.

    ``default_collate`` knows neither ``scan`` (a spacing may be None) nor lists of boxes; the types that it should know
    beside its own are registered with it, as its documentation says.

    Args:
        sample: the parts.
        collate: of the data set.
    """

    def __init__(self, sample: Mapping[str, Any], collate: Collate) -> None:
        super().__init__(sample)
        self.collate = collate

    def __reduce__(self) -> tuple[Any, ...]:
        """A plain dictionary between processes: the data set must not travel with each sample."""
        return dict, (dict(self),)


def _as_the_data_set_does(samples: Sequence[DataSetSample], *, collate_fn_map: object = None) -> Batch:
    return samples[0].collate(cast("Sequence[Sample]", samples))


default_collate_fn_map[DataSetSample] = _as_the_data_set_does
