"""Parts of the user's own, named by dotted path, and whose modules may be imported. Standard library alone.

A path in a flag, a ``config.yaml`` or a checkpoint runs code when it is imported. So it is followed only into packages
that the suite stands on (:data:`TRUSTED`) and into modules that the user has allowed (``--allow_import``), and only to
a class of the kind that is wanted there.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from scansuite.errors import SuiteError, nearest

T = TypeVar("T")
Part: TypeAlias = str | type  # a dotted path; in Python also the class

SUITE = ("scansuite", "backbones", "datamodules", "tasks")
# What the suite stands on; it is imported anyway.
TRUSTED = (
    *SUITE,
    *("torch", "torchvision", "pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics"),
    *("timm", "albumentations", "segmentation_models_pytorch"),
)


class PartError(SuiteError):
    """A part of the user's cannot be had: its module is not allowed, is missing or fails, or has no such class."""


_NO_PART = "a {} was given as a part: give its class or a dotted path, and what it is made from beside it (loss_args)"
_allowed: set[str] = set()
_given: dict[str, type] = {}  # classes that were handed over in Python, by their paths


def allow(modules: Iterable[str]) -> None:
    """Let parts be imported from these modules and what is below them, in this process; nothing is imported yet.

    The working folder is searched last, as ``python -m`` has it first, so that the installed command finds a module
    that lies there.

    Args:
        modules: dotted names (``mypkg``, ``mypkg.losses``), as in ``--allow_import``.

    Raises:
        SuiteError: a text is no name of a module.
    """
    names = list(modules)
    for name in names:
        if not all(word.isidentifier() for word in name.split(".")):
            raise SuiteError(f"--allow_import {name}: is no name of a module: give it as import does (mypkg)")
    _allowed.update(names)
    if names and not {"", os.getcwd()} & set(sys.path):  # noqa: PTH109 - pathlib is slow to import
        sys.path.append(os.getcwd())  # noqa: PTH109


def allowed() -> tuple[str, ...]:
    """What :func:`allow` was given, sorted: for the command line of another process."""
    return tuple(sorted(_allowed))


def is_path(name: Part) -> bool:
    """Whether it is a dotted path, or a class, and not the name of a part that comes with the suite.

    Raises:
        PartError: it is an object or a function.
    """
    if not isinstance(name, (str, type)):
        raise PartError(_NO_PART.format(type(name).__name__))
    return isinstance(name, type) or "." in name


def is_allowed(path: str) -> bool:
    """Whether a dotted path may be imported without asking."""
    return any(path == name or path.startswith(f"{name}.") for name in (*TRUSTED, *_allowed))


def path_of(cls: type) -> str:
    """The dotted path under which a class is kept in ``config.yaml`` and checkpoints."""
    return f"{cls.__module__}.{cls.__qualname__}"


def as_paths(value: Any) -> Any:
    """A value of a flag in plain types: classes in it, however deep, become their paths and are known by them."""
    if isinstance(value, type):
        _given[path_of(value)] = value
        return path_of(value)
    if isinstance(value, Mapping):
        return {key: as_paths(item) for key, item in value.items()}
    return type(value)(map(as_paths, value)) if type(value) in (list, tuple) else value


def own_paths(values: Mapping[str, Any]) -> list[str]:
    """Dotted paths of parts that are not trusted without asking, among the arguments of a model.

    Args:
        values: by the name of the argument; ``metrics`` may be a list.
    """
    named: list[Any] = [values.get(name) for name in ("loss", "head", "decoder", "detector", "box_loss", "class_loss")]
    named += values["metrics"] if isinstance(values.get("metrics"), list) else [values.get("metrics")]
    network = str(values.get("backbone", ""))
    named += [network] if network.count(".") > 1 or is_allowed(network) else []  # timm's have one point at most
    paths = [one.get("class_path") if isinstance(one, Mapping) else one for one in named]
    ours = [path for path in paths if isinstance(path, str) and is_path(path)]
    return [path for path in dict.fromkeys(ours) if not path.startswith(tuple(f"{name}." for name in TRUSTED))]


def load_part(path: Part, base: type[T], flag: str) -> type[T]:
    """The class at a dotted path.

    Args:
        path: ``module.Class``; or the class itself, which is then known by its path for the rest of the process.
        base: what it must be a subclass of.
        flag: that named it, for messages.

    Raises:
        PartError: the module is not allowed, is missing or fails; there is no such class in it, or one of another
            kind, or one that lacks methods.
    """
    if isinstance(path, type):
        _given[path_of(path)] = path
        return _checked(path, base, f"{flag} {path_of(path)}")
    if not isinstance(path, str):
        raise PartError(f"{flag}: {_NO_PART.format(type(path).__name__)}")
    if path in _given:
        return _checked(_given[path], base, f"{flag} {path}")
    where = f"{flag} {path}"
    module, _, name = path.rpartition(".")
    if not all(word.isidentifier() for word in path.split(".")) or not module:
        raise PartError(f"{where}: is no dotted path: give it as mypkg.mymodule.MyClass")
    if module == "__main__":
        raise PartError(
            f"{where}: was written in a script or notebook: move it to a module of its own, or hand it over"
        )
    if not is_allowed(path):
        package = module.split(".")[0]
        raise PartError(
            f"{where}: would run code of {package!r}: allow it with --allow_import {package} (in Python give the class)"
        )
    found = import_allowed(module, where)
    if not isinstance(getattr(found, name, None), type):
        fitting = [key for key, value in vars(found).items() if isinstance(value, type) and issubclass(value, base)]
        raise PartError(f"{where}: {module} has no class {name!r}" + (f": {nearest(name, fitting)}" if fitting else ""))
    return _checked(getattr(found, name), base, where)


