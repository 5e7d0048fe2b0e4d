"""The service as an application: its paths, and how a request becomes work for a worker."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from scansuite.errors import nearest
from scansuite.version import __version__
from tasks.exported.description import Description
from tasks.serving.dicom_listener import Listener
from tasks.serving.gate import App, Gate
from tasks.serving.measured import Measured
from tasks.serving.metadata import inputs_of, outputs_of
from tasks.serving.names import BODY, INPUT, NOTICE, VIEW_FILE
from tasks.serving.page import Page
from tasks.serving.pool import Job, Pool
from tasks.serving.refused import RefusedError
from tasks.serving.settings import MIB, ServeSettings
from tasks.serving.uploads import Body, Spool, remove

_FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_CHUNK = 1 << 20
_TENSORS = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


class Service:
    """The service: its workers, and its application.

    Args:
        models: file or folder of each model by name.
        settings: of the service.

    Attributes:
        pool: the workers.
        app: the application, to be run by an ASGI server.
        listener: of DICOM, where there is one and it runs.
    """

    def __init__(self, models: Mapping[str, str], settings: ServeSettings) -> None:
        self._settings = settings
        self.pool = Pool(models, settings)
        self._measured = Measured()
        self._measured.of_pool(self.pool)
        self._spool = Spool(settings.limits.max_spooled)
        self._folder: Path | None = None
        self._page = Page()
        self.listener: Listener | None = None
        self.app: App = Gate(self._application(), settings, self._measured)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The workers and the temporary folder, from start to end."""
        self._folder = Path(tempfile.mkdtemp(prefix="scansuite-serve-"))
        try:
            await self.pool.start()
            if self._settings.dicom is not None:
                self.listener = Listener(self.pool, self._folder, self._settings, self._put_away)
                await self.listener.start()
            yield
        finally:
            if self.listener is not None:
                await self.listener.stop()
            await self.pool.stop()
            remove(self._folder)

    def description(self, name: str) -> Description:
        """What a model says of itself.

        Raises:
            RefusedError: there is none of that name.
        """
        if name not in self.pool.models:
            known = list(self.pool.models)
            raise RefusedError(404, f"there is no model {name[:60]!r}: {nearest(name, known)}")
        return Description.from_json(self.pool.models[name]["description"], name)

    async def _work(self, request: Request, kind: str, name: str, body: str | None = None) -> Response:
        """Take a request's body, have it done, and send the answer's file; nothing of it is left then."""
        self.description(name)
        masks = request.query_params.get("masks", "base64")
        if masks not in ("base64", "none"):
            raise RefusedError(400, f"masks={masks[:20]}: base64 or none")
        assert self._folder is not None
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        (folder / INPUT).mkdir()
        took = Body(request, self._settings.limits, self._spool)
        try:
            await took.save(folder / INPUT, body)
            self._measured.taken(name, took.size)
            keep = self._settings.keep is not None
            job = Job(kind, name, folder, {"masks": "none" if kind == "view" else masks, "keep": keep})
            answer = await self.pool.answer(job)
            file = folder / answer["file"]
            whole = await asyncio.to_thread(file.read_bytes) if file.stat().st_size < 2**20 else None
        except BaseException:
            await self._done(folder, took)
            raise
        media = "application/octet-stream" if file.name == VIEW_FILE else "application/json"
        if whole is not None:
            await self._done(folder, took, kept=True)
            return Response(whole, media_type=media)
        return _FileAnswer(file, media, lambda: self._done(folder, took, kept=True))

    async def _done(self, folder: Path, took: Body, *, kept: bool = False) -> None:
        self._spool.size -= took.size
        await asyncio.to_thread(self._put_away if kept else remove, folder)

    def _put_away(self, folder: Path) -> None:
        """Keep the folder of a request where that is asked for, and remove it else."""
        if self._settings.keep is not None:
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            shutil.move(folder, self._settings.keep / name)
        else:
            remove(folder)

    def _application(self) -> FastAPI:
        app = FastAPI(
            title="scansuite", version=__version__, description=NOTICE,
            docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
        )  # fmt: skip
        app.add_exception_handler(RefusedError, _refused)
        app.add_exception_handler(HTTPException, _http)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(Exception, _failed)
        self._of_page(app)
        self._of_protocol(app)
        self._of_predictions(app)
        return app

    def _of_page(self, app: FastAPI) -> None:
        @app.get("/", response_class=HTMLResponse, summary="The page to drop a scan on", include_in_schema=False)
        async def page() -> HTMLResponse:
            settings = self._settings
            text = self._page.html(
                token=settings.token is not None,
                keeps=settings.keep is not None,
                most=settings.limits.max_request / MIB,
            )
            return HTMLResponse(text, headers={"Content-Security-Policy": self._page.policy})

        @app.get("/favicon.ico", include_in_schema=False)
        async def favicon() -> Response:
            return Response(status_code=204)

        @app.get("/metrics", summary="Measurements for Prometheus")
        async def metrics() -> Response:
            return Response(self._measured.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _of_protocol(self, app: FastAPI) -> None:
        @app.get("/v2/health/live", summary="Whether the service runs", tags=["Open Inference Protocol"])
        async def live() -> dict[str, bool]:
            return {"live": True}

        @app.get("/v2/health/ready", summary="Whether it can predict", tags=["Open Inference Protocol"])
        async def ready() -> JSONResponse:
            return JSONResponse({"ready": self.pool.ready}, 200 if self.pool.ready else 503)

        @app.get("/v2", summary="The service", tags=["Open Inference Protocol"])
        async def server() -> dict[str, Any]:
            return {"name": "scansuite", "version": __version__, "extensions": []}

        @app.get("/v2/models/{name}", summary="A model: inputs, outputs", tags=["Open Inference Protocol"])
        @app.get("/v2/models/{name}/versions/1", include_in_schema=False)
        async def metadata(name: str) -> dict[str, Any]:
            description = self.description(name)
            outputs = self.pool.models[name]["outputs"]
            return {
                "name": name,
                "versions": ["1"],
                "platform": "onnxruntime_onnx",
                "inputs": inputs_of(description),
                "outputs": outputs_of(outputs),
            }

        @app.get("/v2/models/{name}/ready", summary="Whether a model can predict", tags=["Open Inference Protocol"])
        @app.get("/v2/models/{name}/versions/1/ready", include_in_schema=False)
        async def model_ready(name: str) -> JSONResponse:
            self.description(name)
            return JSONResponse({"name": name, "ready": self.pool.ready}, 200 if self.pool.ready else 503)

        @app.post(
            "/v2/models/{name}/infer", summary="Tensors in, tensors out", tags=["Open Inference Protocol"],
            openapi_extra=_TENSORS,
        )  # fmt: skip
        @app.post("/v2/models/{name}/versions/1/infer", include_in_schema=False)
        async def infer(name: str, request: Request) -> Response:
            return await self._work(request, "infer", name, BODY)

    def _of_predictions(self, app: FastAPI) -> None:
        @app.get("/v1/models", summary="The models that are served", tags=["predictions"])
        async def models() -> dict[str, Any]:
            found = {name: self.description(name) for name in self.pool.models}
            return {"models": [{"name": name, "task": one.task, "title": one.name} for name, one in found.items()]}

        @app.get("/v1/models/{name}", summary="A model: classes, preprocessing, licence", tags=["predictions"])
        async def described(name: str) -> dict[str, Any]:
            plain = json.loads(self.description(name).to_json())
            plain.pop("profile", None)  # of its training cases, which is nobody's business here
            return {"model_name": name, "notice": NOTICE, **plain}

        @app.post(
            "/v1/models/{name}/predict", summary="Files in, predictions out", tags=["predictions"],
            openapi_extra=_FILES,
        )  # fmt: skip
        async def predict(name: str, request: Request) -> Response:
            return await self._work(request, "predict", name)

        @app.post("/v1/models/{name}/view", include_in_schema=False)
        async def view(name: str, request: Request) -> Response:
            try:
                return await self._work(request, "view", name)
            except RefusedError as refused:  # the page says it; a browser would complain of the status by itself
                return JSONResponse({"error": refused.text}, headers={"X-Refused": str(refused.status)})


class _FileAnswer(Response):
    """A file as an answer, and what is done once it is sent, or its caller has gone."""

    def __init__(self, file: Path, media: str, after: Callable[[], Awaitable[None]]) -> None:
        self._file, self._after = file, after
        super().__init__(media_type=media, headers={"content-length": str(file.stat().st_size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, some at a time."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            with self._file.open("rb") as stream:
                while chunk := await asyncio.to_thread(stream.read, _CHUNK):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._after()


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.text}, error.status, headers=error.headers)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing at this path", 405: "this path takes another method"}
    return JSONResponse({"error": said.get(error.status_code, error.detail)}, error.status_code, headers=error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the request is not as this path takes it"}, 422)


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"an error within the service ({type(error).__name__})"}, 500)
