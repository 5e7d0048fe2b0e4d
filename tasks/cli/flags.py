"""Flags as the user typed them: unknown ones are refused with the nearest right one, shipped configs found by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import parameters_of
from scansuite.words import plain_words
from tasks.cli.synonyms import meant
from tasks.registry.specs import SPECS, spec_of

_SHORT = re.compile(r"-[A-Za-z]\w*(=.*)?")  # -lr, -b=8: a flag of other programs; a negative number is none

_NEGATIVES = re.compile(r"-\.?\d[\d.eE+-]*[,:;/ ][-+\d.,:;/eE ]*")  # -100,300 and -600:1500


def value_of(argv: Sequence[str], flag: str) -> str | None:
    """The last value given to a flag, or None."""
    found = None
    for position, word in enumerate(argv):
        if word == flag and position + 1 < len(argv):
            found = argv[position + 1]
        elif word.startswith(f"{flag}="):
            found = word.split("=", 1)[1]
    return found


def pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of each flag with the word that is its value; that is empty where nothing follows."""
    found = []
    for position, word in enumerate(argv):
        if word.startswith("-"):
            flag, _, inline = word.partition("=")
            found.append((flag, inline or (argv[position + 1] if position + 1 < len(argv) else "")))
    return found


def values_of(argv: Sequence[str], flag: str) -> list[str]:
    """Values given to a flag that takes several, up to the next flag."""
    found: list[str] = []
    taking = False
    for word in argv:
        if word.startswith("-"):
            taking = word.split("=", 1)[0] == flag
            found = [] if taking else found  # as with every flag the last one counts
            if taking and "=" in word:
                found = [word.split("=", 1)[1]]
        elif taking:
            found.append(word)
    return found


def wants_help(argv: Sequence[str]) -> Literal["short", "all", "other"] | None:
    """Kind of help that is asked for: the short one, that of every flag, another (``--data.help NAME``), or None."""
    flags = {word.split("=", 1)[0] for word in argv if word.startswith("-")}
    if {"-h", "--help"} & flags:
        return "short"
    if "--help_all" in flags:
        return "all"
    return "other" if any(flag.endswith(".help") for flag in flags) else None


def given(argv: Sequence[str], flag: str) -> bool:
    """Whether a flag, or one below it (``--data.root`` for ``--data``), was typed."""
    return any(word.split("=", 1)[0] == flag or word.startswith(f"{flag}.") for word in argv)


def init_parameters(cls: type) -> set[str]:
    """Names of the constructor's parameters, those of the parents it hands ``kwargs`` to included."""
    return set(parameters_of(cls))


def refuse_unknown(argv: Sequence[str], known: Iterable[str]) -> None:
    """Stop at the first flag that is not known.

    Args:
        argv: words as typed.
        known: full names (``--model.lr``); what is below a known name (``--model.backbone_args.x``) is left to the
            parser.

    Raises:
        SuiteError: names the nearest right flag.
    """
    names = set(known)
    for word in argv:
        if not (word.startswith("--") or _SHORT.fullmatch(word)):
            continue
        name = word.split("=", 1)[0].removesuffix("+")
        parents = [name]
        while "." in parents[-1]:
            parents.append(parents[-1].rsplit(".", 1)[0])
        nested = [parent for parent in parents if parent in names and parent not in ("--data", "--model", "--trainer")]
        if name in names or nested:
            continue
        near = meant(name, names)
        raise SuiteError(f"unknown flag {name}" + (f": did you mean {near}?" if near else ": see --help_all"))


# Flags of every verb, which its parser does not see.
OF_ALL = {"--quiet": "errors, warnings and results alone", "--debug": "show the traceback of an error"}
MAY_BE_BLANK = ("--data.separator",)  # cells may stand between blanks
# Flags typed alone that stand for another one with its value, in the verbs that have that one; with what help says.
SHORTHANDS = {"--quick": ("--quality", "quick", "a first look in two minutes: the same as --quality quick")}
# Flags that are typed without a value, or may be.
VALUELESS = ("-h", "--help", "--help_all", "--print_config", "--data.help", *OF_ALL)


