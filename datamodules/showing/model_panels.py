"""What a model sees of a sample: the image in 0 to 1 at its size, channel by channel, with masks and boxes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.pictures.views import View, as_seen
from datamodules.samples.slices import SliceSpec
from datamodules.showing.choice import annotated_names
from datamodules.showing.stored_panels import Panel, annotated
from datamodules.types import Sample
from datamodules.windows import WINDOWS
from scansuite.words import number_of

_MOST_CHANNELS = 9


def sample_panel(data: ScanDataModule, sample: Sample, title: str, *, all_channels: bool = True) -> Panel:
    """A panel of a sample of one image.

    Args:
        data: whose sample it is.
        sample: its image (C, H, W) in [0, 1].
        title: what it is.
        all_channels: show each channel that is no colour, and say what values there are; else the middle one alone.
    """
    image = sample["image"].permute(1, 2, 0).numpy()
    found = cast("dict[str, Any]", sample)
    annotations: dict[str, Any] = {
        name: found[name].numpy() for name in ("mask", "boxes", "labels", "ignored") if name in found
    }
    names = annotated_names(data)
    channels = image_channels(data, image)
    if not all_channels:
        channels = channels[len(channels) // 2 :][:1]
    views = [
        annotated(View(as_seen(pixels), caption=caption), annotations, len(names))
        for caption, pixels in channels[:_MOST_CHANNELS]
    ]
    lines = [*seen_lines(image), *_content(sample)] if all_channels else []
    if len(channels) > _MOST_CHANNELS:
        lines.append(f"{len(channels) - _MOST_CHANNELS} more channels are not shown")
    return Panel(title, views, lines, names, bare=all_channels)


def image_channels(data: ScanDataModule, image: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32]]]:
    """What can be looked at of a model's image: colours together, windows, slices and other channels one by one.

    Args:
        data: whose image it is.
        image: (H, W, C).

    Returns:
        The name of each, empty where there is one alone, and (H, W, 1) or (H, W, 3).
    """
    count = image.shape[2]
    windows, slices = data.preprocess.windows, cast("SliceSpec | None", getattr(data, "slices", None))
    if len(windows) > 1:
        names = [window_name(window) for window in windows]
    elif slices is not None and count > 1:
        names = _slice_names(slices, slices.sequences(data.preprocess))
    elif count in (1, 3):
        return [("", image)]
    else:
        names = [f"channel {number + 1}" for number in range(count)]
    return [(name, image[:, :, number : number + 1]) for number, name in enumerate(names)]


def _slice_names(slices: SliceSpec, sequences: int) -> list[str]:
    """Names of the channels of a slice with its neighbours: those of the lowest slice first."""
    names = []
    for step in range(-slices.neighbors, slices.neighbors + 1):
        beside = f"{number_of(abs(step), 'slice')} {'below' if step < 0 else 'above'}" if step else "the slice itself"
        for one in range(sequences):
            parts = [beside] * (slices.neighbors > 0) + [f"sequence {one + 1}"] * (sequences > 1)
            names.append(", ".join(parts))
    return names


def window_name(window: tuple[float, float]) -> str:
    """A window in words: by name, where it has one, and centre and width."""
    name = next((name for name, one in WINDOWS.items() if one == window), "")
    return f"window {name} {window[0]:g}:{window[1]:g}".replace("  ", " ")


def seen_lines(image: NDArray[np.float32]) -> list[str]:
    """Size and values of a model's image (H, W, C), in words."""
    height, width, channels = image.shape
    values = f"values {image.min():.2f} to {image.max():.2f}, mean {image.mean():.2f}"
    cut = [f"{100 * share:.0f} % are {limit}" for limit in (0, 1) if (share := float((image == limit).mean())) >= 0.005]
    return [f"{height} x {width} pixels, {number_of(channels, 'channel')}", ", ".join([values, *cut])]


def _content(sample: Sample) -> list[str]:
    """What of the image shows the scan, where the rest was filled up."""
    content = sample["scan"].get("content_size")
    if content is None or tuple(content) == tuple(sample["image"].shape[-2:]):
        return []
    return [f"{content[0]} x {content[1]} of them show the scan, the rest is filled up"]
