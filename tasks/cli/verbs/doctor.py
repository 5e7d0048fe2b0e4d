"""``scansuite doctor``: what a bug report needs, and what is wrong with this installation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from scansuite.errors import SuiteError
from tasks.cli.bug_report import gathered

USAGE = """\
usage: scansuite doctor [--json]

Says what a bug report needs: machine, versions, accelerators, extras that are missing, caches and their sizes; last,
what is wrong. Neither a user name nor a path below your home stands in it. It imports torch, which takes some seconds.

  --json    the same for programs
"""


def run(argv: Sequence[str]) -> int:
    """Print the report.

    Args:
        argv: words behind ``scansuite doctor``.

    Returns:
        0, or 1 where something is wrong.
    """
    words = list(argv)
    if {"-h", "--help"} & set(words):
        print(USAGE, end="")
        return 0
    if unknown := [word for word in words if word != "--json"]:
        raise SuiteError(f"doctor {unknown[0]}: no such flag: --json is its only one")
    facts, wrong = gathered()
    if words:
        print(json.dumps({**facts, "wrong": wrong}, indent=1))
        return 1 if wrong else 0
    for subject, told in facts.items():
        if isinstance(told, str):
            print(f"{subject} {told}")
            continue
        print(f"\n{subject}")
        width = max(map(len, told), default=0)
        for name, text in told.items():
            print(f"  {name:<{width}}  {text}")
    print("\nwrong" if wrong else "\nnothing is wrong")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0
