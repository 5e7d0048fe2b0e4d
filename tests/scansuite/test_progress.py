"""How far something is goes to who listens, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scansuite.progress import Tell, progress, shown_by


def test_nobody_listens() -> None:
    with progress("reading", "files", 3) as tell:
        tell(1)
        tell(2, 5)


def test_who_listens_hears_all_and_is_told_of_the_end() -> None:
    heard: list[object] = []

    @contextmanager
    def show(doing: str, unit: str, total: int | None) -> Iterator[Tell]:
        heard.append((doing, unit, total))
        try:
            yield lambda done, total=None: heard.append((done, total))
        finally:
            heard.append("over")

    with shown_by(show), pytest.raises(ValueError, match="stop"), progress("reading", "files") as tell:  # noqa: PT012
        tell(1, 7)
        raise ValueError("stop")
    assert heard == [("reading", "files", None), (1, 7), "over"]
    with progress("reading", "files") as tell:  # the block is over
        tell(2)
    assert heard[-1] == "over"
