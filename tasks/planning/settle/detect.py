"""What is settled for detection alone: size and patches by the size of objects, detector, augmentation, overlaps.

Sizes follow from one question: how many pixels of the image that the network sees does an object have? A cell of the
finest level of FCOS and RetinaNet is 8 px wide, or 4 where the pyramid begins at stride 4.
"""

from __future__ import annotations

import math

from datamodules.fingerprint.fingerprint import Objects
from scansuite.words import rounded
from tasks.planning.draft import Draft
from tasks.planning.settle.presets import mirrors, plan_preset
from tasks.planning.settle.sizes import as_flag, in_pixels, multiple_of_32, numbers, one_scale

LEAST_SHORT = 16.0  # px that the 5th percentile of short sides is left with: two cells of stride 8
LEAST_MEDIAN = 22.0  # px that the median of the class with the smallest objects is enlarged to
KEPT_MEDIAN = 30.0  # px of it that are kept where images are made smaller, ... (docs/plan_results.md)
# Longer side, in pixels, below which a GPU makes no image smaller: it has the time for what a processor has not.
KEPT_SIDE = {"cpu": 0, "mps": 384, "cuda": 640}
SHORT = 600.0  # ... unless a processor has no more seconds: more steps are worth more then, ...
HEAVY = 1000  # ... or has more images, which decide how long a training takes
CELL = 8.0  # px of a cell of the finest level
FINE_CELL = 4.0  # px of one where the pyramid begins at stride 4
LARGEST = {"cpu": 512, "mps": 640, "cuda": 1024}  # longer side, in pixels, of what the network sees at a time
LARGER = 1.5  # times that, up to which a whole image is better than parts of it
ENLARGED = {"cpu": 256, "mps": 512, "cuda": 1024}  # longer side up to which images are enlarged for small objects
MOST_ENLARGED = 2.0  # beyond, enlarging adds no detail
SLIGHT = 1.25  # by less images are not enlarged
SHORTEST = 64.0  # px of the shorter side: two cells of stride 32
ROOM = 4.0  # long sides of a large object that a patch has room for
ZOOMS = (0.05, MOST_ENLARGED)  # that data classes take, and that add detail
CROWDED = 10  # objects an image from which they touch
CHANNELS = 96  # of neck and head on a processor
_SOFT = "Bodla et al., Soft-NMS, ICCV 2017"
_FCOS = "Tian et al., FCOS, ICCV 2019"
_FPN = "Lin et al., Feature Pyramid Networks, CVPR 2017"
_RETINANET = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017"
_NNUNET = "Isensee et al., nnU-Net, Nature Methods 2021"
_HAND = "experiment/bccd"
_DENSE = ("fcos", "retinanet")


def images(draft: Draft) -> None:
    """The size that the network sees: small enough to be fast, large enough for the small objects; else patches."""
    data, objects = draft.fingerprint, _objects(draft)
    if draft.is_given("data.image_size", "data.patch_size") or objects is None or not data.height.median:
        return
    height, width, most = data.height.median, data.width.median, LARGEST[draft.machine.device]
    low, median = objects.short_side.low, _smallest_median(objects)
    scale = _scale(draft, max(LEAST_SHORT / max(1.0, low), LEAST_MEDIAN / max(1.0, median)))
    sizes = (
        f"objects of {rounded(low)} px (5th percentile), {rounded(median)} px (median of the class with the smallest)"
    )
    stored = f"images of {in_pixels(height, width)}"
    if draft.takes("data.patch_size"):
        unlike = one_scale(data)
        if unlike:
            _plan_patches(draft, scale, unlike, _NNUNET)
            return
        if scale * max(height, width) > LARGER * most:
            text = f"{sizes} would vanish in {stored} made as small as {draft.machine.device} trains in time"
            _plan_patches(draft, scale, text, "data")
            return
    if not _hurries(draft):
        scale = max(scale, min(1.0, KEPT_MEDIAN / max(1.0, median), most / max(height, width)))
    scale = max(scale, min(1.0, KEPT_SIDE[draft.machine.device] / max(height, width)))
    scale = min(scale, LARGER * most / max(height, width))
    sides = [multiple_of_32(scale * side) for side in (height, width)]
    scale = min(sides[0] / height, sides[1] / width)
    text = f"{sizes} in {stored} are seen at {scale:.2f} of their size"
    draft.plan("data.image_size", as_flag(sides), text, "data")


def patches(draft: Draft) -> None:
    """Where patches lie in training, and by how much tiles overlap, so that a large object is whole in one of them."""
    data, objects = draft.fingerprint, _objects(draft)
    sides = numbers(draft.value("data.patch_size"))
    if not sides or objects is None or not data.height.median:
        return
    seen = seen_scale(draft)
    area = data.height.median * data.width.median * seen**2
    in_one = objects.per_image.median * sides[0] * sides[-1] / max(1.0, area)
    if area > sides[0] * sides[-1] and in_one < 1:
        text = f"{in_one:.2g} objects a patch: a third of the patches are laid over one"
        draft.plan("data.foreground_share", 0.33, text, _NNUNET)
    part = objects.long_side.high * seen / min(sides)
    share = min(0.5, max(0.25, math.ceil(20 * part) / 20))
    if not draft.is_given("model.window"):
        text = (
            f"objects of {objects.long_side.high * seen:.0f} px (95th percentile) are whole in one tile of {min(sides)}"
        )
        draft.plan("model.overlap", share, text, "data")


