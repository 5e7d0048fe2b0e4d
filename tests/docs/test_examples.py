"""The notebooks and the examples of docs/python.md and docs/show.md run as they stand, without data and network."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.cli.starting.mistyped import refuse_mistyped
from tasks.registry.specs import spec_of
from tests.docs.run_examples import examples

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Each trains a model; one does so in the fast tests.
FAST = [file for file in NOTEBOOKS if file.stem == "classification"]
PAGE, SHOW = ROOT / "docs" / "python.md", ROOT / "docs" / "show.md"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one for each example of the pages, and for the fast notebook."""
    return run([*FAST, PAGE, SHOW], tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def slow_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one for each of the other notebooks."""
    return run([file for file in NOTEBOOKS if file not in FAST], tmp_path_factory.mktemp("examples"))


def run(files: list[Path], folder: Path) -> Path:
    """Run the examples of files in one process."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCANSUITE_CACHE": str(folder / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, str(ROOT / "tests" / "docs" / "run_examples.py"), str(folder), *map(str, files)]
    subprocess.run(command, env=environment, check=False)
    return folder


def failure(folder: Path) -> str:
    """The last lines of an example that failed; empty where it did not."""
    text = (folder / "log.txt").read_text()
    return text[-3000:] if "Traceback" in text else ""


@pytest.mark.parametrize(
    ("file", "output_of"),
    [
        *((file, "output") for file in FAST),
        *(pytest.param(file, "slow_output", marks=pytest.mark.slow) for file in NOTEBOOKS if file not in FAST),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_a_notebook_runs_and_shows_pictures(file: Path, output_of: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(output_of) / file.stem
    assert not failure(folder)
    ((_, cells),) = examples(file)
    said = (folder / "log.txt").read_text()
    assert f"[{len(cells) - 1}] " in said or "plt.show()" in cells[-1]  # it came to its end
    pictures = [np.asarray(Image.open(path)) for path in folder.glob("*.png")]
    assert pictures
    assert all(picture.std() > 10 for picture in pictures)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_outputs(file: Path) -> None:
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_the_examples_of_the_page_run(output: Path) -> None:
    found = list(examples(PAGE))
    assert len(found) >= 4
    for name, cells in found:
        assert not failure(output / name)
        assert sum(bool(line.strip()) for line in cells[0].splitlines()) <= 12, f"{name} is longer than promised"


def test_samples_are_shown_in_python(output: Path) -> None:
    ((name, _),) = examples(SHOW)
    assert not failure(output / name)
    page = (output / name / "show.html").read_text()
    assert page.count("<section") == 4
    assert "organ: " in page


def test_the_commands_of_show_have_flags_that_are_there() -> None:
    lines = re.findall(r"^    (python -m tasks\.\w+ show .*)$", SHOW.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        _, _, module, verb, *flags = shlex.split(line)
        refuse_mistyped(spec_of(module.removeprefix("tasks.")), verb, flags)
