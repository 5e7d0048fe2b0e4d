"""Model repository of NVIDIA's Triton Inference Server: a folder that it serves an exported model from.

Its layout (https://docs.nvidia.com/deeplearning/triton-inference-server, "Model Repository"): ``config.pbtxt``,
``1/model.onnx``, and beside them ``description.json``, which says how scans become its input and what its output means:
Triton itself does neither.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.exported.description import IMAGE, Description

_MOST = 16  # images of a batch
_WAIT = 4000  # microseconds that Triton waits for others of a batch
_NO_ONNX = "onnx is missing: pip install 'scansuite[export]'"
_TYPES = {1: "TYPE_FP32", 10: "TYPE_FP16", 16: "TYPE_BF16"}  # of onnx.TensorProto.DataType


def write_triton(folder: Path, onnx_file: Path, description: Description) -> None:
    """Write a model repository with one model, named as the folder in it.

    Args:
        folder: of the repository (``--model-repository``); the model's own is made in it, and must not be there.
        onnx_file: the exported model; a file alone, without weights beside it.
        description: of it; its ``name`` names the model.

    Raises:
        SuiteError: the model's folder is there, the graph has a second stage, which Triton cannot ask for by itself, it
            is none that onnx can read, or the folder cannot be written.
    """
    if any(member.boxes is not None and member.boxes.detector == "faster_rcnn" for member in description.members):
        raise SuiteError(
            f"{onnx_file}: Faster R-CNN has a second stage, and Triton runs a graph whole: export a RetinaNet or FCOS"
        )
    name = _name(description.name or onnx_file.stem)
    own = folder / name
    if own.exists():
        raise SuiteError(f"{own}: is there already: choose another --output, or remove it")
    text = config_of(name, onnx_file, description)
    half = folder / f".{name}.tmp"
    try:
        (half / "1").mkdir(parents=True)
        shutil.copyfile(onnx_file, half / "1" / "model.onnx")
        write_text(half / "config.pbtxt", text)
        write_text(half / "description.json", description.to_json() + "\n")
        half.rename(own)
    except OSError as error:
        raise SuiteError(f"{own}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def config_of(name: str, onnx_file: Path, description: Description) -> str:
    """The text of ``config.pbtxt``.

    Args:
        name: of the model.
        onnx_file: with the graph.
        description: of the model.

    Raises:
        SuiteError: onnx cannot read the file.
    """
    try:
        import onnx
    except ImportError:
        raise SuiteError(_NO_ONNX) from None
    try:
        graph = onnx.load(str(onnx_file), load_external_data=False).graph
    except Exception as error:  # protobuf's own classes, which differ by version
        raise SuiteError(f"{onnx_file}: is no ONNX file ({type(error).__name__})") from None
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in graph.initializer):
        raise SuiteError(f"{onnx_file}: its weights lie in files beside it: write it as one file")
    # Images of one case that are weighed together are no batch, and its outputs do not begin with it.
    batched = description.aggregate != "attention" and (description.most_images or _MOST) > 1
    most = min(_MOST, description.most_images or _MOST) if batched else 0
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {most}"]
    lines += ["input [", ",\n".join(_tensor(one, batched) for one in graph.input if one.name == IMAGE), "]"]
    lines += ["output [", ",\n".join(_tensor(one, batched) for one in graph.output), "]"]
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {_WAIT} }}")
    return "\n".join(lines) + "\n"


def _tensor(one: Any, batched: bool) -> str:
    kind = one.type.tensor_type
    sides = [side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else -1 for side in kind.shape.dim]
    dims = ", ".join(map(str, sides[1:] if batched else sides))
    return f'  {{ name: "{one.name}", data_type: {_TYPES[kind.elem_type]}, dims: [ {dims} ] }}'


def _name(text: str) -> str:
    """A name that is a folder, and stands in quotes and in addresses as it is."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in text).strip("._")
    return kept or "model"
