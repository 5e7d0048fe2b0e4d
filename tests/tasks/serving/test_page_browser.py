"""The service's page in a browser: scans are dropped on it, and it says and draws what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.tasks.evaluation.report.page.browser import DESK, PHONE, THEMES, axe, chromium
from tests.tasks.serving.models import SEGMENTER, VOLUMES, write_model
from tests.tasks.serving.running import Running, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
SIZES = {"desk": DESK, "phone": PHONE}
# What a drop is: files in a transfer, handed to the page as a hand would.
DROP = """async ([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const where = document.getElementById("drop");
  for (const kind of ["dragenter", "dragover", "drop"]) {
    where.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "a.onnx")
    write_model(folder / "covered.onnx", cam=False)
    write_model(folder / "masks.onnx", SEGMENTER)
    write_model(folder / "volumes.onnx", VOLUMES)
    with running(folder) as found:
        yield found


@contextmanager
def page_of(
    service: Running, browser: Browser, size: str = "desk", theme: str = "light", **more: Any
) -> Iterator[Page]:
    """The page; the test fails when it says anything in its console, or asks elsewhere."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light", **more
    )
    page = context.new_page()
    said: list[str] = []
    address = str(service.client.base_url).rstrip("/")
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: None if request.url.startswith(address) else said.append(request.url[:90]))
    page.goto(address)
    page.wait_for_selector("#facts dt", state="attached")
    yield page
    context.close()
    assert said == []


def dropped(page: Page, file: Path, name: str | None = None) -> None:
    """Drop a file, and wait for the answer."""
    import base64

    page.evaluate(DROP, [name or file.name, base64.b64encode(file.read_bytes()).decode()])
    page.wait_for_selector("#result:not([hidden]), #error:not(:empty)")
    page.wait_for_timeout(100)  # two frames


def chosen(page: Page, model: str) -> None:
    with page.expect_response(lambda answer: answer.url.endswith(f"/v1/models/{model}")):
        page.select_option("#model", model)


def inked(page: Page) -> list[float]:
    """Mean red, green and blue of the canvas."""
    found: list[float] = page.evaluate(
        """() => {
          const canvas = document.getElementById("canvas");
          const whole = new OffscreenCanvas(canvas.width, canvas.height);
          const copy = whole.getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
          const sums = [0, 0, 0];
          for (let place = 0; place < data.length; place += 1) if (place % 4 < 3) sums[place % 4] += data[place];
          return sums.map((sum) => (4 * sum) / data.length);
        }"""
    )
    return found


def dicom(folder: Path) -> Path:
    """A CT slice in Hounsfield units, with a window of its own and a patient whose name is markup."""
    import pydicom
    from pydicom.data import get_testdata_file

    file = get_testdata_file("CT_small.dcm")
    assert file is not None
    data = pydicom.dcmread(file)
    data.PatientName = "Evil^<img src=x onerror=alert(1)>"
    data.WindowCenter, data.WindowWidth = 40, 400
    data.save_as(folder / "slice.dcm")
    return folder / "slice.dcm"


def test_a_dicom_a_png_and_a_broken_file_are_dropped(
    service: Running, browser: Browser, png: Path, tmp_path: Path
) -> None:
    with page_of(service, browser) as page:
        dropped(page, dicom(tmp_path))
        said = page.inner_text("#said")
        assert said.startswith("Called ")
        assert "the operating point 0.400, chosen by youden on validation" in said
        assert "lesion <b>" in page.inner_text("#tables")  # as text
        windows = page.eval_on_selector_all("#preset option", "all => all.map((one) => one.textContent)")
        assert windows[:2] == ["of the file", "contrast of the image"]
        assert {"lung", "bone"} <= set(windows)
        assert "class activation map" in page.inner_text("#heat-said")
        page.select_option("#layer", "")
        page.wait_for_timeout(100)
        soft = inked(page)
        assert soft[0] == pytest.approx(soft[2], abs=0.5)  # grey: no map above it
        page.select_option("#preset", label="lung")
        page.wait_for_timeout(100)
        assert inked(page)[0] > soft[0] + 20
        dropped(page, png)
        assert page.inner_text("#error") == ""
        assert "48 x 40 px" in page.inner_text("#caption")
        broken = tmp_path / "broken.png"
        broken.write_bytes(png.read_bytes()[:60])
        page.evaluate("document.getElementById('result').hidden = true")
        dropped(page, broken)
        assert page.inner_text("#error").startswith("broken.png: cannot be decoded")
        assert "\n" not in page.inner_text("#error")
        dropped(page, png, '<img src=x onerror="alert(1)">.png')
        assert page.query_selector("#work img") is None


def test_without_maps_of_its_own_parts_are_covered(service: Running, browser: Browser, png: Path) -> None:
    with page_of(service, browser) as page:
        chosen(page, "covered")
        dropped(page, png)
        assert "occlusion in a coarse grid" in page.inner_text("#heat-said")


def test_a_mask_and_a_volume(service: Running, browser: Browser, png: Path, tmp_path: Path) -> None:
    import nibabel

    array = np.zeros((24, 30, 9), np.uint8)
    array[8:16, 10:20, 3:6] = 220
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "v.nii.gz")
    with page_of(service, browser) as page:
        chosen(page, "masks")
        dropped(page, png)
        assert page.inner_text("#said") == "Found: organ"
        red, green, _ = inked(page)
        assert green > red + 5  # the first class's colour
        chosen(page, "volumes")
        dropped(page, tmp_path / "v.nii.gz")
        assert page.inner_text("#slice-said") == "5 of 9"
        page.focus("#canvas")
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(100)
        assert page.inner_text("#slice-said") == "6 of 9"
        page.keyboard.press("PageUp")
        page.wait_for_timeout(100)
        assert page.inner_text("#slice-said") == "1 of 9"
        assert "1.00 x 1.00 mm" in page.inner_text("#caption") or "1 x 1 mm" in page.inner_text("#caption")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_axe_finds_nothing(
    service: Running, browser: Browser, png: Path, size: str, theme: str, tmp_path: Path
) -> None:
    script = axe(tmp_path)
    with page_of(service, browser, size, theme, bypass_csp=True) as page:
        dropped(page, png)
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.evaluate(script)
        found = page.evaluate(
            """axe.run().then((result) => result.violations.map(
                 (one) => [one.impact, one.id, one.nodes.map((node) => node.html.slice(0, 200))]))"""
        )
    assert found == []


def test_a_token_is_asked_for(browser: Browser, tmp_path: Path, png: Path) -> None:
    with running(write_model(tmp_path / "a.onnx"), "--token", "correct horse") as service:
        context = browser.new_context()
        page = context.new_page()
        page.goto(str(service.client.base_url))
        assert page.is_hidden("#work")
        page.fill("#token", "wrong")
        page.press("#token", "Enter")
        page.wait_for_selector("#wrong")
        assert page.inner_text("#wrong") == "This is not the service's token."
        page.fill("#token", "correct horse")
        page.press("#token", "Enter")
        page.wait_for_selector("#facts dt", state="attached")
        dropped(page, png)
        assert page.inner_text("#said").startswith("Called ")
        context.close()
