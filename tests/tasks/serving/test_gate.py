"""Who may call the service, and what every answer bears; without a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")

import httpx

from tasks.serving.gate import Gate
from tasks.serving.measured import Measured
from tasks.serving.settings import RequestLimits, ServeSettings

TOKEN = "correct horse"


async def inside(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers when it has the whole body, and once the gate of its test is open."""
    while (await receive()).get("more_body"):
        pass
    if (gate := scope["state"].get("gate")) is not None:
        await gate.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def asked(settings: ServeSettings, act: Callable[[httpx.AsyncClient, dict[str, Any]], Awaitable[None]]) -> None:
    """Run requests against a gate; ``state`` reaches the application."""
    state: dict[str, Any] = {}
    gate = Gate(inside, settings, Measured())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate({**scope, "state": state}, receive, send)

    async def run() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            await act(client, state)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Basic {TOKEN}", 401),
        ("Bearer correct hors", 401),
        ("Bearer ", 401),
        ("", 401),
        ("Bearer korrekt-\xfc", 401),
    ],
)
def test_the_token(header: str, status: int) -> None:
    async def act(client: httpx.AsyncClient, _: dict[str, Any]) -> None:
        answer = await client.get("/v1/models", headers=[(b"authorization", header.encode("latin-1"))])
        assert answer.status_code == status
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
        for path in ("/", "/v2/health/live", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/metrics")).status_code == 401

    asked(ServeSettings(token=TOKEN), act)


def test_names_and_places() -> None:
    async def act(client: httpx.AsyncClient, _: dict[str, Any]) -> None:
        for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
            assert (await client.get("/v2", headers={"Host": host})).status_code == 200
        assert (await client.get("/v2", headers={"Host": "rebound.example"})).status_code == 421
        assert (await client.post("/v2", headers={"Origin": "http://other.example"})).status_code == 403
        answer = await client.post("/v2", headers={"Origin": "http://127.0.0.1:8000"})
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"

    asked(ServeSettings(), act)


def test_more_than_may_wait_are_asked_to_come_again() -> None:
    async def act(client: httpx.AsyncClient, state: dict[str, Any]) -> None:
        state["gate"] = asyncio.Event()
        first = [asyncio.create_task(client.post("/v2", content=b"x")) for _ in range(2)]
        await asyncio.sleep(0.05)
        third = await client.post("/v2", content=b"x")
        assert third.status_code == 503
        assert int(third.headers["retry-after"]) >= 1
        state["gate"].set()
        assert [(await one).status_code for one in first] == [200, 200]
        assert (await client.post("/v2", content=b"x")).status_code == 200

    asked(ServeSettings(limits=RequestLimits(max_queue=2)), act)


@pytest.mark.parametrize("header", ["Host", "Origin"])
def test_an_address_that_is_none_is_refused(header: str) -> None:
    async def act(client: httpx.AsyncClient, _: dict[str, Any]) -> None:
        answer = await client.post("/v2", headers={header: "http://[::1" if header == "Origin" else "[::1"})
        assert answer.status_code == 400
        assert "no address" in answer.json()["error"]

    asked(ServeSettings(), act)


def _called(app: Any, send: Callable[[Any], Awaitable[None]], measured: Measured, seconds: float = 30) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    gate = Gate(app, ServeSettings(limits=RequestLimits(max_seconds=seconds)), measured)
    headers = [(b"host", b"localhost")]
    asyncio.run(gate({"type": "http", "method": "MADEUP", "path": "/", "headers": headers}, receive, send))


def test_an_error_within_is_counted_and_said_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise ValueError("Muster^Erika.dcm")

    async def send(_: Any) -> None:
        return

    measured = Measured()
    _called(broken, send, measured)
    assert "ValueError" in caplog.text
    assert "Erika" not in caplog.text
    assert 'method="other",route="other",status="500"} 1.0' in measured.text().decode()


def test_who_takes_nothing_of_an_answer_keeps_no_place() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(_: Any) -> None:
        await asyncio.sleep(60)

    measured = Measured()
    with pytest.raises(TimeoutError):  # uvicorn closes the line
        _called(answers, never, measured, 0.05)
    assert "scansuite_requests_here 0.0" in measured.text().decode()
