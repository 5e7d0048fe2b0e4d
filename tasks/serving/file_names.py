"""Names of files that come from elsewhere, as they may stand in a folder of ours."""

from __future__ import annotations

from pathlib import Path

from scansuite.files import marked_name, safe_name

_LONGEST_SUFFIX = 12  # characters


def file_name(said: str) -> str:
    """A safe name for a file that a caller or an archive names: its suffix, by which readers know it, stays."""
    last = said.replace("\\", "/").rsplit("/", 1)[-1].strip().strip(".") or "upload"
    if safe_name(last) == last:
        return last
    suffixes = "".join(Path(last).suffixes[-2:]).lower()
    kept = suffixes if suffixes.replace(".", "").isalnum() and len(suffixes) <= _LONGEST_SUFFIX else ""
    return f"{safe_name(last[: len(last) - len(kept)] or 'upload')}{kept}"


def free_path(folder: Path, said: str, taken: dict[Path, int]) -> Path:
    """A path in a folder for a file of that name which is not there yet.

    Args:
        folder: where it will lie.
        said: the name.
        taken: how often each path was asked for: thousands of files of one name must not look for a free one in turn.
    """
    name = file_name(said)
    first = folder / name
    path, number = first, taken.get(first, 1)
    while path.exists():
        number += 1
        taken[first] = number
        path = folder / f"{marked_name(Path(name).stem, str(number))}{''.join(Path(name).suffixes[-1:])}"
    return path
