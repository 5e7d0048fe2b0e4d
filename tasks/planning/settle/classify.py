"""What is settled for classification alone: images, augmentation, and what makes up for rare classes."""

from __future__ import annotations

from tasks.planning.draft import Draft

# Shorter sides are enlarged for weights of ImageNet, whose features are meaningless at 28 px (tasks/registry/links.py).
PRETRAINED_SIDE = 128
LARGE = 256  # above, the whole image is made smaller
FEW, SOME = 1000, 10_000  # training images below which augmentation is stronger
_OWN = {"ct": "ct", "mr": "mri", "xray": "xray", "ultrasound": "ultrasound", "microscopy": "microscopy"}


def images(draft: Draft) -> None:
    """The size that the network sees."""
    data = draft.fingerprint
    if data.volumes or draft.is_given("data.spacing") or draft.value("data.spacing"):
        return
    height, width = data.height, data.width
    same = height.least == height.most and width.least == width.most
    tall, wide = (round(height.median), round(width.median)) if same else (224, 224)
    why = f"images as stored, {tall} x {wide}" if same else "images differ in size"
    if max(tall, wide) > LARGE:
        side = 224 if draft.machine.device == "cpu" else 320
        tall = wide = side
        why = (
            f"images of {height.median:g} x {width.median:g} pixels, as large as {draft.machine.device} trains in time"
        )
    if draft.value("model.weights") and max(tall, wide) < PRETRAINED_SIDE:
        why = f"images of {tall} x {wide} pixels, enlarged for weights that were trained at 224"
        tall = wide = PRETRAINED_SIDE
    draft.plan("data.image_size", [tall, wide] if tall != wide else tall, why, "data")


def augmentation(draft: Draft) -> None:
    """The preset: by modality, else by the number of images."""
    data = draft.fingerprint
    if draft.is_given("data.augment"):
        return
    preset = _OWN.get(data.modality)
    if preset is not None:
        draft.plan("data.augment", preset, f"{data.modality}: {data.modality_from}", "data")
        return
    count = data.images
    preset = "medium" if FEW <= count < SOME else "light"
    draft.plan("data.augment", preset, f"{count} training images of a kind that is not told by them", "data")


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
