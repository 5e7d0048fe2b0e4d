"""The process that runs models: started by the service, told what to do line by line, and ended with it.

Started as ``python -m tasks.serving.worker``. It takes JSON lines on standard input (the first one says what to load)
and answers on standard output; requests and results lie in files.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from scansuite.errors import SuiteError
from tasks.serving.refused import RefusedError, place_of
from tasks.serving.settings import RequestLimits
from tasks.serving.work import Work


def main() -> int:
    """Load the models, then do what comes, until standard input ends.

    Returns:
        0, or 1 where a model could not be loaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent ends when its requests are answered, and this with it
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no message
    _keep_quiet()
    asked = json.loads(sys.stdin.buffer.readline())
    out = _Out(said)
    try:
        limits = RequestLimits(**asked.pop("limits"))
        together = asked["together"]
        work = Work(asked.pop("models"), limits, **asked)
    except SuiteError as error:
        out.say({"trouble": str(error)})
        return 1
    _silence()
    out.say({"models": work.described()})
    executor = ThreadPoolExecutor(together)
    for line in sys.stdin.buffer:
        work.arrived()
        executor.submit(_do, work, json.loads(line), out)
    os._exit(0)  # the parent has closed the pipe: nobody is there to hear


def _do(work: Work, job: Mapping[str, Any], out: _Out) -> None:
    answer: dict[str, Any] = {"done": job["number"]}
    try:
        answer |= work.do(job)
    except RefusedError as refused:
        answer |= {"status": refused.status, "error": refused.text}
    except SuiteError as error:
        answer |= {"status": 422, "error": work.without_folders(str(error), job)}
    except MemoryError:
        answer |= {"status": 413, "error": "there is too little memory for this file"}
    except Exception as error:  # a fault of ours, which must not end the others' requests; no text of the data is said
        print(f"worker: {place_of(error)}", file=sys.stderr, flush=True)
        answer |= {"status": 500, "error": f"an error within the service ({type(error).__name__})"}
    finally:
        work.left()
    out.say(answer | {"batches": work.take_batches()})


class _Out:
    """Standard output, one whole line at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def say(self, message: Mapping[str, Any]) -> None:
        """Write a message."""
        line = json.dumps(message, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


def _silence() -> None:
    """Throw away what decoders print by themselves, with names of files; our own lines go on to standard error."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _keep_quiet() -> None:
    """Say nothing of what libraries think of a file: its values may name a patient."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
