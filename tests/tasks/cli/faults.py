"""Trainings in processes of their own, and what befalls them: kills at a chosen moment, in a write, of others; no room.

The processes are forked from one that has imported everything already.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["none", "moment", "write", "worker", "rank", "full", "signal"]
SAVES = "saves.txt"  # steps of the saves that were over before anything befell the process
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.tasks.cli.preloaded"])


class Fault(NamedTuple):
    """What befalls a training.

    Attributes:
        kind: ``moment``: SIGKILL; ``write``: SIGKILL in a write of ``file``; ``worker``: SIGKILL of a loader process;
            ``rank``: of the last rank; ``full``: no room for ``file``; ``signal``: ``number``.
        seconds: after which it comes.
        file: name of the file.
        write: which of its writes, from 1.
        place: of the kill in a write: when ``half`` is written, before it gets its ``name``, or ``after`` that.
        number: of the signal.
    """

    kind: Kind
    seconds: float = 0.0
    file: str = ""
    write: int = 1
    place: Literal["half", "name", "after"] = "half"
    number: int = int(signal.SIGUSR1)


NONE = Fault("none")


def train(folder: Path, words: list[str], fault: Fault = NONE, *, ranks: int = 1, limit: float = 120) -> list[int]:
    """Run ``classify fit`` to its end, by itself or not.

    Args:
        folder: to stand in; what rank N says goes to ``said_N.txt``.
        words: flags of fit.
        fault: what befalls it.
        ranks: processes.
        limit: seconds after which a process that still waits for another is ended.

    Returns:
        Exit status of each rank; -9 where it was killed.
    """
    spread: dict[str, str] = {}
    if ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        spread = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "NODE_RANK": "0"}
    given = {name: os.environ[name] for name in ("SCANSUITE_CACHE", "SCANSUITE_CONFIG")}
    processes: list[BaseProcess] = []
    for rank in range(ranks):
        own = {"LOCAL_RANK": str(rank), "RANK": str(rank)} if ranks > 1 else {}
        process: BaseProcess = _CONTEXT.Process(
            target=_child, args=(folder, words, fault, {**given, **spread, **own}, rank)
        )
        process.start()
        processes.append(process)
    if fault.kind in ("moment", "rank", "signal"):
        victims = processes if fault.kind == "moment" else processes[-1:]
        victims[0].join(fault.seconds)
        for victim in victims:
            if victim.is_alive():
                os.kill(victim.pid or 0, fault.number if fault.kind == "signal" else signal.SIGKILL)
    if fault.kind == "rank":  # what waits for a rank that was killed while all met: launchers end it
        processes[0].join(30)
        if processes[0].is_alive():
            os.kill(processes[0].pid or 0, signal.SIGTERM)
    deadline = time.monotonic() + limit
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        assert not process.is_alive(), f"still there after {limit} s: {said(folder)}"
    return [process.exitcode or 0 for process in processes]


def said(folder: Path) -> str:
    """What all ranks have said since the last start."""
    return "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("said_*.txt")))


def _child(folder: Path, words: list[str], fault: Fault, environment: dict[str, str], rank: int) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(f"said_{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    multiprocessing.set_start_method("fork", force=True)  # of loader processes: that of a command
    from tasks.cli.main import main

    _note_saves()
    if fault.kind == "write":
        _kill_in_write(fault)
    elif fault.kind == "full":
        _leave_no_room(fault)
    elif fault.kind == "worker":
        threading.Thread(target=_kill_worker, args=(fault.seconds,), daemon=True).start()
    status = main("classify", ["fit", *words])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _note_saves() -> None:
    """Write the step of each ``last.ckpt`` down once it is in its place."""
    from tasks.training import saving

    save = saving.WholeCheckpoints.save_checkpoint

    def noting(self: Any, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(self, checkpoint, path, storage_options)
        if Path(path).name == saving.LAST:
            with Path(SAVES).open("a") as file:
                file.write(f"{checkpoint['global_step']}\n")

    saving.WholeCheckpoints.save_checkpoint = noting  # type: ignore[method-assign]


def _kill_in_write(fault: Fault) -> None:
    """Kill this process at the so-manieth write of a file."""
    from scansuite import files

    count, flush, replace = 0, files._flush, Path.replace

    def counting(temporary: Path) -> None:
        nonlocal count
        count += temporary.name.startswith(f".{fault.file}.")
        if count == fault.write and fault.place == "half" and temporary.name.startswith(f".{fault.file}."):
            os.truncate(temporary, temporary.stat().st_size // 2)
            _die()
        flush(temporary)

    def replacing(self: Path, target: Any) -> Path:
        nonlocal count
        count += Path(target).name == fault.file == "previous.ckpt"  # a link, which is not flushed
        here = count == fault.write and Path(target).name == fault.file
        if here and fault.place != "after":
            _die()
        moved = replace(self, target)
        if here:
            _die()
        return moved

    patched: Any = files
    patched._flush = counting
    Path.replace = replacing  # type: ignore[method-assign, assignment]


def _leave_no_room(fault: Fault) -> None:
    """Let there be no room for the so-manieth writing of a file, and again for what is said of that."""
    from scansuite import files

    count, with_name, failed = 0, Path.with_name, files._cannot_be_written
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def counting(self: Path, name: str) -> Path:
        nonlocal count
        if name.startswith(f".{fault.file}."):
            count += 1
            if count == fault.write:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        return with_name(self, name)

    def with_room(file: Path, error: OSError) -> Exception:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return failed(file, error)

    patched: Any = files
    patched._cannot_be_written = with_room
    Path.with_name = counting  # type: ignore[method-assign, assignment]


def _kill_worker(seconds: float) -> None:
    time.sleep(seconds)
    while True:
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGKILL)
            return
        time.sleep(0.002)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
