"""Imports point one way only, as CONTRIBUTING.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("scansuite", "backbones", "datamodules", "tasks")
# The ground floor (errors, files, random streams) may be imported from anywhere; the front door, which is the rest of
# `scansuite`, from nowhere. Readers, types, the preprocess spec, resampling and drawing have no torch and may be, too.
GROUND = tuple(
    f"scansuite.{name}" for name in ("errors", "files", "progress", "random_streams", "own_parts", "version", "words")
)
COMMON = (
    *(*GROUND, "datamodules.types", "datamodules.readers", "datamodules.preprocess", "datamodules.resampling"),
    "datamodules.pictures",
    "datamodules.tables.reasons",  # words for tables that cannot be read
)

TASKS = ("tasks.classify", "tasks.segment", "tasks.detect")
SHARED = ("tasks.registry", "tasks.own", "tasks.fitting", "tasks.running")
STEPS = ("tasks.training", "tasks.compression")
SHIPPING = ("tasks.explain", "tasks.export")  # stand on what is directly below tasks/, know no task

# What a room may import of the suite, beside itself and COMMON.
ALLOWED: dict[str, tuple[str, ...]] = {
    "scansuite": ("backbones", "datamodules", "tasks"),
    "backbones": (),
    "datamodules": (),
    # In the order of a scan's way; a room may import those above it, and the words of the data modules (BASICS).
    "datamodules.readers": (),
    "datamodules.pictures": (),
    "datamodules.caching": ("datamodules.readers",),
    "datamodules.transforms": (),
    "datamodules.tables": (),
    "datamodules.cases": ("datamodules.caching", "datamodules.tables", "datamodules.transforms"),
    "datamodules.splitting": ("datamodules.cases", "datamodules.tables"),
    "datamodules.samples": ("datamodules.caching", "datamodules.cases", "datamodules.transforms"),
    "datamodules.loading": ("datamodules.caching", "datamodules.cases", "datamodules.samples"),
    # What every task stands on: the modules directly below tasks/ and these rooms.
    **dict.fromkeys(
        ("tasks", "tasks.registry", "tasks.own", "tasks.fitting", "tasks.running"),
        (
            *("backbones", "datamodules", "tasks.compression", "tasks.deployment", "tasks.evaluation"),
            *("tasks.training", *SHARED),
        ),
    ),
    **dict.fromkeys(
        TASKS,
        (
            *("backbones", "datamodules", "tasks.compression", "tasks.deployment", "tasks.evaluation"),
            *("tasks.exported", "tasks.training", *SHARED, *SHIPPING),
        ),
    ),
    "tasks.evaluation": (),
    "tasks.deployment": ("datamodules", "tasks.evaluation", "tasks.registry"),
    "tasks.exported": ("datamodules", "tasks.deployment", "tasks.evaluation", "tasks.registry"),
    "tasks.serving": ("datamodules", "tasks.deployment", "tasks.evaluation", "tasks.exported", "tasks.registry"),
    **dict.fromkeys(
        SHIPPING,
        (
            *("backbones", "datamodules", "tasks.compression", "tasks.deployment", "tasks.evaluation"),
            *("tasks.exported", "tasks.training", *SHARED),
        ),
    ),
    # Numbers and words: no model, no data.
    "tasks.planning": (
        *("datamodules.fingerprint", "datamodules.samples.tiles", "datamodules.settings", "datamodules.windows"),
        "tasks.classify.head_names",
    ),
    "tasks.training": ("backbones", "datamodules", "tasks.evaluation"),
    "tasks.compression": ("backbones", "datamodules", "tasks.evaluation", "tasks.training"),
    "tasks.cluster": (),  # command lines and SLURM: no model, no data
    "tasks.cli": ("backbones", "datamodules", "tasks"),
}
# What lies directly below a package and stands under its rooms: they import it, it imports none of them.
BASICS = {
    "datamodules": (
        "types",
        "evenly",
        "faults",
        "lazy",
        "settings",
        "useless",
        "preprocess",
        "opened_image",
        "resampling",
        "windows",
        "remote",
    ),
    "tasks": ("batches", "distributed", "padding", "precision"),
}
NO_TORCH = (
    "scansuite/errors.py",
    "scansuite/files.py",
    "scansuite/progress.py",
    "scansuite/random_streams.py",
    "scansuite/own_parts.py",
    "scansuite/version.py",
    "datamodules/readers",
    "datamodules/pictures",
    "datamodules/types.py",
    "datamodules/preprocess.py",
    "datamodules/resampling.py",
    "datamodules/opened_image.py",
    "datamodules/windows.py",
    "datamodules/settings.py",
    "datamodules/input_cases.py",
    "datamodules/loading/case_source.py",
    "datamodules/loading/case_pieces.py",
    "datamodules/classification/bag_images.py",
    "datamodules/classification/case_rows.py",
    "datamodules/segmentation/volume_inputs.py",
    "datamodules/samples/label_values.py",
    "datamodules/samples/picture.py",
    "datamodules/samples/scaling.py",
    "datamodules/samples/slices.py",
    "datamodules/samples/tiles.py",
    "datamodules/caching/cache.py",
    "datamodules/cases/table.py",
    "datamodules/tables",
    "tasks/evaluation",
    "tasks/deployment",
    "tasks/exported",
    "tasks/serving",
    "tasks/cluster",
    "tasks/planning",
    "datamodules/fingerprint/fingerprint.py",
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


def is_basic(module: str) -> bool:
    return any(module == f"{package}.{name}" for package, names in BASICS.items() for name in names)


def refused(module: str, imported: str) -> bool:
    """Whether an import of the suite is an arrow that the design does not have."""
    if not any(inside(imported, package) for package in (*PACKAGES, "configs")):
        return False
    if module in GROUND or is_basic(module):
        return not (imported in GROUND or is_basic(imported) or inside(imported, "datamodules.readers"))
    if any(inside(imported, common) for common in COMMON):
        return False
    room = room_of(module)
    if inside(imported, "tasks") and room in (*TASKS, *SHARED, *SHIPPING, "tasks", *STEPS):
        if room_of(imported) == "tasks" and not any(inside(imported, one) for one in TASKS):
            # What lies directly below tasks/ is for every task; of it the rooms that stand under it take the basics.
            return not (is_basic(imported) or room in (*TASKS, *SHARED, *SHIPPING, "tasks"))
        if room in TASKS and inside(imported, "tasks.cli.main"):
            return False
    if inside(imported, "datamodules") and room.startswith("datamodules.") and room_of(imported) == "datamodules":
        return not is_basic(imported)
    own = () if room == "tasks" else (room,)
    return not any(inside(imported, place) for place in (*own, *ALLOWED[room]))


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_arrows_point_one_way(file: Path) -> None:
    module = name_of(file)
    # Inside the data modules the types of what is above may be named, under TYPE_CHECKING.
    types_too = not inside(module, "datamodules")
    wrong = [imported for imported in imports(file, at_run_time=not types_too) if refused(module, imported)]
    assert not wrong, f"{module} may not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("backbones.pyramid", "tasks.base"),
        ("backbones.weights", "datamodules.cases.table"),
        ("datamodules.base", "backbones.pyramid"),
        ("datamodules.readers.raster", "datamodules.cases.table"),
        ("tasks.base", "tasks.classify.task"),
        ("tasks.classify.task", "tasks.cli.parser"),
        ("tasks.segment.task", "tasks.classify.task"),
        ("tasks.evaluation.evaluate", "tasks.classify.task"),
        ("tasks.training.seeding", "tasks.base"),
        ("scansuite.errors", "tasks.base"),
        ("scansuite.version", "scansuite.front_door"),
        ("datamodules.base", "scansuite.front_door"),
        ("tasks.cli.main", "scansuite"),
        ("tasks.export.graph", "tasks.classify.task"),
        ("tasks.exported.model_file", "tasks.predictor"),
        ("tasks.serving.app", "tasks.export.graph"),
        ("tasks.cluster.submission", "tasks.cli.submit"),
        ("tasks.cluster.command_job", "tasks.training.stopping.signals"),
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
