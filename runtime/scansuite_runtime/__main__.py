"""Entry of ``scansuite-runtime`` and ``python -m scansuite_runtime``. Nothing heavy is imported here."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from scansuite_runtime.suite_path import __version__, join_suite

VERBS = {
    "predict": "apply an exported model to files, folders or a table",
    "watch": "apply an exported model to whatever comes to a folder, until it is stopped",
}
_OF_ALL = ("--quiet", "--debug")
_HELP = """\
usage: scansuite-runtime VERB [flags]

verbs:
{verbs}

  scansuite-runtime predict --model MODEL.onnx --input DIR --output OUT
  scansuite-runtime watch --model MODEL.onnx --input DIR --output OUT

flags of a verb:  scansuite-runtime VERB --help
of every verb:    --quiet (errors, warnings and results alone), --debug (errors with their traceback)
version:          scansuite-runtime --version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: verb and flags; left out: those of the process.

    Returns:
        The exit status: 0, 1 (done, with files unreadable), 2 (something the user can mend), 130 (interrupted).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    flags = [word for word in words if word not in _OF_ALL]
    verb = flags[0] if flags else "--help"
    if verb == "--version":
        print(f"scansuite-runtime {__version__}")
        return 0
    if verb in ("-h", "--help", "help"):
        print(_HELP.format(verbs="\n".join(f"  {name:<9}{what}" for name, what in VERBS.items())), end="")
        return 0
    join_suite()

    def run() -> int:
        from scansuite.errors import SuiteError, nearest

        if verb not in VERBS:
            raise SuiteError(f"{verb}: no such verb: {nearest(verb, VERBS)}")
        from scansuite_runtime.logs import configure_logs

        configure_logs(quiet="--quiet" in words)
        return int(importlib.import_module(f"scansuite_runtime.{verb}").run(flags[1:]))

    return _guarded(run, debug="--debug" in words)


def _guarded(run: Callable[[], int], *, debug: bool) -> int:
    """Call ``run`` and turn what a user can mend, and Ctrl-C, into one line."""
    from scansuite.errors import SuiteError

    try:
        return run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (SuiteError, OSError) as error:
        if debug:
            traceback.print_exc()
        else:
            print(f"error: {_line(error)}", file=sys.stderr)
        return 2


def _line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror or error}" if error.filename else str(error.strerror or error)
    if "datamodules.remote" in sys.modules:  # local copies of data at a URL are named as they were typed
        text = sys.modules["datamodules.remote"].as_typed(text)
    return " ".join(text.split())


def script() -> int:
    """Run the command and end the process: what libraries do at its end takes as long as some of their imports."""
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    os._exit(status)


if __name__ == "__main__":
    script()
