"""Workers that crash, hang and are too few: what happens to the requests that they have."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.serving import process
from tasks.serving.pool import Job, Pool
from tasks.serving.refused import RefusedError
from tasks.serving.settings import RequestLimits, ServeSettings

# A worker of the same protocol: it crashes, hangs or answers as the request's model says.
WORKER = """
import json, os, sys, threading, time
json.loads(sys.stdin.readline())
lock = threading.Lock()
def say(message):
    with lock:
        print(json.dumps(message), flush=True)
say({"models": {"m": {}}})
def do(job):
    kind = job["kind"]
    if kind == "crash":
        os._exit(3)
    if kind == "crash once" and not os.path.exists(job["folder"] + "/crashed"):
        open(job["folder"] + "/crashed", "w").close()
        os._exit(3)
    time.sleep(60 if kind == "hang" else 0.05)
    if kind == "refuse":
        say({"done": job["number"], "status": 422, "error": "no scan", "batches": []})
    else:
        say({"done": job["number"], "file": "x", "batches": [1]})
for line in sys.stdin:
    threading.Thread(target=do, args=(json.loads(line),), daemon=True).start()
"""


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    monkeypatch.setattr(process, "COMMAND", (str(file),))


def with_pool(act: Callable[[Pool], Awaitable[None]], seconds: float = 30, together: int = 4) -> Pool:
    async def run() -> Pool:
        settings = ServeSettings(workers=1, together=together, limits=RequestLimits(max_seconds=seconds))
        pool = Pool({"m": "m.onnx"}, settings)
        await pool.start()
        try:
            await act(pool)
        finally:
            await pool.stop()
        return pool

    return asyncio.run(run())


def test_requests_are_answered(tmp_path: Path) -> None:
    async def act(pool: Pool) -> None:
        assert pool.ready
        assert pool.models == {"m": {}}
        answers = await asyncio.gather(*(pool.answer(Job("good", "m", tmp_path)) for _ in range(12)))
        assert [one["file"] for one in answers] == ["x"] * 12
        with pytest.raises(RefusedError, match="no scan") as refused:
            await pool.answer(Job("refuse", "m", tmp_path))
        assert refused.value.status == 422

    pool = with_pool(act)
    assert (pool.replaced, pool.batches, pool.count) == (0, {1: 12}, 0)


def test_the_request_that_crashes_workers_is_refused_and_no_other(tmp_path: Path) -> None:
    async def act(pool: Pool) -> None:
        good = [asyncio.create_task(pool.answer(Job("good", "m", tmp_path))) for _ in range(3)]
        bad = asyncio.create_task(pool.answer(Job("crash", "m", tmp_path)))
        more = [asyncio.create_task(pool.answer(Job("good", "m", tmp_path))) for _ in range(6)]
        with pytest.raises(RefusedError, match="ended twice") as refused:
            await bad
        assert refused.value.status == 500
        assert len(await asyncio.gather(*good, *more)) == 9
        assert pool.ready

    assert with_pool(act).replaced == 2


def test_a_request_whose_worker_ended_once_is_answered(tmp_path: Path) -> None:
    async def act(pool: Pool) -> None:
        assert (await pool.answer(Job("crash once", "m", tmp_path)))["file"] == "x"

    assert with_pool(act).replaced == 1


def test_a_hanging_request_is_ended_and_the_others_are_answered(tmp_path: Path) -> None:
    async def act(pool: Pool) -> None:
        hanging = asyncio.create_task(pool.answer(Job("hang", "m", tmp_path)))
        with pytest.raises(RefusedError, match=r"took more than 0\.5 s") as refused:
            await hanging
        assert refused.value.status == 504
        assert (await pool.answer(Job("good", "m", tmp_path)))["file"] == "x"

    assert with_pool(act, seconds=0.5).replaced == 1


def test_what_waits_too_long_is_asked_to_come_again(tmp_path: Path) -> None:
    async def act(pool: Pool) -> None:
        hanging = asyncio.create_task(pool.answer(Job("hang", "m", tmp_path)))
        await asyncio.sleep(0.3)
        waiting = Job("good", "m", tmp_path)
        waiting.queued -= 10  # as if it had come before
        with pytest.raises(RefusedError, match="no worker was free") as refused:
            await pool.answer(waiting)
        assert (refused.value.status, refused.value.retry) == (503, 5)
        with pytest.raises(RefusedError):
            await hanging

    with_pool(act, seconds=1, together=1)


def test_the_end_waits_for_what_is_running(tmp_path: Path) -> None:
    answered = []

    async def act(pool: Pool) -> None:
        async def one() -> None:
            answered.append(await pool.answer(Job("good", "m", tmp_path)))

        pool._keep = [asyncio.create_task(one()) for _ in range(4)]  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with_pool(act, together=1)
    assert len(answered) == 4


def test_a_model_that_cannot_be_opened_ends_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "no_worker.py"
    file.write_text(f"print({json.dumps(json.dumps({'trouble': 'm.onnx: is no model'}))}, flush=True)")
    monkeypatch.setattr(process, "COMMAND", (str(file),))

    async def act(pool: Pool) -> None:
        raise AssertionError

    with pytest.raises(SuiteError, match=r"m\.onnx: is no model"):
        with_pool(act)


def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start = process.Worker.start
    failed: list[process.Worker] = []

    async def at_first_not(self: process.Worker) -> None:
        if not failed:
            failed.append(self)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        await start(self)

    async def act(pool: Pool) -> None:
        monkeypatch.setattr(process.Worker, "start", at_first_not)
        os.kill(pool.pids()[0], signal.SIGKILL)
        while not failed or pool.count < 1:
            await asyncio.sleep(0.02)
        assert pool.replaced == 2

    with_pool(act)
