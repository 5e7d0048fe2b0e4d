"""Feature maps: what a layer makes of an image, channel by channel, tokens of transformers among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules.pictures.canvas import grid
from datamodules.resampling import resize_image
from scansuite.errors import SuiteError
from tasks.explain.layers import module_of, short_name

MOST_PLANES = 64  # of a picture
_COLUMNS = 8
_PLANE = 96  # px of a plane's longer side
_STRETCH = (0.5, 99.5)  # percentiles that become black and white


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Output of a layer for one image.

    Attributes:
        layer: its name among the model's modules.
        kind: class of the module.
        planes: (C, h, w) float32.
    """

    layer: str
    kind: str
    planes: NDArray[np.float32]


def feature_maps(model: nn.Module, image: Tensor, layers: Sequence[str]) -> list[FeatureMaps]:
    """The output of layers for an image, in the order of ``layers``.

    Of a layer that a pass goes through several times the first is taken. A layer whose output is no map of the image
    (a vector, a window of a transformer) is left out where others are asked for too.

    Args:
        model: of a task, with its weights; it is in evaluation mode afterwards.
        image: (1, C, H, W) in [0, 1].
        layers: names among ``model.named_modules()``.

    Raises:
        SuiteError: no layer of those has a map.
    """
    size = (int(image.shape[-2]), int(image.shape[-1]))
    found: dict[str, FeatureMaps] = {}

    def keep(name: str, module: nn.Module, output: Tensor) -> None:
        planes = None if name in found else as_planes(output, size, model)
        if planes is not None:
            found[name] = FeatureMaps(name, type(module).__name__, planes[0].float().cpu().numpy())

    with listening(model, layers, keep):
        run(model, image)
    if not found:
        shown = ", ".join(map(short_name, layers[:5]))
        raise SuiteError(f"--features {shown}: gives no map of the image: name a layer before pooling, such as conv1")
    return [found[name] for name in layers if name in found]


@contextmanager
def listening(
    model: nn.Module, layers: Sequence[str], hear: Callable[[str, nn.Module, Tensor], None]
) -> Iterator[None]:
    """Hand on the output of layers while the block runs the model.

    Args:
        model: whose layers they are.
        layers: names among its modules.
        hear: called with name, module and output, each time that a tensor (or a tuple that begins with one) comes out.
    """

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def heard(module: nn.Module, _: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            if isinstance(first, Tensor):
                hear(name, module, first.detach())

        return heard

    handles = [module_of(model, name).register_forward_hook(hook(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def run(model: nn.Module, image: Tensor) -> None:
    """One pass through a task's model without gradient, in evaluation mode and float32."""
    model.eval()
    parameter = next(model.parameters())
    model(image.to(parameter.device, parameter.dtype))


def as_planes(output: Tensor, image: tuple[int, int], model: nn.Module) -> Tensor | None:
    """What a layer gives, as (B, C, h, w); None where it is no map of the image.

    Maps of four dimensions have their channels second or last: what remains is to have the proportions of the image.
    Tokens (B, N, C) lie in rows; class and register tokens come before them.

    Args:
        output: of the layer, for one image.
        image: (H, W) of it in pixels.
        model: whose layer it is.
    """
    if output.shape[0] != 1:
        return None  # windows of a transformer, parts of an image
    if output.ndim == 4:
        last = _unlike(output.shape[1:3], image), not _channels_last(model)
        second = _unlike(output.shape[2:4], image), _channels_last(model)
        output = output.permute(0, 3, 1, 2) if last < second else output
        return output if output.shape[2] * output.shape[3] > 1 else None  # else a vector, of squeeze-and-excitation say
    if output.ndim != 3:
        return None
    prefix = int(getattr(_network(model), "num_prefix_tokens", 0))
    for skipped in dict.fromkeys((prefix, 0)):
        cells = _cells(output.shape[1] - skipped, image)
        if cells is not None:
            return output[:, skipped:].transpose(1, 2).reshape(1, output.shape[2], *cells)
    return None


def features_picture(maps: FeatureMaps, dead: Sequence[int] = ()) -> NDArray[np.uint8]:
    """(H, W, 3) picture of a layer: its first 64 channels, each from its lowest value (black) to its highest (white).

    Args:
        maps: of the layer.
        dead: numbers of the channels that are marked as such.
    """
    return grid(
        [(_caption(number, number in dead), _panel(plane)) for number, plane in enumerate(maps.planes[:MOST_PLANES])],
        min(_COLUMNS, len(maps.planes)),
    )


def _caption(number: int, dead: bool) -> str:
    return f"{number} dead" if dead else str(number)


def _panel(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(plane, _STRETCH)
    width = float(high - low)
    grey = np.clip((plane - low) / width, 0, 1) if width > 0 else np.full(plane.shape, 0.5, np.float32)
    factor = _PLANE / max(plane.shape)
    size = (max(1, round(plane.shape[0] * factor)), max(1, round(plane.shape[1] * factor)))
    pixels = np.rint(resize_image(grey.astype(np.float32), size, "nearest") * 255).astype(np.uint8)
    return np.repeat(pixels[:, :, None], 3, axis=2)


def _network(model: nn.Module) -> Any:
    backbone = getattr(model, "backbone", None)
    return getattr(backbone, "net", model)


def _channels_last(model: nn.Module) -> bool:
    return str(getattr(_network(model), "output_fmt", "NCHW")).endswith("NHWC")


def _unlike(cells: Sequence[int], image: tuple[int, int]) -> float:
    """How far a grid is from the proportions of an image, or of one that is as high as wide; 0 = not at all."""
    return abs(math.log(cells[0] / cells[1] * image[1] / image[0]))


def _cells(count: int, image: tuple[int, int]) -> tuple[int, int] | None:
    """(h, w) of so many tokens: the division that is nearest to the image's proportions; None where all are far."""
    if count < 1:
        return None
    pairs = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
    best = min(pairs, key=lambda pair: _unlike(pair, image))
    return best if _unlike(best, image) < math.log(1.5) else None
