"""URLs of data that came with a run folder: fetched where the user asks for them, not because a file says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.remote import is_url, was_fetched
from scansuite.errors import SuiteError
from tasks.cli.flags import config_files


def refuse_unasked(argv: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Refuse URLs among the flags of the data that the user has not asked for: now, in a ``--config``, or before.

    A run is taken up again with the data that its ``config.yaml`` names, and its folder may come from anyone: this
    machine, with the user's credentials, must not fetch what a stranger chose.

    Args:
        argv: flags as typed.
        settings: of the data class, those of the run's config among them.

    Raises:
        SuiteError: names the first such flag.
    """
    for name, url in settings.items():
        if not is_url(url) or was_fetched(url) or any(url in word for word in argv):
            continue
        if not any(url in Path(file).read_text(encoding="utf-8") for file in config_files(argv)):
            raise SuiteError(
                f"--data.{name} {url}: the run's config.yaml names it, and nobody on this machine has fetched it yet: "
                f"if you trust it, type --data.{name} {url}"
            )
