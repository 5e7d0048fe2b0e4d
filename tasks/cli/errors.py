"""Errors as a user sees them: one line on stderr, exit status 2, no traceback."""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from datamodules.remote import as_typed
from scansuite.errors import SuiteError, from_worker
from tasks.cli.display.console import close_lines
from tasks.cli.parser_line import parser_line
from tasks.cli.runs import ranks
from tasks.cli.runs.last_line import find_caller, tell_caller
from tasks.cli.runs.run_dir import global_rank
from tasks.cli.runs.running import full_disk, go_on, interrupted, release, stopped
from tasks.training.stopping.signals import EX_TEMPFAIL, Stopped

_PARTS = ("callbacks", "loggers", "profilers", "plugins", "strategies")
# Where Lightning says which accelerator, strategy, devices and precision do not go together.
_DEVICES = "pytorch_lightning.trainer.connectors.accelerator_connector"
_OF_TRAINER = tuple(f"pytorch_lightning.{part}." for part in _PARTS)


def guarded(run: Callable[[], int], *, debug: bool, ends: bool = False) -> int:
    """Call ``run`` and turn what a user can mend, and Ctrl-C, into one line.

    Args:
        run: does the work and returns an exit status.
        debug: let every exception through with its traceback.
        ends: the process ends with the command: a second Ctrl-C does not break into that.
    """
    find_caller()
    handler = signal.getsignal(signal.SIGINT)
    status = 1
    try:
        status = run() if debug else _in_one_line(run)
        return status
    except KeyboardInterrupt:
        return _interrupted()
    except Stopped as stop:
        status = _stopped(stop)
        return status
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning leaves so, with status 1
            return _interrupted()
        if ends and stop.code == 0:
            _leave_after_help()
        raise
    finally:
        if status not in (0, EX_TEMPFAIL):  # else the others end by themselves
            ranks.end_others()
        release()
        if not ends and _may_handle_signals():
            signal.signal(signal.SIGINT, handler)


def _leave_after_help() -> NoReturn:
    """End the process at once: what libraries do at its end takes as long as a third of their import.

    Help alone ends a command by ``SystemExit(0)``: nothing is open but what is flushed here.
    """
    status = 0
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    os._exit(status)


def _may_handle_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupted(line: str | None = None) -> int:
    """Say how to go on."""
    if _may_handle_signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if global_rank() == 0:
        say_end(interrupted() if line is None else line)
    return 130


def _stopped(stop: Stopped) -> int:
    """Say where a training stands and how to go on."""
    line = stopped(stop.name, stop.where)
    if stop.name == signal.SIGINT.name:
        return _interrupted(line)
    if global_rank() == 0:
        say_end(line)
    return EX_TEMPFAIL


def say_end(line: str) -> None:
    """Say how a command ends where a signal has ended it: here, or to the command that has started it."""
    close_lines()
    if not tell_caller(line):
        print(line, file=sys.stderr)


def _ended_by_signal(run: Callable[[], int]) -> int:
    """Call ``run``; what a library fails at while a signal ends the command is the signal's.

    Lightning resets loaders on its way out, some of which are not begun yet or half ended.
    """
    try:
        return run()
    except SuiteError:
        raise
    except Exception as error:
        for inner in _behind(error):
            if isinstance(inner, (Stopped, KeyboardInterrupt)):
                raise inner from None
        raise


def _in_one_line(run: Callable[[], int]) -> int:
    try:
        return _ended_by_signal(run)
    except SuiteError as error:
        return _say(full_disk(error) or str(error))
    except argparse.ArgumentError as error:
        return _say(_inner(error) or parser_line(str(error)))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + signal.SIGPIPE
        name = f"{error.filename}: " if error.filename else ""
        return _say(full_disk(error) or f"{name}{error.strerror or error}")
    except Exception as error:
        if (line := ranks.lost(error)) is not None:
            return _say(line)
        line = full_disk(error) or _inner(error) or _known(error)
        if line is None:
            ranks.say_unknown(error)
            raise  # a fault of ours: the traceback is what a report needs
        return _say(line)


def _nobody_reads() -> bool:
    """Whether who read standard output has gone, as ``head`` does; what is still to be said goes nowhere then."""
    there = select.poll()
    there.register(sys.stdout, 0)
    if not any(event & select.POLLERR for _, event in there.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _inner(error: BaseException) -> str | None:
    """The line of a :class:`SuiteError` that a library has wrapped in an exception of its own."""
    return next((str(inner) for inner in _behind(error) if isinstance(inner, SuiteError)), None)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that one came from, the latest first."""
    inner = error.__cause__ or error.__context__
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


def _known(error: Exception) -> str | None:
    """A line for mistakes that torch and Lightning report as their own exceptions."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind == "MisconfigurationException":
        said = re.sub(r"`?(limit_\w+_batches|accelerator|devices|strategy)=([\w.']+)`?", r"--trainer.\1 \2", text)
        return f"--trainer: {said[:300]}"
    if kind == "OutOfMemoryError" or "not enough memory" in text:
        return "out of memory: give a smaller --data.batch_size, or train at a smaller --data.image_size"
    if isinstance(error, UnicodeEncodeError) and "surrogates" in text:
        return f"{error.object[:80]!a}: this name is not UTF-8: rename it"
    if (line := _of_libraries(error)) is not None:
        return line
    if "SuiteError" in text and "DataLoader worker" in text:
        return from_worker(str(error))[0]
    if "DataLoader worker" in text and ("exited unexpectedly" in text or "killed by signal" in text):
        which = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", text)
        by = re.search(r"killed by signal: (\w[\w ]*)", text)
        process = f"a loader process{f' (pid {which[1]})' if which is not None else ''}"
        how = f"was ended from outside ({by[1]})" if by is not None else "died"
        return (
            f"{process} {how}, as it happens where memory or /dev/shm runs out: give fewer --data.num_workers or more "
            f"memory{go_on()}"
        )
    return None


def _of_libraries(error: BaseException) -> str | None:
    """A line for what a logger, callback, profiler, plugin or strategy of Lightning's says that it cannot do.

    They come from the user's ``--trainer`` flags, or were asked for by them; what they raise is in words for users.
    """
    *_, first = (error, *_behind(error))
    said = " ".join(str(first).split())[:300]
    built = re.search(r"Problem with given class_path '(?:pytorch_lightning|lightning)\.[\w.]*\.(\w+)'", str(error))
    named = re.search(r"any of the Union subtypes[\s\S]*Given value: .*class_path='(?:[\w.]*\.)?(\w+)'", str(error))
    if (made := built or named) is not None:
        return f"{made[1]} (--trainer): cannot be made: {said}"
    where = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    if where and where[-1] == _DEVICES:
        return f"--trainer: {said}"
    if where and where[-1].startswith(_OF_TRAINER):
        part = where[-1].split(".")[1].rstrip("s")
        return f"--trainer: a {part} of Lightning's says: {said or type(first).__name__}"
    return None


def _say(line: str) -> int:
    ranks.say_error(ranks.name_rank(as_typed(line)))
    return 2
