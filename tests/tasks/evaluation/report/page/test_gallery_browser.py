"""A gallery in a browser: sorted, filtered, windowed and enlarged, by keys too, and readable without its script."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tasks.evaluation.gallery.thumbnails import mask_picture
from tasks.evaluation.report.content import Gallery, GalleryBox, GalleryCase, Section
from tasks.evaluation.report.page.report_page import report_page
from tests.tasks.evaluation.report.page.browser import DESK, PHONE, THEMES, axe, opened
from tests.tasks.evaluation.report.page.pages import EVIL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
DICE = [0.9, 0.1, float("nan"), 0.5] + [0.6 + 0.01 * number for number in range(10)]


def case(number: int) -> GalleryCase:
    """A grey ramp with a mask and a box; every second one of class ``b``."""
    ramp = np.tile(np.arange(100, dtype=np.uint8) + 50, (80, 1))
    buffer = BytesIO()
    Image.fromarray(ramp).save(buffer, format="PNG")
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 20:50] = 1
    box = GalleryBox("prediction", EVIL, (0.1, 0.1, 0.6, 0.7), "#cc79a7", 0.5, wrong=number % 2 == 0)
    return GalleryCase(
        f"case {number}{EVIL}",
        ("worst", "false positive") if number < 3 else ("typical",),
        buffer.getvalue(),
        (80, 100),
        (0.2, 0.8),
        (-160.0, 240.0),
        mask_picture(mask, 1, (80, 100)),
        mask_picture(mask.T[:80, :80], 1, (80, 100)),
        [box],
        [("Dice", DICE[number]), ("site", EVIL)],
        {"Dice": DICE[number]},
        {"class": [["a"], ["b"]][number % 2], EVIL: [EVIL if number < 5 else "x"]},
        "slice 3 of 9",
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    gallery = Gallery("cases", EVIL, [case(number) for number in range(len(DICE))], [("a", "#009e73")], "A note.")
    page = report_page("Report", [], [], [Section("gallery", "Cases", parts=[gallery])])
    file.write_text(page, encoding="utf-8")
    return file


def shown(page: Page) -> list[int]:
    ids = page.evaluate(
        "[...document.querySelectorAll('.gallery-case')].filter(o => o.offsetParent).map(o => o.dataset.id)"
    )
    return [int(one.removeprefix("case ").removesuffix(EVIL)) for one in ids]


def grey(page: Page, x: float) -> int:
    """The grey value that the first scan has at a share of its width, in the lowest tenth, which nothing covers."""
    view = page.locator(".gallery-case svg[role=img]").first
    picture = Image.open(BytesIO(view.screenshot())).convert("L")
    return int(np.asarray(picture)[int(picture.height * 0.95), int(picture.width * x)])


def test_cases_are_sorted_and_filtered(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        assert shown(page) == list(range(14))
        page.get_by_label("sort by").select_option("up Dice")
        assert shown(page) == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0, 2]  # what is undefined comes last
        page.get_by_label("sort by").select_option("down Dice")
        assert shown(page)[:2] == [0, 13]
        assert shown(page)[-1] == 2
        page.get_by_label("show").select_option("false positive")
        assert shown(page) == [0, 1, 2]
        page.get_by_label("class").select_option("b")
        assert shown(page) == [1]
        assert page.locator(".gallery-said").text_content() == "1 of 14 cases; window: centre 40, width 400"
        page.get_by_role("button", name="reset").click()
        assert shown(page) == list(range(14))
        page.locator(f'select[data-filter="{EVIL}"]').select_option(EVIL)
        assert shown(page) == list(range(5))


def test_the_window_moves_scans_alone(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        # The ramp goes from 50 to 149 of 255; 0.2 is black and 0.8 white.
        first = [grey(page, x) for x in (0.05, 0.5, 0.95)]
        for x, value in zip((0.05, 0.5, 0.95), first, strict=True):
            stored = (50 + 100 * x) / 255
            assert value == pytest.approx(255 * np.clip((stored - 0.2) / 0.6, 0, 1), abs=8)
        page.get_by_label("window centre").focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        said = page.locator(".gallery-said").text_content()
        assert said is not None
        assert "centre 120, width 400" in said
        assert page.get_by_label("window centre").get_attribute("aria-valuetext") == "centre 120, width 400"
        assert grey(page, 0.95) < first[2] - 30
        page.get_by_label("window width").fill("-100")
        said = page.locator(".gallery-said").text_content()
        assert said is not None
        assert "centre 120, width 100" in said
        assert grey(page, 0.05) == 0


def test_truth_and_prediction_are_shown_or_not_and_cases_enlarged(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        layers = page.locator('.gallery-case g[data-layer="prediction"]').first
        assert layers.is_visible()
        page.get_by_role("checkbox", name="prediction").uncheck()
        assert not layers.is_visible()
        assert page.locator('.gallery-case g[data-layer="truth"]').first.is_visible()
        page.get_by_role("checkbox", name="truth").uncheck()
        assert not page.locator('.gallery-case g[data-layer="truth"]').first.is_visible()
        view = page.locator(".gallery-case svg[role=img]").first
        before = view.bounding_box()
        page.get_by_role("button", name=f"larger: case 0{EVIL}").press("Enter")
        after = view.bounding_box()
        assert before is not None
        assert after is not None
        assert after["width"] > 2 * before["width"]
        page.get_by_role("button", name=f"smaller: case 0{EVIL}").press("Enter")
        again = view.bounding_box()
        assert again is not None
        assert again["width"] == before["width"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    browser: Browser, file: Path, size: tuple[int, int], theme: str, tmp_path: Path
) -> None:
    script = axe(tmp_path)
    with opened(browser, file, size, theme, bypass_csp=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        page.evaluate(script)
        found = page.evaluate("axe.run('.gallery').then(result => result.violations.map(one => [one.impact, one.id]))")
    assert found == []


def test_without_a_script_it_is_a_grid_and_paper_has_the_first(browser: Browser, file: Path) -> None:
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.locator(".gallery-case").count() == 14
        assert not page.locator(".gallery-tools").is_visible()
        assert page.locator(".gallery-case").last.is_visible()
    with opened(browser, file) as page:
        page.get_by_label("show").select_option("typical")
        page.emulate_media(media="print")
        assert shown(page) == list(range(3, 11))
        assert not page.locator(".gallery-tools").is_visible()
