"""Views of an image over which a model's answers are averaged (test-time augmentation)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from datamodules.cases.sides import sided_names
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

Tta = Literal["none", "mirror", "flips"]
TtaOrAuto = Literal["none", "mirror", "flips", "auto"]  # chosen between the first two where a head is fitted

# Dimensions of (B, C, H, W) that are reversed, for each view; the first view is the image as it is.
VIEWS: dict[Tta, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror": ((), (-1,)),
    "flips": ((), (-1,), (-2,), (-2, -1)),
}


def check_mirrors(tta: TtaOrAuto, class_names: Sequence[str], has_sides: bool | None) -> None:
    """Refuse mirror images of classes that have sides; say so of an old model that takes them.

    Args:
        tta: views that are asked for.
        class_names: of the model.
        has_sides: whether a mirrored image may show another class; None: it was not asked.

    Raises:
        SuiteError: the data have such classes.
    """
    if tta == "none":
        return
    if has_sides:
        raise SuiteError(
            f"--model.tta {tta} mirrors images, but classes have sides: leave it out, or give --data.sided false if a "
            "mirror image shows the same class"
        )
    names = sided_names(class_names) if has_sides is None else []
    if names:
        log.warning(
            "--model.tta %s mirrors images, and classes of this model have sides: %s", tta, ", ".join(names[:4])
        )
