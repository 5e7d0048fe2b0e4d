"""Augmentation presets by modality, and whether images may be mirrored."""

from __future__ import annotations

from tasks.planning.draft import Draft

OF_MODALITY = {"ct": "ct", "mr": "mri", "xray": "xray", "ultrasound": "ultrasound", "microscopy": "microscopy"}

TELLING = 8  # images that show a class, from which they tell its side
ONE_SIDED = 0.8  # mean side of a class's objects (-1 to 1) beyond which it lies on one


def plan_preset(draft: Draft) -> bool:
    """Plan the preset of the modality, ``light`` where that is unknown.

    Returns:
        Whether a preset augments, whose ranges may be planned: not a list of the user's own, and not ``none``.
    """
    data = draft.fingerprint
    preset = OF_MODALITY.get(data.modality, "light")
    draft.plan("data.augment", preset, f"{data.modality}: {data.modality_from}", "data")
    settled = draft.value("data.augment")
    return isinstance(settled, str) and settled != "none"


def sides(draft: Draft) -> None:
    """Classes have sides where the objects of one lie left, and those of another right, in nearly every image."""
    data, objects = draft.fingerprint, draft.fingerprint.objects
    if data.sided or objects is None or not objects.total:
        return
    if draft.is_given("model.tta", "data.mosaic", "data.augment_args.horizontal_flip"):
        return  # which classes with sides refuse
    # Slices of a volume are of one patient, and say the same.
    images = data.cases.get("train", 0) if data.volumes else data.images
    told = [
        (side, name)
        for side, shown, name in zip(objects.class_sides, objects.class_images, data.classes, strict=False)
        if shown * images >= TELLING
    ]
    if told and min(told)[0] <= -ONE_SIDED and max(told)[0] >= ONE_SIDED:
        text = f"{min(told)[1]} lies left in nearly every image, and {max(told)[1]} right: none is mirrored"
        draft.plan("data.sided", True, text, "data")


def mirrors(draft: Draft) -> bool:
    """Whether an image mirrored in either direction is one that might have been taken."""
    data = draft.fingerprint
    return not data.sided and not data.upright and draft.value("data.sided") is not True
