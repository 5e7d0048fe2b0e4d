"""The wheel in an environment without torch gives the tables of ``predict``: three tasks; PNG, DICOM and NIfTI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scansuite
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from tasks.classify.exporter import ClassificationExporter
from tasks.detect.exporter import DetectionExporter
from tasks.export.describe import describe
from tasks.export.exporting import exported, write
from tasks.segment.exporter import SegmentationExporter
from tests.runtime.test_distribution import ROOT, built
from tests.tasks.exported import test_predict as models

pytestmark = pytest.mark.slow

images, volumes = models.images, models.volumes
WHOLE = Preprocess(size=models.SIZE, channels=1)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command in an environment of its own, of the package index: 0.7 GB, removed afterwards."""
    folder = tmp_path_factory.mktemp("environment")
    built(ROOT / "runtime", folder, "--wheel")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", str(wheel)]
    done = subprocess.run(pip, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    try:
        yield folder / "venv" / "bin"
    finally:
        shutil.rmtree(folder / "venv")


def test_there_is_no_torch(runtime: Path) -> None:
    done = subprocess.run(
        [runtime / "python", "-c", "import torch"], env=_environment(), capture_output=True, check=False
    )
    assert b"ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize("task", ["classify", "segment", "volumes", "detect"])
def test_it_gives_the_tables_of_predict(task: str, runtime: Path, images: Path, volumes: Path, tmp_path: Path) -> None:
    makers = {
        "classify": (models.classifier(), ClassificationExporter),
        "segment": (models.segmenter(), SegmentationExporter),
        "volumes": (models.segmenter(preprocess=WHOLE.to_dict(), slices=SliceSpec().to_dict()), SegmentationExporter),
        "detect": (models.detector(), DetectionExporter),
    }
    model, exporter_class = makers[task]
    scans = volumes if task == "volumes" else images
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    exporter = exporter_class(model, [str(tmp_path / "best.ckpt")])
    made, _ = exported(exporter, describe(exporter, [tmp_path / "best.ckpt"], task), 20)
    write(made, tmp_path / "model.onnx")
    model_file, output = str(tmp_path / "model.onnx"), str(tmp_path / "ours")
    words = ["predict", "--model", model_file, "--input", str(scans), "--output", output]
    command = [str(runtime / "scansuite-runtime"), *words]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # one file is broken
    scansuite.predict(model, scans, output=tmp_path / "theirs")
    models.assert_same_outputs(tmp_path / "ours", tmp_path / "theirs")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
