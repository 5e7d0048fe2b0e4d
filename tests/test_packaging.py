"""The wheel holds all packages and configs, and runs outside the source tree; no core dependency is copyleft."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "suite"
    # A copy, so that the build leaves nothing in the tree.
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("not a git checkout: the list of files is unknown")
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_package_and_config(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/__init__.py" for package in ("tasks", "datamodules", "backbones", "configs")} <= names
    assert "tasks/cli/verbs/fit.py" in names
    configs = {file.relative_to(ROOT).as_posix() for file in (ROOT / "configs").rglob("*.yaml")}
    assert configs
    assert configs <= names
    assert {f"tasks/evaluation/documents/{name}.csv" for name in ("tripod_ai", "claim_2024", "model_card")} <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_the_installed_wheel_fits_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    # Over the packages that are present: a second full install costs gigabytes.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Before everything else on the path, the source tree included.
    environment = {**os.environ, "SCANSUITE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(site)}

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)

    found = python("-c", "import tasks, configs; print(tasks.__file__, configs.__file__)").stdout
    assert found.count(str(site)) == 2
    flags = ["--config", "experiment/phantoms", "--data.num_patients", "24", "--trainer.fast_dev_run", "true"]
    result = python("-m", "tasks.classify", "fit", *flags)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "nothing was evaluated" in result.stdout


def test_the_console_script_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "scansuite = tasks.cli.main:script" in archive.read(entry).decode()


COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public|LGPL|GNU Lesser)", re.IGNORECASE)


def licence_of(name: str) -> str:
    about = metadata.metadata(name)
    classifiers = [text for text in about.get_all("Classifier") or [] if text.startswith("License")]
    # Its first line alone: some packages put the licences of everything they bundle below it.
    free_text = "".join(about.get_all("License") or []).split("\n")[0]
    return " ".join([*(about.get_all("License-Expression") or []), free_text, *classifiers])


def test_no_core_dependency_is_copyleft() -> None:
    waiting, seen = ["scansuite"], set()
    while waiting:
        name = waiting.pop()
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform
        for text in requirements:
            requirement = Requirement(text)
            key = requirement.name.lower().replace("_", "-")
            if key not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                seen.add(key)
                waiting.append(key)
    assert {"torch", "timm", "albumentations"} <= seen
    for name in sorted(seen):
        try:
            licence = licence_of(name)
        except metadata.PackageNotFoundError:
            continue
        assert not COPYLEFT.search(licence), f"{name}: {licence}"
