"""Finding images, their sizes and their parts, for the formats of detection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from datamodules.cases.table import SPLIT_WORDS, by_case_id, case_id_of
from datamodules.readers import formats
from datamodules.readers.patterns import ALL, FilePatterns


def images_by_stem(folder: Path, patterns: FilePatterns = ALL, root: Path | None = None) -> dict[str, str]:
    """Images below a folder: path without suffix -> path, both relative to it.

    Args:
        folder: that is walked.
        patterns: which images are taken.
        root: of the data, that patterns are relative to; left out: the folder.

    Raises:
        SuiteError: two images differ in nothing but their suffix, or patterns leave none.
    """
    below = "" if root is None or folder == root else relative(folder, root)
    return by_case_id(folder, patterns.chosen(formats.images_below(folder), root or folder, below))


def split_of_folders(names: Sequence[str]) -> list[str] | None:
    """The part of each path where all begin with a folder named after one (``train``, ``val``, ``test``, ...)."""
    tops = [name.split("/")[0].lower() if "/" in name else "" for name in names]
    return [SPLIT_WORDS[top] for top in tops] if names and all(top in SPLIT_WORDS for top in tops) else None


def part_in(text: str) -> str | None:
    """The part that a file's name speaks of (``instances_train2017`` -> ``train``), or None."""
    for word in re.split(r"[^a-z]+", text.lower()):
        if word in SPLIT_WORDS or word == "trainval":
            return SPLIT_WORDS.get(word, "train")
    return None


def short_names(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Case ids: each name without suffix, or its whole path without suffix where another case has that name too."""
    short = [case_id_of(name) for name in names]
    seen: dict[str, int] = {}
    for name in short:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 else case_id_of(path) for name, path in zip(short, paths, strict=True)]


def beside(root: Path, name: str) -> Path:
    """A file or folder named by a flag: looked for in ``root`` first, then as it stands."""
    return root / name if (root / name).exists() or not Path(name).exists() else Path(name)


def relative(path: Path, root: Path) -> str:
    """A path as the table holds it: relative to the root where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else PurePosixPath(path).as_posix()
