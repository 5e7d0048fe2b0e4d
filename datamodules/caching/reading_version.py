"""Version of the reading code, part of the key of all that is kept: a digest of its sources and of its libraries."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

from datamodules.readers.own_formats import own_version

# The modules that make what is kept. What they import of this package counts with them, so that there is no list to
# forget a module in, and no number that somebody forgets to raise.
_ROOTS = ("readers", "samples/slices", "segmentation/volume_labels")
_IMPORT = re.compile(r"^\s*(?:from|import)\s+datamodules\b([\w.]*)(?:\s+import\s+(?:\(([^)]*)\)|([^\n(]*)))?", re.M)
_NAMED = re.compile(r"""["']datamodules\.([\w.]+):\w+["']""")  # module:function, imported when it is used
_LIBRARIES = (
    "imagecodecs", "nibabel", "numpy", "opencv-python", "opencv-python-headless", "pillow", "pydicom", "SimpleITK",
    "tifffile",
)  # fmt: skip


# Parents that count by nothing: they read no files.
_NOT_OURS = (
    "abc",
    "builtins",
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "pytorch_lightning",
    "torch",
    "typing",
)


def behaviour(*more: str) -> str:
    """A digest of the source text of all that reads and cuts files, and of the versions of the decoding libraries.

    It is part of the key of everything that is kept, so that nothing that an older reader made stays in use. Where the
    sources are not there the version of the package stands for them. Readers of the user's count where there are any.

    Args:
        more: modules that make what is kept beside those that read and cut; what they import counts too.
    """
    own = own_version()
    return f"{_of_the_suite(more)}-{own}" if own else _of_the_suite(more)


@cache
def _of_the_suite(more: tuple[str, ...]) -> str:
    return digest_of(resources.files("datamodules"), more)


def of_classes(*classes: type) -> str:
    """A digest of the files of some classes and of their parents, as far as they have any: own data classes too."""
    return of_modules(*(base.__module__ for cls in classes for base in cls.__mro__))


def of_modules(*names: str) -> str:
    """A digest of the files of some modules that have been imported, as far as they have any.

    Args:
        names: in any order, each as often as it comes.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(set(names)):
        if name.split(".")[0] in _NOT_OURS:
            continue
        file = getattr(sys.modules.get(name), "__file__", None)
        digest.update(f"{name}\0".encode())
        with suppress(OSError, TypeError):
            digest.update(Path(str(file)).read_bytes())
    return digest.hexdigest()


def digest_of(package: Traversable, more: tuple[str, ...] = ()) -> str:
    """The digest of a copy of this package: a folder, or one inside a zip."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        for name, text in sorted(sources(package, more).items()):
            digest.update(f"{name}\0".encode() + text + b"\0")
    except OSError:
        digest.update(f"scansuite {_version('scansuite')}".encode())
    digest.update(" ".join(f"{name} {_version(name)}" for name in _LIBRARIES).encode())
    return digest.hexdigest()


def sources(package: Traversable, more: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Path in the package, without suffix -> text, of the modules that count.

    Raises:
        OSError: the package has been installed without its sources.
    """
    found: dict[str, bytes] = {}
    waiting = [name for root in (*_ROOTS, *more) for name in _modules(package, root)]
    if not waiting:
        raise FileNotFoundError("no sources")
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _file(package, name).read_bytes()
            imported = _imported(found[name].decode("utf-8"))
            waiting += [one for one in imported if one not in found and _file(package, one).is_file()]
    return found


def _file(package: Traversable, name: str) -> Traversable:
    return package.joinpath(*f"{name}.py".split("/"))


def _modules(package: Traversable, name: str) -> list[str]:
    """A module, or those in a folder."""
    place = package.joinpath(*name.split("/"))
    if not place.is_dir():
        return [name]
    return [f"{name}/{file.name.removesuffix('.py')}" for file in place.iterdir() if file.name.endswith(".py")]


def _imported(text: str) -> Iterator[str]:
    """What may be a module of the package that a module imports: ``from datamodules.x import y`` means x, or x/y."""
    yield from (module.replace(".", "/") for module in _NAMED.findall(text))
    for module, several, some in _IMPORT.findall(text):
        path = module.removeprefix(".").replace(".", "/")
        yield path
        yield from (f"{path}/{name.split(' as ')[0].strip()}".lstrip("/") for name in (several or some).split(","))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
