"""Networks with weights drawn at random, in whole or from the output downwards, and how maps of them differ.

A map that stays as it was does not show what was learnt (Adebayo et al., "Sanity checks for saliency maps", NeurIPS
2018). The package Quantus has such tests; it is of the LGPL, and knows classifiers alone.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tasks.ensemble import Ensemble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.loading import Model

BINS = 100  # of a map's values, for its entropy
_RESET = "reset_parameters"


def randomised(model: Model, seed: int) -> Model:
    """A copy of a model with every weight drawn anew, as for a training from scratch.

    Modules draw by torch's own rules (``reset_parameters``), norms forget their statistics, and parameters that no rule
    draws (embeddings of places, class tokens, scales of layers) come from a normal distribution with their own mean and
    deviation.

    Args:
        model: is left alone.
        seed: of the draw; the stream of random numbers is left alone too.
    """
    copy = deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _draw(copy)
    return copy


def cascade(model: Model, seed: int) -> Iterator[tuple[str, Model]]:
    """Copies of a model, drawn at random from its output down to its stem, with the name of what was drawn last.

    Each has one part more at random than the one before; a part is what follows the backbone, or a stage of the
    backbone. The same copy is changed and handed out again.

    Args:
        model: one model, which is left alone.
        seed: of the draws.
    """
    if isinstance(model, Ensemble):
        raise TypeError("one model at a time: an ensemble's members have stages of their own")
    copy = deepcopy(model)
    modules = dict(copy.named_modules())
    stages = {name: {f"backbone.{one}" for one in names} for name, names in copy.backbone.stages.items()}
    inside = set().union(*stages.values())
    parts = {"head": {name for name, _ in copy.named_parameters()} - inside, **dict(reversed(list(stages.items())))}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, names in parts.items():
            owners = {name.rpartition(".")[0] for name in names}
            for owner in sorted(owners & modules.keys()):
                _draw_one(modules[owner])
            yield part, copy


def similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps of one size, from -1 to 1; 0 where one of them is the same everywhere."""
    from scipy.stats import spearmanr

    one, other = np.ravel(first), np.ravel(second)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


def complexity(strength: NDArray[np.float32]) -> float:
    """Entropy in nats of a map's values, in :data:`BINS` bins from 0 to its highest: 0 where all are the same."""
    highest = float(strength.max())
    if highest <= 0:
        return 0.0
    counts = np.histogram(strength / highest, BINS, (0.0, 1.0))[0]
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def relative_rise(strength: NDArray[np.float32], of_random: NDArray[np.float32]) -> float | None:
    """Efficient MPRT: by which share the complexity of a map rises where the weights are random; None of a plain map.

    Source: Hedström et al., "A fresh look at sanity checks for saliency maps", 2024 (arXiv:2405.02383). A map that
    shows something learnt is simpler than one of a random network, so this is above 0.
    """
    before = complexity(strength)
    return None if before == 0 else (complexity(of_random) - before) / before


def _draw(model: nn.Module) -> None:
    for module in model.modules():
        _draw_one(module)


def _draw_one(module: nn.Module) -> None:
    """Draw a module's own parameters, those of modules in it left alone."""
    if callable(getattr(module, _RESET, None)) and not list(module.children()):
        module.reset_parameters()  # type: ignore[operator]
        return
    for parameter in module.parameters(recurse=False):
        value = parameter.data
        if value.numel() > 1:
            parameter.data = value.mean() + value.std() * torch.randn(value.shape).to(value)
