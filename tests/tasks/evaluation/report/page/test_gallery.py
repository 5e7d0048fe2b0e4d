"""A gallery in the page: read as a browser would, within its budget, text from data as text."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tasks.evaluation.report.content import Gallery, GalleryBox, GalleryCase, Section
from tasks.evaluation.report.page.gallery import gallery_markup
from tasks.evaluation.report.page.report_page import report_page

EVIL = "<script>alert(1)</script>\"'&"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
NO_CONTENT = ("image", "use", "rect", "input", "meta", "fefuncr", "fefuncg", "fefuncb")


class Page(HTMLParser):
    """Elements with their attributes, in order; all are closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in NO_CONTENT or tag == "rect":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [own for name, own in self.elements if name == tag and wanted.items() <= own.items()]


def case(case_id: str, kinds: tuple[str, ...] = ("worst",), value: float = 0.5, **fields: object) -> GalleryCase:
    given = {"scan": PNG, "size": (40, 60), "values": {"Dice": value}, "groups": {"class": ["a"], "sex": ["F"]}}
    return GalleryCase(case_id, kinds, **{**given, **fields})  # type: ignore[arg-type]


def page(*cases: GalleryCase, **fields: object) -> Page:
    return Page(str(gallery_markup(Gallery("cases", "Cases", cases), "g", **fields)))  # type: ignore[arg-type]


def test_each_case_is_a_figure_with_its_scan_and_windows_are_shared() -> None:
    read = page(
        case("p/1", ("worst", "false positive"), 0.1, facts=[("truth", "a"), ("Dice", 0.1234)], note="slice 3 of 9"),
        case("p/2", ("best",), float("nan"), window=(0.25, 0.75), groups={"class": ["b"], "sex": ["M"]}),
        case("p/3", ("worst",), window=(0.25, 0.75)),
    )
    figures = read.all("figure")
    assert [figure["data-id"] for figure in figures] == ["p/1", "p/2", "p/3"]
    assert json.loads(figures[0]["data-kinds"]) == ["worst", "false positive"]
    assert [json.loads(figure["data-values"]) for figure in figures] == [{"Dice": 0.1}, {"Dice": None}, {"Dice": 0.5}]
    assert json.loads(figures[1]["data-groups"]) == {"class": ["b"], "sex": ["M"]}
    assert [one["aria-label"] for one in read.all("svg", role="img")] == [
        "scan of p/1, slice 3 of 9", "scan of p/2", "scan of p/3",
    ]  # fmt: skip
    images = read.all("image")
    assert all(base64.b64decode(image["href"].removeprefix("data:image/png;base64,")) == PNG for image in images)
    assert [image["filter"] for image in images] == ["url(#g-window-0)", "url(#g-window-1)", "url(#g-window-1)"]
    (linear,) = {(one["slope"], one["intercept"]) for one in read.all("fefuncg", intercept="-0.5")}
    assert linear == ("2", "-0.5")
    assert "0.123" in read.text
    assert "truth" not in [own.get("data-layer") for own in read.all("input")]
    options = [option["value"] for option in read.all("option")]
    assert {"worst", "best", "a", "b", "F", "M", "up Dice", "down Dice", "id"} <= set(options)


def test_truth_and_prediction_lie_side_by_side_on_one_scan() -> None:
    boxes = [
        GalleryBox("truth", "a", (0.0, 0.0, 0.5, 1.0), "#009e73", wrong=True),
        GalleryBox("prediction", "a", (0.1, 0.2, 0.3, 0.4), "#009e73", 0.876),
        GalleryBox("prediction", EVIL, (0.5, 0.5, 1, 1), "#cc79a7", 0.5, ignored=True),
    ]
    read = page(case("x", truth=PNG, boxes=boxes), case("y"))
    first, second, *_ = read.all("svg", role="img")
    assert first["aria-label"] == "truth on the scan of x: its mask and 1 boxes, 1 of them missed"
    assert second["aria-label"] == "prediction on the scan of x: 2 boxes, 0 of them false"
    assert len(read.all("use", href="#g-scan-0")) == 1
    assert len([one for one in read.all("image") if "filter" in one]) == 2
    rects = read.all("rect")
    assert [rects[0][name] for name in ("x", "y", "width", "height")] == ["0.0", "0.0", "30.0", "40.0"]
    assert [rects[1][name] for name in ("x", "y", "width", "height")] == ["6.0", "8.0", "12.0", "8.0"]
    assert [own["class"] for own in read.all("g") if "box" in own.get("class", "")] == [
        "box wrong",
        "box",
        "box spared",
    ]
    assert "a, missed" in read.text
    assert f"{EVIL} 0.50, to be ignored" in read.text
    assert {own["data-layer"] for own in read.all("input") if "data-layer" in own} == {"truth", "prediction"}
    assert "prediction on the scan of y: nothing" in [own.get("aria-label") for own in read.all("svg")]


def test_text_from_data_is_text() -> None:
    evil = case(
        EVIL, (EVIL,), facts=[(EVIL, EVIL)], values={EVIL: 1.0}, groups={EVIL: [EVIL, "b"], "__proto__": ["1", "2"]},
        note=EVIL,
    )  # fmt: skip
    section = Section("gallery", EVIL, parts=[Gallery("cases", EVIL, [evil], [(EVIL, "#009e73")], EVIL)])
    text = report_page("t", [], [], [section])
    read = Page(re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL).replace("<!doctype html>", ""))
    assert not read.all("script")
    assert read.all("figure")[0]["data-id"] == EVIL
    assert json.loads(read.all("figure")[0]["data-groups"])[EVIL] == [EVIL, "b"]
    assert read.text.count(EVIL) >= 8


def test_what_is_too_much_is_left_out_and_said() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 100)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")
    large = buffer.getvalue()
    cases = [case(str(number), scan=large) for number in range(20)]
    budget = 5 * (len(large) * 4 // 3 + 4) + 200
    text = str(gallery_markup(Gallery("cases", "Cases", [*cases, case("small")]), "g", budget))
    read = Page(text)
    assert [own["data-id"] for own in read.all("figure")] == ["0", "1", "2", "3", "4", "small"]
    assert "15 further cases would make this page too large" in read.text
    assert len(text) < budget + 40_000
    none = Page(str(gallery_markup(Gallery("cases", "Cases", [case("a", scan=b"")]), "g")))
    assert not none.all("figure")


@pytest.mark.parametrize(("units", "said"), [([(-160.0, 240.0)] * 2, "-160 240"), ([(0.0, 1.0), (0.0, 2.0)], "")])
def test_one_window_of_all_is_named_in_its_units(units: list[tuple[float, float]], said: str) -> None:
    read = page(*(case(str(number), units=one) for number, one in enumerate(units)))
    assert read.elements[0][1].get("data-units", "") == said


def test_a_window_of_no_width_is_one() -> None:
    assert read_slope(page(case("a", window=(0.5, 0.5)))) == pytest.approx(1000, rel=0.01)


def read_slope(read: Page) -> float:
    return float(read.all("fefuncr")[0]["slope"])
