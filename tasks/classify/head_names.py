"""Heads of a classifier by name, for what is settled before torch is there: the command line and the plan."""

from __future__ import annotations

from typing import Literal

HeadName = Literal["pool", "levels", "mlp", "flatten", "native", "knn", "kernel"]
# Those that are fitted to features at once, where these are kept (``--data.cache features``).
FITTED = ("pool", "levels", "flatten", "knn", "kernel")
# Those that know nothing but what they are fitted to, and are not trained in steps.
ONLY_FITTED = ("knn", "kernel")
# Those that read the levels of all strides.
READ_ALL = ("levels", "kernel")
