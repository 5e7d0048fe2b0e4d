"""Flags of training that bear on others: which do nothing, and what short ones mean, spelt out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamodules.settings import numbers
from datamodules.useless import Useless, left_out
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from backbones.pyramid import Backbone

WITHOUT = (
    Useless("distill_alpha", "there is nobody to learn from: give --model.teacher CKPT too", "teacher", left_out),
    *(
        Useless(name, "nothing stops early: give --model.early_stopping too", "early_stopping", left_out)
        for name in ("early_stopping_median", "early_stopping_gain")
    ),
    Useless("prune_amount", "nothing is pruned: give --model.prune too", "prune", left_out),
)


def unfreezing_epochs(value: int | list[int] | str | None) -> int | list[int] | None:
    """``--model.unfreeze`` in numbers: one epoch for the whole backbone, or one for each stage.

    Raises:
        SuiteError: not whole numbers of at least 0 that rise.
    """
    given = value
    if isinstance(value, str):
        value = [int(number) for number in numbers(value, "--model.unfreeze") or []]
        value = value[0] if len(value) == 1 and "," not in str(given) else value
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    if isinstance(value, list) and value and value[0] >= 0 and sorted(set(value)) == value:
        return value
    raise SuiteError(f"--model.unfreeze {given}: one number of epochs, or numbers that rise, from 0 on")


def learning_rate_scales(backbone: Backbone, factor: float, decay: float | None) -> dict[str, float]:
    """Factor on the learning rate of the backbone's parameters, named as in a task.

    Args:
        backbone: of the task.
        factor: of the whole backbone.
        decay: from each layer to the one before it; the head, which is the last layer, has 1 (Clark et al., ELECTRA,
            ICLR 2020; Bao et al., BEiT, ICLR 2022).
    """
    from backbones.stages import layer_numbers

    layers = layer_numbers(backbone.net)
    top = max(layers.values()) + (backbone.classes is None)  # the head is one layer more unless it is the network's own
    return {f"backbone.{name}": factor * (decay or 1.0) ** (top - layer) for name, layer in layers.items()}
