"""``scansuite serve``: exported models of any task as a service."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.cli.logs import configure_logs
from tasks.cli.verb_parser import VerbParser
from tasks.cli.verbs.serve import OWN_FLAGS, serve_models
from tasks.registry.specs import task_names


class _Parser(VerbParser):
    @property
    def command(self) -> str:
        return "scansuite serve"


def run(argv: Sequence[str]) -> int:
    """Serve models of any task.

    Args:
        argv: words behind ``scansuite serve``.

    Returns:
        0, once a signal has ended it.
    """
    configure_logs()
    first = next(iter(task_names()))  # whichever: the flags are of no task
    return serve_models(_Parser(first, "serve", argv, own_flags=OWN_FLAGS, builds=False).config, None)
