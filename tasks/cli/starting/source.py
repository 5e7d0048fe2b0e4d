"""What classes are made from, read from their source: nothing is imported, so that it takes milliseconds.

It knows what the suite's own code and Lightning's use, and says :class:`UnsureError` of the rest: whoever asks then
leaves the answer to the real parser, which imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# Of what typing and abc bring no argument comes, in whatever order they stand.
_WITHOUT_ARGUMENTS = ("abc.ABC", "typing.Generic", "typing.Protocol")


class UnsureError(Exception):
    """Something that cannot be read off the source."""


class SourceClass(NamedTuple):
    """A class in its source.

    Attributes:
        path: dotted, of where it is written.
        node: of the syntax tree.
    """

    path: str
    node: ast.ClassDef

    @property
    def module(self) -> str:
        """Dotted name of its module."""
        return self.path.rpartition(".")[0]


class Argument(NamedTuple):
    """An argument of a constructor.

    Attributes:
        module: in which its type is written, so that names in it can be looked up.
        kind: its type; None where none is written.
    """

    module: str
    kind: ast.expr | None


@cache
def tree_of(module: str) -> ast.Module:
    """Syntax tree of a module.

    Raises:
        UnsureError: there is no such file.
    """
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)  # of a package without parents: nothing is imported
    except (ImportError, ValueError, AttributeError):
        spec = None
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        place = Path(folder).joinpath(*rest)
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                try:
                    return ast.parse(file.read_bytes())
                except (OSError, SyntaxError, ValueError) as error:
                    raise UnsureError(f"{file}: {error}") from None
    raise UnsureError(f"{module}: no source")


def defined(path: str) -> tuple[str, ast.stmt]:
    """Module and statement in which something is written, re-exports followed.

    Args:
        path: ``package.module.name``.

    Raises:
        UnsureError: it is not at the top of a module.
    """
    for _ in range(8):
        module, _, name = path.rpartition(".")
        found = _names(module).get(name)
        if found is None:
            raise UnsureError(f"{path}: not found")
        if isinstance(found, ast.stmt):
            return module, found
        path = found
    raise UnsureError(f"{path}: imported in a circle")


@cache
def _names(module: str) -> dict[str, ast.stmt | str]:
    """What each name at the top of a module is: a statement, or the dotted path that it is imported from."""
    found: dict[str, ast.stmt | str] = {}
    for node in _top(tree_of(module).body):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.ImportFrom(module=str(source), names=names, level=0):
                found |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in names}
    return found


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those below ``if TYPE_CHECKING`` and ``try`` too."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _top(node.body)


def dotted(module: str, node: ast.expr) -> str:
    """Dotted path of what an expression names (``Name``, ``name.Name``, ``Generic[T]``).

    Raises:
        UnsureError: it is another expression.
    """
    match node:
        case ast.Subscript(value=value):
            return dotted(module, value)
        case ast.Name(id=name):
            found = _names(module).get(name)
            return found if isinstance(found, str) else f"{module}.{name}"
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return f"{name}.{attribute}"  # of a module; nobody looks further into it
    raise UnsureError(f"{module}: {ast.dump(node)[:80]}")


@cache
def class_at(path: str) -> SourceClass:
    """The class at a dotted path.

    Raises:
        UnsureError: there is none.
    """
    module, node = defined(path)
    if not isinstance(node, ast.ClassDef):
        raise UnsureError(f"{path}: no class")
    return SourceClass(f"{module}.{node.name}", node)


@cache
def bases_of(path: str) -> tuple[SourceClass | str, ...]:
    """A class and all that it derives from, in the order in which Python looks: ``__mro__``.

    Of a class that is not of the suite there is the path alone: what it derives from is not followed.

    Raises:
        UnsureError: there is no such class, or no such order.
    """
    cls = class_at(path)
    lines: list[list[SourceClass | str]] = []
    direct: list[SourceClass | str] = []
    for base in cls.node.bases:
        name = dotted(cls.module, base)
        if name.split(".")[0] == cls.path.split(".")[0]:
            direct.append(class_at(name))
            lines.append(list(bases_of(name)))
        else:
            direct.append(name)
            lines.append([name])
    return (cls, *_merged([*lines, direct]))


def _merged(lines: list[list[SourceClass | str]]) -> list[SourceClass | str]:
    """C3 linearisation, as Python has it (functools' own is private, and wants classes)."""
    found: list[SourceClass | str] = []
    while lines := [line for line in lines if line]:
        first = next((line[0] for line in lines if not any(line[0] in other[1:] for other in lines)), None)
        if first is None:
            raise UnsureError("bases in no order")
        found.append(first)
        lines = [line[1:] if line[0] == first else line for line in lines]
    return found


@cache
def arguments_of(path: str) -> dict[str, Argument]:
    """The constructor's arguments by name, those of the parents that it hands its ``kwargs`` to included.

    As :func:`scansuite.own_parts.parameters_of` finds them in the class itself.

    Raises:
        UnsureError: they come from somewhere else.
    """
    found: dict[str, Argument] = {}
    for base in bases_of(path):
        if isinstance(base, str):
            if base in _WITHOUT_ARGUMENTS:
                continue
            raise UnsureError(f"{path}: arguments of {base}")
        if base.node.decorator_list or base.node.keywords:
            raise UnsureError(f"{base.path}: decorated")
        made = [node for node in base.node.body if getattr(node, "name", None) in ("__init__", "__new__")]
        if not made:
            continue
        if not isinstance(made[0], ast.FunctionDef) or made[0].name != "__init__" or len(made) > 1:
            raise UnsureError(f"{base.path}: made in another way")
        found = {**dict(_arguments(base.module, made[0].args)), **found}
        if made[0].args.kwarg is None:
            return found
    raise UnsureError(f"{path}: arguments of object")


def _arguments(module: str, args: ast.arguments) -> Iterator[tuple[str, Argument]]:
    for one in [*args.posonlyargs, *args.args, *args.kwonlyargs][1:]:  # without self
        yield one.arg, Argument(module, one.annotation)


def attribute_of(path: str, name: str) -> tuple[str, ast.expr]:
    """Module and value of a class's attribute, its own or that of the first parent that has it.

    Raises:
        UnsureError: none has it, or it is no plain value.
    """
    for base in bases_of(path):
        if isinstance(base, str):
            continue
        for node in base.node.body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                    return base.module, value
                case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                    return base.module, value
    raise UnsureError(f"{path}: no {name}")


def elements(module: str, node: ast.expr) -> list[ast.expr]:
    """Elements of a tuple or list, those of others that it takes in included.

    Raises:
        UnsureError: it is another expression.
    """
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            inner = [elements(*_meant(module, one.value)) if isinstance(one, ast.Starred) else [one] for one in parts]
            return [one for part in inner for one in part]
    raise UnsureError(f"{module}: {ast.dump(node)[:80]}")


def entries(module: str, node: ast.expr) -> list[tuple[str, str, ast.expr]]:
    """Entries of a dictionary with texts as keys, those of others that it takes in included: key, module, value.

    Raises:
        UnsureError: it is another expression.
    """
    if isinstance(node, ast.Name):
        module, node = _meant(module, node)
    if not isinstance(node, ast.Dict):
        raise UnsureError(f"{module}: {ast.dump(node)[:80]}")
    found: list[tuple[str, str, ast.expr]] = []
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            found += entries(*_meant(module, value))
        else:
            found.append((text_of(module, key), module, value))
    return found


def text_of(module: str, node: ast.expr) -> str:
    """The text that an expression is.

    Raises:
        UnsureError: it is none.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise UnsureError(f"{module}: {ast.dump(node)[:80]}")


def value_at(path: str) -> tuple[str, ast.expr]:
    """Module and value of a name at the top of a module (``package.module.NAME``).

    Raises:
        UnsureError: there is no such name, or it has no plain value.
    """
    where, found = defined(path)
    match found:
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return where, value
    raise UnsureError(f"{path}: no value")


def _meant(module: str, node: ast.expr) -> tuple[str, ast.expr]:
    """Module and value of what an expression names: ``NAME``, or ``Class.name``."""
    if isinstance(node, ast.Attribute):
        return attribute_of(dotted(module, node.value), node.attr)
    return value_at(dotted(module, node))


def docstrings(path: str) -> list[str]:
    """Docstrings of a class and its constructor, then of those in its package that it derives from."""
    found: list[str | None] = []
    for base in bases_of(path):
        if not isinstance(base, str):
            found.append(ast.get_docstring(base.node))
            made = [one for one in base.node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            found += map(ast.get_docstring, made)
    return [text for text in found if text]


def names_in(kind: ast.expr | None) -> set[str]:
    """Names that stand in a type."""
    return set() if kind is None else {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)}


def choices_of(module: str, kind: ast.expr | None) -> list[str]:
    """What may be typed for a value of a type, as far as that says: values of ``Literal``, ``true`` and ``false``."""
    try:
        return list(dict.fromkeys(_choices(module, kind)))
    except UnsureError:
        return []


def _choices(module: str, kind: ast.expr | None) -> Iterator[str]:
    match kind:
        case ast.Name(id="bool"):
            yield from ("true", "false")
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _choices(module, left)
            yield from _choices(module, right)
        case ast.Subscript(value=value, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            name = dotted(module, value).rpartition(".")[2]
            if name == "Literal":
                yield from (str(one.value) for one in parts if isinstance(one, ast.Constant))
            elif name in ("Optional", "Union", "list"):
                for part in parts:
                    yield from _choices(module, part)
        case ast.Name():
            try:
                where, value = value_at(dotted(module, kind))  # an alias
            except UnsureError:
                return
            yield from _choices(where, value)
