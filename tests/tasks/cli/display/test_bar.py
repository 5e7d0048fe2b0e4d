"""One line of any width; what is seen when several lines are open; plain lines where nothing is drawn."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scansuite.progress import progress, shown_by
from tasks.cli.display.bar import BarLine, Line, Part, fitting, shown
from tasks.cli.display.console import close_line, close_lines, is_quiet, open_line, quietly

texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
parts = st.lists(st.builds(Part, texts, st.integers(0, 4)), max_size=6)


@given(width=st.integers(1, 200), lead=texts, parts=parts)
def test_what_fits_is_kept_by_its_worth_and_in_its_order(width: int, lead: str, parts: list[Part]) -> None:
    kept, length = fitting(width, lead, parts)
    rest = iter(part.text for part in parts)
    assert all(text in rest for text in kept)  # in order
    if kept or length:
        assert len(lead) + sum(2 + len(text) for text in kept) + (2 + length if length else 0) <= width
    left_out = list(parts)
    for text in kept:
        left_out.remove(next(part for part in left_out if part.text == text))
    if kept and left_out:
        assert max(part.worth for part in left_out) <= max(part.worth for part in parts if part.text in kept)


@given(width=st.integers(5, 200), lead=texts, parts=parts, share=st.none() | st.floats(0, 1))
def test_it_is_one_line(width: int, lead: str, parts: list[Part], share: float | None) -> None:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(BarLine(lambda: Line(lead, share, parts)))
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert len(lines[0].rstrip()) <= width


class Spoken:
    """A line that notes what happens to it."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def hide(self) -> None:
        self.told.append(f"hide {self.name}")

    def draw(self) -> None:
        self.told.append(f"draw {self.name}")


def test_the_line_that_was_opened_last_is_seen() -> None:
    told: list[str] = []
    outer, inner = Spoken("outer", told), Spoken("inner", told)
    open_line(outer)
    open_line(inner)
    close_line(inner)
    assert told == ["draw outer", "hide outer", "draw inner", "hide inner", "draw outer"]
    close_line(outer)
    open_line(outer)
    open_line(inner)
    close_line(outer)  # in the wrong order
    close_line(inner)
    told.clear()
    open_line(outer)
    open_line(inner)
    close_lines()
    assert told == ["draw outer", "hide outer", "draw inner", "hide inner", "hide outer"]


@pytest.mark.parametrize("quiet", [False, True])
def test_plain_lines_now_and_then_where_there_is_no_terminal(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("tasks.cli.display.bar.time.monotonic", lambda: now[0])
    caplog.set_level("INFO")
    with quietly(quiet), shown_by(shown), progress("reading", "images", 100) as tell:
        assert is_quiet() == quiet
        for done in range(1, 101):
            now[0] += 1
            tell(done)
    said = [] if quiet else ["reading  30/100 images  1:10 min left", "reading  60/100 images  40 s left"]
    assert caplog.messages == [*said, *([] if quiet else ["reading  90/100 images  10 s left"])]
    assert not is_quiet()
