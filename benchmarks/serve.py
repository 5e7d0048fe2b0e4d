"""The service under load: many requests at a time, hostile ones among them, and a worker that is killed.

    python -m benchmarks.serve --model m.onnx --scans a.png b.dcm [--requests 1000] [--clients 16] [--workers 2]

A file of 2 GB, zip bombs, broken files and forms that are none are among the requests, and one worker is killed in the
middle. Printed are the answers by kind, what was lost, the times, and the memory of service and workers over the run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

_CHUNK = 1 << 20
_LARGE = 2 << 30  # bytes
_HOSTILE = {
    "zip bomb": 10,
    "broken PNG": 20,
    "noise as DICOM": 20,
    "form that is none": 10,
    "2 GB": 1,
    "2 GB, unsaid": 1,
}
_EXPECTED = {"zip bomb": {413}, "broken PNG": {422}, "noise as DICOM": {422}, "form that is none": {400}}


@dataclass
class Seen:
    """What was seen.

    Attributes:
        answers: counts by kind of request and status; ``lost`` where there was no answer.
        seconds: of each request of a good file.
        memory: (seconds, bytes of the service, bytes of its workers).
        wrong: answers that are not as expected.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Run it.

    Returns:
        0, or 1 where a request was lost or answered wrongly.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--scans", nargs="+", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _measure(asked, Path(folder))


def _measure(asked: argparse.Namespace, folder: Path) -> int:
    words = [sys.executable, "-m", "tasks.cli", "serve", "--model", asked.model, "--port", "0"]
    words += ["--workers", str(asked.workers), "--quiet"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)})
    assert process.stdout is not None
    line = process.stdout.readline()
    address = line.split(" at ", 1)[1].split(";")[0].strip()
    seen, over = Seen(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, seen, over), daemon=True)
    watcher.start()
    try:
        took, measured = _asked(address, asked, folder, seen, process.pid)
    finally:
        over.set()
        watcher.join()
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    _say(seen, asked, took, measured, status)
    return 1 if seen.wrong or status or any(kind == "lost" for _, kind in seen.answers) else 0


def _asked(address: str, asked: argparse.Namespace, folder: Path, seen: Seen, pid: int) -> tuple[float, str]:
    """Ask everything: how long it took, and what the service measured of itself."""
    with httpx.Client(base_url=address, timeout=120) as client:
        name = client.get("/v1/models").json()["models"][0]["name"]
        for scan in asked.scans:  # each worker loads what it reads with
            _good(client, name, scan, seen)
        seen.answers.clear()
        seen.seconds.clear()
    begun = time.monotonic()
    _load(address, name, asked, folder, seen, pid)
    took = time.monotonic() - begun
    time.sleep(1)
    with httpx.Client(base_url=address, timeout=60) as client:
        return took, client.get("/metrics").text


def _load(address: str, name: str, asked: argparse.Namespace, folder: Path, seen: Seen, pid: int) -> None:
    """Send everything, by clients that each wait for their answer; a worker is killed in the middle."""
    kinds = [kind for kind, count in _HOSTILE.items() for _ in range(count)]
    kinds += ["good"] * (asked.requests - len(kinds))
    random.Random(0).shuffle(kinds)
    bomb = folder / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.dcm", "w", force_zip64=True) as stream,
    ):
        for _ in range(3 << 10):
            stream.write(bytes(_CHUNK))
    noise = np.random.default_rng(0).bytes(1 << 16)
    clients = threading.local()

    def one(number: int, kind: str) -> None:
        if not hasattr(clients, "client"):
            clients.client = httpx.Client(base_url=address, timeout=120)
        client = clients.client
        if number == len(kinds) // 2:
            os.kill(_children(pid)[0], signal.SIGKILL)
        scan = asked.scans[number % len(asked.scans)]
        if kind == "good":
            _good(client, name, scan, seen)
            return
        content: bytes | Iterator[bytes]
        if kind == "zip bomb":
            content, file = bomb.read_bytes(), "a.zip"
        elif kind == "broken PNG":
            content, file = b"\x89PNG\r\n\x1a\n" + noise[: 100 + number], "a.png"
        elif kind == "noise as DICOM":
            content, file = noise, "a.dcm"
        elif kind == "form that is none":
            content, file = b"--nothing", ""
        else:
            content, file = _large(), "a.dcm"
        headers = {"Content-Type": "application/octet-stream" if file else "multipart/form-data; boundary=x"}
        if kind == "2 GB":
            headers["Content-Length"] = str(_LARGE)
        path = f"/v1/models/{name}/predict?name={file}"
        _answered(seen, kind, lambda: client.post(path, content=content, headers=headers), _EXPECTED.get(kind, {413}))

    with ThreadPoolExecutor(asked.clients) as pool:
        for done in [pool.submit(one, number, kind) for number, kind in enumerate(kinds)]:
            done.result()


