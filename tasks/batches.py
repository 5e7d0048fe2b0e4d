"""Parts of a batch: the cases that count, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from datamodules.types import Batch, ScanInfo
from tasks.distributed import sum_of_counts


def count_cases(batch: Batch) -> int:
    """How many cases a batch has; none where nothing of it was readable. Batches of other people's have no ``scan``."""
    return len(batch["bags"] if "bags" in batch else batch["scan"] if "scan" in batch else batch["image"])


def without_padding(batch: Batch) -> list[int]:
    """Numbers of the cases of a batch that do not stand in it for the sake of another rank."""
    if "scan" not in batch:
        return list(range(count_cases(batch)))
    return [position for position, scan in enumerate(batch["scan"]) if not scan.get("padding")]


def cases_of_all(batch: Batch, ranks: int, *, last: bool) -> int:
    """How many cases the training batches of all ranks have together, padding left out.

    Args:
        batch: of this rank; those of the others are as large, as the suite's own loaders make them.
        ranks: how many.
        last: the batch is the last of the epoch, where alone there is padding: ranks ask each other, and a GPU waits.
    """
    count = count_cases(batch)
    if ranks == 1 or not last or "scan" not in batch:
        return count * ranks
    return count * ranks - sum_of_counts(count - len(without_padding(batch)), batch["image"].device)


def images_of_cases(batch: Batch, kept: list[int]) -> list[int]:
    """Numbers of the images of the given cases; a case is one image unless the batch holds bags."""
    if "bags" not in batch:
        return kept
    first = [0]
    for bag in batch["bags"]:
        first.append(first[-1] + len(bag))
    return [number for case in kept for number in range(first[case], first[case + 1])]


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
