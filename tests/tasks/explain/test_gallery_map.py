"""Maps for the gallery of a run: of what is called, within a time, and never an error."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from tasks.explain import gallery_map
from tasks.explain.gallery_map import CaseMaps
from tests.tasks.explain.models import classifier

SCAN = Scan(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))


def test_the_map_covers_the_scan_without_filling() -> None:
    model = classifier(class_names=["healthy", "ill"])
    found = CaseMaps().of(model, SCAN, Preprocess(size=(64, 64), channels=1, fit="pad"))
    assert found is not None
    assert found.target == "ill"
    assert found.values.shape == (43, 64)
    assert 0 <= found.values.min() <= found.values.max() <= 1


def test_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = CaseMaps(seconds=1e-9)
    model, preprocess = classifier(), Preprocess(size=(64, 64), channels=1)
    assert maps.of(model, SCAN, preprocess) is not None
    assert maps.of(model, SCAN, preprocess) is None
    monkeypatch.setattr(gallery_map, "count_ranks", lambda: 2)
    assert CaseMaps().of(model, SCAN, preprocess) is None


def test_what_fails_is_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, model = CaseMaps(), classifier()
    preprocess = Preprocess(size=(64, 64), channels=1)

    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gallery_map, "explain_image", fails)
    assert maps.of(model, SCAN, preprocess) is None
    monkeypatch.undo()
    assert maps.of(model, SCAN, preprocess) is None  # nor is it tried again
