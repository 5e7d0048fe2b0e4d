"""Checkpoints written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH

from scansuite.files import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


def save_whole(checkpoint: dict[str, Any], path: Path, *, keep: Path | None = None) -> None:
    """Write a checkpoint beside its place and rename it: a full disk or a kill leaves the old one, or none.

    Args:
        checkpoint: to be written.
        path: of the file.
        keep: name that the old file gets; where the file system knows no links it is not kept.

    Raises:
        SuiteError: it cannot be written.
    """
    # Through memory: torch tells of a failed write to a file in words of its own, without what the system says.
    content = BytesIO()
    torch.save(checkpoint, content)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content.getbuffer())
        if keep is not None and path.is_file():
            _also_called(path, keep)


def _also_called(file: Path, name: Path) -> None:
    """Give a file a second name: nothing is copied, and there is no moment without a file of either name."""
    link = name.with_name(f".{name.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    with suppress(OSError):
        os.link(file, link)
        link.replace(name)
    with suppress(OSError):
        link.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left half-written in a folder; nobody may be writing to it."""
    for file in folder.glob(".*.tmp"):
        with suppress(OSError):
            file.unlink()


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writes into the system's temporary folder, and a move from there to another disk is a copy.

    Of ``last.ckpt`` the one before stays as ``previous.ckpt``: a disk may damage what was written whole.

    Attributes:
        damaged: a ``last.ckpt`` that is not worth that.
    """

    damaged: Path | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Save a checkpoint with :func:`save_whole`; one on a remote store as Lightning does."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        keep = file.with_name(PREVIOUS) if file.name == LAST and file != self.damaged else None
        save_whole(checkpoint, file, keep=keep)
        self.damaged = None if file == self.damaged else self.damaged
