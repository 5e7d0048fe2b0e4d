"""Checkpoints written whole or not at all."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH

from scansuite.files import replacing


def save_whole(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint beside its place and rename it: a full disk or a kill leaves the old one, or none.

    Raises:
        SuiteError: it cannot be written.
    """
    # Through memory: torch tells of a failed write to a file in words of its own, without what the system says.
    content = BytesIO()
    torch.save(checkpoint, content)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content.getbuffer())


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writes into the system's temporary folder, and a move from there to another disk is a copy."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Save a checkpoint with :func:`save_whole`; one on a remote store as Lightning does."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_whole(checkpoint, file)
