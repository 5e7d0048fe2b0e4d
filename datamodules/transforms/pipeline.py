"""The augmentation of one sample, whose randomness depends on that sample's seed words and on nothing else."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import Any

import albumentations
import numpy as np
from numpy.typing import NDArray

from datamodules.transforms.names import MIN_VISIBILITY
from datamodules.transforms.probe import dummy_image, probe_steps
from scansuite.errors import SuiteError


class Augmentation:
    """Albumentations on float32 images in [0, 1], repeatable sample by sample.

    Before each call both random generators are made anew from the seed words. So a sample's augmentation does not
    depend on the worker, the rank or the order of calls, and repeats with the words. (Left alone, albumentations 2.0.8
    gives every worker the same stream, and ``Compose(seed=)`` gives every transform the same draws.) Objects can be
    pickled, for workers that are spawned.

    Args:
        steps: transforms, in order; none at all returns samples as they are.
        channels: of the images.
        size: (H, W) that every result must have, or None where sizes differ.
        boxes: whether calls will bring boxes.

    Raises:
        SuiteError: a transform cannot take such images, does not keep the size, cannot move boxes, or draws from a
            random source of its own.
    """

    def __init__(
        self, steps: Sequence[Any], *, channels: int, size: tuple[int, int] | None = None, boxes: bool = False
    ) -> None:
        self.channels = channels
        self.size = size
        self.boxes = boxes
        self._random = random.Random(0)
        self._compose: albumentations.Compose | None = None
        if steps:
            self._compose = self._build(list(steps))

    def __call__(
        self,
        image: NDArray[np.float32],
        seed: Sequence[int],
        mask: NDArray[Any] | None = None,
        boxes: NDArray[np.float32] | None = None,
        labels: NDArray[Any] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Augment one sample.

        Args:
            image: (H, W, C) float32 in [0, 1]; not changed.
            seed: non-negative integers, for example (seed, epoch, position).
            mask: (H, W) or (L, H, W) integers up to 65535; pixels from outside become 0.
            boxes: (N, 4) xyxy in pixels; clipped, and dropped with less than a tenth of their area left.
            labels: (N,), one for each box; needed with boxes.

        Returns:
            What was given, under the same names: ``image`` (H, W, C) float32 in [0, 1], contiguous; ``mask`` of its own
            type; ``boxes`` (M, 4) float32 and ``labels`` (M,).

        Raises:
            SuiteError: the transforms fail on an image of this size, or do not keep it.
            ValueError: boxes came without labels, or to an augmentation that was built without ``boxes=True``.
        """
        if boxes is not None and (labels is None or not self.boxes):
            raise ValueError("boxes need labels, and an augmentation built with boxes=True")
        given = {"image": image, "mask": mask, "boxes": boxes, "labels": labels}
        sample = {name: value for name, value in given.items() if value is not None}
        if self._compose is None:
            return sample
        data: dict[str, Any] = {"image": image}
        if mask is not None:
            data["mask"] = _mask_for_opencv(mask)
        if self.boxes:
            data["bboxes"] = np.zeros((0, 4), np.float32) if boxes is None else boxes
            data["rows"] = np.arange(len(data["bboxes"]))
        # A SeedSequence takes (5,) and (5, 0) for the same words; their number as the last word tells them apart.
        words = np.random.SeedSequence((*seed, len(seed) + 1))
        generator = np.random.Generator(np.random.PCG64(words))
        self._random.seed(int(generator.integers(2**63)))
        self._compose.set_random_state(generator, self._random)
        try:
            data = self._compose(**data)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            height, width = image.shape[:2]
            raise SuiteError(f"augmentation fails on an image of {height} x {width} pixels: {reason}") from error
        # Not in place: where no transform struck, this is the caller's own array.
        sample["image"] = np.ascontiguousarray(np.clip(data["image"], 0, 1))
        if self.size is not None and sample["image"].shape[:2] != self.size:
            raise SuiteError(_size_message(sample["image"].shape[:2], self.size))
        if mask is not None:
            moved = data["mask"] if mask.ndim == 2 else np.moveaxis(data["mask"], 2, 0)
            sample["mask"] = np.ascontiguousarray(moved, dtype=mask.dtype)
        if self.boxes and boxes is not None and labels is not None:
            sample["boxes"] = np.asarray(data["bboxes"], dtype=np.float32).reshape(-1, 4)
            sample["labels"] = labels[np.asarray(data["rows"], dtype=np.intp)]
        return sample

    def __repr__(self) -> str:
        names = [type(step).__name__ for step in self._compose.transforms] if self._compose is not None else []
        return f"Augmentation({', '.join(names) or 'none'})"

    def _build(self, steps: list[Any]) -> albumentations.Compose:
        """Put the steps together and try them on a dummy."""
        image = dummy_image(self.size or (256, 256), self.channels)
        probe_steps(albumentations.Compose(steps), image, self.boxes)
        rule = albumentations.BboxParams(
            format="pascal_voc",
            label_fields=["rows"],
            clip=True,
            filter_invalid_bboxes=True,
            min_visibility=MIN_VISIBILITY,
        )
        with warnings.catch_warnings():
            # Steps that move nothing leave boxes where they are, which is right.
            warnings.filterwarnings("ignore", "Got processor for bboxes")
            self._compose = albumentations.Compose(steps, bbox_params=rule if self.boxes else None)
        boxes = np.array([[1, 1, image.shape[1] - 1, image.shape[0] - 1]], np.float32) if self.boxes else None
        labels = np.zeros(1, np.int64) if self.boxes else None
        for seed in range(4):
            first, again = (self(image, (seed,), boxes=boxes, labels=labels)["image"] for _ in range(2))
            if not np.array_equal(first, again):
                raise SuiteError(f"{self!r} does not repeat with its seed: one of its transforms draws on its own")
        return self._compose


def _size_message(found: tuple[int, ...], wanted: tuple[int, int]) -> str:
    return (
        f"augmentation makes images of {found[0]} x {found[1]} pixels, but --data.image_size is {wanted[0]} x "
        f"{wanted[1]}: leave out transforms that change the shape, or end the list with Resize"
    )


def _mask_for_opencv(mask: NDArray[Any]) -> NDArray[Any]:
    """OpenCV warps no int64: (H, W) or (L, H, W) becomes (H, W[, L]) of the smallest fitting unsigned type."""
    kind = np.uint8 if mask.size == 0 or mask.max() < 256 else np.uint16
    return np.ascontiguousarray(mask if mask.ndim == 2 else np.moveaxis(mask, 0, 2), dtype=kind)
