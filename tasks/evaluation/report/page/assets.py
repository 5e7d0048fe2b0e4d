"""Templates, style and script of the report's page, which lie beside this file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def own_text(name: str) -> str:
    """The text of a file of this package.

    Args:
        name: of the file, below this package.
    """
    return resources.files("tasks.evaluation.report.page").joinpath(name).read_text(encoding="utf-8")
