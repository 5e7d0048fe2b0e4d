"""A scan as people see it, for overlays."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.resampling import resize_image
from datamodules.types import Scan, ScanInfo


def picture(scan: Scan, preprocess: Preprocess) -> NDArray[np.float32]:
    """A scan with the model's windows and channels, but at its own size: (H, W, C) in [0, 1], as stored."""
    image = replace(preprocess, size=None, zoom=1.0)(scan)
    height, width = scan.info.get("content_size", image.shape[:2])
    size = scan.info.get("original_size", image.shape[:2])
    return resize_image(image[:height, :width], size)


def thinned(scan: Scan, step: int) -> Scan:
    """Each ``step``-th row and column of a scan as stored, for pictures of what is larger than they are.

    A slide as float32 would take some gigabytes, to be made into a panel of 768 px.
    """
    array = np.ascontiguousarray(scan.array[::step, ::step])
    height, width = array.shape[:2]
    return Scan(array, cast("ScanInfo", {**scan.info, "original_size": (height, width)}))
