"""Debian's chromium over a page on disk, and axe-core of npm: both only where the machine has them."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
THEMES = ("light", "dark")
DESK, PHONE = (1280, 900), (400, 800)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra test)")
    with api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, size: tuple[int, int] = DESK, theme: str = "light", **more: Any
) -> Iterator[Page]:
    """The page of a file; it fails the test when it has said anything in its console or asked for anything.

    Args:
        browser: of :func:`chromium`.
        file: the page.
        size: of the window, in pixels.
        theme: that the reader prefers.
        more: of Playwright's ``new_context``.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if theme == "dark" else "light", **more
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: said.append(f"request: {request.url[:100]}"))
    page.goto(file.as_uri())
    yield page
    context.close()
    asked = [one for one in said if not one.startswith("request: data:image/")]
    assert asked == [f"request: {file.as_uri()}"]


def axe(folder: Path) -> str:
    """The script of axe-core; the test is skipped where npm cannot fetch it.

    Args:
        folder: for its download.
    """
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine, which brings axe-core")
    fetched = subprocess.run(["npm", "pack", "--silent", "axe-core@4"], cwd=folder, capture_output=True, timeout=120)
    packed = sorted(folder.glob("axe-core-*.tgz"))
    if fetched.returncode or not packed:
        pytest.skip("npm cannot fetch axe-core here")
    with tarfile.open(packed[-1]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def axe_findings(page: Page, script: str) -> list[list[object]]:
    """What axe-core finds in a page with everything unfolded: impact, rule and places of each.

    Args:
        page: opened with ``bypass_csp=True``.
        script: of :func:`axe`.
    """
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(script)
    found: list[list[object]] = page.evaluate(
        """axe.run().then(result => result.violations.map(
             one => [one.impact, one.id, one.nodes.map(node => node.html.slice(0, 200))]))"""
    )
    return found
