"""``--model.prune``: a trained model becomes a smaller one, which trains on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.base import Task
from tasks.cli.flags import init_parameters, value_of
from tasks.cli.parser import TaskParser
from tasks.cli.runs.checkpoints import find_checkpoint, open_checkpoint
from tasks.cli.runs.run_data import RunData, run_data
from tasks.fitting.pruning import OTHER, prune, trained_weights
from tasks.registry.run_files import checkpoint_in
from tasks.registry.specs import spec_of

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
    path = _parent(task, value_of(argv, "--model.weights"))
    checkpoint = open_checkpoint(path, task, mend=OTHER)
    cls = spec_of(task).task_class()
    known = init_parameters(cls) - {*cls.facts, *OF_THAT_RUN}
    flags = {name: value for name, value in checkpoint["hyper_parameters"].items() if name in known}
    data = run_data(argv, path.parent.parent)
    return ({} if data is None else {"data": _for_a_new_training(data.section)}) | {"model": flags}, data


def _for_a_new_training(section: dict[str, Any]) -> dict[str, Any]:
    """The data of a run without what was settled for its machine."""
    arguments = section.get("init_args") or {}
    return {**section, "init_args": {name: value for name, value in arguments.items() if name != "augment_on"}}


def prune_parent(model: Task, task: str) -> None:
    """Load the model that the flags name, and prune it; nothing where ``--model.prune`` is not given.

    Raises:
        SuiteError: there is no such checkpoint, it is of another network, or the network cannot be pruned so.
    """
    if model.pruning.method is not None:
        prune(model, _parent(task, model.network.weights))


def untrained(cli: TaskParser, model: Task) -> bool:
    """Whether a model is pruned and evaluated without training on."""
    return model.pruning.method is not None and cli.config["trainer"]["max_epochs"] == 0


def _parent(task: str, weights: str | None) -> Path:
    return find_checkpoint(task, trained_weights(weights and checkpoint_in(weights)), flag="--model.weights")
