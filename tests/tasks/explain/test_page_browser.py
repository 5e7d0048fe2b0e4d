"""The page of ``explain`` in a browser: silent, asking for nothing, and for all eyes and hands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from datamodules.inputs import InputFiles
from tasks.explain.kernels import read_kernel
from tasks.explain.run import Asked, Explaining
from tests.tasks.evaluation.report.page.browser import DESK, PHONE, THEMES, axe, axe_findings, chromium, opened
from tests.tasks.explain.models import classifier

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
SIZES = {"desk": DESK, "phone": PHONE}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a page may have: checked maps, layers, filters, kernels, and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("explain")
    scans = folder / "scans"
    scans.mkdir()
    rng = np.random.default_rng(0)
    for name in (f"{EVIL}.png", "a_name_without_any_place_to_break_it_" * 4 + ".png", "third.png"):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(scans / name)
    (scans / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    model = classifier(size=32, class_names=["healthy", EVIL], preprocess={"size": [32, 32], "channels": 1})
    asked = Asked(
        methods=["gradcam", "layercam", "occlusion"],
        targets=["healthy", EVIL],
        sanity=True,
        features=["conv1", "layer2"],
        filters=["conv1"],
        kernels=[read_kernel("vertical")],
    )
    Explaining(model, InputFiles(), [str(scans)], asked).run(folder)
    return folder / "explain.html"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_silent_and_has_no_sideways_scroll(browser: Browser, file: Path, size: str, theme: str) -> None:
    with opened(browser, file, SIZES[size], theme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        assert page.locator("section img").count() > 0
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        broken = "all => all.filter(one => one.complete && one.naturalWidth == 0).length"
        assert page.locator("img").evaluate_all(broken) == 0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(browser: Browser, file: Path, size: str, theme: str, tmp_path: Path) -> None:
    script = axe(tmp_path)
    with opened(browser, file, SIZES[size], theme, bypass_csp=True) as page:
        assert axe_findings(page, script) == []


def test_the_answer_stands_first_and_the_contents_lead_to_each_case(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        verdicts = page.locator(".verdicts > li")
        assert verdicts.count() == 3
        assert verdicts.first.bounding_box()["y"] < DESK[1] / 2  # type: ignore[index]
        page.get_by_role("navigation").get_by_role("link", name="third").click()
        heading = page.get_by_role("heading", name="third", exact=True)
        assert 0 <= heading.evaluate("one => one.getBoundingClientRect().top") < DESK[1] / 2
        verdicts.first.get_by_text("all findings").click()
        assert verdicts.first.get_by_role("listitem").first.is_visible()
