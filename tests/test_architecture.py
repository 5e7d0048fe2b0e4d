"""Imports point one way only, as CONTRIBUTING.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("backbones", "datamodules", "tasks")
# Readers, types, the preprocess spec and resampling carry no torch and may be imported from anywhere.
COMMON = ("datamodules.types", "datamodules.readers", "datamodules.preprocess", "datamodules.resampling")

# What a room may import of the suite, beside itself and COMMON.
ALLOWED: dict[str, tuple[str, ...]] = {
    "backbones": (),
    "datamodules": (),
    "datamodules.readers": (),
    "tasks": ("backbones", "datamodules", "tasks.evaluation"),  # base.py, judging.py and kin: what tasks stand on
    **dict.fromkeys(
        ("tasks.classify", "tasks.segment", "tasks.detect"),
        ("backbones", "datamodules", "tasks.evaluation", "tasks.deployment"),
    ),
    "tasks.evaluation": (),
    "tasks.deployment": ("tasks.evaluation",),
    "tasks.fitting": ("tasks.evaluation",),
    "tasks.cli": ("backbones", "datamodules", "tasks"),
}
# Modules directly below tasks/ that every task may import.
SHARED_BY_TASKS = (
    "tasks.base", "tasks.compressible", "tasks.distributed", "tasks.divergence", "tasks.ensemble", "tasks.finetuning",
    "tasks.inherit", "tasks.judging", "tasks.normalize", "tasks.optim", "tasks.padding", "tasks.precision",
    "tasks.provenance", "tasks.recorder", "tasks.schedules", "tasks.sizes", "tasks.window",
)  # fmt: skip
NO_TORCH = (
    "datamodules/readers",
    "datamodules/types.py",
    "datamodules/preprocess.py",
    "datamodules/resampling.py",
    "datamodules/table.py",
    "tasks/evaluation",
)


def modules() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path, *, at_run_time: bool = False, members: bool = False) -> Iterator[str]:
    """Names imported anywhere in a file.

    ``at_run_time`` leaves out blocks under TYPE_CHECKING; ``members`` gives ``a.b`` too for ``from a import b``.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if members:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    return max((room for room in ALLOWED if module == room or module.startswith(room + ".")), key=len)


def inside(module: str, parent: str) -> bool:
    return module == parent or module.startswith(parent + ".")


def refused(module: str, imported: str) -> bool:
    """Whether an import of the suite is an arrow that the design does not have."""
    if not any(inside(imported, package) for package in (*PACKAGES, "configs")):
        return False
    if any(inside(imported, common) for common in COMMON):
        return False
    room = room_of(module)
    if room in ("tasks.classify", "tasks.segment", "tasks.detect") and inside(imported, "tasks"):
        shared = imported in SHARED_BY_TASKS or inside(imported, "tasks.cli.main")
        return not (shared or any(inside(imported, place) for place in (room, *ALLOWED[room])))
    if room == "tasks":
        return not (any(inside(imported, place) for place in ALLOWED[room]) or imported in SHARED_BY_TASKS)
    if room in ("tasks.evaluation", "tasks.fitting", "tasks.deployment"):
        return not any(inside(imported, place) for place in (room, *ALLOWED[room]))
    if room == "datamodules.readers":
        return not inside(imported, room)
    return not any(inside(imported, place) for place in (room, *ALLOWED[room]))


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_arrows_point_one_way(file: Path) -> None:
    module = name_of(file)
    wrong = [imported for imported in imports(file) if refused(module, imported)]
    assert not wrong, f"{module} may not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("backbones.pyramid", "tasks.base"),
        ("backbones.weights", "datamodules.table"),
        ("datamodules.base", "backbones.pyramid"),
        ("datamodules.readers.raster", "datamodules.table"),
        ("tasks.base", "tasks.classify.task"),
        ("tasks.classify.task", "tasks.cli.parser"),
        ("tasks.segment.task", "tasks.classify.task"),
        ("tasks.evaluation.judge", "tasks.classify.task"),
        ("tasks.fitting.seeding", "tasks.base"),
    ],
)
def test_the_check_sees_a_wrong_arrow(module: str, imported: str) -> None:
    assert refused(module, imported)


def test_no_import_goes_in_a_circle() -> None:
    """Also none that waits inside a function: ``inputs`` and ``bag_inputs`` imported each other so."""
    files = {name_of(file): file for file in modules()}
    arrows = {
        module: {
            imported
            for imported in imports(file, at_run_time=True, members=True)
            if imported in files and imported != module
        }
        for module, file in files.items()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_albumentations_has_one_door() -> None:
    for file in modules():
        if any(inside(name, "albumentations") for name in imports(file)):
            assert name_of(file).startswith("datamodules.transforms")


def test_what_reads_files_and_tables_needs_no_torch() -> None:
    for file in modules():
        if file.relative_to(ROOT).as_posix().startswith(NO_TORCH):
            wrong = [name for name in imports(file, at_run_time=True) if inside(name, "torch")]
            assert not wrong, f"{file} imports torch"


def test_no_file_has_grown_into_two() -> None:
    long = {str(file): count for file in modules() if (count := len(file.read_text().splitlines())) > 400}
    assert not long
