"""What is settled for classification alone: images, augmentation, and what makes up for rare classes."""

from __future__ import annotations

from datamodules.fingerprint.directions import UPRIGHT
from tasks.planning.draft import Draft
from tasks.planning.settle.frozen import fitted_at_once
from tasks.planning.settle.network import goes_on, pretrained
from tasks.planning.settle.presets import OF_MODALITY
from tasks.planning.settle.sizes import as_flag, in_pixels, of_one_size

# Shorter sides are enlarged for weights of ImageNet, whose features are meaningless at 28 px (tasks/registry/links.py).
PRETRAINED_SIDE = 128
LARGE = 256  # above, the whole image is made smaller
MOST = {"cpu": 224, "mps": 224, "cuda": 320}  # side that it is then given
LEAST = 32  # the last level of a network is 1/32 of it
FEW, SOME = 1000, 10_000  # training images below which augmentation is stronger
MANY_GRADES = 10  # whole numbers as classes, without a gap, up to which they may be grades
MANY_CLASSES = 30  # whole numbers as classes from which they may be amounts, ...
SCATTERED = 3  # ... if they lie so close: their span by their number
_HERE = "docs/plan_results.md"
MIRRORING = ("light", "medium", "strong", "mri", "ultrasound")  # presets that have an up, and mirror left and right


def images(draft: Draft) -> None:
    """The size that the network sees."""
    data = draft.fingerprint
    if data.volumes or draft.is_given("data.spacing") or draft.value("data.spacing"):
        return
    height, width = data.height, data.width
    tall, wide = round(height.median), round(width.median)
    if min(tall, wide) < 1:
        return  # nothing was measured
    same = of_one_size(data)
    why = f"images as stored, {tall} x {wide}"
    if not same or max(tall, wide) > LARGE:
        most = MOST[draft.machine.device]
        sizes = f"images of {in_pixels(height.median, width.median)}" + ("" if same else " (median)")
        why = f"{sizes}, made as large as {draft.machine.device} trains in time"
        if max(tall, wide) < most:
            why = f"{sizes}: one size for all"
        tall = wide = min(most, max(LEAST, 32 * round(max(tall, wide) / 32)))
    if pretrained(draft) and not goes_on(draft) and max(tall, wide) < PRETRAINED_SIDE:
        why = f"images of {tall} x {wide} pixels, enlarged for weights that were trained at 224"
        tall = wide = PRETRAINED_SIDE
    draft.plan("data.image_size", as_flag([tall, wide]), why, "data")


def augmentation(draft: Draft) -> None:
    """The preset: by modality, else by the number of images."""
    data = draft.fingerprint
    if draft.is_given("data.augment") or fitted_at_once(draft):
        return  # features are those of images as they are
    preset = OF_MODALITY.get(data.modality)
    if preset is not None:
        draft.plan("data.augment", preset, f"{data.modality}: {data.modality_from}", "data")
    else:
        preset = "medium" if FEW <= data.images < SOME else "light"
        text = f"{data.images} training images of a kind that is not told by them"
        draft.plan("data.augment", preset, text, "data")
    if data.left_right >= UPRIGHT and preset in MIRRORING and not data.sided:
        text = (
            f"left and right differ in the same way from image to image ({data.left_right:.2f} of 1): none is mirrored"
        )
        draft.plan("data.augment_args.horizontal_flip", False, text, "data")


def evaluation(draft: Draft) -> None:
    """The mean over an image and its mirror image, where one is as likely as the other."""
    data = draft.fingerprint
    fitted = fitted_at_once(draft)
    if draft.value("data.sided") is True or data.sided or data.left_right >= UPRIGHT:
        return
    if draft.budget.quality == "quick" and not fitted:
        return  # evaluation would take twice as long
    preset = OF_MODALITY.get(data.modality, "light") if fitted else draft.value("data.augment")
    if preset not in MIRRORING or draft.value("data.augment_args.horizontal_flip") is False:
        return
    if fitted and draft.value("model.head") != "knn":
        text = "whether the features of the mirror image say more beside the image's own is seen on held-out cases"
        draft.plan("model.tta", "auto", text, _HERE)
    else:
        text = (
            "images have no left and right, and are mirrored in training: the mean over the image and its mirror image"
        )
        draft.plan("model.tta", "mirror", text, "Krizhevsky et al., NIPS 2012")


def cautions(draft: Draft) -> list[str]:
    """What flags alone can say: if whole numbers are amounts or grades, and if a volume is one case or many slices."""
    data, notes = draft.fingerprint, []
    numbers = [int(name) for name in data.classes if name.removeprefix("-").isdecimal()]
    by_number = len(numbers) == len(data.classes) > 2
    if by_number and data.target == "multiclass" and not draft.is_given("data.target"):
        least, most = min(numbers), max(numbers)
        found = f"the {len(numbers)} classes are whole numbers from {least} to {most}: if they are"
        if len(numbers) > MANY_CLASSES and most - least < SCATTERED * len(numbers):
            notes.append(f"{found} amounts (an age, a score), give --data.target regression")
        elif len(numbers) <= MANY_GRADES and most - least == len(numbers) - 1:
            notes.append(f"{found} grades in order, give --data.target ordinal")
    if data.volumes and draft.value("model.aggregate") in (None, "none"):
        notes.append(
            "each slice of a volume is a case of its own, in training and in every figure: --model.aggregate attention "
            "judges volumes as a whole (docs/bags.md)"
        )
    return notes


def rare_classes(draft: Draft) -> None:
    """Weights of the classes in the loss where one is rare: a network that calls none of it loses little otherwise."""
    data = draft.fingerprint
    counts = [count for count in data.class_counts if count > 0]
    if data.target not in ("binary", "multiclass") or len(counts) < 2 or draft.is_given("model.loss", "data.sampler"):
        return
    ratio = max(counts) / min(counts)
    if ratio > 10:
        text = f"the most frequent class has {ratio:.0f} times the cases of the rarest"
        draft.plan("model.class_weights", "balanced", text, "King and Zeng, Political Analysis 2001")
