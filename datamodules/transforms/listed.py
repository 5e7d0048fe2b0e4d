"""Albumentations classes from a list in YAML."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import albumentations

from scansuite.errors import SuiteError
from scansuite.own_parts import is_allowed, load_part, path_of

# Bases, and classes that only make sense in code or bring their own bookkeeping.
_NOT_FOR_LISTS = {"BasicTransform", "BaseCompose", "DualTransform", "ImageOnlyTransform", "Lambda", "ReplayCompose"}


@cache
def known_transforms() -> dict[str, type[Any]]:
    """Classes of the albumentations package that a list may name."""
    return {
        name: member
        for name, member in vars(albumentations).items()
        if inspect.isclass(member)
        and issubclass(member, albumentations.BasicTransform | albumentations.BaseCompose)
        and member.__module__.startswith("albumentations.")
        and not issubclass(member, albumentations.Transform3D)  # these leave a 2D image as it is, without a word
        and name not in _NOT_FOR_LISTS
    }


def transforms_from_list(entries: Sequence[Mapping[str, Any] | str | type], inside: str = "") -> list[Any]:
    """Build the transforms of a YAML list, in order.

    An entry is ``{class_path: albumentations.HorizontalFlip, init_args: {p: 0.5}}``, with a short name if you like
    (``HorizontalFlip``), or a bare name. ``OneOf`` and similar ones take such a list as ``transforms`` in
    ``init_args``. Beside classes of the albumentations package those of modules that the user allows
    (``--allow_import``) are accepted, and no others, so that a file of settings cannot run other code. In Python a
    class may stand for its path.

    Raises:
        SuiteError: an entry is of another form, names an unknown class or gives it a bad argument.
    """
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise SuiteError(f"transforms{inside}: must be a list of {{class_path, init_args}} entries")
    return [_transform(entry, f"transforms{inside}[{number}]") for number, entry in enumerate(entries)]


def listed_classes(entries: Sequence[Mapping[str, Any] | str | type]) -> list[type[Any]]:
    """Classes that such a list names, in lists within it too.

    Args:
        entries: as :func:`transforms_from_list` takes them.
    """
    found: list[type[Any]] = []
    for entry in entries:
        path, within = (
            (entry["class_path"], entry.get("init_args") or {}) if isinstance(entry, Mapping) else (entry, {})
        )
        found += [_class_of(path, "transforms"), *listed_classes(within.get("transforms") or ())]
    return found


def _transform(entry: Mapping[str, Any] | str | type, where: str) -> Any:
    if isinstance(entry, str | type):
        entry = {"class_path": entry}
    if not isinstance(entry, Mapping) or "class_path" not in entry or set(entry) - {"class_path", "init_args"}:
        raise SuiteError(f"{where}: must be a name or have class_path and init_args only, but is {entry!r}")
    cls = _class_of(entry["class_path"], where)
    name = cls.__name__
    arguments = dict(entry.get("init_args") or {})
    if "transforms" in arguments:
        arguments["transforms"] = transforms_from_list(arguments["transforms"], inside=f"{where[10:]}.transforms")
    if name == "Compose" and arguments.get("seed") is not None:
        raise SuiteError(f"{where} (Compose): leave out seed, every sample has its own")
    try:
        with warnings.catch_warnings():
            # What the library only warns about (an unknown argument, a value it then replaces by its default) is an
            # error of the user's here.
            warnings.simplefilter("error", UserWarning)
            return cls(**arguments)
    except Exception as error:
        raise SuiteError(f"{where} ({name}): {_reason(error)}") from error


def _class_of(path: str | type, where: str) -> type[Any]:
    """The class that an entry names."""
    package, _, name = (path_of(path) if isinstance(path, type) else str(path)).rpartition(".")
    if package and package.split(".")[0] != "albumentations":
        if isinstance(path, str) and not is_allowed(path):
            raise SuiteError(
                f"{where}: {path} is not of the albumentations package: it would run code of "
                f"{package.split('.')[0]!r}: allow it with --allow_import {package.split('.')[0]}"
            )
        return load_part(path, albumentations.BasicTransform, where)
    known = known_transforms()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]}?" if near else ""
        raise SuiteError(f"{where}: albumentations has no transform {name}{hint}")
    return known[name]


def _reason(error: Exception) -> str:
    """One line of what the library says; of a failed validation, each argument with its message."""
    cause = error.__cause__
    if cause is not None and hasattr(cause, "errors"):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in cause.errors())
    return " ".join(str(error).split())[:200]
