"""Pruning of a trained model, which then trains on (``--model.prune``)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scansuite.errors import SuiteError
from tasks.compression.pruned_sizes import changed_sizes, resize, sizes_of
from tasks.compression.pruning import prunable_weights, prune_channels, prune_magnitude
from tasks.loading import load_into, open_checkpoint

if TYPE_CHECKING:
    from tasks.base import Task

log = logging.getLogger(__name__)

OTHER = "--model.prune takes a checkpoint of the same task"  # what to do about another one


def trained_weights(weights: str | None) -> str:
    """``--model.weights``, which must name a checkpoint where a model is pruned.

    Raises:
        SuiteError: it does not.
    """
    if weights is None or not weights.endswith((".ckpt", "best", "last")):
        raise SuiteError(
            "--model.prune: prunes what has been trained: give the checkpoint of a run of this task as --model.weights"
        )
    return weights


def prune(model: Task, path: Path) -> None:
    """Load a trained model into one of the same layout, and prune it as its flags say.

    Args:
        model: with ``--model.prune``.
        path: of the checkpoint of the trained one.

    Raises:
        SuiteError: there is no such checkpoint, it is of another network, or the network cannot be pruned so.
    """
    method, amount = model.pruning.method, model.pruning.amount
    checkpoint = open_checkpoint(path, model.name, mend=OTHER)
    built = sizes_of(model)
    load_into(model, checkpoint, path)
    if method == "magnitude":
        prune_magnitude(model, amount)
        weights = list(prunable_weights(model).values())
        zeros, count = sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
        log.info("%s: %d of %d weights are 0", path, zeros, count)
    elif amount:
        before = model.pruned_sizes
        smaller, gone = prune_channels(model, model.trial_inputs(), model.output_layers(), amount)
        resize(model, changed_sizes(sizes_of(model), sizes_of(smaller)))
        model.load_state_dict(smaller.state_dict())
        with torch.no_grad():
            training = model.training
            levels = model.eval().backbone(model.trial_inputs()[0])
            model.train(training)
        model.backbone.channels = [level.shape[1] for level in levels]
        log.info("%s: %.1f %% of the multiply-adds are gone%s", path, 100 * gone, " more" if before else "")
    model.pruned_sizes = changed_sizes(built, sizes_of(model))
    model.pruned = True
