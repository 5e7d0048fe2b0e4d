"""``fit --ckpt_path FOLDER``: the run to go on with, by its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from tasks.cli.flags import value_of

log = logging.getLogger(__name__)

_FLAG = "--ckpt_path"


def named_run(argv: Sequence[str]) -> list[str]:
    """Flags of ``fit`` in which a run folder behind ``--ckpt_path`` has become ``--run_dir FOLDER --ckpt_path last``.

    Args:
        argv: as typed.

    Raises:
        SuiteError: ``--run_dir`` names another folder.
    """
    asked, folder = value_of(argv, _FLAG), value_of(argv, "--run_dir")
    if asked is None or asked == "last" or not Path(asked).is_dir():
        return list(argv)
    if folder is not None and Path(folder).resolve() != Path(asked).resolve():
        raise SuiteError(
            f"{_FLAG} {asked} and --run_dir {folder}: a run goes on in its own folder: leave --run_dir out"
        )
    log.info("%s %s: goes on from its last checkpoint", _FLAG, asked)
    words: list[str] = []
    for word in argv:
        if word.split("=", 1)[0] == _FLAG and "=" in word:
            words.append(f"{_FLAG}=last")
        else:
            words.append("last" if words and words[-1] == _FLAG else word)
    return words if folder is not None else [*words, "--run_dir", asked]
