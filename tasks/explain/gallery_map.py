"""Grad-CAM of a case for the gallery of its run: cheap, and no reason for a run to fail."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from tasks.distributed import count_ranks
from tasks.explain.maps import explain_image
from tasks.loading import Model

log = logging.getLogger(__name__)

MOST_SECONDS = 20.0  # that maps of one part may take together


class CaseMap(NamedTuple):
    """A map of a case.

    Attributes:
        values: (h, w) in [0, 1] that cover the scan.
        target: name of what it explains.
    """

    values: NDArray[np.float32]
    target: str


class CaseMaps:
    """Maps of the cases of one part, within a time.

    Args:
        seconds: after which no further map is made.
    """

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self.left = seconds

    def of(self, model: Model, scan: Scan, preprocess: Preprocess) -> CaseMap | None:
        """Grad-CAM of what is called in an image; None where there is no time left, several ranks, or no map.

        Args:
            model: that was run.
            scan: as its reader gives it.
            preprocess: of the model.
        """
        if self.left <= 0 or count_ranks() > 1:  # ranks that share weights would wait for one another
            return None
        began = time.monotonic()
        try:
            return _map_of(model, scan, preprocess)
        except Exception as error:  # of any network; a picture is no reason to fail
            log.debug("no map of %s: %s", scan.info.get("path", "an image"), error, exc_info=True)
            self.left = 0.0  # the next one would fail as this one did
            return None
        finally:
            self.left -= time.monotonic() - began


def _map_of(model: Model, scan: Scan, preprocess: Preprocess) -> CaseMap:
    opened = preprocess.opened(scan)
    content = opened.content_size if preprocess.fills else scan.info.get("content_size", opened.size)
    image = torch.from_numpy(np.ascontiguousarray(opened.tile(0, 0, *opened.size).transpose(2, 0, 1)))[None]
    one = explain_image(model, image, None, ("gradcam",))[0]
    return CaseMap(one.values[: content[0], : content[1]], one.target.name)
