"""Export for OpenVINO, Intel's runtime: ``model.xml`` and ``model.bin``, made of the ONNX graph."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.export.onnx_graph import quiet, reason_of
from tasks.exported.description import KEY, Description
from tasks.exported.model_file import Outputs

if TYPE_CHECKING:
    from onnx import ModelProto

MISSING = "--format openvino: openvino is missing: pip install 'scansuite[openvino]'"
# Newer CPUs would compute in bfloat16 (8 binary digits) by themselves.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
WEIGHTS = ".bin"  # of the file beside the graph


class OpenVinoModel:
    """A model as OpenVINO runs it on the CPU, read back from files as they will be written.

    Args:
        made: the ONNX model.
        description: of it.
        where: the model, for messages.

    Attributes:
        ready: the model itself.
        outputs: names of what it gives.
        description: what it says of itself.
        size: bytes of both files.

    Raises:
        SuiteError: OpenVINO is not installed, or cannot take the graph.
    """

    def __init__(self, made: ModelProto, description: Description, where: str) -> None:
        openvino = runtime()
        self.where, self.description = where, dataclasses.replace(description, opset=None)
        core = openvino.Core()
        try:
            with quiet(), tempfile.TemporaryDirectory(prefix="scansuite-openvino-") as folder:
                # Not convert_model, which reports its use to its makers where their telemetry package is installed.
                graph = core.read_model(made.SerializeToString())
                graph.set_rt_info(self.description.to_json(), [KEY])
                file = Path(folder) / "model.xml"
                self._save(graph, file)
                self.size = sum(one.stat().st_size for one in Path(folder).iterdir())
                self._graph = core.read_model(file.read_bytes(), file.with_suffix(WEIGHTS).read_bytes())
                self._compiled = core.compile_model(self._graph, "CPU", EXACT)
        except Exception as error:  # of all kinds
            raise SuiteError(f"{where}: OpenVINO cannot take it: {reason_of(error)}") from None
        self.outputs = [one.name for one in made.graph.output]

    @property
    def ready(self) -> OpenVinoModel:
        """See the class."""
        return self

    def run(self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None) -> Outputs:
        """Run the graph; see :meth:`~tasks.exported.model_file.ExportedModel.run`."""
        found = self._compiled(dict(feeds))
        return {name: np.array(found[name], np.float32) for name in (asked or self.outputs)}

    def write(self, file: Path, description: Description) -> None:
        """Write both files, each whole or not at all, the graph last; with a description in place of its own."""
        said = dataclasses.replace(description, opset=None)
        self._graph.set_rt_info(said.to_json(), [KEY])
        with tempfile.TemporaryDirectory(prefix=".scansuite-", dir=file.parent) as folder:
            made = Path(folder) / "model.xml"
            self._save(self._graph, made)
            with replacing(file) as graph, replacing(file.with_suffix(WEIGHTS)) as weights:
                made.rename(graph)
                made.with_suffix(WEIGHTS).rename(weights)

    def _save(self, graph: Any, file: Path) -> None:
        runtime().save_model(graph, str(file), compress_to_fp16=self.description.precision == "fp16")


def runtime() -> Any:
    """The package.

    Raises:
        SuiteError: it is not installed.
    """
    try:
        import openvino
    except ImportError:
        raise SuiteError(MISSING) from None
    return openvino
