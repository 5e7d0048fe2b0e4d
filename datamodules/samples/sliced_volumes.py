"""The slices of many volumes, decoded once and mapped: what segmentation and classification read them from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.caching.cache import Setting, VolumeCache
from datamodules.readers.hashing import content_hashes, volume_hash
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.volume import Grid, Plane, check_same_grid, read_grid, read_volume
from datamodules.samples.probe import ImageFacts
from datamodules.samples.slices import SliceSpec
from datamodules.settings import numbers, pair
from datamodules.types import Scan, ScanInfo
from datamodules.windows import parse_windows
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule


class SlicedVolumes:
    """Volumes by number, cut into slices; each is one file or several sequences on one grid.

    Args:
        files: the sequences of each volume.
        slices: how volumes are cut.
        cache: where decoded arrays are kept.
        limits: of the files.

    Attributes:
        grids: where the voxels of each volume lie.

    Raises:
        SuiteError: a header cannot be read, or a sequence lies on another grid than the first of its volume.
    """

    def __init__(
        self, files: Sequence[Sequence[Path]], slices: SliceSpec, cache: VolumeCache, limits: Limits = DEFAULT
    ) -> None:
        self.files, self.slices, self.cache, self.limits = files, slices, cache, limits
        self.grids = [self._grid(some) for some in files]

    def _grid(self, files: Sequence[Path]) -> Grid:
        grid = read_grid(files[0], self.limits)
        for file in files[1:]:
            check_same_grid(grid, read_grid(file, self.limits))
        return grid

    @property
    def counts(self) -> list[int]:
        """Number of slices of each volume."""
        return [self.slices.stored_size(grid)[0] for grid in self.grids]

    def arrays(self, volume: int) -> list[NDArray[Any]]:
        """(S, H, W) or (S, H, W, C) of each sequence of a volume, as :meth:`SliceSpec.cut_image` makes them."""
        make, settings = self._cut, self._settings
        return [self.cache.get(file, settings, partial(make, file)) for file in self.files[volume]]

    def decode_all(self) -> None:
        """Make what is missing in the cache of :func:`read_once`.

        Raises:
            SuiteError: a file cannot be read, or volumes differ in their number of channels.
        """
        # All hashes at once are much faster.
        content_hashes([file for some in self.files for file in some], self.cache.hashes)
        channels: list[int] | None = None
        for volume, files in enumerate(self.files):
            found = self._channels(volume)
            channels = channels or found
            if found != channels:
                raise SuiteError(
                    f"{files[0]}: has {sum(found)} channels, but {self.files[0][0]} has {sum(channels)}: all "
                    "cases need the same sequences"
                )

    def _channels(self, volume: int) -> list[int]:
        return [1 if array.ndim == 3 else array.shape[3] for array in self.arrays(volume)]

    @property
    def facts(self) -> ImageFacts:
        """The largest slice, with sides rounded up to 32 pixels, and the number of channels; no voxel is read."""
        sizes = np.array([self.slices.size(grid) for grid in self.grids])
        height, width = (-(-int(side) // 32) * 32 for side in sizes.max(axis=0))
        return ImageFacts((height, width), sum(self._channels(0)) * (2 * self.slices.neighbors + 1))

    def scan(self, volume: int, index: int, size: tuple[int, int] | None) -> Scan:
        """A slice with its neighbours: (H, W), or (H, W, C).

        Args:
            volume: number of the volume.
            index: of the slice.
            size: (H, W) of the model's image, which slices of one spacing are filled up to, or None.
        """
        array = self.slices.stack(self.arrays(volume), index)
        array = self.slices.pad(array, size, self.grids[volume].path)
        return Scan(array, cast("ScanInfo", {**self._infos[volume], "slice": index}))

    @cached_property
    def _settings(self) -> dict[str, Setting]:
        return self.slices.image_settings()

    def _cut(self, file: Path) -> NDArray[Any]:
        return self.slices.cut_image(read_volume(file, self.limits))

    @cached_property
    def _infos(self) -> list[ScanInfo]:
        return [self.slices.scan_info(grid) for grid in self.grids]


def read_once(
    files: Sequence[Path], slices: SliceSpec, cache: VolumeCache, limits: Limits = DEFAULT
) -> tuple[Grid, str]:
    """Decode the sequences of a volume one after the other, and put their slices into the cache.

    Returns:
        Where its voxels lie, and the content hash of its first sequence.

    Raises:
        SuiteError: a file cannot be read, or lies on another grid than the first.
    """
    grid = read_grid(files[0], limits)
    contents: list[str] = []
    for file in files:
        volume = read_volume(file, limits)
        if contents:
            check_same_grid(grid, volume)
        contents.append(volume_hash(volume))
        cache.get(file, slices.image_settings(), partial(slices.cut_image, volume))
    return grid, contents[0]


def slice_spec(
    data: ScanDataModule, axis: Plane, neighbors: int, spacing: float | list[float] | str | None
) -> SliceSpec:
    """How a data class cuts volumes, from its flags.

    Args:
        data: says windows, range and percentiles.
        axis: ``--data.axis``.
        neighbors: ``--data.neighbors``.
        spacing: ``--data.spacing``.

    Raises:
        SuiteError: a flag is wrong, or neighbouring slices and several windows are both to be the channels.
    """
    if neighbors and len(parse_windows(data.window)) > 1:
        raise SuiteError(
            f"--data.neighbors {neighbors}: several windows (--data.window) take each slice by itself: give one "
            "window, or leave neighbors out"
        )
    physical = data.window is not None or data.value_range is not None
    return SliceSpec(axis, neighbors, pixel_spacing(spacing), volume_percentiles(data.percentiles, physical=physical))


def pixel_spacing(asked: float | list[float] | str | None) -> tuple[float, float] | None:
    """``--data.spacing``: mm of a row and of a column, or None.

    Raises:
        SuiteError: neither one number nor two.
    """
    sides = numbers(asked, "--data.spacing")
    if sides is None:
        return None
    if len(sides) not in (1, 2):
        raise SuiteError(f"--data.spacing {asked}: one number of mm, or one for rows and one for columns")
    return sides[0], sides[-1]


def volume_percentiles(given: list[float] | None, *, physical: bool) -> tuple[float, float] | None:
    """Percentiles that scale a volume as a whole; None where ``--data.window`` or ``value_range`` does it.

    Args:
        given: ``--data.percentiles``, or None for 0.5 and 99.5.
        physical: a window or a range is given.

    Raises:
        SuiteError: both are given.
    """
    if physical and given is not None:
        raise SuiteError("windows, percentiles and value_range exclude each other: give one of them")
    return None if physical else pair(given, "--data.percentiles") or (0.5, 99.5)
