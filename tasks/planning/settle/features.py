"""What is taken back where a head is trained on features of a frozen network (``--data.cache features``)."""

from __future__ import annotations

from tasks.planning.draft import Draft
from tasks.planning.settle.frozen import fitted_at_once

# What changes images, or the network that is frozen.
_OF_IMAGES = ("mixup", "cutmix", "drop_path", "layer_decay", "backbone_lr_factor", "unfreeze")
# What is of a training in steps, or of another loss than the one that a solver takes.
_OF_STEPS = (
    *("lr", "optimizer", "optimizer_args", "schedule", "schedule_args", "warmup", "weight_decay"),
    *("early_stopping", "early_stopping_median", "early_stopping_gain"),
    *("ema", "swa", "loss", "loss_args", "label_smoothing", "dropout"),
)
_LENGTH = ("trainer.max_epochs", "trainer.max_steps", "trainer.check_val_every_n_epoch")
# Flags that do nothing, or are refused, where a head is fitted at once.
IDLE = (
    *(f"model.{name}" for name in (*_OF_IMAGES, *_OF_STEPS)),
    *(*_LENGTH, "trainer.min_epochs", "trainer.min_steps", "trainer.val_check_interval"),
    *("trainer.accumulate_grad_batches", "trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"),
    *("data.batch_size", "data.total_batch_size"),
)


def on_features(draft: Draft) -> list[str]:
    """Leave alone what would do nothing, or be refused, on features."""
    if draft.value("data.cache") != "features":
        return []
    fitted = fitted_at_once(draft)
    left = {f"model.{name}" for name in _OF_IMAGES}
    if fitted:
        left |= {f"model.{name}" for name in _OF_STEPS} | set(_LENGTH)
    if draft.value("model.head") == "knn":
        left.add("model.class_weights")
    if int(draft.value("data.feature_copies") or 1) == 1:
        left |= {flag for flag in draft.planned if flag.startswith("data.augment")}
    taken = [flag for flag in left if draft.planned.pop(flag, None) is not None]
    if fitted and taken:
        return ["a head on kept features is fitted at once: no steps, rates and averages are planned"]
    return []
