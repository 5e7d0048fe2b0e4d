"""``watch``: apply an exported model to whatever comes to a folder, until the process is stopped."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite_runtime.flags import Flags, help_text, parse, reading_flags
from scansuite_runtime.predict import MODEL, inputs_of, open_asked, options_of, writing_flags
from tasks.registry.flag import Flag

log = logging.getLogger(__name__)

_OWN: Flags = {
    "input": Flag("folder that is watched", needed=True),
    "include": Flag("shell patterns of the files to take (*_T1w.nii.gz); left out: all", several=True),
    "exclude": Flag("shell patterns of the files to leave out; left out: none", several=True),
    "output": Flag("folder for results: a new one, or that of an earlier watch to go on with", needed=True),
    "rest": Flag(
        "seconds for which a file, or the folder of a series, must not have changed to be complete", float, 10.0
    ),
    "every": Flag("seconds between two looks at the folder", float, 5.0),
    "once": Flag("end as soon as all that is in the folder is done", bool, False),
}
_ABOUT = (
    "Apply an exported model to whatever comes to a folder, until the process is stopped (SIGTERM, Ctrl-C). What is "
    "done stays done when the command is started again with the same output. Files that cannot be read are listed in "
    "errors.csv, and tried again when they change."
)


def sections() -> dict[str, Flags]:
    """The flags by the title above them."""
    reading = {name: flag for name, flag in reading_flags().items() if name not in _OF_TABLES}
    return {"": {**MODEL, **_OWN}, "what is written": writing_flags(), "how files are read": reading}


_OF_TABLES = ("data.root", "data.path_column", "data.separator", "data.encoding", "data.allow_outside")


def run(argv: Sequence[str]) -> int:
    """Watch.

    Args:
        argv: flags as typed.

    Returns:
        0, or 1 where some files could not be read.
    """
    parts = sections()
    if not argv or "--help" in argv or "-h" in argv:
        print(help_text("scansuite-runtime watch [flags]", _ABOUT, parts))
        return 0
    values = parse(argv, {name: flag for some in parts.values() for name, flag in some.items()})
    folder, output = _folders(values)
    for name in ("rest", "every"):
        if not 0 <= values[name] < 1e6:
            raise SuiteError(f"--{name} {values[name]:g}: must be seconds from 0")
    model = open_asked(values)
    from scansuite_runtime.gathered import Gathered
    from scansuite_runtime.journal import Journal
    from scansuite_runtime.watching import Found, Watcher
    from tasks.exported.predict import FileRun

    options = options_of(values)
    journal = Journal(
        output, {"input": str(folder), "model": _digest(Path(values["model"])), "flags": _as_typed(values)}
    )

    def find(patterns: Any) -> Found:
        inputs = inputs_of(values)
        inputs.patterns = patterns
        table = FileRun(model, inputs, None, options).table([str(folder)])
        return Found(table, tuple(inputs.passed_over))

    def apply(table: Any, working: Path) -> bool:
        found = FileRun(model, inputs_of(values), working, options).predict(table)
        return bool(len(found.cases))

    patterns = _patterns(values)
    with _alone(output), _stopped_by_signals() as stop:
        watcher = Watcher(folder, patterns, find, apply, Gathered(output), journal, rest=values["rest"])
        if journal.done:
            log.info("%s: goes on; %d cases are done", output, len(journal.done))
        log.info("%s: watched", folder)
        while not stop.is_set():
            waiting = watcher.look(stop)
            if values["once"] and not waiting:
                break
            stop.wait(values["every"])
    counts = watcher.counts
    print(f"{counts.predicted} cases predicted, {counts.unreadable} unreadable: {output}")
    return 1 if counts.unreadable else 0


def _folders(values: Mapping[str, Any]) -> tuple[Path, Path]:
    folder, output = Path(values["input"]), Path(values["output"])
    if not folder.is_dir():
        raise SuiteError(f"--input {folder}: is no folder of this machine: name the one that files come to")
    if output.resolve() == folder.resolve() or folder.resolve() in output.resolve().parents:
        raise SuiteError(f"--output {output}: lies in the folder that is watched: its files would be predicted too")
    return folder.absolute(), output.absolute()


def _patterns(values: Mapping[str, Any]) -> Any:
    from datamodules.readers.patterns import FilePatterns
    from datamodules.settings import name_list

    include, exclude = (name_list(",".join(values[name] or [])) for name in ("include", "exclude"))
    return FilePatterns(include, exclude, ("--include", "--exclude"))


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def _as_typed(values: Mapping[str, Any]) -> str:
    """The flags that results depend on, as text."""
    free = {"model", "input", "output", "threads", "rest", "every", "once", "trust"}
    return " ".join(
        f"--{name} {value}" for name, value in sorted(values.items()) if name not in free and value is not None
    )


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the folder, so that no second watch writes to it.

    Raises:
        SuiteError: another one does.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(output / ".lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SuiteError(f"--output {output}: another watch writes to it: stop that, or give a new folder") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C breaks in."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    try:
        for one in (signal.SIGTERM, signal.SIGINT):
            before[one] = signal.signal(one, ask)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
