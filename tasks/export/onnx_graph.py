"""From networks to ONNX graphs, by torch's dynamo exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from scansuite.errors import SuiteError
from tasks.export.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)

OPSET = 20  # of ONNX 1.15: the first with all that today's networks need in the exporter's own words
OLDEST, NEWEST = 18, 23  # that the exporter writes without converting versions, and that runtimes of today take
MISSING = "exporting to ONNX needs onnx, onnxscript and onnxruntime: pip install 'scansuite[export]'"


def to_onnx(graph: Graph, opset: int) -> ModelProto:
    """A graph as an ONNX model, weights inside.

    Raises:
        SuiteError: the exporter is not installed.
        Exception: of many kinds, where the exporter cannot trace the network.
    """
    try:
        import onnxscript  # noqa: F401  what torch's exporter writes with
    except ImportError:
        raise SuiteError(MISSING) from None
    with quiet(), short_padding(), torch.no_grad():
        program = torch.onnx.export(
            graph.module.eval(),
            graph.example(),
            dynamo=True,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.dynamic_shapes(),
            verbose=False,
        )
    assert program is not None
    return without_traces(program.model_proto)


def without_traces(model: ModelProto) -> ModelProto:
    """The model without what the exporter notes of each node: where its code stood on this machine, and its stack."""
    for one in (model, model.graph):
        del one.metadata_props[:]
    for one in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del one.metadata_props[:]
        one.doc_string = ""
    del model.graph.value_info[:]
    return model


def merged(first: ModelProto, further: Sequence[ModelProto]) -> ModelProto:
    """Graphs that share no value as one: a runtime computes what it is asked for, and is fed what that needs.

    Args:
        first: whose names stay.
        further: whose inputs and outputs keep theirs, which must be other ones.
    """
    from onnx import compose

    whole = first
    for number, one in enumerate(further, 1):
        apart = compose.add_prefix(
            one, f"stage_{number}/", rename_inputs=False, rename_outputs=False, rename_functions=False
        )
        for value in (*apart.graph.input, *apart.graph.output):
            for side in value.type.tensor_type.shape.dim:
                if side.HasField("dim_param"):
                    side.dim_param = f"stage_{number}/{side.dim_param}"
        whole = compose.merge_models(whole, apart, io_map=[])
    return whole


@contextlib.contextmanager
def short_padding() -> Iterator[None]:
    """TensorFlow's ``SAME`` padding, which depends on the size, said in whole numbers while a network is traced.

    timm's own goes over floats and a maximum, whose expressions grow from layer to layer until the exporter does not
    come to an end.
    """
    import timm.layers.padding as padding

    before = padding.get_same_padding

    def same(size: Any, kernel: int, stride: int, dilation: int) -> Any:
        reach = (kernel - 1) * dilation + 1
        if isinstance(size, (int, torch.Tensor)) or reach < stride:
            return before(size, kernel, stride, dilation)
        # Of whole numbers above 0 alone: ONNX divides towards 0, and Python downwards.
        return ((size + stride - 1) // stride - 1) * stride + reach - size

    padding.get_same_padding = same
    try:
        yield
    finally:
        padding.get_same_padding = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What exporters print and warn of on their way, which is theirs to know, goes to the debug log."""
    printed = io.StringIO()
    noisy = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir")
    ]
    before = [one.level for one in noisy]
    for one in noisy:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(noisy, before, strict=True):
            one.setLevel(level)
        if text := printed.getvalue().strip():
            log.debug("the exporter said: %s", text)


def reason_of(error: BaseException) -> str:
    """The first line of what an exporter says, and of what lies behind it."""
    behind: Any = error
    while behind.__cause__ is not None:
        behind = behind.__cause__
    text = " ".join(str(behind).split()) or type(behind).__name__
    return text[:200]
