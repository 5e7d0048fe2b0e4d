"""What may come next on a command line of ``scansuite``: tasks, verbs, flags and their values.

Neither shtab nor argcomplete serves: both want an argparse parser, which is there only once torch is imported, and the
flags depend on the data class that was typed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from docstring_parser import ParseError, parse

from scansuite.errors import SuiteError
from tasks.cli.choices import CHOICES
from tasks.cli.flags import OF_ALL, SHORTHANDS, find_configs, shipped_configs
from tasks.cli.starting.known_flags import TRAINER, KnownFlag, chosen_data, flags_of
from tasks.cli.starting.source import UnsureError, docstrings
from tasks.registry.spec import TaskSpec
from tasks.registry.specs import spec_of, task_names

FILES = "<files>"  # in place of values: what the shell completes itself
_LENGTH = 70  # characters of what is said of a flag


class Candidate(NamedTuple):
    """A word that may come next.

    Attributes:
        word: itself, or :data:`FILES`.
        help: what it is.
    """

    word: str
    help: str = ""


def candidates(words: Sequence[str], verbs: Mapping[str, str], beside: Mapping[str, str]) -> list[Candidate]:
    """What may stand in place of the last word.

    Args:
        words: behind ``scansuite``; the last one is being typed, and may be empty.
        verbs: of a task, with what they do.
        beside: what is of no task.
    """
    *before, word = words or [""]
    if not before:
        tasks = [Candidate(name, spec.help) for name in task_names() if (spec := _spec(name)) is not None]
        return _beginning(word, [*tasks, *(Candidate(*one) for one in beside.items())])
    if before[0] in beside and before[0] in verbs:  # of any task: its flags are the same
        return _of_verb(spec_of(next(iter(task_names()))), before[0], before[1:], word)
    if before[0] in beside:
        known = _WORDS_BESIDE[before[0]]
        return _beginning(word, map(Candidate, known)) + [Candidate(FILES)] * (before[0] in _OF_FILES)
    spec = _spec(before[0])
    if spec is None:
        return []
    if len(before) == 1:
        return _beginning(word, [Candidate(*one) for one in verbs.items()])
    return _of_verb(spec, before[1], before[2:], word)


_WORDS_BESIDE = {
    "jobs": ("list", "tail", "cancel", "--runs", "--rank", "--lines", "--follow", "--help"),
    "doctor": ("--json", "--help"),
    "clean": ("volumes", "images", "features", "hashes", "downloads", "--cache_dir", "--yes", "--help"),
    "verify": ("--trust", "--help"),
    "keys": ("make", "trust", "forget", "--name", "--help"),
    "completion": ("bash", "zsh", "fish", "--help"),
}

_OF_FILES = ("verify", "keys")


def _of_verb(spec: TaskSpec, verb: str, typed: Sequence[str], word: str) -> list[Candidate]:
    data = _data(spec, verb, typed)
    try:
        known = flags_of(spec, verb, data)
    except UnsureError:
        return [Candidate(FILES)]
    known |= {name: KnownFlag(value=False, help=text) for name, text in OF_ALL.items()}
    known |= {short: KnownFlag(value=False, help=text) for short, (of, _, text) in SHORTHANDS.items() if of in known}
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("--"):
        return [
            one if one.word == FILES else Candidate(f"{flag}={one.word}", one.help)
            for one in _values(spec, verb, flag, known.get(flag), value)
        ]
    if word.startswith("-"):
        shown = {name: one for name, one in known.items() if name.startswith(word) and ".init_args." not in name}
        return [Candidate(*one) for one in _told(spec, data, shown).items() if one[0].startswith("--")]
    last = next((number for number in reversed(range(len(typed))) if typed[number].startswith("--")), None)
    if last is None:
        return []
    open_flag = known.get(typed[last].removesuffix("+"))
    if open_flag is None or not (last == len(typed) - 1 or open_flag.several):
        return []
    return _values(spec, verb, typed[last].removesuffix("+"), open_flag, word)


def _data(spec: TaskSpec, verb: str, typed: Sequence[str]) -> Sequence[str]:
    """The data classes that may be meant by what was typed so far."""
    try:
        return chosen_data(spec, verb, find_configs(typed)).paths
    except SuiteError:
        return spec.data


def _values(spec: TaskSpec, verb: str, flag: str, known: KnownFlag | None, word: str) -> list[Candidate]:
    if known is None:
        return []
    if flag in ("--data", "--data.help") and verb != "predict":
        return _beginning(word, map(Candidate, spec.data_names()))
    if flag in ("--config", "-c"):
        shipped = [name for name in shipped_configs() if not name.startswith("slurm/")]
        return [*_beginning(word, map(Candidate, shipped)), Candidate(FILES)]
    if flag == "--ckpt_path":
        names = ["last"] if verb == "fit" else ["best", "last"]
        return [*_beginning(word, map(Candidate, names)), Candidate(FILES)]
    if not known.value:
        return []
    choices = known.choices or list(_CHOICES.get(flag, lambda: ())())
    if choices:
        return _beginning(word, map(Candidate, choices))
    return [] if known.is_number else [Candidate(FILES)]


def _settings_of_jobs() -> list[str]:
    return [name.removeprefix("slurm/") for name in shipped_configs() if name.startswith("slurm/")]


# Of flags whose type is open: what is usually typed for them.
_CHOICES = {**CHOICES, "--slurm": _settings_of_jobs}


def _beginning(word: str, found: Iterable[Candidate]) -> list[Candidate]:
    return [one for one in found if one.word.startswith(word)]


def _spec(task: str) -> TaskSpec | None:
    try:
        return spec_of(task)
    except SuiteError:
        return None


def _told(spec: TaskSpec, data: Sequence[str], known: Mapping[str, KnownFlag]) -> dict[str, str]:
    """What docstrings say of flags, in the order of the flags."""
    told: dict[str, str] = {}
    classes = data if len(data) == 1 else [spec.data_base, *data]
    for prefix, path in (*(("--data.", path) for path in classes), ("--model.", spec.task), ("--trainer.", TRAINER)):
        if any(name.startswith(prefix) for name in known):
            for text in docstrings(path):
                with suppress(ParseError):
                    told = {f"{prefix}{one.arg_name}": one.description or "" for one in parse(text).params} | told
    short = {}
    for name, flag in known.items():
        text = " ".join((flag.help or told.get(name, "")).replace("``", "").split()).split("; ")[0].rstrip(".")
        short[name] = text if len(text) <= _LENGTH else f"{text[: _LENGTH - 3]}..."
    return short
