"""What a run folder means where a checkpoint is asked for. Standard library alone."""

from __future__ import annotations

from pathlib import Path

BEST = "best.ckpt"
_CHECKPOINTS = "checkpoints"


def checkpoint_in(name: str, file: str = BEST) -> str:
    """A checkpoint by the folder of its run, or that of its checkpoints; anything else stands for itself.

    Args:
        name: a path, or another word that a flag takes (``imagenet``).
        file: which of the checkpoints.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    return next(
        (str(path) for path in (folder / _CHECKPOINTS / file, folder / file) if path.is_file()),
        name,
    )
