"""Slices of a volume for a 2D network, and predicted slices back on the volume's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.caching.cache import Setting
from datamodules.preprocess import Preprocess
from datamodules.readers.volume import PLANES, Grid, Plane, Volume, from_slices, slice_spacing, to_slices
from datamodules.resampling import resize_image, resize_mask
from datamodules.samples.label_values import LabelValues
from datamodules.types import ScanInfo
from scansuite.errors import SuiteError


@dataclass(frozen=True)
class SliceSpec:
    """Cutting of volumes into slices.

    Attributes:
        plane: ``axial``, ``coronal`` or ``sagittal``; oblique volumes are cut along their own axis nearest to it.
        neighbors: slices on either side that join as channels (2.5D); beyond the ends the last slice is repeated.
        spacing: (row, column) in mm that slices are resampled to, or None for the spacing as stored.
        percentiles: (low, high) in 0..100 of the voxels above the volume's minimum (the air around a body does not
            count), which become 0 and 65535 of uint16; None keeps the stored values, for windows in HU.
    """

    plane: Plane = "axial"
    neighbors: int = 0
    spacing: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = (0.5, 99.5)

    def __post_init__(self) -> None:
        if self.plane not in PLANES:
            raise SuiteError(f"--data.axis {self.plane!r}: expected one of {', '.join(PLANES)}")
        if self.neighbors < 0:
            raise SuiteError(f"--data.neighbors {self.neighbors}: must be at least 0")
        if self.spacing is not None and not 0 < min(self.spacing) <= max(self.spacing) < np.inf:
            raise SuiteError(f"--data.spacing {self.spacing}: must be mm above 0")
        if self.percentiles is not None and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise SuiteError(f"--data.percentiles {self.percentiles}: need 0 <= low < high <= 100")

    def to_dict(self) -> dict[str, Any]:
        """The spec in plain types, for checkpoints."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SliceSpec:
        """Read back what :meth:`to_dict` wrote."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return cls(**values)

    def sequences(self, preprocess: Preprocess) -> int:
        """Number of sequences (or frames of one file) that a model takes whose slices have ``preprocess.channels``."""
        return 1 if len(preprocess.windows) > 1 else preprocess.channels // (2 * self.neighbors + 1)

    def image_settings(self) -> dict[str, Setting]:
        """Settings that :meth:`cut_image` depends on beside the file."""
        return {"of": "image", "plane": self.plane, "spacing": self.spacing, "percentiles": self.percentiles}

    def mask_settings(self, values: LabelValues) -> dict[str, Setting]:
        """Settings that :meth:`cut_mask` depends on beside the file."""
        labels = f"{values.values} {values.ignore}"
        return {"of": "mask", "plane": self.plane, "spacing": self.spacing, "labels": labels}

    def stored_size(self, grid: Grid) -> tuple[int, int, int]:
        """(S, H, W) of a file's slices as stored."""
        slices, height, width = to_slices(np.empty(grid.shape, np.bool_), grid.affine, self.plane).shape
        return slices, height, width

    def size(self, grid: Grid) -> tuple[int, int]:
        """(H, W) of a file's slices after resampling."""
        stored = self.stored_size(grid)[1:]
        if self.spacing is None:
            return stored
        now = slice_spacing(grid.affine, self.plane)[1:]
        height, width = (
            max(1, round(count * old / new)) for count, old, new in zip(stored, now, self.spacing, strict=True)
        )
        return height, width

    def scan_info(self, grid: Grid) -> ScanInfo:
        """Scan information that the slices of a volume have in common."""
        _, height, width = self.stored_size(grid)
        info = ScanInfo(path=grid.path, spacing=grid.spacing, affine=grid.affine, original_size=(height, width))
        info["alpha"] = False  # channels are slices or sequences
        if self.spacing is not None:
            info["content_size"] = self.size(grid)
        return info

    def cut_image(self, volume: Volume) -> NDArray[Any]:
        """(S, H, W) or (S, H, W, C): scaled by the percentiles where there are some, then resampled in the plane."""
        array = volume.array
        if self.percentiles is not None:
            array = (
                _scale(array, self.percentiles)
                if array.ndim == 3
                else np.stack(
                    [_scale(array[..., channel], self.percentiles) for channel in range(array.shape[3])], axis=-1
                )
            )
        slices = to_slices(array, volume.affine, self.plane)
        size = self.size(volume)
        if slices.shape[1:3] == size:
            return slices
        return np.stack([resize_image(one, size) for one in slices])

    def cut_mask(self, volume: Volume, values: LabelValues) -> NDArray[np.uint8]:
        """(S, H, W) class numbers, resampled in the plane by nearest neighbour.

        Raises:
            SuiteError: several frames, or a label value that stands for no class.
        """
        if volume.array.ndim != 3:
            raise SuiteError(f"{volume.path}: the mask has {volume.array.shape[3]} frames: save it as one")
        slices = to_slices(volume.array, volume.affine, self.plane)
        # One after the other: the whole volume as int64 would take eight times its memory.
        classes = np.stack([values.read(one, volume.path) for one in slices])
        return resize_mask(classes, self.size(volume))

    def stack(self, arrays: list[NDArray[Any]], index: int) -> NDArray[Any]:
        """A slice with its neighbours: (H, W), or (H, W, C) with the sequences of the lowest slice first.

        Args:
            arrays: (S, H, W) or (S, H, W, C) of each sequence.
            index: of the slice in the middle.
        """
        if self.neighbors == 0 and len(arrays) == 1 and arrays[0].ndim == 3:
            return np.array(arrays[0][index])
        near = np.arange(index - self.neighbors, index + self.neighbors + 1).clip(0, len(arrays[0]) - 1)
        channels = [array[one] for one in near for array in arrays]
        return np.concatenate([channel if channel.ndim == 3 else channel[:, :, None] for channel in channels], axis=2)

    def to_grid(self, planes: NDArray[Any], grid: Grid) -> NDArray[Any]:
        """Slices as stored, (S, H, W) or (S, L, H, W), on the volume's own grid: (X, Y, Z) or (L, X, Y, Z)."""
        if planes.ndim == 3:
            return from_slices(planes, grid.affine, self.plane)
        return np.stack([from_slices(region, grid.affine, self.plane) for region in planes.swapaxes(0, 1)])

    def to_planes(self, whole: NDArray[Any], grid: Grid) -> NDArray[Any]:
        """Undo :meth:`to_grid`."""
        if whole.ndim == 3:
            return to_slices(whole, grid.affine, self.plane)
        return np.stack([to_slices(region, grid.affine, self.plane) for region in whole], axis=1)

    def pad(
        self, image: NDArray[Any], size: tuple[int, int] | None, path: str, fill: int | None = None
    ) -> NDArray[Any]:
        """Slices of one spacing differ in size: fill them up at the lower and right edge. Without spacing they stay.

        Args:
            image: (H, W) or (H, W, C).
            size: (H, W) of the model's image (:attr:`.Preprocess.size`, which all verbs have from the model); None
                where slices keep their own, and are seen by patches and tiles.
            path: the file, for messages.
            fill: value to fill with; left out: the darkest of the slice.

        Raises:
            SuiteError: the slice is larger than the model's image.
        """
        if self.spacing is None or size is None:
            return image
        missing = (size[0] - image.shape[0], size[1] - image.shape[1])
        if min(missing) < 0:
            raise SuiteError(
                f"{path}: its slices are {image.shape[0]} x {image.shape[1]} pixels at the --data.spacing of "
                f"{self.spacing[0]:g},{self.spacing[1]:g} mm, larger than --data.image_size {size[0]},{size[1]}: train "
                "with a larger image_size or spacing"
            )
        edges = [(0, more) for more in missing] + [(0, 0)] * (image.ndim - 2)
        return np.pad(image, edges, constant_values=image.min() if fill is None else fill)


def _scale(array: NDArray[Any], percentiles: tuple[float, float]) -> NDArray[np.uint16]:
    values = array.astype(np.float32)
    inside = values[values > values.min()]
    if inside.size == 0:
        return np.zeros(values.shape, np.uint16)
    low, high = np.percentile(inside, percentiles)
    if low == high:  # two values, a mask for instance
        low = values.min()
    values -= np.float32(low)
    values *= np.float32(65535 / (high - low))
    return np.rint(np.clip(values, 0, 65535, out=values), out=values).astype(np.uint16)
