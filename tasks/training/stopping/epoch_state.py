"""What one rank knows of an epoch that is half done: random numbers, running means and metrics.

Weights, optimiser, schedules and callbacks are in every checkpoint; this is what an epoch's end needs none of.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from torch import Tensor, nn
from torchmetrics import Metric

State = dict[str, Any]
_FLAGS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx",
          "dataloader_idx", "metric_attribute")  # fmt: skip


def random_state(device: torch.device) -> State:
    """Where Python's, NumPy's and torch's generators stand."""
    numpy: Any = np.random.get_state(legacy=True)
    _, words, place, has_gauss, gauss = numpy
    version, numbers, following = random.getstate()
    state: State = {
        "torch": torch.get_rng_state(),
        "numpy": [torch.from_numpy(words.astype(np.int64)), int(place), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), following],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: State, device: torch.device) -> None:
    """Put the generators where they stood."""
    torch.set_rng_state(state["torch"])
    words, place, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), place, has_gauss, gauss))
    version, numbers, following = state["python"]
    random.setstate((version, tuple(numbers), following))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def epoch_state(trainer: Trainer, model: LightningModule) -> State:
    """This rank's share of an epoch that is half done, on the CPU."""
    connector: Any = trainer._logger_connector
    state: State = {
        "running": _running(trainer),
        "metrics": {name: _metric_state(metric) for name, metric in _metrics(model) if metric.update_called},
        "logged": {name: value.detach().cpu() for name, value in connector._callback_metrics.items()},
    }
    if trainer.global_rank > 0:  # the checkpoint has those of the first rank
        state["buffers"] = [_buffers(module) for module in _modules(trainer, model)]
    return state


def set_epoch_state(trainer: Trainer, model: LightningModule, state: State) -> None:
    """Take it back: after the trainer has forgotten what it logged, before the first step."""
    connector: Any = trainer._logger_connector
    results: Any = trainer.fit_loop.epoch_loop._results
    for key, entry in state["running"].items():
        results[key] = _result(trainer, entry).to(model.device)
    for name, metric in _metrics(model):
        if name in state["metrics"]:
            _set_metric_state(metric, state["metrics"][name])
    connector._callback_metrics.update({name: value.to(model.device) for name, value in state["logged"].items()})
    for module, kept in zip(_modules(trainer, model), state.get("buffers", ()), strict=False):
        for name, buffer in module.named_buffers():
            if name in kept:
                buffer.copy_(kept[name])


def _running(trainer: Trainer) -> State:
    """The running means of ``self.log``, which Lightning keeps in no checkpoint."""
    results: Any = trainer.fit_loop.epoch_loop._results
    running = {}
    for key, metric in results.items():
        if not metric.is_tensor or metric.has_reset or not metric.meta.on_epoch:
            continue
        meta, sync = metric.meta, metric.meta.sync
        running[key] = {
            "value": metric.value.detach().cpu().clone(),
            "count": metric.cumulated_batch_size.detach().cpu().clone() if meta.is_mean_reduction else None,
            "flags": {name: getattr(meta, name) for name in _FLAGS},
            "reduce": meta.reduce_fx.__name__,
            "sync": [sync.should, sync.rank_zero_only, sync.op],
        }
    return running


def _result(trainer: Trainer, entry: State) -> _ResultMetric:
    should, rank_zero_only, op = entry["sync"]
    meta = _Metadata(**entry["flags"], reduce_fx=getattr(torch, entry["reduce"]))
    meta.sync = _Sync(fn=trainer.strategy.reduce, _should=should, rank_zero_only=rank_zero_only, _op=op)
    metric = _ResultMetric(meta, is_tensor=True)
    metric.value = entry["value"].clone()
    if entry["count"] is not None:
        metric.cumulated_batch_size = entry["count"].clone()
    metric._update_count = 1
    return metric


def _metrics(model: nn.Module) -> Iterator[tuple[str, Metric]]:
    """Metrics of the training part: what validation has begun is begun anew."""
    for name, module in model.named_modules():
        if isinstance(module, Metric) and not name.startswith(("metrics.val_", "metrics.test_")):
            yield name, module


def _metric_state(metric: Metric) -> State:
    """States that torchmetrics knows of, and what else the metric names in ``kept``."""
    names = [*metric._defaults, *getattr(metric, "kept", ())]
    return {"updates": metric._update_count, **{name: _on_cpu(getattr(metric, name)) for name in names}}


def _set_metric_state(metric: Metric, state: State) -> None:
    for name, value in state.items():
        if name != "updates":
            setattr(metric, name, _on_device(value, metric.device))
    metric._update_count = state["updates"]


def _on_cpu(value: Any) -> Any:
    """Tensors copied to the CPU; lists and tuples may hold them."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    return type(value)(map(_on_cpu, value)) if isinstance(value, (list, tuple)) else value


def _on_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    return type(value)(_on_device(part, device) for part in value) if isinstance(value, (list, tuple)) else value


def _modules(trainer: Trainer, model: LightningModule) -> list[nn.Module]:
    """The model, and the averages of it, which have buffers (statistics of batch norms) that differ by rank."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    averages = [one._average_model for one in callbacks if isinstance(one, WeightAveraging)]
    return [model, *[average.module for average in averages if average is not None]]


def _buffers(module: nn.Module) -> Mapping[str, Tensor]:
    return {name: buffer.detach().cpu().clone() for name, buffer in module.named_buffers()}
