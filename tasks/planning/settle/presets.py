"""Augmentation presets by modality, and whether images may be mirrored."""

from __future__ import annotations

from tasks.planning.draft import Draft

OF_MODALITY = {"ct": "ct", "mr": "mri", "xray": "xray", "ultrasound": "ultrasound", "microscopy": "microscopy"}


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


def mirrors(draft: Draft) -> bool:
    """Whether an image mirrored in either direction is one that might have been taken."""
    data = draft.fingerprint
    return not data.sided and not data.upright and draft.value("data.sided") is not True
