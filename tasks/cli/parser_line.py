"""One line for what the parser reports over many, without the words of Python."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from contextlib import suppress

from scansuite.errors import nearest_name
from tasks.cli.flags import init_parameters

_LONGEST = 300  # characters
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list ([a, b])",
    "tuple": "a list ([a, b])",
    "Iterable": "a list ([a, b])",
    "dict": "names with values ({name: value})",
}


def parser_line(text: str) -> str:
    """The line.

    Args:
        text: of an error of jsonargparse.
    """
    if denied := re.search(r"Importing '([\w.]+)' is not allowed", text):
        key = re.search(r'Parser key "([^"]+)"', text)
        where = f"--{key[1]} {denied[1]}" if key is not None else denied[1]
        package = denied[1].split(".")[0]
        return f"{where}: would run code of {package!r}: allow it with --allow_import {package}"
    if words := re.match(r"unrecognized arguments: (.+)", text):
        return f"{words[1]}: no flag stands before it: write --FLAG {words[1].split()[0]}, or leave it out"
    text = _first_alternative(text)
    keys = re.findall(r'Parser key "([^"]+)"', text)
    paths = re.findall(r"Problem with given class_path '([\w.]+)'", text)
    # A nested key (batch_size of a data class) is reported without its group.
    flag = ""
    if keys:
        flag = f"--{keys[0]}" if len(keys) == 1 or "." in keys[-1] else f"--{keys[0]}.{keys[-1]}"
    if option := re.search(r"Option '([^']+)' is not accepted", text):
        of = f" of {_last(paths[-1])}{_nearest_argument(paths[-1], option[1])}" if paths else ""
        return f"{flag}.{option[1]}: not a flag{of}"
    if missing := re.search(r"the following arguments are required: (\w+)", text):
        return f"{flag}: {missing[1]} of {_last(paths[-1])} is missing: give {flag}.{missing[1]}, or leave {flag} out"
    if "surrogates not allowed" in text:
        return f"{flag}: its value is not UTF-8: write it in UTF-8"
    if kinds := _expected(text):
        given = _given(text)
        return f"{flag} {given}: expected {' or '.join(kinds)}{_nearest_choice(text, given)}"
    return re.sub(r'^Parser key "([^"]+)":', r"--\1:", " ".join(text.split()))[:_LONGEST]


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _first_alternative(text: str) -> str:
    """What is wrong with the class that was named, without what is wrong where its flags are taken for its base's."""
    found = list(re.finditer(r"^( *)- Problem with given class_path", text, re.MULTILINE))
    return next((text[: one.start()] for one in found[1:] if one[1] == found[0][1]), text)


def _nearest_argument(path: str, name: str) -> str:
    """The argument nearest to a mistyped one, of a class that the parser has imported."""
    module, _, cls = path.rpartition(".")
    found = getattr(sys.modules.get(module), cls, None)
    near = nearest_name(name, sorted(init_parameters(found))) if isinstance(found, type) else None
    return f": did you mean {near!r}?" if near is not None else ""


def _given(text: str) -> str:
    """The value that was given, as it would be typed."""
    found = re.findall(r"(?:Got value|Given value): (.+)", text)
    if not found:
        return "''"
    value = re.sub(r"^NestedArg\(key='[\w.]+', val=(.*)\)$", r"\1", found[0])
    if re.fullmatch(r"-?[\d.e]+|'.*'|\".*\"|[\[({].*[\])}]|None|True|False", value):
        import yaml  # not before something is wrong

        with suppress(ValueError, SyntaxError, yaml.YAMLError):
            value = yaml.safe_dump(ast.literal_eval(value), default_flow_style=True, width=10**6)
    value = value.removesuffix("\n").removesuffix("\n...")
    return value[:_LONGEST] or "''"


def _expected(text: str) -> list[str]:
    """What is wanted, in words."""
    inner = text[text.rfind("Subtypes: ") :] if "Subtypes: " in text else text
    types = inner.split("\n", 1)[0]
    found = [one.split(". Got value", 1)[0].strip() for one in re.findall(r"Expected an? (.+)", text)]
    choices = _choices(text)
    kinds = [f"one of {', '.join(choices)}"] if choices else []
    for kind in found:
        name = _last(re.sub(r"^<class '([\w.]+)'>$", r"\1", kind))
        whole = name == "int" and ("'float'" in types or (choices and "'int'" not in types))
        if name == "NoneType" or whole or "Literal[" in kind or kind.startswith("path but "):
            continue
        kinds.append(_of_class(types) if kind.startswith("dot import path string") else _WORDS.get(name, name[:120]))
    if not kinds and "Not a valid subclass" in text:
        kinds = [_of_class(types)]
    return list(dict.fromkeys(kinds))


def _choices(text: str) -> list[str]:
    named = re.findall(r"Literal\[(.*?)\]", text)
    return list(dict.fromkeys(one.strip().strip("'") for part in named for one in part.split(",")))


def _of_class(types: str) -> str:
    """How a class is given, of the types that a flag takes."""
    bases = [path for path in re.findall(r"<class '([\w.]+)'>", types) if "." in path]
    if not bases:
        return "the name of a class"
    if _last(bases[0]).endswith("Args"):
        return _WORDS["dict"]
    return f"the name of a {_last(bases[0])}"


def _nearest_choice(text: str, given: str) -> str:
    """The nearest of what may be given, where there is one."""
    known: Sequence[str] = _choices(text)
    if not known and (base := re.search(r"<class '(pytorch_lightning\.\w+)\.", text)) is not None:
        known = getattr(sys.modules.get(base[1]), "__all__", ())
    near = nearest_name(given, known)
    return f": did you mean {near}?" if near is not None else ""
