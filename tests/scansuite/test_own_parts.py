"""Whose code is run: modules that the user allows, and none else."""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite import own_parts
from scansuite.errors import SuiteError

MODULE = """
from tests.scansuite.test_own_parts import Part

class Good(Part):
    def __init__(self, depth: int = 1, *, width: int = 2) -> None:
        if depth < 1:
            raise ValueError("depth must be at least 1")
        self.depth, self.width = depth, width
    def work(self) -> int:
        return self.depth

class Incomplete(Part):
    pass

class Other:
    pass
"""


class Part(ABC):
    @abstractmethod
    def work(self) -> int: ...


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of the user's that can be imported and is not allowed yet."""
    name = "own_parts_pkg"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "parts.py").write_text(MODULE)
    (tmp_path / name / "broken.py").write_text("import numpy.no_such_part\n")
    (tmp_path / name / "ends.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(own_parts, "_allowed", set())
    monkeypatch.setattr(own_parts, "_given", {})
    yield name
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        del sys.modules[module]


def test_a_module_is_imported_once_it_is_allowed(package: str) -> None:
    path = f"{package}.parts.Good"
    with pytest.raises(SuiteError, match=f"--model.part {path}: .*--allow_import {package}"):
        own_parts.load_part(path, Part, "--model.part")  # type: ignore[type-abstract]
    assert package not in sys.modules
    own_parts.allow([package])
    assert package not in sys.modules, "allowing imports nothing"
    found = own_parts.load_part(path, Part, "--model.part")  # type: ignore[type-abstract]
    assert own_parts.path_of(found) == path
    assert found().work() == 1


def test_a_class_itself_is_trusted_and_known_by_its_path(package: str) -> None:
    class Local(Part):
        def work(self) -> int:
            return 3

    assert own_parts.load_part(Local, Part, "--model.part") is Local  # type: ignore[type-abstract]
    assert own_parts.load_part(own_parts.path_of(Local), Part, "--model.part") is Local  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("{}.parts.Godo", "did you mean 'Good'"),
        ("{}.parts.Incomplete", "has no work"),
        ("{}.parts.Other", "must be a subclass of tests.scansuite.test_own_parts.Part"),
        ("{}.no_such.Good", "there is no module '{}.no_such'"),
        ("{}.broken.Good", "cannot be imported: ModuleNotFoundError: No module named 'numpy.no_such_part'"),
        ("{}.ends.Good", "cannot be imported: SystemExit"),
        ("{}", "no dotted path"),
        ("{}.parts.1", "no dotted path"),
        ("{}..Good", "no dotted path"),
        ("__main__.Good", "a module of its own"),
    ],
)
def test_what_is_wrong_is_one_line(package: str, path: str, line: str) -> None:
    own_parts.allow([package])
    with pytest.raises(SuiteError, match=line.format(package)) as stopped:
        own_parts.load_part(path.format(package), Part, "--model.part")  # type: ignore[type-abstract]
    assert "\n" not in str(stopped.value)


@given(st.lists(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), min_size=1, max_size=4))
def test_only_a_whole_name_is_allowed(words: list[str]) -> None:
    path = ".".join(words)
    expected = words[0] in (*own_parts.TRUSTED, *own_parts.allowed())
    assert own_parts.is_allowed(path) == expected
    assert not own_parts.is_allowed(f"torchx.{path}")


def test_the_suite_and_what_it_stands_on_need_no_word() -> None:
    for path in ("torch.nn.Linear", "torchmetrics.Metric", "tasks.base.Task", "timm.layers.LayerNorm2d"):
        assert own_parts.is_allowed(path)
    for path in ("os.system", "torchaudio.x", "subprocess.Popen"):
        assert not own_parts.is_allowed(path)


@pytest.mark.parametrize("name", ["", "my-pkg", "mypkg.", "my pkg", "../mypkg", "mypkg/losses.py"])
def test_what_is_allowed_is_a_name_of_a_module(name: str) -> None:
    with pytest.raises(SuiteError, match="no name of a module"):
        own_parts.allow([name])


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ({"dept": 2}, "--model.part_args: Good takes no argument 'dept': did you mean 'depth'.*depth, width"),
        ({"colour": 2}, "Good takes no argument 'colour': there are depth, width"),
        ({"depth": 0}, "--model.part own_parts_pkg.parts.Good: cannot be made: ValueError: depth must be at least 1"),
    ],
)
def test_arguments_are_looked_at_before_anything_is_made(package: str, args: dict[str, int], line: str) -> None:
    own_parts.allow([package])
    cls = own_parts.load_part(f"{package}.parts.Good", Part, "--model.part")  # type: ignore[type-abstract]
    with pytest.raises(SuiteError, match=line):
        own_parts.make_part(cls, args, "--model.part")
    with pytest.raises(SuiteError, match="width comes from the suite"):
        own_parts.make_part(cls, {"width": 3}, "--model.part", {"width": 4})
    with pytest.raises(SuiteError, match="Needy needs depth"):
        own_parts.make_part(Needy, {}, "--model.part", {"width": 4})
    made = own_parts.make_part(cls, {"depth": 2}, "--model.part", {"width": 4})
    assert vars(made) == {"depth": 2, "width": 4}


class Needy(Part):
    def __init__(self, width: int, depth: int) -> None:
        self.sizes = width, depth

    def work(self) -> int:
        return 0


class Handing(Needy):
    def __init__(self, *, depth: int = 5, more: str = "", **kwargs: int) -> None:
        super().__init__(depth=depth, **kwargs)


def test_parameters_of_parents_count_where_they_are_handed_on() -> None:
    found = own_parts.parameters_of(Handing)
    assert {name: one.default for name, one in found.items() if name != "width"} == {"depth": 5, "more": ""}
    assert "width" in found
    assert list(own_parts.parameters_of(Needy)) == ["width", "depth"]
    assert not own_parts.parameters_of(Part)


def test_a_module_in_the_working_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "lying_here.py").write_text("class Mine:\n    pass\n")
    code = (
        "import sys; sys.path = [p for p in sys.path if p]\n"
        "from scansuite.own_parts import allow, load_part\n"
        "allow(['lying_here']); print(load_part('lying_here.Mine', object, '--x').__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.stdout == "Mine\n", result.stderr
