"""Batch, learning rate, schedule, regularisation and averaging; the same for all tasks, with numbers of their own."""

from __future__ import annotations

import math
from typing import NamedTuple

from scansuite.words import number_of
from tasks.planning.draft import Draft
from tasks.planning.settle import length
from tasks.planning.settle.frozen import fitted_at_once
from tasks.planning.settle.network import pretrained
from tasks.planning.settle.sizes import in_pixels, seen_size

_HERE = "docs/plan_results.md"
_BIT = "Kolesnikov et al., Big Transfer, ECCV 2020"
_CONVNEXT = "Liu et al., A ConvNet for the 2020s, CVPR 2022"
_BEIT = "Bao et al., BEiT, ICLR 2022"
_AVERAGE = "Izmailov et al., Averaging Weights Leads to Wider Optima, UAI 2018; Tarvainen and Valpola, NeurIPS 2017"


class Batches(NamedTuple):
    """Batches of a task.

    Attributes:
        pixels: of the images of a batch, about.
        most: images.
    """

    pixels: int
    most: int


BATCHES = {"classify": Batches(2**20, 64), "segment": Batches(2**19, 32), "detect": Batches(2**20, 16)}
# A processor takes as long for an image in a small batch, and a detector with pretrained weights learns as much in as
# many steps of half of the images; segmentation does not (docs/plan_results.md).
ON_PROCESSOR = {"detect": Batches(2**19, 8)}
# A GPU holds more, and its steps are as many: large sets are seen more often (not measured here).
ON_GPU = {"classify": Batches(2**22, 64)}
FEWEST_STEPS = 8  # of an epoch: batches of a small set are made smaller
LEAST_BATCH = 4  # below, batch norms know too little of a batch
# Networks of attention and their kin diverge at the rates of convolutional networks with batch norms.
GENTLE = ("vit", "deit", "beit", "eva", "swin", "maxvit", "convnext", "caformer", "coatnet", "hf-hub:", "local-dir:")
# Transformers of one width, whose pretrained layers are kept by rates that fall towards the first.
PLAIN = ("vit", "deit", "beit", "eva")
LAYER_DECAY = 0.75
SHARDED = "fsdp2"  # of --trainer.strategy: weights lie on several devices
AVERAGED = 8  # an average reaches over this part of all steps: 1/8


def batch(draft: Draft) -> None:
    """Images of a step: by their size, and fewer where the set is small."""
    if draft.is_given("data.total_batch_size"):
        return
    data, asked = draft.fingerprint, BATCHES[draft.fingerprint.task]
    why, source = "what a step holds", "data"
    if draft.machine.device == "cpu" and pretrained(draft) and data.task in ON_PROCESSOR:
        asked, source = ON_PROCESSOR[data.task], _HERE
        why = "detection learns by the number of its steps, which a processor takes sooner of few images"
    if draft.machine.device == "cuda":
        asked = ON_GPU.get(data.task, asked)
    height, width = seen_size(draft)
    bag = 1
    if draft.value("model.aggregate") not in (None, "none"):
        bag = min(int(draft.value("data.bag_size") or 1), max(1, round(data.images_a_case.most)))
    by_size = asked.pixels / max(1.0, height * width * bag)
    by_set = asked.most if fitted_at_once(draft) else length.samples_an_epoch(draft) / FEWEST_STEPS
    size = _power_of_two(max(math.ceil(LEAST_BATCH / bag), min(asked.most, by_size, by_set)))
    size = max(1, min(size, data.samples))
    if fitted_at_once(draft):
        why = "looked at together"
    elif by_set < min(asked.most, by_size):
        why, source = "a larger batch is too few steps an epoch", "data"
    shown = number_of(data.samples, "training image" if bag == 1 else "training case")
    of_images = "" if bag == 1 else f" of up to {bag} images"
    text = f"{shown}{of_images} of {in_pixels(height, width)}: {why}"
    draft.plan("data.batch_size", size, text, source)


def learning_rate(draft: Draft) -> None:
    """The highest learning rate: by the optimiser, the network and where its weights come from."""
    if draft.value("model.optimizer") != "adamw" or draft.is_given("model.schedule_args") or fitted_at_once(draft):
        return
    name = str(draft.value("model.backbone"))
    if draft.value("model.freeze") == "backbone":
        draft.plan("model.lr", 1e-3, "the head alone trains", _BIT)
    elif name.startswith(GENTLE):
        rate = 1e-4 if pretrained(draft) else 5e-4
        draft.plan("model.lr", rate, f"{name} diverges at the rates of networks with batch norms", _CONVNEXT)
        if pretrained(draft) and name.startswith(PLAIN):
            text = (
                f"early layers of a pretrained transformer change less: {LAYER_DECAY} of the rate from layer to layer"
            )
            draft.plan("model.layer_decay", LAYER_DECAY, text, _BEIT)
    elif draft.fingerprint.task == "detect":
        draft.plan("model.lr", 7e-4, "what heads on pretrained features and from scratch took", "experiment/bccd")
    else:
        draft.plan("model.lr", 1e-3, "AdamW's own, which small networks with batch norms take", "experiment/nuclei")


def average(draft: Draft) -> None:
    """An average of the weights over the last part of the training: it needs the number of steps."""
    epochs = draft.value("trainer.max_epochs")
    if draft.is_given("model.ema", "model.swa", "trainer.max_steps") or not isinstance(epochs, int) or epochs < 1:
        return
    if draft.value("model.prune") is not None or fitted_at_once(draft):
        return
    if draft.value("trainer.strategy") == SHARDED:
        return  # no device has the whole weights
    steps = epochs * length.whole_epoch(draft)
    if steps < 100:
        return  # an average over a few steps is the weights themselves
    decay = round(1 - AVERAGED / steps, max(4, len(str(steps))))  # of a million steps too it is not 1
    text = f"{steps} steps: the average reaches over the last {steps // AVERAGED} or so, which evens out single batches"
    draft.plan("model.ema", decay, text, _AVERAGE)


def _power_of_two(number: float) -> int:
    """The largest power of two that is not above a number of at least 1."""
    return 1 << (int(number).bit_length() - 1)
