"""Mistyped flags, answered before anything heavy is imported.

What it refuses the parser of the verb would refuse in the same words, minutes or seconds later: it asks the same
function, with the flags as they are read from the source. What cannot be read so (a data class of the user's own, a
task of another package, a run that is taken up again) is left to the parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scansuite.errors import SuiteError
from tasks.cli.config_keys import refuse_unknown_keys
from tasks.cli.flags import find_configs, given, refuse_unknown, refuse_valueless, wants_help
from tasks.cli.starting.known_flags import OWN_FLAGS_ALONE, chosen_data, flags_of, silent_keys
from tasks.cli.starting.source import UnsureError
from tasks.registry.spec import TaskSpec


def refuse_mistyped(spec: TaskSpec, verb: str, argv: Sequence[str]) -> None:
    """Stop at a flag that the verb does not have, or that lacks its value, and at a data class that is not there.

    Args:
        spec: of the task.
        verb: what is done.
        argv: flags as typed.

    Raises:
        SuiteError: names what is wrong, and the nearest right name.
    """
    if wants_help(argv) is not None or (verb in ("validate", "test") and given(argv, "--model")):
        return  # the latter has an error of its own
    typed = list(argv) if verb in OWN_FLAGS_ALONE else find_configs(argv)
    try:
        chosen = chosen_data(spec, verb, typed)
        meant = [chosen.paths] if chosen.sure else [[path] for path in chosen.paths]
        known = [flags_of(spec, verb, paths) for paths in meant]
        silent = silent_keys(spec, verb)
    except UnsureError:
        return
    said = {_wrong(typed, names) for names in known}
    if len(said) == 1 and (line := said.pop()) is not None and (chosen.sure or " --data" not in line):
        raise SuiteError(line)
    if chosen.sure and verb not in OWN_FLAGS_ALONE:
        refuse_unknown_keys(typed, known[0], silent)


def _wrong(argv: Sequence[str], known: Iterable[str]) -> str | None:
    """What is said of the first flag that is not known, or lacks its value; None where all is well."""
    try:
        refuse_unknown(argv, known)
        refuse_valueless(argv, known)
    except SuiteError as error:
        return str(error)
    return None
