"""Plots of pages: each number is in the picture's words and in a table, and nothing leaves the plot."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.pictures.html_page import html_page
from datamodules.pictures.html_plots import bar_plot, histogram_plot, point_plot
from tests.datamodules.pictures.reading import Page

EVIL = "<script>alert(1)</script>"


def page_of(plot: Any) -> Page:
    page = Page(html_page("plots", plot))
    _, _, width, height = map(float, page.of("svg")[0].attributes["viewbox"].split())
    for one in page.of("rect"):
        x, y, breadth, tall = (float(one.attributes[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + breadth <= width + 1
        assert 0 <= y <= y + tall <= height
    for one in page.of("circle"):
        assert 0 <= float(one.attributes["cx"]) <= width
        assert 0 <= float(one.attributes["cy"]) <= height
    return page


def rows(page: Page) -> list[str]:
    return [" ".join(one.text.split()) for one in page.of("tr")]


def test_bars_are_as_long_as_counts_and_names_are_text() -> None:
    page = page_of(bar_plot("Cases in train", [(EVIL, 30), ("b", 15), ("none", 0)], "class", "of 45"))
    assert EVIL not in page.source
    lengths = [float(one.attributes["width"]) for one in page.of("rect")]
    assert lengths[1] / lengths[0] == 0.5
    assert lengths[2] < 1
    assert page.of("svg", role="img")[0].attributes["aria-label"] == f"Cases in train: {EVIL}: 30, b: 15, none: 0"
    assert page.of("h3")[0].text == "Cases in train"
    assert [one.text for one in page.of("td")] == [EVIL, "30", "b", "15", "none", "0"]
    assert "of 45" in page.of("figure")[0].text


def test_a_name_that_is_too_long_is_whole_in_the_table() -> None:
    name = "pleural thickening and atelectasis"
    page = page_of(bar_plot("Cases", [(name, 1)], "class"))
    assert page.of("text")[0].text.endswith("…")
    assert page.of("td")[0].text == name


def test_histograms_share_their_axis() -> None:
    page = page_of(histogram_plot("Values", [("lowest", [0, 1, 2], [1, 3]), ("highest", [8, 9, 10], [2, 2])], "HU"))
    lefts = [float(one.attributes["x"]) for one in page.of("rect")]
    assert lefts == sorted(lefts)
    assert lefts[2] > 250
    assert "HU" in page.of("svg")[0].text
    assert [one.text for one in page.of("td")][:3] == ["lowest", "0 to 1", "1"]


def test_a_histogram_that_would_be_a_line_on_a_shared_axis_has_its_own() -> None:
    page = page_of(histogram_plot("Values", [("lowest", [0, 1, 2], [1, 3]), ("highest", [0, 900, 1800], [2, 2])], "HU"))
    assert [float(one.attributes["width"]) > 100 for one in page.of("rect")] == [True] * 4
    texts = [one.text for one in page.of("text")]
    assert texts.count("HU") == 1
    assert texts.count("0") == 2


def test_dots_are_larger_where_more_lie() -> None:
    page = page_of(point_plot("Sizes", [(64, 64, 90), (128, 32, 1)], ("width (pixels)", "height (pixels)")))
    many, one = page.of("circle")
    assert float(many.attributes["r"]) > 3 * float(one.attributes["r"])
    assert float(many.attributes["cy"]) < float(one.attributes["cy"])
    assert "width (pixels)" in page.of("svg")[0].text
    assert "height (pixels)" in page.of("svg")[0].text
    assert [one.text for one in page.of("td")] == ["64", "64", "90", "128", "32", "1"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=9))
@example([0.0, 5e-324])
@example([-1.7e308, 1.7e308])
@settings(max_examples=60, deadline=None)
def test_any_numbers_have_a_place_on_the_axis(values: list[float]) -> None:
    edges = sorted(np.unique(values).tolist())
    edges = edges if len(edges) > 1 else [*edges, *edges]
    page_of(histogram_plot("Values", [("all", edges, [1] * (len(edges) - 1))], "value"))
