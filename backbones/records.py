"""Records in files of weights that say where the weights come from; carried along, not interpreted here.

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
_ENTRY = "provenance"


def read_record(path: Path) -> Any | None:
    """The record in a file of weights; None where there is none, or the file cannot be read (loading it says why)."""
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(_NAME)
            return None if text is None else from_text(text)
        content = load_pickled(path)
    except Exception:
        return None
    made = content.get(_NAME) if isinstance(content, Mapping) else None
    if not isinstance(made, Mapping):
        made = getattr(content, _NAME, None)
    return made.get(_ENTRY) if isinstance(made, Mapping) else None


def with_record(state: Mapping[str, Tensor], record: object) -> Mapping[str, Tensor]:
    """A state dict that carries a record through :func:`torch.save` and loads as it did."""
    if record is None:
        return state
    carrying = OrderedDict(state)
    setattr(carrying, _NAME, {_ENTRY: record})
    return carrying


def metadata_of(record: object) -> dict[str, str]:
    """A record as an entry of a ``.safetensors`` file's metadata."""
    return {} if record is None else {_NAME: as_text(record)}


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
