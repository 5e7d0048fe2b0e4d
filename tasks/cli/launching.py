"""Processes that a trainer starts, one a device: looked after, and ended together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from tasks.cli.errors import say_end
from tasks.cli.runs.ranks import LOGS, LOOK, Here, end_others, ending, failed, say_error
from tasks.cli.runs.running import release, stopped
from tasks.training.stopping.signals import StopSignals

_GRACE = 10.0  # seconds that this process has to end by itself once another one has failed


def environment_by_hand() -> list[ClusterEnvironment]:
    """Lightning's reading of ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and ``MASTER_ADDR`` that somebody has set.

    An MPI's launcher or a script does so. Lightning itself reads the ranks from there where torchrun has set them, and
    would else count them by ``NODE_RANK``, which nobody sets: two machines would both be rank 0.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
    if TorchElasticEnvironment.detect() or not all(os.environ.get(name) for name in names):
        return []
    return [TorchElasticEnvironment()]


def watch(trainer: Trainer) -> None:
    """Let the processes that a trainer will start be looked after: where one fails the others end, and it is named.

    Lightning's own watch kills this process too, without a word, and takes a process that stopped when it was asked to
    for one that failed.
    """
    launcher = trainer.strategy.launcher
    if type(launcher) is _SubprocessScriptLauncher:
        own = RankLauncher(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
        trainer.strategy._launcher = own


def answer_while_waiting(trainer: Trainer, signals: StopSignals) -> None:
    """Let signals end a training that waits for other ranks, which may never come, to form its process group."""
    strategy = trainer.strategy
    form = strategy.setup_environment

    def end(name: str) -> None:
        say_end(stopped(name, "while it waited for other ranks"))
        end_others()
        release()

    def form_answering() -> None:
        with signals.ending_waits(end):
            form()

    strategy.setup_environment = form_answering  # type: ignore[method-assign]


class RankLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher of one process a device, with :class:`_Watch` in the place of its observer."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """Start the other processes of this machine, unless a launcher has started all, and call a function."""
        if not self.cluster_environment.creates_processes_externally:
            self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
            self._call_children_scripts()  # from now on the environment says that processes are there
            Here.started = tuple(self.procs)
            _Watch().start()
        return super().launch(function, *args, trainer=trainer, **kwargs)


class _Watch(threading.Thread):
    """Looks after the processes that this one has started until all have ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="watch of the ranks")

    def run(self) -> None:
        """End all once one has failed."""
        running = True
        while running and not Here.over:
            running = any(process.poll() is None for process in Here.started)
            if (one := failed()) is not None and not Here.over:
                self._end(*one)
            time.sleep(LOOK)

    def _end(self, rank: int, status: int) -> None:
        end_others()
        time.sleep(_GRACE)  # the main thread has seen that a connection is closed, and says so
        say_error(f"rank {rank} ended before its time ({ending(status)}): see its own line, or {LOGS}/rank_{rank}.log")
        release()
        os._exit(status if status > 0 else 1)
