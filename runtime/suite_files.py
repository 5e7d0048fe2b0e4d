"""Files of the suite that the runtime is made of: all that its own files import, read from their source.

Standard library alone: the build of the wheel runs it where nothing of the suite is installed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("scansuite", "datamodules", "tasks")
RUNTIME = Path(__file__).resolve().parent / "scansuite_runtime"
# What its own files read beside what they import.
_READ = ("datamodules.input_cases",)
# Files beside the modules that they read.
DATA = (".csv", ".css", ".js", ".html", ".json")
VERSION = "VERSION"  # file in the wheel that says of which version they are
_FORMATS = "datamodules.readers.format_table"  # names decoders in strings, as module:function
_DECODER = re.compile(r"datamodules(?:\.\w+)+:\w+")


class Closure(NamedTuple):
    """Modules that are imported, one way or another.

    Attributes:
        modules: of the suite, by dotted name, and their files.
        outside: top names of all other modules, and the modules of the suite that import them.
    """

    modules: dict[str, Path]
    outside: dict[str, list[str]]


def entries_of(runtime: Path = RUNTIME) -> list[str]:
    """Modules of the suite that the runtime's own files import."""
    imported = {name for file in sorted(runtime.glob("*.py")) for name in imported_by(file)}
    return sorted({name for name in imported if name.split(".")[0] in PACKAGES} | set(_READ))


def closure_of(root: Path, entries: Sequence[str]) -> Closure:
    """What modules of the suite import at run time, also inside functions; not what stands under TYPE_CHECKING.

    Args:
        root: folder that the packages of the suite are in.
        entries: dotted names of modules.
    """
    modules: dict[str, Path] = {}
    outside: dict[str, list[str]] = {}
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        file = _file_of(root, module)
        if module in modules or file is None:
            continue
        modules[module] = file
        waiting += _parents(module)
        named = decoders_in(file) if module == _FORMATS else ()
        for imported in (*imported_by(file), *named):
            if imported.split(".")[0] in PACKAGES:
                waiting.append(imported)
            else:
                outside.setdefault(imported.split(".")[0], []).append(module)
    return Closure(dict(sorted(modules.items())), {name: sorted(set(who)) for name, who in sorted(outside.items())})


@cache
def imported_by(file: Path) -> tuple[str, ...]:
    """Dotted names that a file imports at run time: ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(inner) for part in node.body for inner in ast.walk(part)}
    names: list[str] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def decoders_in(file: Path) -> Iterator[str]:
    """Modules of the decoders that a table of formats names."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _DECODER.fullmatch(node.value):
            yield node.value.partition(":")[0]


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _file_of(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def modules_in(root: Path, package: str) -> list[str]:
    """Dotted names of all modules of a package."""
    files = sorted(root.joinpath(*package.split(".")).rglob("*.py"))
    return [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]


def files_of(root: Path) -> list[Path]:
    """The files that come along: the modules of :func:`closure_of`, and the data beside them.

    Args:
        root: folder that the packages of the suite are in.
    """
    modules = list(closure_of(root, entries_of()).modules.values())
    folders = sorted({file.parent for file in modules})
    data = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in DATA]
    return sorted([*modules, *data])
