"""Monte-Carlo dropout: several passes with dropout at work, whose mean is the prediction and whose spread its doubt.

Source: Y. Gal and Z. Ghahramani, Dropout as a Bayesian approximation, ICML 2016. What is dropped is drawn from the
names of a batch's cases: the same batch has the same passes, and no other random number moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from scansuite.errors import SuiteError
from scansuite.random_streams import MC_DROPOUT
from tasks.batches import case_ids, no_case
from tasks.classify.scores import spread
from tasks.predictor import StepOutput

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask


def dropouts(model: nn.Module) -> list[nn.Module]:
    """The modules of a network that drop something."""
    return [module for module in model.modules() if isinstance(module, _DropoutNd) and module.p > 0]


def check_passes(model: nn.Module, passes: int | None) -> None:
    """Refuse passes that would all be alike.

    Raises:
        SuiteError: there are fewer than two, or the network has no dropout.
    """
    if passes is None:
        return
    if passes < 2:
        raise SuiteError(f"--model.mc_dropout {passes}: must be 2 or more: passes are compared with one another")
    if not dropouts(model):
        raise SuiteError(
            f"--model.mc_dropout {passes}: the network has no dropout, and all passes would be alike: give "
            "--model.dropout, such as 0.2, or leave it out"
        )


def several(task: ClassificationTask, said: StepOutput[Tensor]) -> StepOutput[Tensor]:
    """What a step says, with the mean of several passes as its output and how far they are apart as ``spread``.

    As it is where none are asked for, while training goes on, and of a batch without cases.

    Args:
        task: in evaluation mode, which it is in again afterwards.
        said: by one pass, with the batch that it is of.
    """
    batch = said["batch"]
    if task.mc_dropout is None or task.fitting or no_case(batch):
        return said
    names = case_ids(batch["scan"]) if "scan" in batch else []
    further = task.further_inputs(batch)
    with torch.no_grad():
        outputs = stochastic_passes(task, lambda: task._output(batch["image"], *further), task.mc_dropout, names)
    scores = torch.stack([task.scores(one) for one in outputs])
    mean = mean_output(scores, task.target, ordinal=task.criterion.name == "ordinal")
    return {**said, "output": mean, "spread": spread(scores, task.target)}


def stochastic_passes(model: nn.Module, predict: Callable[[], Tensor], passes: int, names: Sequence[str]) -> Tensor:
    """Outputs of several passes, ``(M, B, outputs)``.

    Args:
        model: in evaluation mode, which it is in again afterwards.
        predict: one pass, ``(B, outputs)``.
        passes: M.
        names: of the batch's cases, from which the passes are drawn.
    """
    device = next(model.parameters()).device
    words = [zlib.crc32("\n".join(names).encode()), MC_DROPOUT]
    seed = int(np.random.SeedSequence(words).generate_state(1)[0])
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _dropping(model):
        torch.manual_seed(seed)
        return torch.stack([predict() for _ in range(passes)])


@contextmanager
def _dropping(model: nn.Module) -> Iterator[None]:
    """Dropout as in training, all else as in evaluation."""
    modules = dropouts(model)
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def mean_output(scores: Tensor, target: str, *, ordinal: bool) -> Tensor:
    """The output whose scores are the mean ones: ``(M, B, C)`` -> ``(B, outputs)`` float64.

    Args:
        scores: probabilities of M passes; numbers of a regression target.
        target: kind of target.
        ordinal: outputs are those of the ordinal loss, of which there is one less than classes.
    """
    mean = scores.mean(dim=0)
    if target == "regression":
        return mean
    tiny = torch.finfo(mean.dtype).tiny
    if target == "multilabel":
        return (mean + tiny).log() - (1 - mean + tiny).log()
    if not ordinal:
        return (mean + tiny).log()
    # Above class k among those above the one before: the rest of the chance, against that of k itself.
    above = mean.flip(1).cumsum(dim=1).flip(1)[:, 1:]
    return (above + tiny).log() - (mean[:, :-1] + tiny).log()
