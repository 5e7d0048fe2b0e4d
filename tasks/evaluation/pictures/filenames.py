"""Names from data -> names of files that stay in their folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

# Control characters, both separators, and what Windows and shells keep for themselves.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
_LONGEST = 120  # bytes of a name; file systems take 255, and suffixes and temporary names are added


def safe_name(text: str) -> str:
    """One file name for a text that may hold anything.

    A good name stays as it is. In any other ``_`` stands for what is unsafe, and eight digits of the text's hash
    follow, so that two texts do not share a file.

    Args:
        text: of any characters and length.

    Returns:
        At most 120 bytes in UTF-8, without a separator, not empty, and not hidden by a leading dot.
    """
    name = _cleaned(text)
    return name if name and name == text else marked_name(name, text)


def safe_path(case_id: str) -> PurePosixPath:
    """A relative path for a case id, whose ``/`` separates folders; it never leads out of its folder.

    A case id of good names stays as it is. In any other, parts without a name (``..``, or before a leading ``/``) are
    left out, the rest is made safe, and the last part bears digits of the hash of the whole case id.
    """
    names = [_cleaned(part) for part in case_id.split("/")]
    if "/".join(names) == case_id and all(names):
        return PurePosixPath(case_id)
    return PurePosixPath(*[name for name in names[:-1] if name], marked_name(names[-1], case_id))


def marked_name(name: str, text: str) -> str:
    """The name, shortened where it must be, with eight digits of the hash of ``text`` behind it."""
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    start = name.encode()[: _LONGEST - len(digits) - 1].decode(errors="ignore")
    return f"{start}_{digits}" if start else digits


def _cleaned(text: str) -> str:
    name = _UNSAFE.sub("_", text.encode("utf-8", "replace").decode()).strip(". ")
    return name.encode()[:_LONGEST].decode(errors="ignore")
