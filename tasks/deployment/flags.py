"""Flags of what is written of a task's predictions. Nothing heavy is imported for them."""

from __future__ import annotations

from typing import Literal

from tasks.registry.flag import Flag, OwnFlags

MaskFormat = Literal["auto", "nifti", "png", "png16"]

SEGMENT_FLAGS: OwnFlags = {
    "mask_format": Flag(
        "format of the masks: auto is nifti for volumes, png for flat images; png16 has a number for each object",
        MaskFormat | None,
        "auto",
    ),
    "pictures": Flag("draw the masks on each image, or on a slice of each volume", bool | None, True),
}
DETECT_FLAGS: OwnFlags = {"pictures": Flag("draw the calls on each image", bool | None, True)}
TASK_FLAGS: dict[str, OwnFlags] = {"classify": {}, "segment": SEGMENT_FLAGS, "detect": DETECT_FLAGS}
