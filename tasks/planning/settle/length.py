"""How long a training is: steps, epochs, how often it is validated, and when it stops early.

Learning is counted in steps of the optimiser, not in epochs: 20 epochs of 60 images are 160 steps, which no network
learns from. A small set is therefore shown as often as it takes, and a large one no longer than is of use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from datamodules.samples.tiles import patches_seen
from scansuite.errors import SuiteError
from scansuite.words import clock, number_of
from tasks.planning.budget import QUICK_SECONDS, Trial
from tasks.planning.draft import Draft
from tasks.planning.settle.frozen import fitted_at_once
from tasks.planning.settle.network import pretrained
from tasks.planning.settle.sizes import in_pixels, numbers, seen_size

_BIT = "Kolesnikov et al., Big Transfer, ECCV 2020"
_NNUNET = "Isensee et al., nnU-Net, Nature Methods 2021"
_HERE = "docs/plan_results.md"


class Steps(NamedTuple):
    """Steps of the optimiser that a task takes.

    Attributes:
        least: however few the images are.
        most: however many they are.
        epochs: how often each image is seen in between.
        source: where the numbers come from.
    """

    least: int
    most: int
    epochs: int
    source: str


STEPS = {
    "classify": Steps(500, 20_000, 20, _BIT),
    "segment": Steps(1000, 25_000, 16, _HERE),
    "detect": Steps(1200, 25_000, 20, _HERE),
}
# Without pretrained weights the first layers have to be learnt too.
SCRATCH = 1.25
LONGER = 1.5  # with --quality best; early stopping ends it where it gains nothing
VALIDATIONS = 30  # of a training: so many points are enough to choose the best from
FEWEST_VALIDATIONS = 3  # however long one takes
FEWEST = 12  # of epochs that are whole: below, an epoch is a part of the images
SHARE = 0.2  # of the time of a training that validation may take
FORWARD = 1 / 3  # cost of an image in validation, by one in training: no backward pass
PATIENCE = 0.3  # share of the validations without a better one after which a training stops
LEAST_PATIENCE = 8  # validations, or half of them where they are fewer than twice as many
FEW_CASES = 50  # of validation in classification, below which its metric has a few values, and soon the best of these
SMOOTH = 3  # validations whose median is compared then
GAIN = 0.005  # of a metric from 0 to 1, below which a better one is none
_BETWEEN = (0.05, 0.45, 0.45, 0.05)  # shares of the images between the quantiles of a spread
_MOST_PATCHES = 250  # batches an epoch, as the data class counts (datamodules/samples/patches.py)
# Pixels that two cores train on in an hour: 0.5 to 0.9 million a second in the three tasks (docs/plan_results.md).
PIXELS_AN_HOUR = 2e9
LONG = 2.0  # hours that are worth a warning
FEWEST_STEPS = 10  # that any training takes
FAR_TOO_FEW = 0.5  # share of the least steps below which a time makes batches smaller
SHRUNK = {"classify": 8, "segment": 4, "detect": 2}  # images that a batch is left with then
SHRUNK_SCRATCH = 4  # likewise, of a network without pretrained weights
# Of what comes after a training: charts and the report, and evaluation by validation's seconds (docs/plan_time.md).
BASE = 16.0
BY_VALIDATION = 1.5
_VIEWS = {"mirror": 2, "flips": 4}  # of an image, by --model.tta
# What a user says of the batch, and of the length: beside one of them none of it is planned.
BATCH_FLAGS = ("data.batch_size", "data.total_batch_size", "trainer.accumulate_grad_batches")
LENGTH = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.fast_dev_run")


class Laid(NamedTuple):
    """A number of steps as epochs.

    Attributes:
        epochs: in all, a multiple of ``every``.
        every: epochs from one validation to the next.
        limit: batches of an epoch where it is a part of the images; None: all.
        an_epoch: steps of an epoch.
    """

    epochs: int
    every: int
    limit: int | None
    an_epoch: int

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.an_epoch


def views(tta: object) -> int:
    """Views of an image that are averaged in evaluation, by ``--model.tta``."""
    return _VIEWS.get(str(tta), 1)


def samples_an_epoch(draft: Draft) -> int:
    """Samples that an epoch shows, with the patches that are settled."""
    print_, images = draft.fingerprint, max(1, draft.fingerprint.samples)
    size, patches = draft.value("data.patch_size"), draft.value("data.patches")
    if not size or print_.volumes or draft.is_given("data.patch_size"):  # the fingerprint has counted what is given
        return images
    if isinstance(patches, int):
        return images * patches
    sides = numbers(size)
    zoom = float(draft.value("data.zoom") or 1)
    patch = sides[0] * sides[-1] / zoom**2
    an_image = [max(1.0, high * wide / patch) for high, wide in zip(print_.height, print_.width, strict=True)]
    return min(round(images * mean(an_image)), max(images, _MOST_PATCHES * samples_a_batch(draft)))


def mean(quantiles: Sequence[float]) -> float:
    """Mean over the images of what is known of least, low, median, high and most."""
    return sum(share * (quantiles[i] + quantiles[i + 1]) / 2 for i, share in enumerate(_BETWEEN))


def evaluated_patches(draft: Draft) -> float:
    """How much of an image evaluation sees, in patches of its training; 1 where images go through whole."""
    sides, whole = numbers(draft.value("data.patch_size")), numbers(draft.value("data.image_size"))
    data, window = draft.fingerprint, draft.value("model.window")
    if not sides or not data.height.median or whole == sides:
        return 1.0
    patch = (sides[0], sides[-1])
    asked = numbers(None if window == "whole" else window) or sides
    tile = None if window == "whole" else (asked[0], asked[-1])
    overlap, zoom = float(draft.value("model.overlap") or 0), float(draft.value("data.zoom") or 1)
    found = []
    for high, wide in zip(data.height, data.width, strict=True):
        size = (whole[0], whole[-1]) if whole else (max(1, round(zoom * high)), max(1, round(zoom * wide)))
        found.append(patches_seen(size, patch, tile, overlap))
    return mean(found)


def judged_patches(draft: Draft) -> float:
    """Patches, or whole images, that the evaluation at the end sees once."""
    return evaluated_patches(draft) * (_validated(draft) + _tested(draft))


def samples_a_batch(draft: Draft) -> int:
    """Samples of a batch of all devices together."""
    total = draft.value("data.total_batch_size")
    return max(1, int(total or (draft.value("data.batch_size") or 1) * draft.machine.devices))


def samples_a_step(draft: Draft) -> int:
    """Samples behind a step of the optimiser: batches of all devices, accumulated."""
    return samples_a_batch(draft) * _accumulated(draft)


def whole_epoch(draft: Draft) -> int:
    """Steps of an epoch, within what it is limited to, as far as that is settled."""
    a_batch, samples = samples_a_batch(draft), samples_an_epoch(draft)
    # A last batch of one is left out: batch norms have nothing to go by.
    batches = math.ceil(samples / a_batch) - (samples > a_batch > 1 == samples % a_batch)
    limit = draft.value("trainer.limit_train_batches") or draft.value("trainer.overfit_batches")
    if isinstance(limit, int) and limit:
        batches = min(batches, limit)
    elif isinstance(limit, float) and limit:
        batches = int(batches * limit)
    return max(1, math.ceil(batches / _accumulated(draft)))


def wanted(draft: Draft) -> tuple[int, str, str]:
    """Steps that the data want, with the reason and its source."""
    kind, an_epoch = STEPS[draft.fingerprint.task], whole_epoch(draft)
    scratch, best = not pretrained(draft), draft.budget.quality == "best"
    factor = (SCRATCH if scratch else 1.0) * (LONGER if best else 1.0)
    least, most = round(kind.least * factor), kind.most
    steps = min(max(least, round(kind.epochs * factor) * an_epoch), most)
    images = f"{number_of(samples_an_epoch(draft), 'training image')} in {number_of(an_epoch, 'step')} an epoch"
    if steps == least:
        reason = f"{images}, and learning takes {least} steps at least"
    elif steps == most:
        reason = f"{images}, and more than {most} steps gain little"
    else:
        reason = f"{images}, each seen {round(kind.epochs * factor)} times"
    more = (", from scratch" if scratch else "") + (", with --quality best" if best else "")
    return steps, reason + more, kind.source


def lay_out(draft: Draft, steps: int, validations: int, fewest: int = FEWEST) -> Laid:
    """Cut steps into epochs, so that there are about as many validations as asked for.

    Args:
        draft: with batch and patches settled.
        steps: of the whole training.
        validations: that it is to have.
        fewest: epochs that are whole; where there would be fewer, an epoch is a part of the images.
    """
    an_epoch, limit = whole_epoch(draft), None
    between = max(1, round(steps / validations))
    # Validation within an epoch is counted in batches of a whole one.
    fixed = draft.is_given("trainer.limit_train_batches", "trainer.overfit_batches", "trainer.val_check_interval")
    if draft.is_given("trainer.check_val_every_n_epoch"):
        every = max(1, int(draft.value("trainer.check_val_every_n_epoch") or 1))
    else:
        every = max(1, between // an_epoch) if draft.fingerprint.cases.get("val") else 1
    if steps < fewest * an_epoch and between < an_epoch and not fixed:
        an_epoch, limit = between, between * _accumulated(draft)
    return Laid(every * max(1, math.ceil(steps / (every * an_epoch))), every, limit, an_epoch)


def validations_of(draft: Draft, steps: int) -> int:
    """Validations of a training, within the share of its time that they may take."""
    samples = _validated(draft)
    affordable = SHARE * steps * samples_a_step(draft) / (samples * FORWARD) if samples else VALIDATIONS
    return max(FEWEST_VALIDATIONS, min(VALIDATIONS, int(affordable)))


def steps(draft: Draft) -> list[str]:
    """Epochs from a number of steps, so that small sets are trained long enough and large ones no longer than needed.

    Args:
        draft: with batch, patches and weights settled.

    Returns:
        What a time is too short for.

    Raises:
        SuiteError: a time is too short for any training.
    """
    if fitted_at_once(draft) or any(draft.given.get(flag) not in (None, False) for flag in LENGTH):
        return []
    if draft.budget.seconds is not None and draft.budget.trial is not None:
        return by_clock(draft, draft.budget.seconds, draft.budget.trial)
    number, reason, source = wanted(draft)
    laid = lay_out(draft, number, validations_of(draft, number))
    settle(draft, laid, reason, source)
    stop_early(draft)
    return long(draft, laid)


def long(draft: Draft, laid: Laid) -> list[str]:
    """What to expect, and to do, where a processor takes hours and no time ends it; else nothing.

    Args:
        draft: with size and batch settled.
        laid: length of the training.
    """
    if draft.machine.device != "cpu" or draft.budget.seconds is not None:
        return []
    height, width = seen_size(draft)
    trained = laid.steps * samples_a_step(draft)
    judged = laid.epochs // laid.every * _validated(draft) + views(draft.value("model.tta")) * judged_patches(draft)
    hours = height * width * (trained + FORWARD * judged) / PIXELS_AN_HOUR
    if hours < LONG:
        return []
    a_step = number_of(samples_a_step(draft), "image")
    return [
        f"{laid.steps} steps of {a_step} of {in_pixels(height, width)}, their validation "
        f"and the evaluation at the end take some {hours:.0f} hours on two cores: --time 2h fits a training into a time"
    ]


def by_clock(draft: Draft, seconds: float, trial: Trial) -> list[str]:
    """As many steps as fit into a time on this machine; a quick look takes no more than the data want.

    What is given up for a short time are steps: their number alone is chosen here, and images and network stay.

    Args:
        draft: with everything else settled.
        seconds: of the whole command.
        trial: measures this machine.

    Raises:
        SuiteError: there is no time for any training.
    """
    folds = max(1, int(draft.value("folds") or 1))
    timing = trial({flag: one.value for flag, one in draft.planned.items()})
    validation = timing.sample * _validated(draft)
    judged = timing.sample * views(draft.value("model.tta")) * judged_patches(draft)
    behind = BASE + BY_VALIDATION * judged
    left = seconds / folds - timing.start - behind
    least = FEWEST_STEPS * timing.step + validation
    if left < least:
        asked = "--quick" if draft.budget.quality == "quick" and seconds == QUICK_SECONDS else f"--time {seconds:g}s"
        needed = math.ceil(folds * (timing.start + behind + 2 * least))
        raise SuiteError(
            f"{asked}: on this machine it takes {timing.start:.0f} s until the first step, "
            f"{FEWEST_STEPS} steps and their validation take {least:.0f} s, and evaluation at the end {behind:.0f} s: "
            f"give at least --time {needed}s" + (f" for {folds} folds" if folds > 1 else "")
        )
    validations = max(3, min(VALIDATIONS, int(SHARE * left / validation))) if validation else VALIDATIONS
    number = max(FEWEST_STEPS, int((left - validations * validation) / timing.step))
    needs, reason, source = wanted(draft)
    if draft.budget.quality == "quick" and number > needs:
        settle(draft, lay_out(draft, needs, validations_of(draft, needs)), reason, source)
        return []
    batch = int(draft.value("data.batch_size") or 1)
    smaller = _shrink_batch(draft, number)
    each = f"{number * smaller} steps of {timing.step / smaller:.2g} s"
    fits = f"{each} fit into {clock(left)}, which {clock(seconds)} leave for training"
    settle(draft, lay_out(draft, number * smaller, validations, fewest=validations), fits, "time")
    if number >= needs:
        return []
    taken = f"{number} steps instead of {needs}"
    if smaller > 1:
        taken = f"{number * smaller} steps of {number_of(batch // smaller, 'image')} instead of {needs} of {batch}"
    whole = folds * (timing.start + behind + needs * timing.step / (1 - SHARE))
    return [
        f"{clock(seconds)} are short: {taken} ({reason}); --time {math.ceil(whole / 60)}m "
        "would hold them on this machine"
    ]


def _shrink_batch(draft: Draft, number: int) -> int:
    """Halve a planned batch where a time holds far too few steps: a processor is not slower for it by the image.

    Args:
        draft: with the batch settled.
        number: of steps that fit.

    Returns:
        By what the batch was divided; 1: it stays.
    """
    least = STEPS[draft.fingerprint.task].least * FAR_TOO_FEW
    batch, divided = int(draft.value("data.batch_size") or 1), 1
    given = draft.is_given(*BATCH_FLAGS)
    if draft.machine.device != "cpu" or given:
        return 1
    scratch = not pretrained(draft)  # whose batch norms have nothing but the batch to go by
    fewest = max(SHRUNK[draft.fingerprint.task], SHRUNK_SCRATCH if scratch else 1)
    while number * divided < least and batch // (2 * divided) >= fewest:
        divided *= 2
    if divided > 1:
        text = f"the time holds {number} steps of {batch} images, too few to learn from: more steps, of fewer images"
        draft.plan("data.batch_size", batch // divided, text, _HERE)
    return divided


def settle(draft: Draft, laid: Laid, reason: str, source: str) -> None:
    """Plan the flags of a length.

    Args:
        draft: to plan in.
        laid: the length.
        reason: of the number of steps.
        source: of the reason.
    """
    draft.plan("trainer.max_epochs", laid.epochs, f"{reason}: {laid.steps} steps", source)
    if laid.limit is not None:
        text = f"an epoch of all images would be {whole_epoch(draft)} steps: too few validations to choose the best by"
        draft.plan("trainer.limit_train_batches", laid.limit, text, _NNUNET if source != "time" else source)
    if laid.every > 1:
        text = f"{laid.epochs // laid.every} validations are enough to choose the best by, and cost time"
        draft.plan("trainer.check_val_every_n_epoch", laid.every, text, "time")


def stop_early(draft: Draft) -> None:
    """Stop where validation has not become better for long."""
    epochs = draft.value("trainer.max_epochs")
    every = int(draft.value("trainer.check_val_every_n_epoch") or 1)
    if not isinstance(epochs, int) or not draft.fingerprint.cases.get("val", 0):
        return
    validations = epochs // every
    few = draft.fingerprint.task == "classify" and draft.fingerprint.cases["val"] < FEW_CASES
    least = min(LEAST_PATIENCE, max(FEWEST_VALIDATIONS, validations // 2))
    patience = max(least, round(PATIENCE * validations))
    if patience < validations and not few:
        text = f"of {validations} validations {patience} without a better one: it learns no more"
        draft.plan("model.early_stopping", patience, text, "time")
        if draft.value("model.early_stopping") is None:
            return  # by wish
        text = f"{number_of(draft.fingerprint.cases['val'], 'validation case')}: one lucky validation is no progress"
        draft.plan("model.early_stopping_median", SMOOTH, text, "data")
        if draft.fingerprint.target != "regression" and not draft.is_given("model.monitor"):  # else of any unit
            text = "a metric from 0 to 1 that gains less in all this time is at its end"
            draft.plan("model.early_stopping_gain", GAIN, text, _HERE)


def _accumulated(draft: Draft) -> int:
    return max(1, int(draft.value("trainer.accumulate_grad_batches") or 1))


def _validated(draft: Draft) -> int:
    """Samples of the validation part."""
    return round(draft.fingerprint.cases.get("val", 0) * _a_case(draft))


def _tested(draft: Draft) -> int:
    """Samples of the test part, where it is evaluated."""
    return 0 if draft.value("judge_test") is False else round(draft.fingerprint.cases.get("test", 0) * _a_case(draft))


def _a_case(draft: Draft) -> float:
    """Samples of a case: as many as training has."""
    cases = draft.fingerprint.cases.get("train", 0)
    return max(1.0, draft.fingerprint.samples / cases) if cases else 1.0
