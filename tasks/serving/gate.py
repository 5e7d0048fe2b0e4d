"""What every request goes through before it reaches its handler: who may call, how much is here, what is said of it.

Plain ASGI, since bodies go through it as they arrive.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from tasks.serving.measured import Measured
from tasks.serving.refused import RefusedError, place_of
from tasks.serving.settings import LOOPBACK, ServeSettings
from tasks.serving.uploads import too_long

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_OPEN = ("/", "/v2/health/live", "/v2/health/ready", "/favicon.ico")  # without a token
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # a caller may make up others
_DRAIN = 20.0  # seconds that the rest of a refused body is taken and thrown away, so that its sender hears the answer


class Gate:
    """The outermost layer of the service.

    Args:
        app: what is inside.
        settings: of the service.
        measured: counts requests.
    """

    def __init__(self, app: App, settings: ServeSettings, measured: Measured) -> None:
        self._app, self._settings, self._measured = app, settings, measured
        self._here = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        exchange = _Exchange(scope, receive, send, self._settings.limits.max_seconds)
        has_body = scope["method"] in ("POST", "PUT", "PATCH")
        try:
            self._refuse(scope, has_body=has_body)
        except RefusedError as refused:
            answer = JSONResponse({"error": refused.text}, refused.status, headers=refused.headers)
            if refused.status == 401:
                answer.headers["WWW-Authenticate"] = "Bearer"
            await answer(scope, exchange.receive, exchange.send)
        else:
            self._here += has_body
            self._measured.here.set(self._here)
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:  # answered within; its text may name a file
                log.error("an error within the service: %s", place_of(error))
                if not exchange.whole_answer:
                    raise  # the line is closed: half an answer must not pass for a whole one
            finally:
                self._here -= has_body
                self._measured.here.set(self._here)
                self._tell(scope, exchange, begun)
            return
        self._tell(scope, exchange, begun)

    def _tell(self, scope: MutableMapping[str, Any], exchange: _Exchange, begun: float) -> None:
        """Count a request, and say a line of it."""
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.monotonic() - begun
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._measured.request(method, route, exchange.status, seconds)
        size = exchange.received / 2**20
        log.info("%s %s %s %.3f s %.1f MiB", method, route, exchange.status, seconds, size)

    def _refuse(self, scope: MutableMapping[str, Any], *, has_body: bool) -> None:
        """Refuse who may not call, and what is too much."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = (_parts(f"//{host}").hostname or "") if host else ""
        if self._settings.is_loopback and name not in (*LOOPBACK, self._settings.host):
            # A page elsewhere may have its own name lead here.
            raise RefusedError(421, "this service answers to the names of this machine alone")
        origin = headers.get("origin")
        if origin is not None and _parts(origin).netloc != host:
            raise RefusedError(403, "pages of other places may not call this service")
        if self._settings.token is not None and scope["path"] not in _OPEN and not self._bears_token(headers):
            raise RefusedError(401, "give the service's token: Authorization: Bearer TOKEN")
        if not has_body:
            return
        said = headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > self._settings.limits.max_request:
            raise too_long(self._settings.limits)
        if self._here >= self._settings.limits.max_queue:
            raise RefusedError(503, "too many requests wait: try again", retry=1)

    def _bears_token(self, headers: Headers) -> bool:
        assert self._settings.token is not None
        kind, _, token = headers.get("authorization", "").partition(" ")
        # Compared in a time that does not tell how much of it is right.
        return hmac.compare_digest(token.strip().encode(), self._settings.token.encode()) and kind.lower() == "bearer"


def _parts(address: str) -> SplitResult:
    """The parts of a host or an origin.

    Raises:
        RefusedError: it is none.
    """
    try:
        return urlsplit(address)
    except ValueError:  # brackets that do not close
        raise RefusedError(400, "the request's Host or Origin is no address") from None


class _Exchange:
    """One request and its answer as they go by.

    Attributes:
        status: of the answer.
        received: bytes of the body so far.
        whole_answer: the answer was sent to its end.
    """

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, longest: float) -> None:
        self._receive, self._sends, self._longest = receive, send, longest
        self.whole_answer = False
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self._whole = length in ("", "0") and "transfer-encoding" not in headers
        self._asks = headers.get("expect", "").lower() == "100-continue"
        self.status, self.received = 500, 0

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        self._asks = False
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = self._whole or not message.get("more_body", False)
        else:
            self._whole = True
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that all have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if not self._whole:
                headers["Connection"] = "close"
            message["headers"] = headers.raw
        elif message["type"] == "http.response.body" and not message.get("more_body", False) and not self._whole:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _send(self, message: Message) -> None:
        """Send a message; who takes nothing of it for too long has gone, and must not keep others out."""
        async with asyncio.timeout(self._longest):
            await self._sends(message)
        self.whole_answer = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _drain(self) -> None:
        """Take the rest of a body that is not wanted: who sends without listening would hear of a broken line alone."""
        if self._asks:  # it has not begun to send
            return
        try:
            async with asyncio.timeout(_DRAIN):
                while not self._whole:
                    await self.receive()
        except TimeoutError:
            return
