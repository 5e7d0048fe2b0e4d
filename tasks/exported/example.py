"""Example of a model package: an input, and what the model makes of it, so that another machine can try itself on it.

It is drawn here, and shows nobody; or it is the values of an image that the user has given.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.exported.description import IMAGE, Check, Description
from tasks.exported.images import fed, image_batch
from tasks.exported.model_file import ExportedModel

# Largest difference from another machine, as a share of the largest value that is expected. float32: another order of
# sums; float16: half of its last digit, and those that it passes through; int8: values that fall to the other side of
# a step. A CPU that saturates in int8 (AVX2 without VNNI, and a model of the full range) differs by more.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 1e-1}
_SIDE = 64  # pixels of an example, unless the model takes others alone
_MOST_VALUES = 4096  # of each output that are kept
_MOST_PIXELS = 2**25


def drawn_example(description: Description) -> NDArray[Any]:
    """An image of soft spots, in stored values that the preprocessing of a model takes.

    Returns:
        (H, W) or (H, W, C): int16 where there are windows, float32 where there is another range, uint8 otherwise.
    """
    preprocess = description.preprocess
    size = description.sizes[0] if description.sizes else (_at_least(_SIDE, description.multiple),) * 2
    height, width = size if preprocess.size is None else (_SIDE, _SIDE)
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y + 0.5) / height, (x + 0.5) / width
    channels = 1 if len(preprocess.windows) > 1 else preprocess.channels
    layers = []
    for channel in range(channels):
        values = 0.15 + 0.2 * x + 0.1 * y
        for spot, (row, column, radius) in enumerate(((0.3, 0.35, 0.18), (0.62, 0.6, 0.12), (0.75, 0.25, 0.06))):
            strength = 0.25 + 0.1 * ((spot + channel) % 3)
            values = values + strength * np.exp(-((y - row) ** 2 + (x - column) ** 2) / radius**2)
        layers.append(values.clip(0, 1))
    image = layers[0] if channels == 1 else np.stack(layers, axis=-1)
    return _stored(image, preprocess)


def given_example(file: Path) -> NDArray[Any]:
    """The stored values of an image of the user's; nothing else of the file comes along.

    Raises:
        SuiteError: it cannot be read, or is no single image.
    """
    from datamodules.readers.formats import is_stack, read

    if is_stack(file):
        raise SuiteError(f"--example {file}: is a volume or has several pages: give a single image")
    if not file.is_file():
        raise SuiteError(f"--example {file}: there is no such file")
    return np.ascontiguousarray(read(file).array)


def to_npy(array: NDArray[Any]) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def from_npy(content: bytes, where: str) -> NDArray[Any]:
    """The image in a ``.npy`` file, whose header may say nothing that is not so.

    Raises:
        SuiteError: it holds no image of numbers, a pickle, or more or fewer values than it says.
    """
    try:
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError("another version of the format")
        shape, by_column, kind = np.lib.format.read_array_header_1_0(stream)
        left = content[stream.tell() :]
        if by_column or kind.kind not in "uif" or len(shape) not in (2, 3) or not 0 < math.prod(shape) <= _MOST_PIXELS:
            raise ValueError(f"it holds no image ({kind}, shape {shape})")
        if math.prod(shape) * kind.itemsize != len(left):
            raise ValueError("it is cut off, or longer than it says")
        return np.frombuffer(left, kind).reshape(shape).copy()
    except Exception as error:  # of Python's own tokenizer too, which reads such a header
        reason = " ".join(str(error).split())[:120]
        raise SuiteError(f"{where}: the example cannot be read: {reason}") from None


def model_image(array: NDArray[Any], description: Description, where: str) -> NDArray[np.float32]:
    """The graph's input for stored values, (1, C, H, W): each slice of a model that sees several is this one.

    Raises:
        SuiteError: it is no image that the model takes.
    """
    image = description.preprocess.image(array, where)
    times, left = divmod(description.in_channels, image.shape[2])
    if left:
        raise SuiteError(f"{where}: has {image.shape[2]} channels, and the model takes {description.in_channels}")
    return fed(description, image_batch([np.tile(image, (1, 1, times))]))


def expected_of(model: ExportedModel, array: NDArray[Any]) -> bytes:
    """``expected.json``: what a model makes of an image, some thousand values of each output evenly apart."""
    outputs = _outputs(model, array)
    kept = {
        name: {
            "shape": list(values.shape),
            "every": (every := max(1, math.ceil(values.size / _MOST_VALUES))),
            "values": [float(value) for value in values.ravel()[::every]],
        }
        for name, values in outputs.items()
    }
    tolerance = TOLERANCES[model.description.precision]
    try:
        text = json.dumps({"outputs": kept, "tolerance": tolerance, "version": 1}, allow_nan=False)
    except ValueError:
        raise SuiteError(
            f"{model.where}: what it makes of the example is not a number: give another one: --example FILE"
        ) from None
    return (text + "\n").encode("ascii")


def try_example(model: ExportedModel, example: bytes, expected: bytes) -> list[Check]:
    """Let a model see its example, and compare with what was expected.

    Args:
        model: of the package.
        example: the ``.npy`` file.
        expected: the JSON file.

    Returns:
        A comparison for each output: the largest difference as a share of the largest value expected.

    Raises:
        SuiteError: the example cannot be read, or the model does not take it.
    """
    outputs = _outputs(model, from_npy(example, model.where))
    try:
        plain = json.loads(expected)
        wanted: Mapping[str, Any] = plain["outputs"]
        tolerance = min(float(plain["tolerance"]), max(TOLERANCES.values()))
        if sorted(wanted) != sorted(outputs):
            raise ValueError("the outputs are others")
        found = []
        for name, values in outputs.items():
            one = wanted[name]
            numbers, own = np.asarray(one["values"], np.float64), values.ravel()[:: int(one["every"])]
            if list(values.shape) != list(one["shape"]) or numbers.shape != own.shape:
                raise ValueError(f"{name} has the shape {values.shape}, and {one['shape']} is expected")
            scale = max(float(np.abs(numbers).max(initial=0.0)), 1e-6)
            difference = float(np.abs(own.astype(np.float64) - numbers).max(initial=0.0)) / scale
            found.append(Check(name, difference if math.isfinite(difference) else math.inf, tolerance, 1))
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SuiteError(f"{model.where}: its example cannot be compared: {reason}") from None


def _outputs(model: ExportedModel, array: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    # Feature maps for a second stage are large, and what is computed of them comes with it.
    names = [name for name in model.outputs if "region_" not in name and "maps." not in name]
    return model.run({IMAGE: model_image(array, model.description, f"{model.where}: example")}, names)


def _at_least(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple


def _stored(image: NDArray[np.float64], preprocess: Preprocess) -> NDArray[Any]:
    """Values in [0, 1] as a scan would store what the preprocessing makes them of."""
    if preprocess.windows:
        low = min(centre - width / 2 for centre, width in preprocess.windows)
        high = max(centre + width / 2 for centre, width in preprocess.windows)
        return np.rint(low + image * (high - low)).clip(-32768, 32767).astype(np.int16)
    if preprocess.value_range is not None:
        low, high = preprocess.value_range
        return (low + image * (high - low)).astype(np.float32)
    return np.rint(image * 255).astype(np.uint8)
