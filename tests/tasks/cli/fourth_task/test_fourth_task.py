"""A fourth task is a package of its own and an entry point: nothing of the suite is changed for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scansuite import own_parts
from scansuite.errors import SuiteError
from tasks.registry.specs import spec_of, task_names
from tests.tasks.cli.conftest import Run, one_line

ROOT = Path(__file__).resolve().parents[4]
PACKAGE = Path(__file__).parent / "counting"
TINY = [
    "--model.backbone", "test_resnet", "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    "--trainer.precision", "32-true", "--trainer.max_epochs", "1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package in a folder of its own, with what ``pip install`` writes beside it, and not yet imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "counting"]:
        del sys.modules[name]
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, site / "counting", ignore=shutil.ignore_patterns("__pycache__"))
    about = site / "counting-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[scansuite.tasks]\ncount = counting.spec:SPEC\nbroken = counting.spec:SPEC\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(own_parts, "_allowed", set())
    spec_of.cache_clear()
    yield site
    spec_of.cache_clear()


def squares(folder: Path) -> Path:
    """Two images in files: without squares, and with many."""
    folder.mkdir()
    for name, count in (("none", 0), ("many", 5)):
        array = np.full((32, 32), 10, np.uint8)
        for number in range(count):
            array[6 * number : 6 * number + 4, 8:12] = 220
        Image.fromarray(array).save(folder / f"{name}.png")
    return folder


def test_from_fit_to_predict(run_task: Run, tmp_path: Path) -> None:
    status, out, err = run_task("count", "fit", *TINY, "--data.most", "4", "--model.hidden", "4", "--run_dir", "run")
    assert status == 0, err
    assert "mae" in out
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert set(metrics) == {"val/mae", "test/mae"}
    table = pd.read_csv("run/predictions.csv")
    mine = table[table["split"] == "test"]
    assert metrics["test/mae"]["value"] == pytest.approx((mine["prediction"] - mine["target"]).abs().mean())
    assert json.loads(Path("run/task.json").read_text())["task"] == "count"

    checkpoint = "run/checkpoints/best.ckpt"
    cpu = ["--trainer.accelerator", "cpu"]
    status, _, err = run_task("count", "test", "--ckpt_path", checkpoint, "--run_dir", "again", *cpu)
    assert status == 0, err
    assert json.loads(Path("again/metrics.json").read_text())["test/mae"] == metrics["test/mae"]
    shutil.copy(checkpoint, "again.ckpt")
    members = ["--ckpt_paths", checkpoint, "again.ckpt", "--run_dir", "both"]
    status, _, err = run_task("count", "test", *members, "--data", "Squares", "--data.most", "4", *cpu)
    assert status == 0, err
    together = json.loads(Path("both/metrics.json").read_text())["test/mae"]["value"]
    assert together == pytest.approx(metrics["test/mae"]["value"], abs=1e-5)

    inputs = ["--input", squares(tmp_path / "new"), *cpu, "--data.num_workers", "0"]
    flags = ["--ckpt_path", checkpoint, "--output", "out", "--rounded", "true"]
    status, out, err = run_task("count", "predict", *flags, *inputs)
    assert status == 0, err
    predictions = pd.read_csv("out/predictions.csv")
    assert sorted(predictions["case_id"]) == ["many", "none"]
    assert (predictions["prediction"] % 1 == 0).all()

    status, _, err = run_task("classify", "predict", *flags[:4], *inputs)
    assert status == 2
    assert "a checkpoint of the task 'count'" in one_line(err)


def test_check_show_and_summary(run_task: Run) -> None:
    status, out, err = run_task("count", "check", "--data.num_images", "30", "--output", "out")
    assert status == 0, err
    assert "out/check.html" in out
    flags = ["--data.num_images", "30", "--cases", "2", "--augmented", "1", "--output", "show.html"]
    status, out, err = run_task("count", "show", *flags)
    assert (status, out) == (0, "2 cases shown: show.html\n"), err
    status, out, err = run_task("count", "summary", "--model.backbone", "test_resnet", "--image_size", "32")
    assert status == 0, err
    assert "\nlast " in out


def test_help_and_mistakes(run_task: Run) -> None:
    status, out, _ = run_task("count", "--help")
    assert status == 0
    assert "scansuite count fit" in out
    status, out, _ = run_task("count", "fit", "--help")
    assert status == 0
    for flag in ("--data Squares", "Drawn squares.", "--model.hidden", "--model.backbone", "scansuite count fit"):
        assert flag in out
    assert "--model.num_classes" not in out
    assert "--rounded" in run_task("count", "predict", "--help")[1]
    for flags, said in (
        (["--data.moost", "3"], "did you mean --data.most?"),
        (["--model.hiden", "3"], "did you mean --model.hidden?"),
        (["--data", "Square"], "no such data class: did you mean 'Squares'?"),
        (["--data", "Phantoms"], "no data class of count: "),
        (["--model.lr", "fast"], "--model.lr fast: expected a number"),
    ):
        status, _, err = run_task("count", "fit", *flags)
        assert status == 2
        assert said in one_line(err)


def test_it_is_listed_and_found_by_the_installed_command(installed: Path, tmp_path: Path) -> None:
    assert task_names() == ["classify", "segment", "detect", "broken", "count"]
    with pytest.raises(SuiteError, match=r"task 'broken' \(counting.spec:SPEC\): its entry point must lead to"):
        spec_of("broken")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)])}

    def scansuite(*words: str) -> str:
        command = [sys.executable, "-m", "tasks.cli", *words]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return result.stdout + result.stderr

    assert "how many squares are on an image" in scansuite("--help")
    assert "first steps:\n  scansuite count fit" in scansuite("count", "--help")
    assert "unknown task 'cont': did you mean 'count'?" in scansuite("cont", "fit")


def test_the_page_shows_this_task() -> None:
    page = (ROOT / "docs" / "own_task.md").read_text(encoding="utf-8")
    spec = (PACKAGE / "spec.py").read_text(encoding="utf-8")
    assert spec[spec.index("from tasks.registry.spec") :] in page