def detector(draft: Draft) -> None:
    """The detector, the stride of its finest level and the width of its head."""
    objects = _objects(draft)
    if draft.is_given("model.detector_args") or draft.value("model.teacher") is not None:
        return  # of the user's own, or one that has to be like its teacher
    low = None if objects is None else objects.short_side.low * seen_scale(draft)
    if low is not None and low < FINE_CELL:
        text = (
            f"objects of {low:.1f} px (5th percentile) have no cell's centre in them: each gets the anchor most like it"
        )
        draft.plan("model.detector", "retinanet", text, _RETINANET)
    elif draft.is_given("model.anchors"):
        draft.plan("model.detector", "retinanet", "anchors were given, which FCOS has none of", _RETINANET)
    elif str(draft.value("model.box_loss")) in ("l1", "smooth_l1"):
        text = f"FCOS takes no box loss {draft.value('model.box_loss')}"
        draft.plan("model.detector", "retinanet", text, _RETINANET)
    else:
        draft.plan("model.detector", "fcos", "it has no anchors that would have to suit the objects", _FCOS)
    if draft.value("model.detector") not in _DENSE:
        return
    # A list of the user's has an anchor for each level there is without it.
    listed = "," in str(draft.given.get("model.anchors"))
    if low is not None and low < CELL and not listed:
        text = f"objects of {low:.1f} px (5th percentile) are less than a cell of stride 8"
        draft.plan("model.small_lesions", True, text, _FPN)
    if draft.machine.device == "cpu":
        text = "the heads take most of the time on a processor, by the square of their channels"
        draft.plan("model.channels", CHANNELS, text, _HAND)


def overlaps(draft: Draft) -> None:
    """How boxes that overlap are told from boxes found twice."""
    objects = _objects(draft)
    if objects is not None and objects.per_image.median >= CROWDED and not draft.is_given("model.nms_iou"):
        text = f"{objects.per_image.median:g} objects an image (median) touch: a neighbour lowers a score, and no more"
        draft.plan("model.nms", "soft", text, _SOFT)


def augmentation(draft: Draft) -> None:
    """The preset by modality, with more scale and shift, which boxes bear; mirror images where nothing has a side."""
    if not plan_preset(draft):
        return
    draft.plan("data.augment_args.scale", 0.2, "objects are found at sizes that few images show", _HAND)
    draft.plan("data.augment_args.shift", 0.1, "objects are found where few images show them", _HAND)
    if not mirrors(draft):
        return
    for name in ("horizontal_flip", "vertical_flip"):
        text = "no class has a side and no image an up: mirror images are images"
        draft.plan(f"data.augment_args.{name}", True, text, "data")


def seen_scale(draft: Draft) -> float:
    """Pixels of the image that the network sees for each stored one, along a side, in the median image."""
    data = draft.fingerprint
    sides = numbers(draft.value("data.image_size"))
    if sides and data.height.median and data.width.median:
        return min(sides[0] / data.height.median, sides[-1] / data.width.median)
    return float(draft.value("data.zoom") or 1.0)


def _objects(draft: Draft) -> Objects | None:
    """Boxes of the training images; None where there are none."""
    objects = draft.fingerprint.objects
    return objects if objects is not None and objects.total else None


def _smallest_median(objects: Objects) -> float:
    """Median short side, in stored pixels, of the class with the smallest objects."""
    return min([one.median for one in objects.class_short_sides if one.median] or [objects.short_side.median])


def _scale(draft: Draft, wanted: float) -> float:
    """By how much images are resized, where small objects want a factor: never far up, and no image becomes tiny."""
    data = draft.fingerprint
    height, width = data.height.median, data.width.median
    if wanted > SLIGHT:
        affordable = ENLARGED[draft.machine.device] / max(height, width)
        wanted = max(1.0, min(wanted, MOST_ENLARGED, affordable))
    return max(min(1.0, wanted) if wanted <= SLIGHT else wanted, SHORTEST / min(height, width))


def _hurries(draft: Draft) -> bool:
    """Whether a processor has little time, or much to do: it learns more from many small images than from few large."""
    seconds = draft.budget.seconds
    much = draft.fingerprint.samples > HEAVY or (seconds is not None and seconds <= SHORT)
    return draft.machine.device == "cpu" and much


def _plan_patches(draft: Draft, scale: float, reason: str, source: str) -> None:
    """Patches with room for large objects, of images at a scale."""
    data, objects = draft.fingerprint, draft.fingerprint.objects
    scale = min(ZOOMS[1], max(ZOOMS[0], scale))
    if abs(scale - 1) > SLIGHT - 1:
        zoom = float(f"{scale:.2g}")
        draft.plan("data.zoom", zoom, "small objects are seen large enough, and large ones small enough", "data")
    scale = float(draft.value("data.zoom") or 1.0)
    most = LARGEST[draft.machine.device]
    room = 0.0 if objects is None else ROOM * objects.long_side.high * scale
    side = min(most, max(most / 2, room), max(SHORTEST, min(data.height.median, data.width.median) * scale))
    draft.plan("data.patch_size", multiple_of_32(side), reason, source)
