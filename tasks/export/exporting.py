"""Export of a trained model, as free in size and batch as it can be; ONNX files."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.export.exporter import Exporter
from tasks.export.feeding import RunnableExport, run_model
from tasks.export.graph import TRACED, Freedom, Size
from tasks.export.onnx_graph import merged, reason_of, to_onnx
from tasks.exported.description import KEY, Description
from tasks.exported.model_file import ExportedModel

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)

_FREEDOMS: tuple[Freedom, ...] = ("any size", "one size", "one image")
_LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less what the graph takes beside its weights
_TRIAL = 1e-3  # difference of logits, relative to those above 1, at which a way of tracing is no good


def exported(exporter: Exporter[Any], description: Description, opset: int) -> tuple[ModelProto, Description]:
    """The ONNX model of a trained one, as free in size and batch as its networks let it be.

    Args:
        exporter: of the model, which is in evaluation mode.
        description: of it.
        opset: of ONNX.

    Raises:
        SuiteError: the networks cannot be exported; names them, and the reason.
    """

    def made(freedom: Freedom, free: Description) -> OnnxModel:
        first = to_onnx(exporter.graph(freedom, exporter.size), opset)
        whole = merged(first, [to_onnx(one, opset) for one in exporter.second_stages()])
        return OnnxModel(described(whole, free), exporter.names[0])

    found = freest(exporter, dataclasses.replace(description, opset=opset), made, "ONNX")
    return found.model, found.description


class OnnxModel:
    """A model in ONNX, and how it is run.

    Args:
        model: with its description.
        where: the model, for messages.

    Attributes:
        ready: by onnxruntime.
        description: what it says of itself.
        size: bytes of the file.
    """

    def __init__(self, model: ModelProto, where: str) -> None:
        self.model, self.ready, self.size = model, opened(model, where), model.ByteSize()
        self.description = self.ready.description

    def write(self, file: Path, description: Description) -> None:
        """See :func:`write`; with a description in place of its own."""
        write(described(self.model, description), file)


class InFormat(Protocol):
    """A model in one format, before it is written: :class:`OnnxModel`, or that of another format.

    Attributes:
        description: what it says of itself.
        size: bytes of the file.
    """

    description: Description
    size: int

    @property
    def ready(self) -> RunnableExport:
        """What runs it."""

    def write(self, file: Path, description: Description) -> None:
        """Write it whole or not at all, with a description in place of its own."""


Made = TypeVar("Made", bound=InFormat)


def freest(
    exporter: Exporter[Any], description: Description, make: Callable[[Freedom, Description], Made], target: str
) -> Made:
    """A trained model in some format, as free in size and batch as its networks let it be.

    Tried one after another: any size and number of images, one size, one image. A way that traces, but then says
    something else than PyTorch at another size, is none.

    Args:
        exporter: of the model, which is in evaluation mode.
        description: of it.
        make: from what may change, and the description with that in it, to the model in the format.
        target: the format, in words.

    Raises:
        SuiteError: the networks cannot be exported; names them, and the reason.
    """
    reason, size = "", exporter.size
    for freedom in _FREEDOMS:
        if freedom == "any size" and not exporter.takes(TRACED):
            continue  # PyTorch itself takes one size alone
        free = dataclasses.replace(
            description,
            sizes=() if freedom == "any size" else (size,),
            most_images=1 if freedom == "one image" else None,
        )
        try:
            model = make(freedom, free)
            difference = trial(exporter, model.ready, freedom)
        except SuiteError:
            raise
        except Exception as error:  # exporters raise all there is
            reason = reason_of(error)
            log.debug("%s cannot be exported for %s: %s", networks(exporter), freedom, reason, exc_info=True)
            continue
        if difference <= _TRIAL:
            log.info("%s: exported for %s", networks(exporter), _words(freedom, size))
            return model
        reason = f"what comes out differs from PyTorch by {difference:.2g}"
        log.debug("%s, exported for %s: %s", networks(exporter), freedom, reason)
    raise SuiteError(f"{exporter.names[0]}: {networks(exporter)} cannot be exported to {target}: {reason}")


def networks(exporter: Exporter[Any]) -> str:
    """Names of the networks of a model."""
    return ", ".join(dict.fromkeys(str(member.network.name) for member in exporter.members))


def described(model: ModelProto, description: Description) -> ModelProto:
    """The model with its description in it, in place of one that it may have."""
    kept = [one for one in model.metadata_props if one.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description.to_json()
    return model


def opened(model: ModelProto, where: str, threads: int | None = None) -> ExportedModel:
    """The model as it is run."""
    return ExportedModel(model.SerializeToString(), where, threads)


def write(model: ModelProto, file: Path) -> None:
    """Write an ONNX file whole or not at all; weights above 2 GB, which ONNX cannot hold, into ``<name>.data``."""
    import onnx

    if model.ByteSize() < _LARGEST:
        with replacing(file) as temporary:
            temporary.write_bytes(model.SerializeToString())
        return
    data = file.with_name(f"{file.name}.data")
    with replacing(data) as weights, replacing(file) as temporary:
        onnx.save_model(model, str(temporary), save_as_external_data=True, location=weights.name)
        renamed = onnx.load(str(temporary), load_external_data=False)
        for tensor in renamed.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = data.name
        temporary.write_bytes(renamed.SerializeToString())


def trial(exporter: Exporter[Any], model: RunnableExport, freedom: Freedom) -> float:
    """Largest difference from PyTorch of any output, relative to values above 1, on drawn images of unlike sizes.

    It chooses how to trace; whether the file is let pass is for real scans to say.
    """
    worst = 0.0
    for image in _drawn(exporter, freedom):
        try:
            wanted = exporter.references(image)
        except Exception as error:  # networks have least sizes, and say so as they like
            log.debug("PyTorch takes no image of %s: %s", tuple(image.shape), reason_of(error))
            continue
        found = run_model(model, image.numpy())
        for name, value in wanted.items():
            given = torch.from_numpy(found[name])
            if given.shape != value.shape:
                return float("inf")
            worst = max(worst, float(((given - value).abs() / value.abs().clamp_min(1)).max()))
    return worst


def _drawn(exporter: Exporter[Any], freedom: Freedom) -> Iterator[Tensor]:
    """Images to try a graph with."""
    generator = torch.Generator().manual_seed(0)
    height, width = exporter.size
    shapes = {
        "any size": ((1, height, width), (3, height + 32, width), (2, 96, 160), (1, 160, 64), (1, 75, 101)),
        "one size": ((1, height, width), (3, height, width)),
        "one image": ((1, height, width),),
    }[freedom]
    for count, *sides in shapes:
        yield torch.rand(count, exporter.model.in_channels, *sides, generator=generator)


def _words(freedom: Freedom, size: Size) -> str:
    said = {
        "any size": "images of any size, any number at a time",
        "one size": f"images of {size[0]} x {size[1]} px, any number at a time: its network takes one size alone",
        "one image": f"one image of {size[0]} x {size[1]} px at a time: its network takes nothing else",
    }
    return said[freedom]
