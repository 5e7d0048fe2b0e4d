"""What the machine decides: how many images its GPU holds at a time, and whether they are kept in main memory."""

from __future__ import annotations

import math

import numpy as np

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.planning.budget import QUICK_SECONDS
from tasks.planning.draft import Draft
from tasks.planning.settle import length
from tasks.planning.settle.sizes import in_pixels, numbers, seen_size

LEAST = 2  # images at a time: a batch norm needs two
_SHARE = 0.25  # of the free memory that images may take
_GIB = 2**30
_FLOAT32 = 4  # bytes


def memory(draft: Draft) -> None:
    """Fewer images at a time, whose gradients are added up, where the memory of the GPU does not hold a batch.

    Raises:
        SuiteError: not even the smallest batch stays within the memory.
    """
    holds, wanted = draft.budget.holds, int(draft.value("data.batch_size") or 1)
    if holds is None or draft.is_given(*length.BATCH_FLAGS) or not draft.takes("data.batch_size"):
        return
    if draft.value("data.cache") == "features" or draft.value("model.unfreeze") is not None:
        return  # no steps through the network, or not the first ones take the most
    if not str(draft.value("trainer.strategy") or "auto").startswith(("auto", "ddp")):
        return  # no device holds all of it
    if draft.budget.seconds is not None and draft.budget.seconds <= QUICK_SECONDS:
        return  # a quick look has no time for it
    bags = draft.value("model.aggregate") not in (None, "none")
    least = 1 if bags else LEAST
    sizes = [size for size in range(wanted, 0, -1) if wanted % size == 0 and size >= min(least, wanted)]
    tried = {flag: one.value for flag, one in draft.planned.items()}
    if not draft.is_given("model.ema", "model.swa"):
        tried["model.ema"] = 0.99  # planned once the steps are known
    if draft.takes("data.cache"):
        tried["data.cache"] = "none"  # a trial reads few images
    held, thing = holds(tried, sizes), "case" if bags else "image"
    if held is None:
        raise SuiteError(
            f"the GPU's memory does not hold {number_of(sizes[-1], thing)} of {in_pixels(*seen_size(draft))}: give "
            "--model.grad_checkpointing true, a smaller --data.image_size or another --model.backbone"
        )
    if held < wanted:
        text = f"the GPU's memory holds {held} of the {wanted} {thing}s of a batch at a time"
        draft.plan("data.batch_size", held, text, "machine")
        text = (
            f"gradients of {number_of(wanted // held, 'batch', 'batches')} are added up: {wanted} {thing}s, as without"
        )
        draft.plan("trainer.accumulate_grad_batches", wanted // held, text, "machine")


def cache(draft: Draft) -> None:
    """Keep the images in memory where all of them fit into a part of it."""
    data = draft.fingerprint
    if data.volumes or not data.types or not data.images:
        return  # volumes are decoded once and kept by their own cache
    if draft.value("data.cache") == "features":
        return  # each image is looked at once
    if not draft.takes("data.check_files") or draft.value("data.check_files") is False:
        return
    cases = sum(data.cases.values()) / max(1, data.cases.get("train", 0))
    pixels, depth = _kept(draft)
    masks = 1 if data.task == "segment" else 0  # a byte a pixel
    size = data.images * cases * pixels * (max(1, data.channels) * depth + masks)
    ranks = math.ceil(draft.machine.devices / draft.machine.nodes)  # of a node
    if size * ranks <= _SHARE * draft.machine.memory:
        free = draft.machine.memory / _GIB
        each = f" in each of {ranks} processes" if ranks > 1 else ""
        text = f"all images take {size / _GIB:.2f} GiB{each} of the {free:.0f} that are free: each is read once"
        draft.plan("data.cache", "memory", text, "machine")


def _kept(draft: Draft) -> tuple[float, int]:
    """Pixels of an image as memory has it, in the mean, and bytes of a value: resized images are kept as float32."""
    data = draft.fingerprint
    depth = max(np.dtype(name).itemsize for name in data.types)
    zoom = float(draft.value("data.zoom") or 1)
    sides = numbers(draft.value("data.image_size"))
    if sides:
        kept = float(sides[0] * sides[-1])
        resized = {(data.height.least, data.width.least), (data.height.most, data.width.most)} != {
            (sides[0], sides[-1])
        }
    else:
        kept = zoom**2 * length.mean([high * wide for high, wide in zip(data.height, data.width, strict=True)])
        resized = zoom != 1
    if resized and not draft.value("data.round_resized"):
        depth = max(depth, _FLOAT32)
    return kept, depth
