"""Export as an archive of torch.export (``.pt2``): the graph in PyTorch's own operators, for those who stay with it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.export.exporter import Exporter
from tasks.export.exporting import freest
from tasks.export.graph import Freedom
from tasks.export.onnx_graph import quiet, short_padding
from tasks.exported.description import IMAGE, KEY, Description
from tasks.exported.model_file import Outputs

DESCRIPTION = f"{KEY}.json"  # of the archive's extra files
# What tracing notes of each operator of where its code stood on this machine.
_TRACES = ("stack_trace", "from_node", "custom")


class TorchArchive:
    """An archive as it is run.

    Args:
        content: of the file.
        where: the file, for messages.

    Attributes:
        ready: the archive itself.
        outputs: names of what it gives.
        description: what it says of itself.
    """

    def __init__(self, content: bytes, where: str) -> None:
        extra = {DESCRIPTION: ""}
        self.program = torch.export.load(io.BytesIO(content), extra_files=extra)
        self.where, self.size = where, len(content)
        self.description = Description.from_json(extra[DESCRIPTION], where)
        self.outputs = [name for member in self.description.members for name in _named(self.program, member.prefix)]
        self._module = self.program.module()

    @property
    def ready(self) -> TorchArchive:
        """See the class."""
        return self

    @torch.no_grad()
    def run(self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None) -> Outputs:
        """Run the graph; see :meth:`~tasks.exported.model_file.ExportedModel.run`."""
        found: dict[str, Tensor] = self._module(torch.from_numpy(feeds[IMAGE]))
        return {name: np.asarray(found[name].numpy(), np.float32) for name in (asked or self.outputs)}

    def write(self, file: Path, description: Description) -> None:
        """Write the archive whole or not at all, with a description in place of its own."""
        content = _content(self.program, description)
        with replacing(file) as temporary:
            temporary.write_bytes(content)


def archived(exporter: Exporter[Any], description: Description) -> TorchArchive:
    """The archive of a trained model, as free in size and batch as its networks let it be.

    It takes ``image`` and gives a dictionary of outputs by name. Weights are not copied into its graph's code, and
    reading it back runs no code that it brings (``torch.load`` with ``weights_only``).

    Args:
        exporter: of the model, which is in evaluation mode.
        description: of it.

    Raises:
        SuiteError: the networks cannot be exported; names them, and the reason.
    """

    def made(freedom: Freedom, free: Description) -> TorchArchive:
        graph = exporter.graph(freedom, exporter.size)
        module = _Named(graph.module, graph.outputs).eval()
        with quiet(), short_padding(), torch.no_grad():
            program = torch.export.export(module, graph.example(), dynamic_shapes=graph.dynamic_shapes())
        for part in program.graph_module.modules():
            for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
                for name in _TRACES:
                    node.meta.pop(name, None)
        program.example_inputs = None
        return TorchArchive(_content(program, free), exporter.names[0])

    return freest(exporter, dataclasses.replace(description, opset=None), made, "an archive of torch.export")


class _Named(nn.Module):
    """A network whose outputs have names."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, list(names)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) in [0, 1] -> outputs by name."""
        return dict(zip(self.names, self.network(image), strict=True))


def _named(program: torch.export.ExportedProgram, prefix: str) -> list[str]:
    spec = program.call_spec.out_spec
    assert spec is not None
    names = [str(name) for name in spec.context]
    return [name for name in names if name.startswith(prefix)]


def _content(program: torch.export.ExportedProgram, description: Description) -> bytes:
    buffer = io.BytesIO()
    try:
        with quiet():
            torch.export.save(program, buffer, extra_files={DESCRIPTION: description.to_json()})
    except OSError as error:
        raise SuiteError(f"the archive cannot be made ({error.strerror})") from None
    return buffer.getvalue()
