"""The build of the distribution: it takes the suite's files that the runtime needs from the repository.

They are put into ``scansuite_runtime/suite`` under their own names. An sdist carries them in ``suite/`` beside this
file, so that a wheel is made of it without the repository.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # a build backend does not look for modules beside setup.py

from suite_files import VERSION, files_of  # noqa: E402

CARRIED = HERE / "suite"  # of an sdist
ROOT = CARRIED if CARRIED.is_dir() else HERE.parent


def suite_version() -> str:
    """The version of the suite whose files are taken: the runtime's own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def copy_suite(target: Path) -> None:
    """Put the suite's files into a folder, which holds nothing else afterwards."""
    shutil.rmtree(target, ignore_errors=True)
    for file in files_of(ROOT):
        place = target / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


class BuildWithSuite(build_py):
    """Puts the suite's files into the package."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:  # the files of the repository are used where they are
            return
        package = Path(self.build_lib) / "scansuite_runtime"
        copy_suite(package / "suite")
        (package / "suite" / VERSION).write_text(f"{suite_version()}\n", encoding="utf-8")


class SdistWithSuite(sdist):
    """Puts the suite's files beside this file."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Lay out what goes into the archive."""
        super().make_release_tree(base_dir, files)
        base = Path(base_dir)
        copy_suite(base / "suite")
        shutil.copyfile(ROOT / "pyproject.toml", base / "suite" / "pyproject.toml")
        shutil.copyfile(HERE / "suite_files.py", base / "suite_files.py")


setup(version=suite_version(), cmdclass={"build_py": BuildWithSuite, "sdist": SdistWithSuite})
