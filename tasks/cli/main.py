"""Entry of the command line: finds the task and the verb. Nothing heavy is imported before both are known."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import allow
from scansuite.progress import shown_by
from scansuite.version import __version__
from tasks.cli.display.bar import shown
from tasks.cli.display.console import quietly
from tasks.cli.errors import guarded
from tasks.cli.flags import OF_ALL, given, in_full, values_of, wants_help, with_negatives
from tasks.cli.starting.mistyped import refuse_mistyped
from tasks.registry.specs import is_task, spec_of, task_names

# Where the flags of each are is said in tasks/cli/starting/known_flags.py too.
VERBS = {
    "check": "look at a data set before anything is trained on it",
    "show": "write a page of cases: as stored, as the model sees them, and augmented",
    "plan": "say what a training would choose for itself, from the data, this machine and the time, and why",
    "fit": "train, then evaluate the best checkpoint on validation and test",
    "sweep": "look for better settings in trainings of their own, on validation alone",
    "validate": "evaluate a checkpoint, or an ensemble, on the validation part",
    "test": "evaluate a checkpoint, or an ensemble, on the test part, or on a whole other data set",
    "predict": "apply a checkpoint, or an ensemble, to files, folders or a table",
    "explain": "show what a checkpoint looks at in files: maps, feature maps, filters, and whether to trust them",
    "export": "write a checkpoint, or an ensemble, as one file that runs without torch, compared with PyTorch",
    "report": "write a page on how good a model is, or several are, from the tables of runs or of another tool",
    "serve": "serve exported models: HTTP, a page to drop a scan on, measurements",
    "list": "show the networks that can be a backbone: size, strides, licence, tasks",
    "summary": "show a network layer by layer: sizes, receptive field, parameters, multiply-adds",
}
PLANNING = ("plan", "fit")  # those that take --quick
# Of no task.
BESIDE = {
    "jobs": "list, follow and cancel what fit --slurm has submitted",
    "serve": "serve exported models of any task; also with a folder of several",
    "doctor": "say what a bug report needs: machine, versions, accelerators, caches, extras that are missing",
    "clean": "say what the caches hold, and remove what is asked for",
    "verify": "say whether a model package is whole, who has signed it, and whether it computes the same here",
    "keys": "make a pair of keys that signs model packages; list, trust and forget public keys",
    "completion": "print what makes a shell complete tasks, verbs, flags and their values: bash, zsh or fish",
}

HELP = """\
usage: {program} VERB [flags]

verbs:
{verbs}

first steps:
{examples}
  {program} test --ckpt_path runs/{task}/1/checkpoints/best.ckpt
  {program} predict --ckpt_path runs/{task}/1/checkpoints/best.ckpt --input DIR --output OUT

flags of a verb:         {program} VERB --help
every flag of a verb:    {program} VERB --help_all
flags of a data class:   {program} fit --data.help {data}
of every verb:           --quiet (errors, warnings and results alone), --debug (errors with their traceback)
version:                 {program} --version
"""


OVERVIEW = """\
usage: scansuite TASK VERB [flags]

tasks:
{tasks}

verbs of each:
{verbs}

beside them:
{beside}

