"""The distribution: its dependencies are what its files import, and its wheel has those files and no others."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from suite_files import RUNTIME, closure_of, entries_of, files_of, imported_by

ROOT = Path(__file__).resolve().parents[2]
# Imported where a user asks for what they are needed for; each names itself where it is missing.
EXTRAS = {
    "SimpleITK": "itk",
    "pyarrow": "parquet",
    "python_calamine": "excel",
    "cryptography": "packages",
    "fsspec": "remote",
}


def project(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return found


def names(requirements: list[str]) -> dict[str, str]:
    """Requirement by name of the distribution."""
    return {re.split(r"[<>=!\[; ]", one)[0].lower(): one for one in requirements}


def test_dependencies_are_what_the_files_import() -> None:
    found = closure_of(ROOT, entries_of())
    own = {name.split(".")[0] for file in RUNTIME.glob("*.py") for name in imported_by(file)}
    outside = (set(found.outside) | own) - set(sys.stdlib_module_names)
    outside -= {"scansuite", "datamodules", "tasks", "scansuite_runtime"}
    distributions = metadata.packages_distributions()
    needed = {name: next(iter(distributions[name])).lower() for name in outside}
    runtime = project(ROOT / "runtime" / "pyproject.toml")
    assert set(names(runtime["dependencies"])) == {needed[name] for name in outside - set(EXTRAS)}
    extras = {extra: set(names(some)) for extra, some in runtime["optional-dependencies"].items()}
    for module in outside & set(EXTRAS):
        assert needed[module] in extras[EXTRAS[module]]


def test_extras_are_imported_where_they_are_needed() -> None:
    """Not at the beginning of a module: what asks for none of them runs without."""
    for module, file in closure_of(ROOT, entries_of()).modules.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        at_once = {
            name.split(".")[0]
            for node in tree.body
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not at_once & set(EXTRAS), module


def test_bounds_are_those_of_the_suite() -> None:
    suite, runtime = project(ROOT / "pyproject.toml"), project(ROOT / "runtime" / "pyproject.toml")
    bounds = names([*suite["dependencies"], *(one for some in suite["optional-dependencies"].values() for one in some)])
    some = [*runtime["dependencies"], *(one for extra in runtime["optional-dependencies"].values() for one in extra)]
    assert {name: one for name, one in names(some).items() if bounds[name] != one} == {}
    assert runtime["requires-python"] == suite["requires-python"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a user builds it, and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    built(ROOT / "runtime", folder, "--wheel")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def built(source: Path, target: Path, *what: str) -> None:
    try:
        command = [sys.executable, "-m", "build", "--no-isolation", *what, "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    finally:
        for left in (source / "build", source / "scansuite_runtime.egg-info"):
            shutil.rmtree(left, ignore_errors=True)


def test_the_wheel_has_the_files_that_are_needed(unpacked: Path) -> None:
    suite = unpacked / "scansuite_runtime" / "suite"
    wanted = {file.relative_to(ROOT).as_posix() for file in files_of(ROOT)}
    assert {file.relative_to(suite).as_posix() for file in suite.rglob("*") if file.is_file()} == {*wanted, "VERSION"}
    for name in wanted:
        assert (suite / name).read_bytes() == (ROOT / name).read_bytes()
    assert not {"tasks/base.py", "datamodules/inputs.py", "scansuite/front_door.py"} & wanted
    assert {file.name for file in unpacked.iterdir()} == {
        "scansuite_runtime",
        f"scansuite_runtime-{project(ROOT / 'pyproject.toml')['version']}.dist-info",
    }


def test_the_wheels_own_files_run(unpacked: Path) -> None:
    """Where there is no suite: the finder of an editable one is left out of the path."""
    code = (
        "import sys\n"
        "named = [(getattr(one, '__name__', type(one).__name__), one) for one in sys.meta_path]\n"
        "sys.meta_path = [one for name, one in named if 'ditable' not in name]\n"
        "from scansuite_runtime.__main__ import main\n"
        "main(['--version'])\n"
        "import tasks.exported.predict, datamodules.input_cases\n"
        "print(tasks.exported.predict.__file__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=unpacked, capture_output=True, text=True, check=True
    )
    version, file = done.stdout.splitlines()
    assert version == f"scansuite-runtime {project(ROOT / 'pyproject.toml')['version']}"
    assert Path(file).is_relative_to(unpacked)
    assert done.stderr == ""


@pytest.mark.slow
def test_a_wheel_is_made_of_the_sdist_too(unpacked: Path, tmp_path: Path) -> None:
    built(ROOT / "runtime", tmp_path, "--sdist")
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    built(source, tmp_path, "--wheel")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive_of_wheel:
        listed = set(archive_of_wheel.namelist())
    assert listed == {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
