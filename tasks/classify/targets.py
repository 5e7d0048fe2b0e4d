"""Kinds of target of a classifier."""

from __future__ import annotations

from typing import Literal

Target = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]
NEVER = -30.0  # logit of a class that no training case has
# What is wrong with cases to which a head is to be fitted at once.
ONE_CLASS = (
    "--data.cache features: all training cases are of one class, and a head has nothing to tell apart: give cases of "
    "another"
)


def target_of(classes: int) -> Target:
    """The kind of target where none is said, by the number of classes."""
    return "binary" if classes == 2 else "multiclass"
