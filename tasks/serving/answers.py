"""Predictions as JSON for callers: rows, masks as files in text, and what could not be read."""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scansuite.files import safe_name
from tasks.deployment.masks import MaskWriter
from tasks.exported.description import Description
from tasks.serving.names import NOTICE
from tasks.serving.predicting import CaseMask, Predicted
from tasks.serving.refused import RefusedError


def prediction_json(
    name: str, description: Description, predicted: Predicted, folder: Path, *, masks: str = "base64"
) -> dict[str, Any]:
    """The answer to a request.

    Args:
        name: of the model.
        description: of it.
        predicted: its files' predictions.
        folder: of the request's files, which no path in the answer names.
        masks: ``base64``, or ``none`` to leave them out.
    """
    cases = [
        {"case_id": case, "path": relative(path, folder), **_masks(case, predicted.masks.get(case), description, masks)}
        for case, path in predicted.cases.items()
    ]
    rows = [{**row, "path": relative(str(row["path"]), folder)} if "path" in row else row for row in predicted.rows]
    return {
        "model_name": name,
        "task": description.task,
        "notice": NOTICE,
        "class_names": list(description.class_names),
        "operating_points": dict(description.operating_points),
        "operating_rule": description.operating_rule,
        "predictions": [plain_row(row) for row in rows],
        "cases": cases,
        "unreadable": [_named(*one, folder) for one in predicted.unreadable],
        "passed_over": [_named(*one, folder) for one in predicted.passed_over],
    }


def no_case(predicted: Predicted, folder: Path) -> RefusedError:
    """Why nothing was predicted, in one line."""
    for path, reason in [*predicted.unreadable, *predicted.passed_over]:
        line = relative(reason, folder)
        name = relative(path, folder)
        return RefusedError(422, line if line.startswith(name) else f"{name}: {line}")
    return RefusedError(422, "there is no scan in what was sent")


def relative(text: str, folder: Path) -> str:
    """A path or a line without the folder of the request's files; flags that it names are those of ``serve``."""
    text = text.replace("--data.", "--")
    for whole in (str(folder), str(folder.resolve())):
        text = text.replace(f"{whole}/", "").replace(whole, "the upload")
    return text


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table in JSON's types; what is no number is null."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def _named(path: str, reason: str, folder: Path) -> dict[str, str]:
    return {"path": relative(path, folder), "error": relative(reason, folder)}


def _masks(case: str, found: CaseMask | None, description: Description, masks: str) -> dict[str, Any]:
    """The files of a mask, as ``predict`` writes them."""
    if found is None or masks == "none":
        return {}
    with tempfile.TemporaryDirectory(prefix="scansuite-mask-") as folder:
        writer = MaskWriter(Path(folder), description.class_names, description.overlapping)
        name = safe_name(case.rsplit("/", 1)[-1])
        files = writer.write(name, found.mask, found.grid)
        return {
            "masks": [
                {
                    "name": file.name,
                    "format": "png" if file.suffix == ".png" else "nifti",
                    "base64": base64.b64encode(file.read_bytes()).decode("ascii"),
                }
                for file in files
            ],
            "mask_values": {
                one: 1 if description.overlapping else number for number, one in enumerate(description.class_names)
            },
        }


def save_masks(answer: Mapping[str, Any], folder: Path) -> None:
    """Write the masks of an answer as files beside it (``--keep``)."""
    for case in answer["cases"]:
        for mask in case.get("masks", ()):
            folder.mkdir(exist_ok=True)
            (folder / safe_name(str(mask["name"]))).write_bytes(base64.b64decode(mask["base64"]))
