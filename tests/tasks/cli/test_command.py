"""Commands in processes of their own: their mistakes, their last line, and their end with who called them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.cli.command import environment, on_terminal, run_command


def test_a_command_of_its_own() -> None:
    run_command("classify", ["--version"])
    with pytest.raises(SuiteError, match="unknown verb 'fitt'"):
        run_command("classify", ["fitt"])


def test_processes_side_by_side_share_the_cores_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.cli.command.usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "OMP_NUM_THREADS" not in environment()
    assert environment(3)["OMP_NUM_THREADS"] == "2"
    assert environment(20)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment(3)["OMP_NUM_THREADS"] == "5"


def test_a_command_on_a_terminal_hands_over_its_last_line() -> None:
    script = "import os; os.write(int(os.environ['SCANSUITE_LAST_LINE']), b'error: no room\\n'); os._exit(2)"
    assert on_terminal([sys.executable, "-c", script], dict(os.environ), signal.SIGINT) == (2, "no room")
    assert on_terminal(["sh", "-c", "exit 0"], dict(os.environ), signal.SIGINT) == (0, "")


def test_the_last_line_goes_to_who_waits_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    script = (
        "import subprocess, sys; from tasks.cli.errors import guarded; from scansuite.errors import SuiteError\n"
        "def fail():\n"
        "    subprocess.run(['sh', '-c', 'test -z \"$SCANSUITE_LAST_LINE\"'], check=True)\n"
        "    raise SuiteError('x')\n"
        "sys.exit(guarded(fail, debug=False))"
    )
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    assert on_terminal([sys.executable, "-c", script], paths, signal.SIGINT) == (2, "x")
    assert capfd.readouterr().err == ""


def waited_for(pid: int, deadline: float) -> None:
    """Wait until a process is gone: one that has ended stays until somebody takes note of it."""
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        time.sleep(0.02)


@pytest.mark.parametrize("ignored", [False, True], ids=["foreground", "background"])
def test_a_command_ends_with_who_called_it(tmp_path: Path, ignored: bool) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho $$ > pid\nexec sleep 60\n")
    (tmp_path / "python").chmod(0o755)
    kind = "SIG_IGN" if ignored else "default_int_handler"  # as a shell sets it for jobs in the background
    call = f"import signal, sys; signal.signal(signal.SIGINT, signal.{kind}); "
    call += f"from tasks.cli.command import on_terminal, run_command; sys.executable = {str(tmp_path / 'python')!r}; "
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    caller = subprocess.Popen(
        [sys.executable, "-c", call + "run_command('classify', ['fit'])"], cwd=tmp_path, env=environment
    )
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").is_file() and (tmp_path / "pid").read_text().endswith("\n")):
        assert caller.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    caller.terminate()
    assert caller.wait(30) == 128 + signal.SIGTERM
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        waited_for(pid, deadline)
