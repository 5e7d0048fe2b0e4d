"""Requests and answers of the Open Inference Protocol, version 2: tensors as JSON.

The protocol: https://github.com/kserve/open-inference-protocol (``inference_rest.md``). A model takes one input of two:

- ``image``, FP32 of shape [B, C, H, W] with values in [0, 1]: the answer has the raw outputs of the network's graph;
- ``file``, BYTES of shape [N]: files in base64. The answer has ``predictions``, BYTES of shape [N]: what
  ``/v1/models/<name>/predict`` says of each, as JSON text. A file that cannot be read has ``{"error": ...}`` there.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError, nearest
from scansuite.words import plain_words
from tasks.exported.description import IMAGE, Description
from tasks.serving.answers import no_case, prediction_json, relative
from tasks.serving.batching import Runs
from tasks.serving.metadata import first_stage
from tasks.serving.names import BODY, FILE, PREDICTIONS
from tasks.serving.predicting import Predicted
from tasks.serving.refused import RefusedError

_MOST_ITEMS = 2**24
_LONGEST_SIDE = 2**24
_SUFFIXES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"II", ".tif"), (b"MM", ".tif"), (b"BM", ".bmp"))


def infer(model: Runs, name: str, folder: Path, predict: Callable[[Sequence[Path]], Predicted]) -> str:
    """Answer a request.

    Args:
        model: that is run.
        name: of it.
        folder: with the request's :data:`BODY`; files are unpacked beside it.
        predict: from files to predictions.

    Returns:
        The answer as JSON.

    Raises:
        RefusedError: the request is not of the protocol, or asks for what the model has not.
        SuiteError: the model does not take such an image.
    """
    body = _read(folder / BODY)
    (given,) = _list_of(body, "inputs", 1)
    if given.get("name") == FILE:
        outputs = [_predictions(given, model, name, folder, predict)]
    elif given.get("name") == IMAGE:
        image = _image(given, model.description)
        asked = body.get("outputs") or []
        if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
            raise RefusedError(400, "'outputs' must be a list of objects with a name")
        wanted = [one.get("name") for one in asked]
        known = first_stage(model.outputs)
        for one in wanted:
            if one not in known:
                raise RefusedError(400, f"there is no output {str(one)[:60]!r}: {nearest(str(one), known)}")
        outputs = [_tensor(key, value) for key, value in model.run({IMAGE: image}, wanted or known).items()]
    else:
        said = str(given.get("name"))[:60]
        raise RefusedError(400, f"there is no input {said!r}: give {IMAGE} or {FILE}")
    answer: dict[str, Any] = {"model_name": name, "outputs": outputs}
    if body.get("id") is not None:
        answer["id"] = str(body["id"])[:200].encode("utf-8", "replace").decode()
    return json.dumps(answer, ensure_ascii=False, allow_nan=False)


def _read(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_ITEMS:  # each of them is an object of Python's
        raise RefusedError(413, f"the body has more than the {_MOST_ITEMS} numbers allowed: send files")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON: {plain_words(error)}") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is no JSON object")
    return body


def _list_of(body: dict[str, Any], key: str, count: int) -> list[dict[str, Any]]:
    found = body.get(key)
    if not isinstance(found, list) or len(found) != count or not all(isinstance(one, dict) for one in found):
        raise RefusedError(400, f"{key!r} must be a list of one tensor: {IMAGE} or {FILE}")
    return found


def _image(given: dict[str, Any], description: Description) -> NDArray[np.float32]:
    shape, kind = given.get("shape"), given.get("datatype")
    if kind != "FP32":
        raise RefusedError(400, f"{IMAGE}: datatype must be FP32, and it is {str(kind)[:20]}")
    whole = isinstance(shape, list) and len(shape) == 4 and all(map(_is_side, shape))
    if not whole or shape is None or shape[1] != description.in_channels:
        raise RefusedError(
            400, f"{IMAGE}: shape must be [B, {description.in_channels}, H, W], and it is {str(shape)[:60]}"
        )
    try:
        values = np.asarray(given.get("data"), np.float32).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        raise RefusedError(400, f"{IMAGE}: data must be a list of numbers") from None
    if len(values) != math.prod(shape):
        raise RefusedError(400, f"{IMAGE}: data has {len(values)} numbers, and the shape {math.prod(shape)}")
    if not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
        raise RefusedError(400, f"{IMAGE}: values must lie in [0, 1], as the preprocessing in the metadata makes them")
    if any(side % description.multiple for side in shape[2:]):
        raise RefusedError(400, f"{IMAGE}: height and width must be multiples of {description.multiple}")
    return values.reshape(shape)


def _is_side(one: Any) -> bool:
    return isinstance(one, int) and 0 < one <= _LONGEST_SIDE


def _tensor(name: str, value: NDArray[np.float32]) -> dict[str, Any]:
    if not np.isfinite(value).all():
        raise SuiteError(f"{name}: the network gives numbers that are not finite for this image")
    return {"name": name, "datatype": "FP32", "shape": list(value.shape), "data": value.reshape(-1).tolist()}


def _predictions(
    given: dict[str, Any], model: Runs, name: str, folder: Path, predict: Callable[[Sequence[Path]], Predicted]
) -> dict[str, Any]:
    data = given.get("data")
    if given.get("datatype") != "BYTES" or not isinstance(data, list) or not data:
        raise RefusedError(400, f"{FILE}: must be BYTES, a list of files in base64")
    if given.get("shape") != [len(data)]:
        raise RefusedError(400, f"{FILE}: shape must be [{len(data)}], the number of files")
    texts = []
    for number, text in enumerate(data):
        inside = folder / str(number)
        inside.mkdir()
        try:
            file = _file(text, inside)
            predicted = predict([file])
            if not predicted.cases:
                raise no_case(predicted, inside)
            answer = prediction_json(name, model.description, predicted, inside)
        except RefusedError as refused:
            answer = {"error": refused.text}
        except SuiteError as error:
            answer = {"error": relative(str(error), inside)}
        texts.append(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    return {"name": PREDICTIONS, "datatype": "BYTES", "shape": [len(texts)], "data": texts}


def _file(text: Any, folder: Path) -> Path:
    """A file of a request, with the suffix that its first bytes tell."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise RefusedError(400, f"{FILE}: is no base64") from None
    suffix = next((suffix for start, suffix in _SUFFIXES if content.startswith(start)), "")
    if content[:2] == b"\x1f\x8b" or content[344:348] in (b"n+1\0", b"ni1\0"):
        suffix = ".nii.gz" if content[:2] == b"\x1f\x8b" else ".nii"
    elif content[128:132] == b"DICM":
        suffix = ".dcm"
    file = folder / f"file{suffix}"
    file.write_bytes(content)
    return file
