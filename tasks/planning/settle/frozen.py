"""Whether the network's weights stay as they are and a head alone is fitted to its features, computed once."""

from __future__ import annotations

from tasks.classify.head_names import FITTED
from tasks.planning.draft import Draft
from tasks.planning.settle.network import ON_CPU_BEST, can_be_had, weights_of

# Training images up to which a processor fits a head to features, instead of training the network.
FEW = 1000
QUICK = 120.0  # seconds; who gives a training more has them spent on training
_HERE = "docs/plan_results.md"
_LEVELS = "Evci et al., Head2Toe, ICML 2022; docs/plan_results.md"
_MEASURED = "docs/finetuning_results.md"

# What the user gives of a training in steps, or of images that change from epoch to epoch, is not to be without effect.
_OF_STEPS = (
    "data.augment", "data.augment_args", "data.augment_on", "data.cache", "data.sampler", "data.bag_size",
    "model.freeze", "model.unfreeze", "model.loss", "model.label_smoothing", "model.mixup", "model.cutmix",
    "model.dropout", "model.mc_dropout", "model.drop_path", "model.aggregate", "model.teacher", "model.prune",
    "model.optimizer", "model.optimizer_args", "model.lr", "model.weight_decay", "model.backbone_lr_factor",
    "model.layer_decay", "model.schedule", "model.schedule_args", "model.warmup", "model.ema", "model.swa",
    "model.early_stopping", "trainer.max_epochs", "trainer.min_epochs", "trainer.max_steps", "trainer.min_steps",
    "trainer.max_time", "trainer.fast_dev_run", "trainer.overfit_batches", "trainer.limit_train_batches",
    "trainer.limit_val_batches", "trainer.accumulate_grad_batches", "trainer.devices", "trainer.strategy",
    "find_lr", "find_batch_size", "profile",
)  # fmt: skip


def frozen(draft: Draft) -> None:
    """On a processor few images fit a head to ImageNet's features: more than training learns from so few."""
    data, machine = draft.fingerprint, draft.machine
    seconds = draft.budget.seconds
    trains = seconds is not None and seconds > QUICK
    if machine.device != "cpu" or machine.devices > 1 or trains or draft.is_given(*_OF_STEPS):
        return
    if draft.value("model.weights") != "imagenet" or draft.value("model.head") not in FITTED:
        return
    if data.volumes or data.images_a_case.most > 1 or not 1 < data.images <= FEW or not data.cases.get("val"):
        return
    if data.target in ("binary", "multiclass") and sum(count > 0 for count in data.class_counts) < 2:
        return  # a head has nothing to tell apart
    if "model.backbone" in draft.planned and can_be_had(draft, ON_CPU_BEST.name):
        text = "its features tell more than those of lite0, and at one look at each image twice the time is seconds"
        draft.plan("model.backbone", ON_CPU_BEST.name, text, _HERE)
        weights_of(draft, ON_CPU_BEST.name)
    text = f"{data.images} training images: a head on the features of {draft.value('model.backbone')} learns more from "
    draft.plan("model.freeze", "backbone", f"{text}so few than a network that trains", _MEASURED)
    text = (
        "it reads the maps of all strides, and calls an image by the training images that are like it where that helps"
    )
    draft.plan("model.head", "kernel", text, _LEVELS)
    draft.plan(
        "data.cache", "features", "a frozen network says the same of an image each time: it is asked once", _HERE
    )


def fitted_at_once(draft: Draft) -> bool:
    """Whether the head is fitted to features at once: there are no steps, epochs or averages to settle."""
    return draft.value("data.cache") == "features" and draft.value("model.head") in FITTED
