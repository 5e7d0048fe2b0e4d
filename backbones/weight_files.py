"""Files of weights opened safely, and read once where several things of one are wanted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias

import torch

_Files: TypeAlias = dict[tuple[Path, int, int], Any]

_KEPT: ContextVar[_Files | None] = ContextVar("kept", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Keep what :func:`load_pickled` reads until the block ends, so that the next one who asks does not read again.

    A checkpoint says how the stem of its network was built, how its images were normalised, whether it was pruned, what
    it was trained on, and has the weights: each is asked for by another part, and the file may have gigabytes.
    """
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def load_pickled(path: Path) -> Any:
    """The contents of a checkpoint or of a ``.pth`` file on the CPU; code in it is refused, not run.

    Raises:
        Exception: whatever the reader raises on files that are damaged or hold more than weights.
    """
    kept, stat = _KEPT.get(), path.stat()
    key = (path.resolve(), stat.st_size, stat.st_mtime_ns)
    if kept is not None and key in kept:
        return kept[key]
    # timm's own training checkpoints carry their arguments as a Namespace, which is harmless.
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if kept is not None:
        kept[key] = content
    return content
