"""Where the suite's files are that the runtime works with. Standard library alone."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = HERE / "suite"  # of a wheel
_REPOSITORY = HERE.parents[1]
_NAMES = ("scansuite", "datamodules", "tasks")


def _own_version() -> str:
    file = SUITE / "VERSION"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    import tomllib

    project = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"{project['version']} (source tree)"


__version__ = _own_version()


def join_suite() -> None:
    """Let ``scansuite``, ``datamodules`` and ``tasks`` be imported: the whole suite's, or else the wheel's own files.

    They lie in a folder of the runtime's, so that installing or removing one distribution never touches a file of the
    other. Where the whole suite is installed too it is what runs, since one process has one ``scansuite``; a line says
    so where it is of another version.

    Raises:
        ImportError: something else has one of these names in this process already.
    """
    for name in _NAMES:
        loaded = sys.modules.get(name)
        if loaded is not None and not _is_suite(Path(next(iter(getattr(loaded, "__path__", [])), ""))):
            raise ImportError(
                f"scansuite_runtime needs the name {name!r}, which is {getattr(loaded, '__file__', None)} in this "
                "process: import it in a process of its own"
            )
    whole = _whole_suite()
    if whole is None:
        own = SUITE if SUITE.is_dir() else _REPOSITORY
        if str(own) not in sys.path:
            sys.path.insert(0, str(own))
    elif SUITE.is_dir():
        _tell_other_version()


def _whole_suite() -> Path | None:
    """Folder of the whole suite, if it can be imported."""
    found = find_spec("scansuite")
    for place in (found.submodule_search_locations if found is not None else None) or ():
        folder = Path(place)
        if folder.parent != SUITE and (folder / "front_door.py").is_file():
            return folder
    return None


def _is_suite(folder: Path) -> bool:
    """Whether a package of one of our names is the suite's."""
    return (folder.parent / "scansuite" / "errors.py").is_file()


def _tell_other_version() -> None:
    from importlib import metadata

    try:
        other = metadata.version("scansuite")
    except metadata.PackageNotFoundError:
        return
    if other != __version__:
        print(
            f"scansuite {other} is installed beside scansuite-runtime {__version__}: the files of scansuite {other} "
            "are used; install both in one version, or the runtime in an environment of its own",
            file=sys.stderr,
        )
