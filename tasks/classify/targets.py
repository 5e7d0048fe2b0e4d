"""Kinds of target of a classifier."""

from __future__ import annotations

from typing import Literal

Target = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]


def target_of(classes: int) -> Target:
    """The kind of target where none is said, by the number of classes."""
    return "binary" if classes == 2 else "multiclass"
