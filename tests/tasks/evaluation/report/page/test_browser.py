"""The page in a browser: silent, still, for all eyes and hands, and on paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.evaluation.report.page.report_page import report_page
from tests.tasks.evaluation.report.page.browser import DESK, PHONE, THEMES, axe, axe_findings, opened
from tests.tasks.evaluation.report.page.pages import EVIL, HEADER, NAMES, VERDICT, sections

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
SIZES = {"desk": DESK, "phone": PHONE}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    page = report_page(f"Report of {EVIL}", HEADER, VERDICT, sections(), class_names=NAMES)
    file.write_text(page, encoding="utf-8")
    return file


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_silent_and_has_no_sideways_scroll(browser: Browser, file: Path, size: str, theme: str) -> None:
    with opened(browser, file, SIZES[size], theme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            == {
                "light": "rgb(255, 255, 255)",
                "dark": "rgb(20, 24, 29)",
            }[theme]
        )
        # No letter of a plot is smaller than ten pixels, nor does one leave the page.
        small, outside = page.evaluate(
            """() => {
              const texts = [...document.querySelectorAll("svg.plot text")];
              const scale = text => text.ownerSVGElement.clientWidth / text.ownerSVGElement.viewBox.baseVal.width;
              return [
                Math.min(...texts.map(text => parseFloat(getComputedStyle(text).fontSize) * scale(text))),
                texts.filter(text => text.getBoundingClientRect().right > innerWidth + 1).map(text => text.textContent),
              ];
            }"""
        )
        assert small >= 10
        assert outside == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(browser: Browser, file: Path, size: str, theme: str, tmp_path: Path) -> None:
    script = axe(tmp_path)
    with opened(browser, file, SIZES[size], theme, bypass_csp=True) as page:
        assert axe_findings(page, script) == []


def test_keys_alone_reach_everything(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        wanted = page.evaluate(
            """() => {
              const can = "a[href], button, summary, input, select, svg[tabindex='0'], [tabindex='0']";
              const visible = one => one.checkVisibility({ contentVisibilityAuto: true });
              const seen = [...document.querySelectorAll(can)].filter(visible);
              seen.forEach((one, number) => one.dataset.wanted = number);
              return seen.length;
            }"""
        )
        assert wanted > 60
        reached, outlines = set(), set()
        for _ in range(wanted + 5):
            page.keyboard.press("Tab")
            number, outline = page.evaluate(
                "[document.activeElement.dataset.wanted, getComputedStyle(document.activeElement).outlineStyle]"
            )
            if number is not None:
                reached.add(int(number))
                outlines.add(outline)
        assert reached == set(range(wanted))
        assert "none" not in outlines


def test_arrow_keys_and_the_pointer_read_a_plot(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        plot = page.locator("#curves-roc svg.plot")
        bubble = page.locator("#curves-roc .bubble")
        plot.focus()
        page.keyboard.press("ArrowRight")
        assert bubble.inner_text() == "normal\n1 - specificity: 0\nsensitivity: 0 (0 to 0.05)"
        page.keyboard.press("End")
        assert EVIL not in page.content()
        page.keyboard.press("Escape")
        assert bubble.inner_text() == ""
        cloud = page.locator("#curves-size svg.plot")
        cloud.scroll_into_view_if_needed()
        page.keyboard.press("Tab")
        cloud.focus()
        page.keyboard.press("Home")
        assert re.fullmatch(rf"cases\ncase \d+{re.escape(EVIL)}", page.locator("#curves-size .bubble").inner_text())
        bar = page.locator("#counts-parts rect.bar").first
        bar.scroll_into_view_if_needed()
        bar.hover()
        assert page.locator("#counts-parts .bubble").inner_text() == "train, normal: 9"


def test_a_class_is_hidden_and_shown_by_its_button(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        figure = page.locator("#curves-roc")
        button = figure.get_by_role("button", name="normal")
        assert button.get_attribute("aria-pressed") == "true"
        shown = figure.locator(".series:not([hidden])")
        everything = shown.count()
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        assert shown.count() == everything - 2  # its curve and its operating point
        figure.get_by_role("button", name="none", exact=True).click()
        assert shown.count() == 0
        figure.get_by_role("button", name="all", exact=True).click()
        assert shown.count() == everything


def test_a_table_is_sorted_and_filtered(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        table = page.locator("#second_reader-cases")
        rows = table.locator("tbody tr")
        assert rows.count() == 60

        def scores() -> list[float]:
            return [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]

        table.get_by_role("button", name="score").click()
        assert scores() == sorted(scores())
        assert table.locator("th[aria-sort='ascending']").inner_text().startswith("score")
        table.get_by_role("button", name="score").click()
        assert scores() == sorted(scores(), reverse=True)
        table.get_by_label("rows with").fill("benign")
        assert rows.count() == 15
        table.get_by_label("from").fill("0.5")
        assert min(scores()) >= 0.5
        assert table.get_by_role("status").inner_text() == f"{rows.count()} of 60 rows"
        table.get_by_label("rows with").fill(EVIL)
        assert 0 < rows.count() < 15


def test_the_contents_are_beside_the_text_on_a_desk_and_folded_on_a_phone(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(200)
        assert page.get_by_role("link", name="Results").is_visible()
    with opened(browser, file, PHONE) as page:
        link = page.get_by_role("navigation").get_by_role("link", name="Checklist")
        assert not link.is_visible()
        page.get_by_text("Contents").click()
        link.click()
        assert not link.is_visible()
        assert page.get_by_text("For few.").is_visible()  # a folded section opens when it is asked for
        assert page.locator("#checklist").evaluate("one => one.getBoundingClientRect().top") < PHONE[1] / 2


def test_it_says_everything_without_its_script(browser: Browser, file: Path) -> None:
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.get_by_role("link", name="Results").is_visible()
        assert page.locator("svg.plot .series").count() > 20
        assert page.locator("svg.plot .series").evaluate_all(
            "all => all.every(one => getComputedStyle(one).display != 'none')"
        )
        assert page.locator("#second_reader-cases tbody tr").count() == 60
        assert page.locator("main button").count() == 0  # none that would do nothing


@pytest.mark.parametrize("theme", THEMES)
def test_paper_has_no_empty_page_and_no_controls(browser: Browser, file: Path, theme: str, tmp_path: Path) -> None:
    with opened(browser, file, theme=theme) as page:
        page.emulate_media(media="print", color_scheme="dark" if theme == "dark" else "light")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator(".tools:visible, .contents:visible, details.numbers:visible").count() == 0
        # Nothing is cut off: no box that could only be scrolled.
        cut = "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).length"
        assert page.locator(".wide").evaluate_all(cut) == 0
        page.emulate_media(media="screen")
        printed = page.pdf(prefer_css_page_size=True)
    pages = printed.count(b"/Type /Page\n") or len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))
    assert 3 <= pages <= 12
    (tmp_path / "report.pdf").write_bytes(printed)


def test_a_script_that_is_not_ours_does_not_run(browser: Browser, file: Path, tmp_path: Path) -> None:
    """Were a text of the data ever not escaped, the page's policy is the second lock."""
    text = file.read_text(encoding="utf-8").replace("<main", "<script>document.title = 'run'</script><main", 1)
    mended = tmp_path / "report.html"
    mended.write_text(text.replace("<dl", "<img src=x onerror=\"document.title = 'run'\"><dl", 1), encoding="utf-8")
    page = browser.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(mended.as_uri())
    assert page.title() == f"Report of {EVIL}"
    assert any("Content Security Policy" in one for one in blocked)
    page.close()
