"""Export in float16: half the size; what goes in and comes out stays float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scansuite.errors import SuiteError
from tasks.export.onnx_graph import MISSING, quiet, reason_of

if TYPE_CHECKING:
    from onnx import ModelProto


def in_half(model: ModelProto, where: str) -> ModelProto:
    """An ONNX model whose weights and values are float16, but for operators that have no such kind.

    onnxruntime's own converter puts a cast before and behind these, and at inputs and outputs. Values beyond what
    float16 holds (65504) become that.

    Args:
        model: in float32, weights inside; it is left as it is.
        where: the model, for messages.

    Raises:
        SuiteError: onnxruntime is not installed, or cannot convert it.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError:
        raise SuiteError(MISSING) from None
    copy = type(model)()
    copy.CopyFrom(model)
    try:
        with quiet():
            half: ModelProto = convert_float_to_float16(copy, keep_io_types=True, disable_shape_infer=True)
    except Exception as error:  # of all kinds
        raise SuiteError(f"{where}: cannot be converted to float16: {reason_of(error)}") from None
    return half
