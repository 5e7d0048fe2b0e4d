"""Which folds are asked for. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.cli.flags import value_of, wants_help
from tasks.cli.planning.given import config_value


def asked_folds(argv: Sequence[str]) -> list[str]:
    """Flags in which ``folds`` of a config, as a plan may have it, has become ``--folds``."""
    asked = None if value_of(argv, "--folds") is not None or wants_help(argv) else config_value(argv, "folds")
    return [*argv, *([] if asked is None else ["--folds", asked])]
