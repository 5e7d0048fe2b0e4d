"""Parts of a batch: the cases that count, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from datamodules.types import Batch, ScanInfo


def count_cases(batch: Batch) -> int:
    """How many cases a batch has; none where nothing of it was readable. Batches of other people's have no ``scan``."""
    return len(batch["bags"] if "bags" in batch else batch["scan"] if "scan" in batch else batch["image"])


def without_padding(batch: Batch) -> list[int]:
    """Numbers of the cases of a batch that do not stand in it for the sake of another rank."""
    if "scan" not in batch:
        return list(range(count_cases(batch)))
    return [position for position, scan in enumerate(batch["scan"]) if not scan.get("padding")]


def of_cases(batch: Batch, kept: list[int]) -> Batch:
    """The given cases of a batch."""
    taken: dict[str, Any] = {}
    for key, value in batch.items():
        if key == "image" and "bags" in batch:  # those of several cases, one after the other
            parts = torch.split(batch["image"], [len(bag) for bag in batch["bags"]])
            taken[key] = torch.cat([parts[i] for i in kept]) if kept else batch["image"][:0]
        else:
            taken[key] = value[kept] if isinstance(value, Tensor) else [cast("list[Any]", value)[i] for i in kept]
    return cast("Batch", taken)


def case_ids(scans: Sequence[ScanInfo]) -> list[str]:
    """The case ids of a batch."""
    return [scan["case_id"] for scan in scans]


def no_case(batch: Batch) -> bool:
    """Whether nothing is in a batch, as where none of its files was readable."""
    return "scan" in batch and not batch["scan"]


def without_images(batch: Batch) -> Batch:
    """What a batch says beside its images, which would fill the memory of whoever keeps many."""
    return cast("Batch", {key: value for key, value in batch.items() if key != "image"})
