"""Where a classifier looks, for the service's page: maps that the exported graph gives, else by covering parts.

- class activation maps (B. Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016), where the
  graph has the output ``cam``;
- else occlusion (M. D. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014) in a
  coarse grid: by how much a class's logit falls when a cell is covered by the image's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.types import Scan
from tasks.exported.images import fed, image_batch, run_images
from tasks.serving.batching import Runs

_GRID = 8  # cells of occlusion along a side
_AT_ONCE = 16  # covered images of a run
_SIDE = 96  # pixels of a map's longer side


@dataclass(frozen=True)
class Heat:
    """Maps of an image.

    Attributes:
        kind: ``cam`` or ``occlusion``.
        classes: that the maps are of.
        maps: (K, h, w) uint8 over the whole scan: 255 is the largest of a class, 0 is nothing, or against it.
    """

    kind: Literal["cam", "occlusion"]
    classes: list[str]
    maps: NDArray[np.uint8]


def heat_of(model: Runs, scan: Scan) -> Heat | None:
    """The maps of a flat image; None where the model sees the images of a case together.

    Args:
        model: a classifier.
        scan: as stored.
    """
    description = model.description
    if description.aggregate == "attention" or description.slices is not None:
        return None
    opened = description.preprocess.opened(scan)
    image = image_batch([opened.tile(0, 0, *opened.size)])
    cams = [name for name in model.outputs if name.rsplit(".", 1)[-1] == "cam"]
    kind: Literal["cam", "occlusion"] = "cam" if cams else "occlusion"
    if cams:
        seen = fed(description, image)
        outputs = run_images(model, seen, cams)
        fields = [outputs[name][0] for name in cams]
    else:
        seen = image  # what is filled up is never covered
        fields = _occlusion(model, image)
    whole = np.stack([_share_of_largest(field) for field in fields]).mean(axis=0)
    names = list(description.class_names)
    maps = np.stack([_over_scan(plane, seen.shape[2:], opened.content_size) for plane in whole])
    return Heat(kind, names if len(names) == len(maps) else [str(number) for number in range(len(maps))], maps)


def _occlusion(model: Runs, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """(K, g, g) of each network: what covering each cell of an image (1, C, H, W) takes from each logit."""
    names = [name for name in model.outputs if name.rsplit(".", 1)[-1] == "logits"]
    rows = np.linspace(0, image.shape[2], min(_GRID, image.shape[2]) + 1).round().astype(int)
    columns = np.linspace(0, image.shape[3], min(_GRID, image.shape[3]) + 1).round().astype(int)
    cells = [(i, j) for i in range(len(rows) - 1) for j in range(len(columns) - 1)]
    mean = image.mean(axis=(2, 3), keepdims=True)[0]
    before = run_images(model, fed(model.description, image), names)
    after: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for first in range(0, len(cells), _AT_ONCE):
        some = cells[first : first + _AT_ONCE]
        covered = np.repeat(image, len(some), axis=0)
        for one, (i, j) in zip(covered, some, strict=True):
            one[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = mean
        for name, values in run_images(model, fed(model.description, covered), names).items():
            after[name].append(values)
    shape = (-1, len(rows) - 1, len(columns) - 1)
    return [(before[name] - np.concatenate(after[name])).T.reshape(shape) for name in names]


def _share_of_largest(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, h, w) without what speaks against a class, each class divided by its largest value."""
    kept = np.maximum(field, 0)
    largest = kept.max(axis=(1, 2), keepdims=True)
    return np.asarray(kept / np.where(largest > 0, largest, 1), np.float32)


def _over_scan(plane: NDArray[np.float32], image: tuple[int, ...], content: tuple[int, int]) -> NDArray[np.uint8]:
    """A map of the model's image as one of the scan: without what was filled up, and as small as is enough."""
    share = min(1.0, _SIDE / max(image))
    height, width = max(1, round(image[0] * share)), max(1, round(image[1] * share))
    grown = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    part = grown[: max(1, round(content[0] * share)), : max(1, round(content[1] * share))]
    return np.asarray(np.rint(np.clip(part, 0, 1) * 255), np.uint8)
