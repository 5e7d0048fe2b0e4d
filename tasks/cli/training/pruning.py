"""``--model.prune``: a trained model becomes a smaller one, which trains on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.flags import init_parameters, value_of
from tasks.cli.parser import TaskParser
from tasks.cli.runs.checkpoints import find_checkpoint, open_checkpoint
from tasks.cli.runs.run_data import RunData, run_data
from tasks.compression.pruned_sizes import changed_sizes, resize, sizes_of
from tasks.compression.pruning import prunable_weights, prune_channels, prune_magnitude
from tasks.loading import load_into
from tasks.specs import spec_of

log = logging.getLogger(__name__)

# Flags of the run that made a checkpoint which say nothing about what its network is or how it trains.
OF_THAT_RUN = (
    "weights",
    "teacher",
    "distill_alpha",
    "distill_temperature",
    "distill_features",
    "prune",
    "prune_amount",
)


def parent_defaults(task: str, argv: Sequence[str]) -> tuple[dict[str, Any] | None, RunData | None]:
    """Data and ``--model`` flags of the run whose checkpoint is pruned; what is typed comes on top of them.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        Defaults for the parser, None where nothing is pruned; and the data, where they are that run's.
    """
    if value_of(argv, "--model.prune") in (None, "null"):
        return None, None
    path, checkpoint = _parent(task, value_of(argv, "--model.weights"))
    cls = spec_of(task).task_class()
    known = init_parameters(cls) - {*cls.facts, *OF_THAT_RUN}
    flags = {name: value for name, value in checkpoint["hyper_parameters"].items() if name in known}
    data = run_data(argv, path.parent.parent)
    return ({} if data is None else {"data": data.section}) | {"model": flags}, data


def prune(model: Task, task: str) -> None:
    """Load the model that the flags name, and prune it; nothing where ``--model.prune`` is not given.

    Raises:
        SuiteError: there is no such checkpoint, it is of another network, or the network cannot be pruned so.
    """
    method, amount = model.pruning.method, model.pruning.amount
    if method is None:
        return
    path, checkpoint = _parent(task, model.network.weights)
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


def untrained(cli: TaskParser, model: Task) -> bool:
    """Whether a model is pruned and judged without training on."""
    return model.pruning.method is not None and cli.config["trainer"]["max_epochs"] == 0


def _parent(task: str, weights: str | None) -> tuple[Path, dict[str, Any]]:
    if weights is None or not weights.endswith((".ckpt", "best", "last")):
        raise SuiteError(
            "--model.prune: prunes what has been trained: give the checkpoint of a run of this task as --model.weights"
        )
    path = find_checkpoint(task, weights, flag="--model.weights")
    return path, open_checkpoint(path, task, mend="--model.prune takes a checkpoint of the same task")
