"""Masks in JPEG on the command line: binary ones as they are, others refused in a line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.fingerprint.fingerprint import Fingerprint
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.cli.test_segment import draw_cells

CELLS = ["--data", "MaskFolder", "--data.root"]


@pytest.fixture
def segment(run_task: Run) -> Run:
    return partial(run_task, "segment")


def as_jpeg(root: str, values: tuple[int, ...]) -> None:
    """Save the masks, whose foreground is one of the values in turn, as JPEG."""
    for number, file in enumerate(sorted(Path(root, "masks").iterdir())):
        with Image.open(file) as image:
            mask = np.asarray(image) * np.uint8(values[number % len(values)])
        file.unlink()
        Image.fromarray(mask).convert("RGB").save(file.with_suffix(".jpg"))


def test_binary_masks_in_jpeg_need_no_flag(segment: Run) -> None:
    """As Kvasir-SEG is published."""
    for root in ("png", "jpeg"):
        draw_cells(Path(root))
    as_jpeg("jpeg", (255,))
    said, found = {}, {}
    for root in ("png", "jpeg"):
        status, _, said[root] = segment("check", *CELLS, root, "--output", f"checked_{root}")
        assert status == 0
        found[root] = Fingerprint.from_json(Path(f"checked_{root}", "fingerprint.json").read_text())
    assert "JPEG" not in said["png"]
    assert said["jpeg"].count("masks are saved as JPEG") == said["jpeg"].count("they are split at 128") == 1
    assert found["jpeg"].class_counts == pytest.approx(found["png"].class_counts, rel=0.01)
    assert found["jpeg"].objects is not None
    assert found["png"].objects is not None
    assert found["jpeg"].objects.total == found["png"].objects.total
    assert segment("plan", *CELLS, "jpeg")[0] == 0
    assert segment("show", *CELLS, "jpeg", "--cases", "1", "--output", "show.html")[0] == 0


def test_masks_of_classes_in_jpeg_are_refused(segment: Run) -> None:
    draw_cells(Path("scans"))
    as_jpeg("scans", (60, 120))
    status, out, _ = segment("check", *CELLS, "scans", "--output", "checked")
    assert status == 1
    assert "unknown_value" in out
    for more in ([], ["--data.mask_kind", "instances"], ["--data.classes", "a,b,c"]):
        status, _, err = segment("plan", *CELLS, "scans", *more)
        assert status == 2
        assert "masks/c00.jpg: JPEG has changed the values of this mask: save it as PNG again" in one_line(err)
        assert "instances" not in err
