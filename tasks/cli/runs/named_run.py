"""``fit --ckpt_path FOLDER``: the run to go on with, by its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from tasks.cli.flags import value_of
from tasks.cli.runs.run_data import saved_data
from tasks.cli.runs.run_dir import CHECKPOINTS

log = logging.getLogger(__name__)

_FLAG = "--ckpt_path"


def named_run(argv: Sequence[str]) -> list[str]:
    """Flags of ``fit`` in which a run folder behind ``--ckpt_path`` has become ``--run_dir FOLDER --ckpt_path last``.

    Args:
        argv: as typed.

    Raises:
        SuiteError: the folder is of no run, or ``--run_dir`` names another one.
    """
    asked, given = value_of(argv, _FLAG), value_of(argv, "--run_dir")
    if asked is None or asked == "last" or not Path(asked).is_dir():
        return list(argv)
    folder = Path(asked).parent if Path(asked).name == CHECKPOINTS else Path(asked)
    if not (saved_data(folder).has_begun or (folder / "fold_0").is_dir()):
        raise SuiteError(f"{_FLAG} {folder}: is no run folder: leave {_FLAG} out, or give the folder of a run")
    if given is not None and Path(given).resolve() != folder.resolve():
        raise SuiteError(f"{_FLAG} {asked} and --run_dir {given}: a run goes on in its own folder: leave --run_dir out")
    log.info("%s %s: goes on from its last checkpoint", _FLAG, asked)
    words: list[str] = []
    for word in argv:
        if word.split("=", 1)[0] == _FLAG and "=" in word:
            words.append(f"{_FLAG}=last")
        else:
            words.append("last" if words and words[-1] == _FLAG else word)
    return words if given is not None else [*words, "--run_dir", str(folder)]