def with_negatives(argv: Sequence[str]) -> list[str]:
    """Flags with a value of several numbers of which the first is negative (``--data.window -600:1500``) as one word.

    A parser takes a word that begins with a dash, and is no single number, for a flag.
    """
    words: list[str] = []
    for word in argv:
        if words and _NEGATIVES.fullmatch(word) and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] = f"{words[-1]}={word}"
        else:
            words.append(word)
    return words


def in_full(argv: Sequence[str]) -> list[str]:
    """Flags in which shorthands (``--quick``) have become what they stand for (``--quality quick``).

    Args:
        argv: as typed.

    Raises:
        SuiteError: the flag that one stands for says something else.
    """
    words = list(argv)
    for short, (flag, value, _) in SHORTHANDS.items():
        typed = value_of(words, flag)
        if short in words and typed not in (None, value):
            raise SuiteError(f"{short} with {flag} {typed}: {short} is {flag} {value}: leave one of the two out")
        words = [part for word in words for part in ((flag, value) if word == short else (word,))]
    return words


def refuse_valueless(argv: Sequence[str], known: Iterable[str]) -> None:
    """Stop at the first flag whose value is missing: where another flag follows, or nothing.

    Args:
        argv: words as typed.
        known: full names.

    Raises:
        SuiteError: names the flag.
    """
    names = set(known) - set(VALUELESS)
    for word, following in zip_longest(argv, argv[1:]):
        if word in names and (following is None or following.split("=", 1)[0].removesuffix("+") in names):
            after = "" if following is None else f": {following} follows"
            raise SuiteError(f"{word}: its value is missing{after}: give {word} VALUE, or leave it out")
        flag, inline, value = word.partition("=")
        value = value if inline else following or ""
        if flag in names and (word == flag or inline) and not value.strip() and flag not in MAY_BE_BLANK:
            raise SuiteError(f"{flag} '{value}': its value is blank: give {flag} VALUE, or leave it out")


def no_data_class(task: str, name: str, flag: str) -> SuiteError:
    """What is said of a name that is no data class of a task."""
    others = {name for other in SPECS for name in spec_of(other).data_names()}
    what = f"no data class of {task}" if name in others else "no such data class"
    return SuiteError(f"{flag} {name}: {what}: {nearest(name, spec_of(task).data_names())}")


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the suite: ``experiment/medmnist`` -> file."""
    folder = Path(str(resources.files("configs")))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def find_configs(argv: Sequence[str]) -> list[str]:
    """Replace names of shipped configs by their files; a file of the user's wins.

    Raises:
        SuiteError: neither a file nor a shipped config; the nearest name is given.
    """
    words = list(argv)
    for position, word in enumerate(words):
        flag, _, inline = word.partition("=")
        if flag not in ("--config", "-c"):
            continue
        name = inline or (words[position + 1] if position + 1 < len(words) else "")
        if not name or Path(name).is_file():
            continue
        if Path(name).is_dir() and not name.startswith("experiment"):
            raise SuiteError(f"--config {name}: is a folder: name a YAML file")
        # Those of slurm/ are settings of jobs, which --slurm takes.
        shipped = {key: file for key, file in shipped_configs().items() if not key.startswith("slurm/")}
        key = name.removeprefix("configs/").removesuffix(".yaml")
        if key not in shipped:
            hint = nearest(key, shipped)
            raise SuiteError(f"--config {name}: no such file, and no config of that name is shipped: {hint}")
        if inline:
            words[position] = f"{flag}={shipped[key]}"
        else:
            words[position + 1] = str(shipped[key])
    return words


def config_files(argv: Sequence[str]) -> list[str]:
    """The files of ``--config``, in the order in which they count.

    Raises:
        SuiteError: neither a file nor a shipped config.
    """
    return [value for flag, value in pairs(find_configs(argv)) if flag in ("--config", "-c") and value]


def read_config(file: Path, flag: str = "--config") -> Any:
    """What a config holds.

    Args:
        file: YAML.
        flag: that names it, for the message.

    Raises:
        SuiteError: it cannot be read, or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SuiteError(f"{flag} {file}: cannot be read: {plain_words(error)}") from None


def section_of(file: Path, name: str) -> dict[str, Any]:
    """A section of a config; empty where there is none.

    Raises:
        SuiteError: see :func:`read_config`.
    """
    values = read_config(file)
    section = values.get(name) if isinstance(values, dict) else None
    return section if isinstance(section, dict) else {}
