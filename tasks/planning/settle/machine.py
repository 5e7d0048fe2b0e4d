"""What the machine decides: whether images are kept in memory."""

from __future__ import annotations

import numpy as np

from tasks.planning.draft import Draft

_SHARE = 0.25  # of the free memory that images may take
_GIB = 2**30


def cache(draft: Draft) -> None:
    """Keep the images in memory where all of them fit into a part of it."""
    data = draft.fingerprint
    if data.volumes or not data.types or not data.images:
        return  # volumes are decoded once and kept by their own cache
    if draft.value("data.cache") == "features":
        return  # each image is looked at once
    if not draft.takes("data.check_files") or draft.value("data.check_files") is False:
        return
    cases = sum(data.cases.values()) / max(1, data.cases.get("train", 0))
    depth = max(np.dtype(name).itemsize for name in data.types if name != "bool") if data.types != ("bool",) else 1
    size = data.images * cases * data.height.median * data.width.median * max(1, data.channels) * depth
    if size <= _SHARE * draft.machine.memory:
        free = draft.machine.memory / _GIB
        text = f"all images take {size / _GIB:.2f} GiB of the {free:.0f} that are free: each is read once"
        draft.plan("data.cache", "memory", text, "machine")
