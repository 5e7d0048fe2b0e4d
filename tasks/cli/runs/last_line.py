"""The line that says how a command ended, handed to the command that has started it, which says more.

Such a command shares its terminal with the one that it starts: only this line is not printed there.
"""

from __future__ import annotations

import os

_NAME = "SCANSUITE_LAST_LINE"  # the descriptor that the line is written to


class _Caller:
    descriptor: int | None = None


def for_child(descriptor: int) -> dict[str, str]:
    """Variables of the environment for a command that is to hand its last line to a descriptor."""
    return {_NAME: str(descriptor)}


def find_caller() -> None:
    """Take up where the last line goes; processes that this one starts are told nothing of it."""
    if (given := os.environ.pop(_NAME, "")).isdigit():
        _Caller.descriptor = int(given)
        os.set_inheritable(_Caller.descriptor, False)


def tell_caller(line: str) -> bool:
    """Hand a line to the command that has started this one; False where nobody waits for it."""
    if _Caller.descriptor is None:
        return False
    os.write(_Caller.descriptor, f"{line}\n".encode(errors="replace"))
    return True
