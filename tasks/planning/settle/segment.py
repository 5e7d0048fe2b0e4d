"""What is settled for segmentation alone: cut, spacing and size of images, decoder, loss, augmentation, clean-up."""

from __future__ import annotations

import math

from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.windows import parse_windows
from scansuite.words import rounded
from tasks.planning.draft import Draft
from tasks.planning.settle import length, values
from tasks.planning.settle.presets import mirrors, plan_preset
from tasks.planning.settle.sizes import as_flag, in_pixels, multiple_of_32, of_one_size, one_scale

FINE = 96  # px of a slice's longer side that smaller slices are resampled up to, ...
FINER = 2.0  # ... but not to more than so many times the stored resolution
LARGEST = {"cpu": 256, "mps": 320, "cuda": 512}  # longer side, in pixels, that is trained on at a time
ANISOTROPIC = 1.5  # slices that are so many times further apart than pixels are cut where they are sharp
CONTEXT = 3.0  # beyond so many times the pixel spacing neighbouring slices show something else
LEAST_SIDE = 8  # px that the short sides of small objects are left with where images are made smaller
THIN = 0.25  # share of the box around an object that it fills, below which it is thin
HEAVY = 1000  # images an epoch from which the decoder decides how long a training takes
MANY = 5  # objects an image, from which it is about objects and no organ
SHOWN = 0.95  # share of the images that show a class, from which each of them has some to find
RARE = 0.05  # share of the pixels that are of a class, below which most patches show background alone
HOLDING = 0.33  # share of the patches (slices) that hold a class then
STEPS = 250  # of an epoch at most, where patches are counted
PATCH_BATCH = 8  # patches a step at least, by which these are counted
VARIED = (0.05, 0.95)  # share of images with colours, between which some are stained and some are grey
_NNUNET = "Isensee et al., nnU-Net, Nature Methods 2021"


def volumes(draft: Draft) -> None:
    """How volumes are cut, and the spacing of the pixels of a slice."""
    data = draft.fingerprint
    if not data.volumes or data.slices is None or not data.height.median:
        return
    height, width, depth = data.height.median, data.width.median, data.slices.median
    spacing = data.spacing if len(data.spacing) == 3 else ()
    apart = spacing[2] / max(spacing[:2]) if spacing else 1.0
    if not draft.is_given("data.axis") and draft.value("data.axis") == "axial":
        height, width = _axis(draft, (height, width, depth), apart)
    if spacing and apart <= CONTEXT and not _several_windows(draft):
        how_far = f"slices are {rounded(spacing[2])} mm apart, {rounded(apart, 2)} times the pixels"
        text = f"{how_far}: neighbours show the same structures"
        draft.plan("data.neighbors", 1, text, "Roth et al., MICCAI 2014 (2.5D)")
    if not spacing or draft.is_given("data.spacing", "data.image_size", "data.patch_size"):
        return
    plane, side = min(spacing[:2]), max(height, width)
    most = LARGEST[draft.machine.device]
    if side < FINE:
        wanted = plane / min(FINER, FINE / side)
        # As round as can be, and no coarser than stored.
        round_ones = (float(f"{wanted:.1g}"), float(f"{wanted:.2g}"))
        fine = next((one for one in round_ones if 0.9 * plane / FINER <= one <= plane), plane)
        text = f"slices of {in_pixels(height, width)} are few cells of the deepest level: {plane / fine:.1f} times "
        draft.plan("data.spacing", fine, f"{text}as fine", "experiment/hippocampus")
    elif side > most:
        text = f"slices of {in_pixels(height, width)}, as large as {draft.machine.device} trains in time"
        draft.plan("data.spacing", float(f"{plane * side / most:.2g}"), text, "machine")
    else:
        draft.plan("data.spacing", float(f"{plane:.3g}"), "the median in the plane: one size of structures", _NNUNET)


def _several_windows(draft: Draft) -> bool:
    """Whether windows of the user's become channels: they take each slice by itself."""
    return len(parse_windows(draft.value("data.window"))) > 1


