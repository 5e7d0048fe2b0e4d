"""How a reader's behaviour enters the key of what is kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import datamodules
from datamodules.caching import reading_version as module
from datamodules.caching.cache import VolumeCache
from datamodules.caching.reading_version import behaviour, digest_of, sources
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("sources") / "datamodules"
    shutil.copytree(Path(datamodules.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture
def package(copied: Path) -> Iterator[Path]:
    """A copy of the sources, put right again after the test."""
    texts = {file: file.read_bytes() for file in copied.rglob("*.py")}
    yield copied
    for file in copied.rglob("*.py*"):
        if file not in texts:
            file.unlink()
    for file, text in texts.items():
        if not file.is_file() or file.read_bytes() != text:
            file.write_bytes(text)


@pytest.mark.parametrize(
    "changed",
    ["readers/nifti.py", "readers/dicom/seg.py", "readers/raster.py", "samples/slices.py", "preprocess.py",
     "samples/label_values.py", "segmentation/masks.py", "segmentation/volume_labels.py"],
)  # fmt: skip
def test_a_mended_reader_finds_no_old_arrays(changed: str, package: Path) -> None:
    """A changed line in whatever makes kept arrays gives another key; nobody has to raise a number."""
    before = digest_of(package)
    assert before == digest_of(package)
    with (package / changed).open("a") as file:
        file.write("\n# mended\n")
    assert digest_of(package) != before


def test_what_makes_no_arrays_leaves_the_key_alone(package: Path) -> None:
    before = digest_of(package)
    for name in ("loading/sampling.py", "transforms/presets.py", "checks/page.py"):
        (package / name).write_text("# another line")
    assert digest_of(package) == before


@pytest.mark.parametrize(
    "line",
    ["from datamodules.resizing import SIDE", "from datamodules import resizing as sizes",
     "import datamodules.resizing",
     "def late():\n    from datamodules import (\n        preprocess,\n        resizing,\n    )"],
)  # fmt: skip
def test_a_module_counts_once_it_is_imported(line: str, package: Path) -> None:
    (package / "resizing.py").write_text("SIDE = 1\n")
    assert "resizing" not in sources(package)
    with (package / "preprocess.py").open("a") as file:
        file.write(f"\n{line}\n")
    assert "resizing" in sources(package)
    before = digest_of(package)
    (package / "resizing.py").write_text("SIDE = 2\n")
    assert digest_of(package) != before


def test_a_module_counts_where_the_table_of_formats_names_it(package: Path) -> None:
    """Decoders are imported when they are used; no import statement tells of them."""
    (package / "decoding.py").write_text("def decode(): ...\n")
    assert "decoding" not in sources(package)
    with (package / "readers" / "format_table.py").open("a") as file:
        file.write('\nLATE = Format("Late", (".late",), image="datamodules.decoding:decode")\n')
    assert "decoding" in sources(package)


def test_another_library_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(resources.files("datamodules"))
    version = module._version
    monkeypatch.setattr(module, "_version", lambda name: "0.1" if name == "nibabel" else version(name))
    assert digest_of(resources.files("datamodules")) != before


def test_from_a_zip_and_without_sources(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in package.rglob("*.py"):
            archive.write(file, file.relative_to(package.parent).as_posix())
    assert digest_of(zipfile.Path(tmp_path / "package.zip", "datamodules/")) == digest_of(package)
    for file in package.rglob("*.py"):
        file.rename(file.with_suffix(".pyc"))
    bare = digest_of(package)
    monkeypatch.setattr(module, "_version", lambda name: "another")
    assert digest_of(package) != bare


def test_it_is_the_same_in_every_process() -> None:
    code = "from datamodules.caching.reading_version import behaviour; print(behaviour())"
    seen = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(datamodules.__file__).parents[1]),
                       "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert seen == {behaviour()}


def test_arrays_of_another_version_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Number 13, seen in the cache: the same file and settings, read by another version."""
    file = write_nifti(tmp_path / "scan.nii", np.zeros((2, 3, 4), np.uint8))
    VolumeCache(tmp_path / "cache").get(file, {}, lambda: np.zeros(3))
    kept = VolumeCache(tmp_path / "cache").get(file, {}, lambda: np.ones(3))
    assert kept[0] == 0
    monkeypatch.setattr("datamodules.caching.cache.behaviour", lambda: "mended")
    assert VolumeCache(tmp_path / "cache").get(file, {}, lambda: np.ones(3))[0] == 1