def _large() -> Iterator[bytes]:
    zeros = bytes(_CHUNK)
    for _ in range(_LARGE // _CHUNK):
        yield zeros


def _good(client: httpx.Client, name: str, scan: Path, seen: Seen) -> None:
    files = {"file": (scan.name, scan.read_bytes())}
    begun = time.monotonic()
    _answered(seen, "good", lambda: client.post(f"/v1/models/{name}/predict?masks=none", files=files), {200})
    seen.seconds.append(time.monotonic() - begun)


def _answered(seen: Seen, kind: str, ask: object, expected: set[int]) -> None:
    """Ask, and once more where the service says that too many wait."""
    assert callable(ask)
    try:
        answer = ask()
        while answer.status_code == 503:
            seen.answers[kind, "503, asked again"] += 1
            time.sleep(float(answer.headers["Retry-After"]))
            answer = ask()
        seen.answers[kind, str(answer.status_code)] += 1
        if answer.status_code not in expected:
            seen.wrong.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code != 200 and "\n" in json.loads(answer.text)["error"]:
            seen.wrong.append(f"{kind}: more than one line")
    except httpx.HTTPError as error:
        seen.answers[kind, "lost"] += 1
        seen.wrong.append(f"{kind}: {type(error).__name__} {error}")


def _watch(pid: int, seen: Seen, over: threading.Event) -> None:
    """Look at the memory ten times a second."""
    begun = time.monotonic()
    while not over.wait(0.1):
        workers = sum(map(_memory, _children(pid)))
        seen.memory.append((time.monotonic() - begun, _memory(pid), workers))


def _children(pid: int) -> list[int]:
    """Processes that a process has started, by Linux's table of them."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int) -> int:
    """Bytes that a process has in memory; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _say(seen: Seen, asked: argparse.Namespace, took: float, measured: str, status: int) -> None:
    total = sum(count for (_, answer), count in seen.answers.items() if "again" not in answer)
    print(f"{total} requests by {asked.clients} clients in {took:.1f} s, {asked.workers} workers")
    for (kind, answer), count in sorted(seen.answers.items()):
        print(f"  {kind:<20}{answer:<18}{count}")
    print(f"lost: {sum(count for (_, answer), count in seen.answers.items() if answer == 'lost')}")
    times = np.percentile(seen.seconds, (50, 95, 100))
    print("a good file: median {:.3f} s, 95th percentile {:.3f} s, longest {:.3f} s".format(*times))
    parts = np.array_split(np.array(seen.memory), 5)
    for name, column in (("service", 1), ("workers", 2)):
        said = ", ".join(f"{np.median(part[:, column]) / 2**20:.0f}" for part in parts)
        print(f"memory of the {name} in MiB, median by fifth of the run: {said}")
        print(f"  largest: {max(row[column] for row in seen.memory) / 2**20:.0f}")
    for line in measured.splitlines():
        if line.startswith(("scansuite_workers", "scansuite_runs_total")):
            print(line)
    print(f"status at the end: {status}")
    for line in seen.wrong[:20]:
        print("WRONG", line)


if __name__ == "__main__":
    sys.exit(main())