def _axis(draft: Draft, sides: tuple[float, float, float], apart: float) -> tuple[float, float]:
    """Plan the plane, from (rows, columns, slices) of axial slices; the rows and columns of the chosen one."""
    height, width, depth = sides
    planes = {"axial": (height, width), "sagittal": (depth, height), "coronal": (depth, width)}
    if apart > ANISOTROPIC or apart < 1 / ANISOTROPIC:
        if apart > 1:
            text = f"slices are {apart:.1f} times further apart than pixels: cut where the scan is sharp"
            draft.plan("data.axis", "axial", text, _NNUNET)
        return planes["axial"]
    axis = max(planes, key=lambda name: planes[name][0] * planes[name][1])
    rows, columns = planes[axis]
    text = f"voxels are alike in all directions: the plane with the largest slices, {rows:g} x {columns:g}"
    draft.plan("data.axis", axis, text, "experiment/hippocampus")
    return planes[axis]


def images(draft: Draft) -> None:
    """Whole images, made smaller if objects bear it, or patches."""
    data = draft.fingerprint
    if data.volumes or draft.is_given("data.image_size", "data.patch_size") or not data.height.median:
        return
    most = LARGEST[draft.machine.device]
    height, width = data.height, data.width
    same = of_one_size(data)
    longer = max(height.median, width.median)
    if same and longer <= most:
        sides = [round(height.median), round(width.median)]
        text = f"images as stored, {sides[0]} x {sides[1]} pixels"
        draft.plan("data.image_size", as_flag(sides), text, "data")
        return
    fit = min(1.0, most / (max(height.most, width.most) if same else longer))
    low = _short_side(data, fit)
    objects = data.objects if data.objects is not None and data.objects.total else None
    too_large = objects is not None and objects.long_side.median > most
    why = _thin(data) or ("" if same or too_large else one_scale(data))
    if not why and (low >= LEAST_SIDE or too_large):
        sides = [multiple_of_32(fit * height.median), multiple_of_32(fit * width.median)]
        text = f"images of {_sizes(data)} become one size of {sides[0]} x {sides[1]}"
        if too_large and objects is not None:
            text = f"objects of {objects.long_side.median:g} px (median) fit into no patch: {text}"
        else:
            text = f"{text}, in which small objects (5th percentile) keep {low:.0f} px"
        draft.plan("data.image_size", as_flag(sides), text, "data")
        return
    side = max(32, min(most, 32 * int(min(height.low, width.low) // 32)))
    kept = f"images of {_sizes(data)}, made smaller, would leave {low:.0f} px of small objects (5th percentile)"
    draft.plan("data.patch_size", side, why or kept, _NNUNET)
    _patches(draft, side)


def _sizes(data: Fingerprint) -> str:
    """Least and largest size of the images in words."""
    height, width = data.height, data.width
    return f"{height.least:g} x {width.least:g} to {height.most:g} x {width.most:g} pixels"


def _short_side(data: Fingerprint, fit: float) -> float:
    """Pixels of the short side of small objects (5th percentile) in images of one size, ``fit`` times the median one.

    Where sizes differ, it is by the share of its image that an object has: as many pixels are less of a larger one.
    """
    objects, height, width = data.objects, data.height, data.width
    if objects is None or not objects.total:
        return 0.0
    if objects.share is None or of_one_size(data):
        return fit * objects.short_side.low
    slender = objects.short_side.median / max(1.0, objects.long_side.median)
    return fit * math.sqrt(objects.share.low * height.median * width.median * slender)


def _thin(data: Fingerprint) -> str:
    """Why images keep their resolution whose objects are thin, as vessels are, however far they reach; else empty."""
    objects = data.objects
    if objects is None or not objects.total or not objects.area.median:
        return ""
    filled = objects.area.median / max(1.0, objects.short_side.median * objects.long_side.median)
    if filled >= THIN:
        return ""
    return f"objects fill {_percent(filled)} of the box around them (median): too thin to be made smaller"


def _patches(draft: Draft, side: int) -> None:
    """How many patches of each image an epoch shows.

    A number, and not ``auto``: by area a few large images would be most of an epoch, and its length would be known of
    images that were all read alone.
    """
    data = draft.fingerprint
    cover = round(data.height.median * data.width.median / side**2)
    most = STEPS * PATCH_BATCH // max(1, data.images)
    patches = max(1, min(cover, most))
    held = "" if patches == cover or cover < 1 else f", and an epoch at most {STEPS} steps"
    text = f"an image of {data.height.median:g} x {data.width.median:g} (median) has the area of {cover}{held}"
    draft.plan("data.patches", patches, f"{text}: images count alike, large and small", "data")


def network(draft: Draft) -> None:
    """A decoder that the machine can bear, and what the overlap of the loss is summed over."""
    long = draft.fingerprint.samples > HEAVY and draft.machine.device == "cpu"
    if long and draft.value("model.decoder") == "unet":
        text = f"{draft.fingerprint.samples} images on a processor: half the channels of the usual decoder"
        channels = [128, 64, 48, 32, 16]
        draft.plan("model.decoder_args", {"decoder_channels": channels}, text, "experiment/hippocampus")
    if draft.is_given("model.loss"):
        return
    data, objects = draft.fingerprint, draft.fingerprint.objects
    if data.class_counts:
        text = f"the rarest class has {_percent(min(data.class_counts))} of the pixels: overlap does not see how many"
        draft.plan("model.loss", "dice_ce", text, _NNUNET)
    if objects is None or not objects.total or not objects.class_images:
        return
    everywhere = min(objects.class_images) >= SHOWN
    if everywhere and objects.per_image.median >= MANY:
        text = f"each class is in {_percent(min(objects.class_images))} of the images at least, in many objects"
        draft.plan("model.batch_dice", False, f"{text}: dim images count like bright ones", "experiment/nuclei")


def rare(draft: Draft) -> None:
    """Show background less often where there is little else."""
    data, objects = draft.fingerprint, draft.fingerprint.objects
    if objects is None or not objects.total:
        return
    if data.volumes and objects.empty > 1 - HOLDING:
        text = f"{_percent(objects.empty)} of the slices hold no class"
    elif not data.volumes and draft.value("data.patch_size") and 0 < sum(data.class_counts) < RARE:
        text = f"classes are {_percent(sum(data.class_counts))} of the pixels, and most patches would hold none"
    else:
        return
    draft.plan("data.foreground_share", HOLDING, text, _NNUNET)


def augmentation(draft: Draft) -> None:
    """The preset by modality; mirror images and scale where nothing speaks against them."""
    data = draft.fingerprint
    if not plan_preset(draft):
        return
    if mirrors(draft):
        for name in ("horizontal_flip", "vertical_flip"):
            text = (
                "no class has a side and no image an up: mirror images are images, over which predictions are averaged"
            )
            draft.plan(f"data.augment_args.{name}", True, text, "experiment/hippocampus")
    if data.modality == "microscopy":
        text = "cells are found at sizes that few images show"
        draft.plan("data.augment_args.scale", 0.25, text, "experiment/nuclei")
        if data.means is not None and data.means.high > values.UNLIKE * max(1e-9, data.means.low):
            text = (
                f"mean brightness differs from {data.means.low:.0f} to {data.means.high:.0f} (5th and 95th percentile)"
            )
            draft.plan("data.augment_args.contrast", 0.3, text, "experiment/nuclei")
        if VARIED[0] < data.colour < VARIED[1]:
            text = f"{_percent(data.colour)} of the images have colours: stains differ"
            draft.plan("data.augment_args.color", 0.1, text, "experiment/nuclei")


def evaluation(draft: Draft) -> None:
    """Mirror images averaged, components cleaned up, objects counted."""
    data = draft.fingerprint
    steps, _, _ = length.wanted(draft)
    trained, judged = steps * length.samples_a_step(draft) / length.FORWARD, length.judged_patches(draft)
    if mirrors(draft) and draft.budget.quality != "quick" and length.views("flips") * judged <= trained:
        draft.plan(
            "model.tta", "flips", "no class has a side and no image an up: the mean over four mirror images", _NNUNET
        )
    if judged > trained and draft.value("data.patch_size"):
        text = f"evaluation of {judged:.0f} tiles that share half of them would take longer than the training"
        draft.plan("model.overlap", 0.25, text, "time")
    objects = data.objects
    if objects is None or not objects.total:
        return
    if objects.per_image.median < MANY:
        text = f"few objects an image (median {objects.per_image.median:g}): small components may be mistakes"
        draft.plan("model.cleanup", "auto", f"{text}; validation decides by class", _NNUNET)
    elif not data.volumes:
        text = f"many objects an image (median {objects.per_image.median:g}): how many are found counts too"
        draft.plan("model.count_lesions", True, text, "data")


def _percent(share: float) -> str:
    """A share in words, with two digits."""
    return f"{rounded(100 * share, 2)} %"
