"""What is settled for detection alone: size by the size of objects, detector, augmentation, overlapping objects."""

from __future__ import annotations

from tasks.planning.draft import Draft

LEAST_SHORT = 16  # px that the 5th percentile of short sides is left with: two cells of the finest level, stride 8
LEAST_MEDIAN = 22  # px that the median of the smallest class is left with
LARGEST = {"cpu": 512, "mps": 640, "cuda": 1024}  # longer side of what the network sees at a time
SMALLEST = 128  # shorter side: levels up to stride 128 need some cells
CROWDED = 10  # objects an image from which they touch
TINY = 10  # px of the median short side below which the finest level is stride 4
_SOFT = "Bodla et al., Soft-NMS, ICCV 2017"
_FCOS = "Tian et al., FCOS, ICCV 2019; experiment/bccd"
_OWN = {"ct": "ct", "mr": "mri", "xray": "xray", "ultrasound": "ultrasound", "microscopy": "microscopy"}


def images(draft: Draft) -> None:
    """The size that the network sees: small enough to be fast, large enough for the small objects; else patches."""
    data, objects = draft.fingerprint, draft.fingerprint.objects
    if draft.is_given("data.image_size", "data.patch_size") or objects is None or not data.height.median:
        return
    height, width = data.height.median, data.width.median
    most = LARGEST[draft.machine.device]
    median = min([one.median for one in objects.class_short_sides if one.median] or [objects.short_side.median])
    wanted = max(LEAST_SHORT / max(1.0, objects.short_side.low), LEAST_MEDIAN / max(1.0, median))
    scale = max(min(1.0, wanted), SMALLEST / min(height, width))
    sides = [_multiple(scale * side) for side in (height, width)]
    sizes = f"objects of {objects.short_side.low:g} px (5th percentile), {median:g} px (median of the smallest class)"
    if max(sides) <= most:
        text = f"{sizes} in images of {height:g} x {width:g} pixels keep {scale:.2f} of their size"
        draft.plan("data.image_size", sides if sides[0] != sides[1] else sides[0], text, "data")
        return
    if wanted * max(height, width) > most and draft.takes("data.patch_size") and data.height.least == data.height.most:
        # Whole images of that size would make small objects vanish.
        text = f"{sizes} in images of {height:g} x {width:g} pixels: trained and predicted by parts"
        draft.plan("data.patch_size", most, text, "data")
        return
    fit = most / max(height, width)
    text = f"images of {height:g} x {width:g} pixels, as large as {draft.machine.device} trains in time"
    sides = [_multiple(fit * side) for side in (height, width)]
    draft.plan("data.image_size", sides if sides[0] != sides[1] else sides[0], text, "machine")


def detector(draft: Draft) -> None:
    """The detector and the width of its head."""
    if draft.is_given("model.detector_args"):
        return
    draft.plan("model.detector", "fcos", "no anchors to fit to the objects, and as good or better in our trials", _FCOS)
    if draft.value("model.detector") in ("fcos", "retinanet") and draft.machine.device == "cpu":
        draft.plan("model.channels", 96, "the heads take most of the time on a processor", "experiment/bccd")


def overlaps(draft: Draft) -> None:
    """How boxes that overlap are told from boxes found twice."""
    objects = draft.fingerprint.objects
    if objects is not None and objects.per_image.median >= CROWDED:
        text = f"{objects.per_image.median:g} objects an image (median) touch: a neighbour lowers a score, and no more"
        draft.plan("model.nms", "soft", text, _SOFT)


def augmentation(draft: Draft) -> None:
    """The preset by modality, with more scale and shift, which boxes bear."""
    data = draft.fingerprint
    preset = _OWN.get(data.modality, "light")
    draft.plan("data.augment", preset, f"{data.modality}: {data.modality_from}", "data")
    if isinstance(draft.value("data.augment"), str) and draft.value("data.augment") != "none":
        draft.plan("data.augment_args.scale", 0.2, "objects are found at sizes that few images show", _FCOS)
        draft.plan("data.augment_args.shift", 0.1, "and at any place", _FCOS)


def _multiple(side: float) -> int:
    """The nearest multiple of 32 px."""
    return max(32, 32 * round(side / 32))
