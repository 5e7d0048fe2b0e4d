"""File formats of the user's: registered by a module that ``--data.readers`` names. See ``docs/extending.md``."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from datamodules.readers import format_table
from datamodules.readers.format_table import BEGINNING, Format, known_formats, own_formats
from scansuite.errors import SuiteError
from scansuite.own_parts import allow, allowed, import_allowed

_PACKED = (".gz", ".zip", ".npz")
_registering: dict[str, str] = {}  # name of a format -> the module that registered it
_loaded: set[str] = set()  # modules that were named


def register(new: Format) -> None:
    """Add a format, in this process; called by a module when it is imported.

    Raises:
        SuiteError: its name, a suffix or a beginning is taken or cannot be, or it has no decoder.
    """
    where = f"the file format {new.name!r}"
    others = [one for one in known_formats() if one.name != new.name or one not in own_formats()]
    if new.name in [one.name for one in others]:
        raise SuiteError(f"{where}: the suite reads one of this name: give another name")
    if (new.image is None) == (new.volume is None):
        raise SuiteError(f"{where}: needs the decoder of an image or of a volume, and not both")
    for suffix in new.suffixes or ("",):
        if not re.fullmatch(r"\.[a-z0-9_-]*[a-z_-][a-z0-9_-]*", suffix):
            raise SuiteError(f"{where}: the suffix {suffix!r} must be a point and lower-case letters, such as '.abc'")
        taken = next((one.name for one in others if suffix in one.suffixes), "what is packed" * (suffix in _PACKED))
        if taken:
            raise SuiteError(f"{where}: the suffix {suffix} is that of {taken}: take another")
    for start in new.begins:
        if not 2 <= len(start) <= BEGINNING:
            raise SuiteError(f"{where}: begins with {start!r}: 2 to {BEGINNING} bytes tell a format")
        for other in others:
            if any(its.startswith(start) or start.startswith(its) for its in other.begins):
                raise SuiteError(f"{where}: {other.name} begins with {start!r} too: leave 'begins' out")
    format_table.add_own(new)
    _registering[new.name] = str(sys._getframe(1).f_globals.get("__name__"))
    own_version.cache_clear()


class OwnReaders(tuple[str, ...]):
    """Names of modules that have registered formats. Unpickled in another process, they are imported there too."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (tuple(self), allowed())


def _load_again(modules: tuple[str, ...], names: tuple[str, ...]) -> OwnReaders:
    allow(names)
    return load_readers(modules)


def load_readers(modules: Iterable[str] | str | None) -> OwnReaders:
    """Import modules that register formats.

    Args:
        modules: dotted names, as in ``--data.readers``, or one text with commas between them.

    Raises:
        SuiteError: a module is not allowed (``--allow_import``), cannot be imported, or registers nothing.
    """
    names = tuple(name.strip() for name in (modules.split(",") if isinstance(modules, str) else modules or ()))
    for name in names:
        before = own_formats()
        import_allowed(name, f"--data.readers {name}")
        if name not in _loaded and own_formats() == before and name not in _registering.values():
            raise SuiteError(
                f"--data.readers {name}: registers no file format: it must call register(Format(...)) when it is "
                "imported"
            )
        _loaded.add(name)
    own_version.cache_clear()
    return OwnReaders(names)


@cache
def own_version() -> str:
    """A digest of the sources that read formats of the user's; empty where there are none.

    Counted are the modules that register, those of the decoders, and what they import of their own packages.
    """
    decoders = [part for one in own_formats() for part in (one.image, one.frames, one.volume)]
    waiting = {str(getattr(decoder, "__module__", "")) for decoder in decoders if callable(decoder)}
    waiting |= {decoder.partition(":")[0] for decoder in decoders if isinstance(decoder, str)}
    waiting |= {_registering[one.name] for one in own_formats()} | (_loaded if own_formats() else set())
    texts: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        text = _source(name)
        if name not in texts and text is not None:
            texts[name] = text
            waiting |= {one for one in _imports(name, text) if one.split(".")[0] == name.split(".")[0]}
    digest = hashlib.blake2b(digest_size=8)
    for name, text in sorted(texts.items()):
        digest.update(f"{name}\0".encode() + text + b"\0")
    return digest.hexdigest() if own_formats() else ""


def _source(name: str) -> bytes | None:
    """The source text of a module; None where there is no such module, or no text."""
    try:
        spec = find_spec(name)
        return Path(spec.origin).read_bytes() if spec is not None and spec.origin is not None else None
    except (ImportError, ValueError, OSError, AttributeError):  # also: a parent that is no package, __main__
        return None


def _imports(name: str, text: bytes) -> Iterator[str]:
    """What may be a module that a module imports, anywhere in it."""
    spec = find_spec(name)
    package = "" if spec is None else spec.parent or ""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = resolve_name("." * node.level + module, package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
