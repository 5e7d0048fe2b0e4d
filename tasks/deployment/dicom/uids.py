"""Derived UIDs: the same result of the same model on the same images has the same UIDs, and no other has."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

# uuid5(NAMESPACE_DNS, "scansuite.dicom"): a part of the rule, never to be changed.
_NAMESPACE = uuid.UUID("f3d932ea-4978-5457-bd9c-0b689caedff8")


def derived_uid(kind: str, *parts: str | bytes) -> str:
    """A UID derived from what an object is made of (PS3.5, B.2): ``2.25.`` and a name-based UUID as a number.

    Args:
        kind: of the object or series: texts of another kind give another UID.
        parts: identity of the model, UIDs of the source images, a digest of the content. Order counts.

    Returns:
        At most 44 characters.
    """
    digest = hashlib.sha256()
    for part in (kind, *parts):
        content = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big") + content)
    return f"2.25.{uuid.uuid5(_NAMESPACE, digest.hexdigest()).int}"


def digest_of(parts: Iterable[str | bytes | memoryview]) -> str:
    """SHA-256 (hexadecimal) over parts of a content, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()
