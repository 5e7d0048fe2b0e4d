"""Records in files of weights that say where the weights come from, and their licence; carried along, not interpreted.

The checkpoint of a task has it in ``scansuite``; a state dict that was extracted from one has it as an attribute, which
neither timm nor ``load_state_dict`` looks at, a ``.safetensors`` file in its metadata.
"""

from __future__ import annotations

import base64
import io
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from backbones.weight_files import load_pickled

_NAME = "scansuite"
_RECORD, _LICENCE = "provenance", "weights_licence"


def read_record(path: Path) -> Any | None:
    """The record in a file of weights; None where there is none, or the file cannot be read (loading it says why)."""
    return _told(path).get(_RECORD)


def read_licence(path: Path) -> str | None:
    """The licence of the weights that those in a file began with, as it is stated; None likewise."""
    licence = _told(path).get(_LICENCE)
    return None if licence is None else str(licence)


def with_record(state: Mapping[str, Tensor], record: object, licence: str | None) -> Mapping[str, Tensor]:
    """A state dict that carries a record and a licence through :func:`torch.save` and loads as it did."""
    told = {_RECORD: record, _LICENCE: licence}
    if not any(told.values()):
        return state
    carrying = OrderedDict(state)
    setattr(carrying, _NAME, {entry: value for entry, value in told.items() if value is not None})
    return carrying


def metadata_of(record: object, licence: str | None) -> dict[str, str]:
    """A record and a licence as entries of a ``.safetensors`` file's metadata."""
    told = {} if record is None else {_NAME: as_text(record)}
    return told if licence is None else {**told, _LICENCE: licence}


def _told(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            record = metadata.get(_NAME)
            return {_RECORD: record and from_text(record), _LICENCE: metadata.get(_LICENCE)}
        content = load_pickled(path)
    except Exception:
        return {}
    made = content.get(_NAME) if isinstance(content, Mapping) else None
    if not isinstance(made, Mapping):
        made = getattr(content, _NAME, None)
    return made if isinstance(made, Mapping) else {}


def as_text(record: object) -> str:
    """A record of plain values and tensors as text."""
    file = io.BytesIO()
    torch.save(record, file)
    return base64.b64encode(file.getvalue()).decode("ascii")


def from_text(text: str) -> Any:
    """Undo :func:`as_text`; no code in it runs.

    Raises:
        Exception: it is no such text.
    """
    return torch.load(io.BytesIO(base64.b64decode(text)), map_location="cpu", weights_only=True)
