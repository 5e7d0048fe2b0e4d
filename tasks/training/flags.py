"""Flags of training that bear on each other: what cannot be is refused, what is short is spelt out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from datamodules.settings import numbers
from datamodules.useless import Useless, left_out
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from backbones.pyramid import Backbone

WITHOUT = (
    Useless("distill_alpha", "there is nobody to learn from: give --model.teacher CKPT too", "teacher", left_out),
    Useless("prune_amount", "nothing is pruned: give --model.prune too", "prune", left_out),
)


def check_training(hparams: Mapping[str, Any]) -> None:
    """Refuse numbers out of their range, and flags that exclude each other.

    Raises:
        SuiteError: names the flag.
    """
    ranges: dict[str, tuple[str, Callable[[float], bool]]] = {
        "lr": ("at least 0", lambda x: x >= 0),
        "weight_decay": ("at least 0", lambda x: x >= 0),
        "drop_path": ("at least 0 and below 1", lambda x: 0 <= x < 1),
        "backbone_lr_factor": ("above 0", lambda x: x > 0),
        "layer_decay": ("above 0 and at most 1", lambda x: 0 < x <= 1),
        "ema": ("above 0 and below 1", lambda x: 0 < x < 1),
        "swa": ("at least 0 and below 1, a share of the epochs", lambda x: 0 <= x < 1),
        "early_stopping": ("at least 1", lambda x: x >= 1),
        "distill_alpha": ("at least 0 and at most 1", lambda x: 0 <= x <= 1),
        "distill_temperature": ("above 0", lambda x: x > 0),
        "distill_features": ("at least 0", lambda x: x >= 0),
        "prune_amount": ("at least 0 and below 1", lambda x: 0 <= x < 1),
    }
    for name, (words, fits) in ranges.items():
        value = hparams[name]
        if value is not None and not fits(value):
            raise SuiteError(f"--model.{name} {value}: must be {words}")
    if hparams["teacher"] is None and (hparams["distill_features"] or hparams["distill_temperature"] is not None):
        raise SuiteError("--model.distill_*: there is nobody to learn from: give --model.teacher CKPT too")
    if hparams["teacher"] is not None and not (hparams["distill_alpha"] or hparams["distill_features"]):
        raise SuiteError(
            "--model.teacher: nothing is learnt from it: give a --model.distill_alpha or --model.distill_features "
            "above 0"
        )
    if hparams["swa"] is None:
        return
    if hparams["ema"] is not None:
        raise SuiteError("--model.swa and --model.ema both average the weights: give one of them")
    args = hparams["schedule_args"] or {}
    falls = hparams["schedule"] in ("onecycle", "polynomial") or (
        hparams["schedule"] == "cosine" and not args.get("min_lr")
    )
    if falls and "t_max" not in args:
        raise SuiteError(
            f"--model.swa: the schedule {hparams['schedule']} ends at 0, where there is nothing to average: give "
            "--model.schedule constant or cyclic, or --model.schedule_args.min_lr with cosine"
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
    raise SuiteError(f"--model.unfreeze {given}: one epoch, or epochs that rise, from 0 on")


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
