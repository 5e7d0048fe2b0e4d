"""Boxes drawn on panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.canvas import Colour

_INK: Colour = (20, 20, 20)


def draw_boxes(
    panel: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    size: tuple[int, int],
    colours: Sequence[Colour],
    width: int = 2,
    texts: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """A panel with boxes as frames.

    Args:
        panel: (H, W, 3) RGB; not changed.
        boxes: (N, 4) xyxy edges in pixels of the image.
        size: (H, W) of the image in pixels, which the panel shows whole.
        colours: of each box.
        width: of the frames in pixels of the panel.
        texts: of each box (Latin letters and digits), written into its upper left corner; empty = none.
    """
    import cv2

    panel = panel.copy()
    scale = np.array([panel.shape[1] / size[1], panel.shape[0] / size[0]] * 2)
    scaled = np.asarray(boxes, dtype=float).reshape(-1, 4) * scale
    for edges, colour, text in zip(scaled, colours, texts or [""] * len(scaled), strict=True):
        x1, y1, x2, y2 = (round(edge) for edge in edges)
        cv2.rectangle(panel, (x1, y1), (x2 - 1, y2 - 1), colour, width)
        for ink, thickness in ((_INK, 3), (colour, 1)) if text else ():  # legible on any ground
            cv2.putText(panel, text, (x1 + 3, y1 + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, thickness)
    return panel
