"""Figures of a page: a thumbnail that opens a larger picture, nothing that a name could break, and bounded bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from datamodules.pictures.html_page import class_legend, html_page, render
from datamodules.pictures.page_figures import LARGE, THUMBNAIL, PageFigures, PagePicture
from datamodules.pictures.views import stored_view
from tests.datamodules.pictures.reading import Page, pixels

EVIL = '<script>alert("1")</script>\'"&'
NOISE = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)


def page_of(*figures: str) -> Page:
    return Page(html_page("cases", render("{% for one in figures %}{{ one }}{% endfor %}", figures=figures)))


def test_a_thumbnail_opens_a_larger_picture_by_click_and_by_key() -> None:
    figures = PageFigures()
    page = page_of(
        figures.figure([PagePicture([stored_view(NOISE)], "case 1", "case 1 as stored", ["200 x 300"])], "1")
    )
    (button,) = page.of("button", class_="thumb")
    (popover,) = page.of("div", popover="", id=button.attributes["popovertarget"])
    small, large = page.of("img")
    assert pixels(small.attributes["src"]).shape == (THUMBNAIL, 107, 3)
    assert pixels(large.attributes["src"]).shape == (LARGE, 341, 3)
    assert {one.attributes["alt"] for one in (small, large)} == {"case 1 as stored"}
    assert "200 x 300" in popover.text
    close = page.of("button", class_="close")[0].attributes
    assert (close["popovertarget"], close["popovertargetaction"]) == (popover.attributes["id"], "hide")
    assert page.of("script") == []


def test_whatever_data_say_is_text() -> None:
    mask = np.ones((300, 200), np.uint8)
    view = replace(stored_view(NOISE).with_mask(mask), boxes=np.array([[5.0, 5, 90, 90]]), labels=np.array([0]))
    figure = PageFigures().figure([PagePicture([view], EVIL, EVIL, [EVIL])], EVIL, [EVIL], [EVIL])
    page = Page(html_page(EVIL, render("{{ figure }}{{ legend }}", figure=figure, legend=class_legend([EVIL]))))
    assert "<script" not in page.source
    assert page.of("img")[0].attributes["alt"] == EVIL
    assert page.of("title")[0].text == EVIL
    assert [one.text.strip() for one in page.of("li")] == [EVIL, EVIL]
    assert all(not name.startswith("on") for element in page.elements for name in element.attributes)


def test_nothing_is_asked_for_from_elsewhere() -> None:
    page = page_of(PageFigures().figure([PagePicture([stored_view(NOISE)], "a", "a")], "a"))
    (policy,) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:;")
    assert all(one.attributes["src"].startswith("data:image/") for one in page.of("img"))
    assert "url(" not in page.source
    assert "://" not in page.source


def test_pictures_take_no_more_bytes_than_they_may_and_the_others_are_counted() -> None:
    one = PageFigures()
    one.figure([PagePicture([stored_view(NOISE)], "a", "a")], "a")
    figures = PageFigures(most_bytes=2 * one.bytes + 10)
    parts = [figures.figure([PagePicture([stored_view(NOISE)], name, name)], name, ["why"]) for name in "abcd"]
    page = page_of(*parts)
    assert figures.left_out == 2
    assert len(page.of("div", popover="")) == 2
    assert len(page.source) < figures.most_bytes + 12_000
    assert len(page.of("figcaption")) == 4  # what is said of a case is said in any event


def test_the_same_case_again_has_its_larger_picture_once() -> None:
    figures = PageFigures()
    again = [
        figures.figure([PagePicture([stored_view(NOISE)], "a", "a", key=7)], "a"),
        figures.figure([PagePicture([stored_view(NOISE)], "a", "a", key=7)], "a"),
    ]
    page = page_of(*again)
    assert len(page.of("div", popover="")) == 1
    assert len({button.attributes["popovertarget"] for button in page.of("button", class_="thumb")}) == 1
    assert len(page.of("button", class_="thumb")) == 2


def test_two_of_a_pair_stand_in_one_figure_and_each_page_part_has_its_names() -> None:
    pair = [PagePicture([stored_view(NOISE)], name, name) for name in ("a", "b")]
    page = page_of(PageFigures(prefix="x").figure(pair, "a = b"), PageFigures(prefix="y").figure(pair, "again"))
    assert [len(page.of("figure", class_="pair")), len(page.of("button", class_="thumb"))] == [2, 4]
    names = [one.attributes["id"] for one in page.of("div", popover="")]
    assert len(set(names)) == 4


def test_colours_of_classes_are_named_where_they_are_seen() -> None:
    mask = np.zeros((300, 200), np.uint8)
    mask[:50], mask[100:] = 2, 255
    figure = PageFigures().figure([PagePicture([stored_view(NOISE).with_mask(mask, 2)], "a", "a")], "a", (), ["x", "y"])
    assert [one.text.strip() for one in page_of(figure).of("li")] == ["y", "left out, or of no known class"]