a first model, without data of your own:   scansuite classify fit
first steps of a task:                     scansuite TASK --help
flags of a verb:                           scansuite TASK VERB --help
completion by TAB, for bash, zsh, fish:    scansuite completion --help
"""


def main(task: str, argv: Sequence[str] | None = None, *, ends: bool | None = None) -> int:
    """Run ``python -m tasks.<task> <verb> ...`` or ``scansuite <task> <verb> ...``.

    Args:
        task: its name; see :mod:`tasks.registry.specs`.
        argv: verb and flags; left out: those of the process.
        ends: the process ends with the command; left out: where ``argv`` is.

    Returns:
        The exit status: 0, 1 (done, with files passed over), 2 (something the user can mend), 75 (a signal has ended it
        with everything saved: go on with ``--ckpt_path last``), 130 (interrupted).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        spec = spec_of(task)
    except SuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        verbs = _listed(VERBS, 10)
        examples = "\n".join(f"  {spec.program} {example}" for example in spec.examples)
        data = spec.data_names()[-1]
        said = HELP.format(program=spec.program, task=task, verbs=verbs, examples=examples, data=data)
        return guarded(lambda: _say(said), debug=False, ends=False)
    verb, flags = arguments[0], arguments[1:]
    if verb == "--version":
        print(f"scansuite {__version__}")
        return 0
    if verb not in VERBS:
        print(f"error: {_no_verb(verb, spec.program)}", file=sys.stderr)
        return 2
    debug, quiet = "--debug" in flags, "--quiet" in flags
    flags = with_negatives([flag for flag in flags if flag not in OF_ALL])
    # Its import otherwise asks the network for a newer release (and the newer releases have another licence).
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

    def run() -> int:
        words = in_full(flags) if verb in PLANNING else flags
        allow([*values_of(words, "--allow_import"), *spec.own_packages])
        refuse_mistyped(spec, verb, words)
        name = "submit" if verb == "fit" and given(words, "--slurm") and wants_help(words) is None else f"verbs.{verb}"
        module = importlib.import_module(f"tasks.cli.{name}")
        with quietly(quiet), shown_by(shown):
            return int(module.run(task, words))

    return guarded(run, debug=debug, ends=argv is None if ends is None else ends)


def script() -> int:
    """Run ``scansuite <task> <verb> ...``."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else "--help"
    if first in BESIDE:
        # Of a word that is a verb of each task too.
        name = f"{first}_any" if first in VERBS else first
        beside = importlib.import_module(f"tasks.cli.verbs.{name}")
        flags = [flag for flag in arguments[1:] if flag not in OF_ALL]

        def run() -> int:
            with quietly("--quiet" in arguments), shown_by(shown):
                return int(beside.run(flags))

        return guarded(run, debug="--debug" in arguments, ends=True)
    if first in ("-h", "--help", "help"):
        return guarded(lambda: _say(_help()), debug=False, ends=True)
    if first == "--version":
        print(f"scansuite {__version__}")
        return 0
    if first.startswith("-"):
        line = f"unknown flag {first}: give a task first: {', '.join(task_names())}"
    elif first in VERBS:
        line = f"{first} is a verb: name a task before it: scansuite {next(iter(task_names()))} {first}"
    elif not is_task(first):
        line = f"unknown task {first!r}: {nearest(first, [*task_names(), *BESIDE])}"
    else:
        return main(first, arguments[1:], ends=True)
    print(f"error: {line}", file=sys.stderr)
    return 2


def _help() -> str:
    """What there is: tasks, verbs, and what is of no task."""
    tasks = {name: _about(name) for name in task_names()}
    width = max(map(len, (*tasks, *VERBS, *BESIDE))) + 3
    return OVERVIEW.format(tasks=_listed(tasks, width), verbs=_listed(VERBS, width), beside=_listed(BESIDE, width))


def _listed(told: Mapping[str, str], first: int) -> str:
    """Names and what they are, side by side, as wide as the terminal; rich, which lays out tables, takes too long."""
    width = max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 118
    lines = []
    for name, text in told.items():
        beside = textwrap.wrap(text, width - first - 2)
        lines += [f"  {one:<{first}}{part}" for one, part in zip([name, *[""] * len(beside)], beside, strict=False)]
    return "\n".join(lines)


def _say(text: str) -> int:
    print(text, end="", flush=True)
    return 0


def _about(task: str) -> str:
    """What a task does; or why one of another package cannot be used."""
    try:
        return spec_of(task).help
    except SuiteError as error:
        return str(error)


def _no_verb(word: str, program: str) -> str:
    """What is said of a word that is no verb."""
    if word in BESIDE:
        return f"{word} is of no task: scansuite {word}"
    if word.startswith("-"):
        return f"{word}: a verb comes first: {program} fit {word} ...; the verbs are {', '.join(VERBS)}"
    return f"unknown verb {word!r}: {nearest(word, VERBS)}"
