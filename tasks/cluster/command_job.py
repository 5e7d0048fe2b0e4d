"""A command as a job: what submitit pickles. It starts the command line as a child process and requeues the job.

On the node it imports the standard library and submitit alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tasks.cluster.job_file import note_end

# "Stopped before its time and saved: go on", of sysexits.h. What tasks/training/stopping/callback.py ends a run with.
STOPPED = 75
# What says "stop, save": SLURM's signal before the limit (submitit: SIGUSR2), and what people send by hand.
_ASKING = (signal.SIGUSR1, signal.SIGUSR2)


class CommandJob:
    """A command that goes on where it stopped, each time that the job starts anew.

    Every task of a job runs it once: ranks come to the command by SLURM's variables.

    SLURM sends its signals to every process of a job. The one before the time limit (SIGUSR2) is ignored by the command
    and all that it starts: this process alone acts on it, and passes it on as SIGUSR1, once. SIGTERM (scancel,
    preemption) everybody gets; the job is then not requeued from here: somebody has cancelled it, or SLURM itself
    starts it anew.

    Args:
        first: the command.
        again: the command where ``begun`` is there and the job starts anew.
        folder: of the run.
        begun: file that says that the run has begun.
        unset: variables of the environment that the command must not see.
    """

    def __init__(
        self, first: Sequence[str], again: Sequence[str], folder: Path, begun: Path, unset: Sequence[str] = ()
    ) -> None:
        # Plain types: the pickle is read where the suite may lie in another place.
        self.first, self.again = list(first), list(again)
        self.folder, self.begun, self.unset = str(folder), str(begun), list(unset)
        self.restarted = False

    def __call__(self) -> int:
        """Run the command to its end.

        Returns:
            0, or 75 on other ranks than the first, where the job is being requeued.

        Raises:
            SystemExit: the command failed, with its status, or the job has been requeued.
        """
        from submitit import JobEnvironment

        environment = JobEnvironment()
        first, name = environment.global_rank == 0, str(environment.job_id)
        requeue = _handler_of_submitit()
        if first:
            note_end(Path(self.folder), None, name)
        status, asked = self._run()
        # Killed by the signal itself: it had not yet begun to train.
        stopped = status in (STOPPED, -signal.SIGUSR1) and asked != signal.SIGTERM
        if first:
            note_end(Path(self.folder), status, name, requeued=stopped and requeue is not None)
        if stopped and requeue is not None:
            if not first:
                return STOPPED  # ended well: srun must not take the first rank along before it has requeued the job
            self._requeue(requeue, name)
        if status != 0:
            raise SystemExit(status if status > 0 else 128 - status)
        return 0

    def checkpoint(self) -> Any:
        """What submitit starts when the job is requeued."""
        from submitit.helpers import DelayedSubmission

        self.restarted = True
        return DelayedSubmission(self)

    def command(self) -> list[str]:
        """The command of this start.

        Ranks must agree on it while the first one writes the file that says that the run has begun: it counts where the
        job was started before.
        """
        restarted = self.restarted or int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
        return self.again if restarted and Path(self.begun).is_file() else self.first

    def _run(self) -> tuple[int, int | None]:
        """Exit status of the command, and the first signal that came."""
        asked: list[int] = []
        process: subprocess.Popen[bytes] | None = None

        def pass_on() -> None:
            if process is not None and asked:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM if asked[0] == signal.SIGTERM else signal.SIGUSR1)

        def act(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            if len(asked) == 1:
                pass_on()

        for number in (*_ASKING, signal.SIGTERM):
            signal.signal(number, act)
        kept = {name: value for name, value in os.environ.items() if name not in self.unset}
        sys.stdout.flush()
        process = subprocess.Popen(self.command(), env={**kept, "PYTHONUNBUFFERED": "1"}, preexec_fn=_ignore)
        if asked:  # it came before there was whom to tell
            pass_on()
        status = process.wait()
        return status, asked[0] if asked else None

    def _requeue(self, requeue: Callable[[int, FrameType | None], Any], name: str) -> None:
        """Requeue by submitit, which ends this process."""
        from submitit.core.utils import UncompletedJobError

        try:
            requeue(signal.SIGUSR2, None)
        except (UncompletedJobError, subprocess.SubprocessError, OSError) as error:
            note_end(Path(self.folder), STOPPED, name)
            said = " ".join(str(error).split())
            mend = f"submit it again with --run_dir {self.folder} --ckpt_path last"
            print(f"error: saved, but not requeued ({said}): {mend}", flush=True)


def _handler_of_submitit() -> Callable[[int, FrameType | None], Any] | None:
    """What submitit does at its signal: it writes the job anew, requeues it and ends the process."""
    handlers = (signal.getsignal(number) for number in reversed(_ASKING))
    return next((one for one in handlers if callable(one)), None)


def _ignore() -> None:
    """In the child, before it becomes the command: it is told by SIGUSR1."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
