"""Files of the suite that the runtime is made of: all that its entry points import, read from their source.

Standard library alone: the build of the wheel runs it where nothing of the suite is installed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("scansuite", "datamodules", "tasks")
# What the runtime begins with. Whatever these import, in functions too, comes along.
ENTRIES = ("tasks.exported",)
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


def closure_of(root: Path, entries: Sequence[str] = ENTRIES) -> Closure:
    """What modules of the suite import at run time, also inside functions; not what stands under TYPE_CHECKING.

    Args:
        root: folder that the packages of the suite are in.
        entries: dotted names of modules; of a package all its modules count.
    """
    modules: dict[str, Path] = {}
    outside: dict[str, list[str]] = {}
    waiting = [module for entry in entries for module in _modules_of(root, entry)]
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


def imported_by(file: Path) -> Iterator[str]:
    """Dotted names that a file imports at run time: ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(inner) for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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


def _modules_of(root: Path, entry: str) -> list[str]:
    folder = root.joinpath(*entry.split("."))
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    return [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]
