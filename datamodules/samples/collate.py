"""Samples put together to batches, by our loaders and by those of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from datamodules.samples.annotation import Annotation
from datamodules.types import Batch, Sample

Collate = Callable[[Sequence[Sample]], Batch]


def collate(samples: Sequence[Sample], annotations: Sequence[Annotation[Any]] = ()) -> Batch:
    """Put samples together; the images' memory stays channels-last, which convolutions like best."""
    images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    batch = Batch(image=images, scan=[sample["scan"] for sample in samples])
    if "label" in samples[0]:
        batch["label"] = torch.stack([sample["label"] for sample in samples])
    for annotation in annotations:
        cast("dict[str, Any]", batch).update(annotation.collate(samples))
    return batch


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