def import_allowed(module: str, where: str) -> Any:
    """Import a module that is allowed; what it raises becomes one line.

    Raises:
        PartError: it is not allowed, is missing, or fails.
    """
    package = module.split(".")[0]
    if not is_allowed(module):
        raise PartError(f"{where}: would run code of {package!r}: allow it with --allow_import {package}")
    try:
        return importlib.import_module(module)
    except SuiteError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise PartError(
                f"{where}: there is no module {error.name!r}: it must be installed, or lie in the working folder"
            ) from error
        text = " ".join(str(error).split())[:200]
        raise PartError(f"{where}: the module {module} cannot be imported: {type(error).__name__}: {text}") from error


def refuse_unknown_arguments(cls: type, args: Iterable[str], flag: str, given: Iterable[str] = ()) -> None:
    """Refuse names that are no arguments of a class.

    Args:
        cls: the class.
        args: names of what the user gives.
        flag: where they stand, for messages (``--model.loss_args``).
        given: names of what the suite gives; they may not be given again.

    Raises:
        SuiteError: an argument is unknown (the nearest is named), or the suite's.
    """
    taken = set(given)
    named = [name for name in arguments_of(cls) if name not in taken]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
    for key in args:
        if key in taken:
            raise SuiteError(f"{flag}: {key} comes from the suite: leave it out")
        if key not in named and not open_ended:
            what = nearest(key, named) if named else "it takes none"
            more = f" ({cls.__name__} takes {', '.join(named)})" if what.startswith("did") else ""
            raise SuiteError(f"{flag}: {cls.__name__} takes no argument {key!r}: {what}{more}")


def check_arguments(cls: type, args: Mapping[str, Any], flag: str, given: Iterable[str] = ()) -> None:
    """See that a class can be made with these arguments.

    Args:
        cls: the class.
        args: what the user gives, by name.
        flag: where they stand, for messages (``--model.loss_args``).
        given: names of what the suite gives; they may not be given again.

    Raises:
        SuiteError: an argument is unknown (the nearest is named), the suite's, or missing.
    """
    there = {*given, *args}
    refuse_unknown_arguments(cls, args, flag, given)
    parameters = inspect.signature(cls).parameters
    missing = [name for name in arguments_of(cls) if parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in missing if name not in there]
    if missing:
        raise SuiteError(f"{flag}: {cls.__name__} needs {', '.join(missing)}")


def arguments_of(cls: type) -> list[str]:
    """Names of the arguments that a class's constructor shows."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in inspect.signature(cls).parameters.values() if one.kind in kinds]


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, those of the parents that it hands its ``kwargs`` to included."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
            for one in parameters:
                if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
                    found.setdefault(one.name, one)
            if not any(one.kind is one.VAR_KEYWORD for one in parameters):
                break
    return found


def named_by(cls: type, offered: Mapping[str, Any], args: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of what the suite offers to a part, what its constructor has an argument for and the user does not give.

    Args:
        cls: of the part.
        offered: by the suite, by name.
        args: of the user's, by name; they go before what is offered.
    """
    names = set(arguments_of(cls)) - set(args or {})
    return {name: value for name, value in offered.items() if name in names}


def refuse_arguments(flag: str, name: str | type | None, args: Mapping[str, Any] | None) -> None:
    """Refuse arguments for a part that comes with the suite: its own flags are its arguments.

    Args:
        flag: of the part, without ``--model.``.
        name: of the part; empty where none was named.
        args: what was given in ``<flag>_args``.

    Raises:
        SuiteError: there are some.
    """
    if args:
        what = f"{name} takes none" if name else f"there is no --model.{flag}"
        raise SuiteError(
            f"--model.{flag}_args: {what}: they are of one of your own, --model.{flag} mypkg.mymodule.MyPart"
        )


def make_part(cls: type[T], args: Mapping[str, Any] | None, flag: str, given: Mapping[str, Any] | None = None) -> T:
    """An object of a class, from the user's arguments and those that the suite gives.

    Args:
        cls: the class.
        args: of the user's, by name.
        flag: that named the class (``--model.loss``); its arguments stand in ``<flag>_args``.
        given: of the suite's, by name.

    Raises:
        SuiteError: arguments do not fit (:func:`check_arguments`), or the constructor refuses them.
    """
    check_arguments(cls, args or {}, f"{flag}_args", given or ())
    try:
        return cls(**(given or {}), **(args or {}))
    except SuiteError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise SuiteError(f"{flag} {path_of(cls)}: cannot be made: {type(error).__name__}: {text}") from error


def _checked(cls: type, base: type[T], where: str) -> type[T]:
    if not issubclass(cls, base):
        raise SuiteError(f"{where}: must be a subclass of {path_of(base)}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise SuiteError(f"{where}: has no {missing}, which every {base.__name__} must have")
    return cls
