"""The page of a report as its HTML has it: order, labels, text from data as text, a policy that lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from typing import Any

import numpy as np
import pytest

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import (
    BarPlot,
    ForestPlot,
    Line,
    LinePlot,
    MatrixPlot,
    Plot,
    PValue,
    Section,
    Table,
)
from tasks.evaluation.report.page.figures import two_lines
from tasks.evaluation.report.page.report_page import report_page
from tasks.evaluation.report.page.tables import MOST_ROWS
from tests.datamodules.pictures.reading import Page
from tests.tasks.evaluation.report.page.pages import EVIL, HEADER, NAMES, VERDICT, metric, sections


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(report_page(f"Report of {EVIL}", HEADER, VERDICT, sections(), class_names=NAMES))


def one_part(part: object) -> Page:
    return Page(report_page("t", [], [], [Section("s", "S", parts=[part])]))  # type: ignore[list-item]


def test_what_data_say_is_text(page: Page) -> None:
    assert EVIL not in page.source
    assert page.of("title")[0].text == f"Report of {EVIL}"
    assert [one.attributes for one in page.of("script")] == [{}] * len(page.of("script"))
    assert all(not name.startswith("on") for element in page.elements for name in element.attributes)


def test_the_policy_allows_our_scripts_and_nothing_else(page: Page) -> None:
    (policy,) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    scripts = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": " ".join(f"'sha256-{one}'" for one in hashes),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_is_asked_for_from_elsewhere(page: Page) -> None:
    assert "url(" not in page.source
    assert set(re.findall(r"\w+://[^\"' ]+", page.source)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert all(one.attributes["href"].startswith("#") for one in page.of("a"))
    assert not page.of("img")
    assert not page.of("link")


def test_every_address_is_there_and_is_unique(page: Page) -> None:
    names = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(names) == len(set(names))
    links = [one.attributes["href"][1:] for one in page.of("a")]
    assert set(links) <= set(names)
    labels = [one.attributes["aria-labelledby"] for one in page.elements if "aria-labelledby" in one.attributes]
    assert set(labels) <= set(names)


def test_it_reads_from_the_answer_to_the_details(page: Page) -> None:
    assert [one.text for one in page.of("h2")] == ["Summary", *(section.title for section in sections())]
    summary = page.of("section", id="verdict")[0].text
    assert all(sentence in summary for sentence in VERDICT)
    assert f"AUROC above 60 is 0.780 ({EVIL})." in summary
    assert [one.text for one in page.of("dt")] == [
        "Task",
        "Data",
        "Evaluated",
        "Model",
    ]  # what is not known is left out
    assert page.of("nav")[0].text.count("to look at") == 1
    assert len(page.of("details", class_="folded")) == 1


def test_every_plot_has_its_words_and_its_numbers(page: Page) -> None:
    plots = [one for one in page.of("svg") if one.attributes.get("class", "").startswith("plot")]
    assert len(plots) == 11
    assert all(one.attributes["role"] == "img" and len(one.attributes["aria-label"]) > 20 for one in plots)
    assert len(page.of("details", class_="numbers")) == len(plots)
    (roc,) = [one for one in plots if one.attributes["aria-label"].startswith("ROC by class")]
    assert "normal: from 0, 0 to 1, 1" in roc.attributes["aria-label"]


def test_cells_are_as_words_has_them(page: Page) -> None:
    cells = [one.text for one in page.of("td")]
    assert {"0.922 (0.872 to 0.972)", "1,200", "< 0.001", "undefined"} <= set(cells)
    assert [one.text for one in page.of("th", scope="row")][:3] == ["AUROC", "sensitivity", EVIL]
    assert "0.830a" in cells  # with the mark of why it has no interval
    assert "a no interval: fewer than 10 patients" in [one.text for one in page.of("p")]


def test_a_long_table_is_cut_and_says_where_all_of_it_is() -> None:
    table = Table("cases", "Cases", ["case", "score"], [[f"c{at}", at / 1e6] for at in range(100_000)], sortable=True)
    page = one_part(table)
    assert len(page.of("tr")) == 1 + MOST_ROWS
    assert "The first 500 of 100,000 rows; all of them are in report/s_cases.csv." in [one.text for one in page.of("p")]
    assert len(page.source) < 200_000


def test_the_folder_of_the_tables_is_that_of_the_page() -> None:
    table = Table("cases", "Cases", ["case"], [["a"]] * (MOST_ROWS + 1))
    page = report_page("t", [], [], [Section("s", "S", parts=[table])], folder="compared")
    assert "all of them are in compared/s_cases.csv." in page


def test_rows_are_sorted_by_what_their_numbers_are() -> None:
    row: list[Any] = [
        1234,
        0.5,
        metric(0.25),
        PValue(0.04, adjusted=0.08),
        math.nan,
        None,
        "x",
        np.float64(2),
        np.int64(3),
    ]
    page = one_part(Table("t", "T", list("abcdefghi"), [row, row], sortable=True))
    keys = [one.attributes.get("data-v") for one in page.of("td")][:8]
    assert keys == ["1234", "0.5", "0.25", "0.08", "", None, "2", "3"]
    assert "f" not in [one.text for one in page.of("th")]  # nothing stands in that column


@pytest.mark.parametrize(
    "part",
    [
        Table("t", "T", ["a"], []),
        LinePlot("p", "P", "x", "y", [Line("one", np.array([0.5]), np.array([0.5]))], square=True),
        LinePlot("p", "P", "x", "y", [Line("none", np.zeros(0), np.zeros(0))]),
        LinePlot("p", "P", "x", "y", [Line("step", np.zeros(0), np.zeros(0), kind="step")]),
        LinePlot("p", "P", "x", "y", [Line("undefined", np.arange(3.0), np.full(3, np.nan))], log_y=True),
        LinePlot("p", "P", "x", "y", [Line("equal", np.full(4, 2.0), np.full(4, 7.0), kind="dots")]),
        LinePlot("p", "P", "x", "y", [Line("tiny", np.array([1e-300, 2e-300]), np.array([-1e300, 1e300]))]),
        LinePlot("p", "P", "x", "y", [Line("below", np.array([-1.0, 0.0]), np.array([1.0, 2.0]))], log_x=True),
        LinePlot("p", "P", "x" * 300, "y" * 300, [Line("n" * 300, np.arange(2.0), np.arange(2.0))]),
        ForestPlot("p", "P", "x", []),
        ForestPlot("p", "P", "x", [("n", MetricValue(math.nan, math.nan, math.nan, 0))], reference=math.nan),
        MatrixPlot("p", "P", "r", "c", ["a"], np.array([[0]])),
        MatrixPlot("p", "P", "r", "c", [], np.zeros((0, 0), int)),
        MatrixPlot("p", "P", "r", "c", ["a", "b"], np.array([[1, 2, 3], [4, 5, 6]]), ["x", "y", "z"]),
        BarPlot("p", "P", "x", "y", [], {"s": np.zeros(0)}),
        BarPlot("p", "P", "x", "y", ["a"], {}),
        BarPlot("p", "P", "x", "y", ["a", "b"], {"s": np.array([np.nan, -3.0])}),
    ],
    ids=lambda part: f"{type(part).__name__}",
)
def test_degenerate_parts_have_their_place(part: object) -> None:
    page = one_part(part)
    assert page.of("h3")[0].text == ("T" if isinstance(part, Table) else "P")
    assert "nan" not in "".join(one.attributes.get("d", "") for one in page.of("path"))
    for one in page.of("rect"):
        if "x" in one.attributes:
            numbers = [float(one.attributes[name]) for name in ("x", "y", "width", "height")]
            assert all(math.isfinite(number) and number >= -1 for number in numbers)


def test_300_classes_and_long_names_stay_small() -> None:
    names = [f"class with a rather long name {at}" for at in range(300)]
    x = np.linspace(0, 1, 3000)
    generator = np.random.default_rng(0)
    parts: list[Plot] = [
        LinePlot("roc", "ROC", "x", "y", [Line(name, x, x ** generator.random(), x, x) for name in names]),
        MatrixPlot("m", "Confusion", "true", "predicted", names, generator.poisson(1, (300, 300))),
        BarPlot("b", "Cases", "class", "cases", names, {"all": generator.random(300)}),
        ForestPlot("f", "AUROC", "AUROC", [(name, metric(0.5)) for name in names]),
    ]
    source = report_page("t", [], [], [Section("s", "S", parts=parts)], class_names=names)
    assert len(source) < 2_000_000
    assert "The first 60 of 300 are drawn." in source
    assert "The first 200 of 300 rows are shown." in source


def test_a_million_points_stay_small() -> None:
    generator = np.random.default_rng(0)
    x = np.sort(generator.random(1_000_000))
    parts = [
        LinePlot("a", "A", "x", "y", [Line("curve", x, x**0.3, x**0.4, x**0.2, kind="step")]),
        LinePlot("b", "B", "x", "y", [Line("dots", x, generator.random(1_000_000), kind="dots")]),
    ]
    assert len(report_page("t", [], [], [Section("s", "S", parts=parts)])) < 400_000


def test_a_long_label_has_two_lines_and_a_longer_one_is_shortened() -> None:
    assert two_lines("threshold", 20) == ["threshold"]
    assert two_lines("share of the cases that are kept", 20) == ["share of the cases", "that are kept"]
    lines = two_lines("word " * 30, 20) + two_lines("x" * 90, 20)
    assert all(len(line) <= 20 for line in lines)
    assert len(lines) == 4


def test_lines_of_a_class_have_its_colour_and_share_a_button(page: Page) -> None:
    series = [one for one in page.of("g") if one.attributes.get("class", "").startswith("series")]
    normal = [one.attributes["class"] for one in series if one.attributes["data-group"] == "normal"]
    assert normal == ["series c2 d0"] * 2  # curve and operating point: the green that masks of the first class have
    keys = [one.attributes["data-group"] for one in page.of("li") if "data-group" in one.attributes]
    assert keys[:5] == [*NAMES, "chance"]
