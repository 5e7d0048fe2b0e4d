"""One plan for all processes of a training: the first rank makes it, the others take it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.cli.runs.run_dir import global_rank, launch_file
from tasks.planning.plan import REASONS, Plan

# Rank 0 tells the processes that it starts; where a launcher starts all side by side, a file named after the launch is
# looked for.
_SHARED = "SCANSUITE_PLAN_FILE"
_LONGEST = 1800  # seconds that other ranks wait: rank 0 looks at the data, and may try some steps
_STALE = 600.0  # seconds before its own start from which a rank takes a file for one of an earlier launch


@contextmanager
def sharing(task: str, plan: Plan) -> Iterator[None]:
    """Let the other processes of this training have a plan for as long as the context; of other ranks it does nothing.

    Args:
        task: name of the task.
        plan: that the first rank has made.
    """
    if global_rank() > 0:
        yield
        return
    launched = launch_file(task, "plan")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / REASONS
        write_text(file, plan.to_json())
        os.environ[_SHARED] = str(file)
        try:
            if launched is not None:
                launched.parent.mkdir(parents=True, exist_ok=True)
                write_text(launched, plan.to_json())
            yield
        finally:
            os.environ.pop(_SHARED, None)
            if launched is not None:
                with suppress(OSError):
                    launched.unlink()


def await_plan(task: str) -> str:
    """The plan of the first rank, as JSON, once it is there.

    Raises:
        SuiteError: there is none within half an hour.
    """
    began = time.time()
    named = os.environ.get(_SHARED)
    file = launch_file(task, "plan") if named is None else Path(named)
    while file is not None and time.time() - began < _LONGEST:
        with suppress(OSError):
            if named is not None or file.stat().st_mtime > began - _STALE:
                return file.read_text(encoding="utf-8")
        time.sleep(0.1)
    raise SuiteError("rank 0 has made no plan within half an hour: see what it says, or give --plan none")
