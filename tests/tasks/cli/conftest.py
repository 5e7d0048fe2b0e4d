"""Small data on disk and the command line called in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.cli.logs import OURS
from tasks.cli.main import main

TINY = [
    "--model.backbone", "test_resnet", "--data.num_workers", "0", "--data.batch_size", "16", "--data.augment", "none",
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "1",
]  # fmt: skip
KINDS = {
    "binary": ["--data.label_columns", "finding"],
    "multiclass": ["--data.label_columns", "organ"],
    "multilabel": ["--data.label_columns", "mass,edema,nodule"],
    "ordinal": ["--data.label_columns", "grade", "--data.target", "ordinal"],
    "regression": ["--data.label_columns", "size", "--data.target", "regression"],
}


def draw_table(folder: Path, cases: int = 90, seed: int = 0, site: str = "") -> Path:
    """A table of small PNGs whose brightness says something about every target; each site has its own patients."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        level = rng.uniform(0.2, 0.8)
        image = np.clip(rng.normal(level, 0.15, (24, 24)), 0, 1)
        path = folder / "images" / f"p{site}{case // 2:03d}_{case % 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255).astype(np.uint8)).save(path)
        labels = {name: int(rng.random() < level) for name in ("mass", "edema", "nodule")}
        rows.append(
            {
                "path": path.relative_to(folder).as_posix(),
                "patient_id": f"{site}{case // 2:03d}",
                "sex": "FM"[case // 2 % 2],
                "finding": "ill" if level + rng.normal(0, 0.15) > 0.5 else "healthy",
                "organ": ["brain", "heart", "lung"][min(2, int((level + rng.normal(0, 0.1)) * 3.2))],
                "grade": int(np.clip(round((level + rng.normal(0, 0.1)) * 4), 0, 3)),
                "size": level * 40 + rng.normal(0, 3),
                **{name: value if rng.random() > 0.15 else None for name, value in labels.items()},
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def table_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    os.environ["SCANSUITE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """Take the handlers off that the command line gives our loggers: they write to this test's stderr."""
    yield
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture
def drift() -> None:
    """Cases of the run are compared with those of training."""


@pytest.fixture(autouse=True)
def _drift(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training gets its profile where a test asks for it (``drift``): images are read once more for it."""
    if "drift" not in request.fixturenames:
        monkeypatch.setattr("tasks.cli.evaluate.training_profile", lambda *_: None)


@pytest.fixture(autouse=True)
def _charts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts, gallery and report of a run are made where a test asks for them (``charts``): seconds for each."""
    if "charts" not in request.fixturenames:
        monkeypatch.setattr("tasks.cli.evaluate.store_gallery", lambda *_: None)
        monkeypatch.setattr("tasks.evaluation.charts.run_charts.draw_charts", lambda *_: [])
        monkeypatch.setattr("tasks.evaluation.report.write.report_of_folder", lambda *_: [])


@pytest.fixture
def charts() -> None:
    """Charts are drawn, and reports written."""


@pytest.fixture
def run_task(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the command line of a task in an empty folder: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(task: str, *words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(task, [str(word) for word in words])
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def run(run_task: Run) -> Run:
    """The same for classification."""
    return partial(run_task, "classify")


def one_line(err: str) -> str:
    """The error line; what was said before it is no traceback."""
    assert "Traceback" not in err
    lines = err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]
