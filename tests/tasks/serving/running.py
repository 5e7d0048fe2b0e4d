"""The service as users start it: a process, its address, and requests to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Running:
    """A service that runs.

    Attributes:
        process: its own.
        client: of it.
        log: file with what it says.
        temporary: folder for its temporary files.
    """

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path
    temporary: Path

    @property
    def folder(self) -> Path:
        """Folder of its requests."""
        (found,) = self.temporary.glob("scansuite-serve-*")
        return found

    def workers(self) -> list[int]:
        """Process ids of its workers, by Linux's table of them."""
        table = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not table.exists():
            pytest.skip("this system has no table of a process's children")
        return [int(word) for word in table.read_text().split()]

    def predict(self, model: str, *files: Path, **more: Any) -> httpx.Response:
        """Send files."""
        sent = [("file", (file.name, file.read_bytes())) for file in files]
        return self.client.post(f"/v1/models/{model}/predict", files=sent, **more)


@contextmanager
def running(model: Path, *flags: str, log: Path | None = None) -> Iterator[Running]:
    """Start the service, and end it by SIGTERM.

    Args:
        model: file or folder.
        flags: further ones.
        log: file for what it says; left out: beside the model.
    """
    pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
    log = log or model.with_name(f"{model.name}.log")
    words = [sys.executable, "-m", "tasks.cli", "serve", "--model", str(model), "--port", "0", "--workers", "1", *flags]
    temporary = log.with_suffix(".tmp")
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    with log.open("w") as said:
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True, env=env)
    assert process.stdout is not None
    line = process.stdout.readline()
    if " at http" not in line:
        process.wait(20)
        raise AssertionError(f"it did not start: {line}{log.read_text()}")
    address = line.split(" at ", 1)[1].split(",")[0].split(";")[0].strip()
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            yield Running(process, client, log, temporary)
    finally:
        process.terminate()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        process.stdout.close()
    assert status == 0
    assert list(temporary.iterdir()) == []
