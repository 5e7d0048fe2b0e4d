"""Whether a head that is fitted to kept features sees mirror images too: by what it says of held-out cases."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from datamodules.base import ScanDataModule
from datamodules.samples.dataset import SampleDataset
from datamodules.samples.features import FeatureDataset
from tasks.classify.probe import fit_head
from tasks.views import Tta

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask

log = logging.getLogger(__name__)

_TRIED: tuple[Tta, ...] = ("none", "mirror")


def fit_with_views(task: ClassificationTask, data: ScanDataModule) -> None:
    """Fit the head of a task to kept features; where ``tta`` is ``auto``, to those of each way, and keep the best.

    Args:
        task: see :func:`~tasks.classify.probe.fit_head`.
        data: likewise. Its parts have features of the chosen views afterwards.

    Raises:
        SuiteError: all training cases are of one class.
    """
    if task.tta != "auto":
        fit_head(task, data)
        return
    parts = {split: data.part(split) for split in ("train", "val")}
    asked, tried = task.l2, {}
    for mode in _TRIED:
        task.l2 = asked
        _show(data, parts, mode)
        loss = fit_head(task, data)
        tried[mode] = (loss, copy.deepcopy(task.head), task.l2)
    best = min(tried, key=lambda mode: tried[mode][0])
    _, task.head, task.l2 = tried[best]
    task.tta = best
    task.hparams.update(tta=best, l2=task.l2)
    _show(data, parts, best)
    losses = " and ".join(f"{loss:.4f} with {mode}" for mode, (loss, _, _) in tried.items())
    log.info("--model.tta auto: %s, by the loss of held-out cases: %s", best, losses)


def _show(data: ScanDataModule, parts: Mapping[str, SampleDataset], mode: Tta) -> None:
    """Let the parts have the features of these views, of those that are kept of an image and its mirror image."""
    for split, part in parts.items():
        assert isinstance(part, FeatureDataset)
        data.replace_part(split, replace(part, features=_of_views(part.features, mode)))


def _of_views(kept: Tensor, mode: Tta) -> Tensor:
    """(N, K, 2 F) -> (N, K, F)."""
    plain, mirrored = kept.chunk(2, dim=-1)
    return plain.contiguous() if mode == "none" else (plain + mirrored) / 2
