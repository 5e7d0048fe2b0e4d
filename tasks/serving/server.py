"""The service from start to end: its address, its signals, its lines."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from tasks.serving.settings import ServeSettings

log = logging.getLogger(__name__)

NO_SERVE = "the packages of the service are missing: pip install 'scansuite[serve]'"
_GRACE = 2.0  # seconds beyond those that requests may take


def find_models(path: str) -> dict[str, str]:
    """The models of a file or a folder, by the names that callers know them by.

    Args:
        path: an ONNX file or a package; or a folder of such, each named as its file is without its suffix.

    Raises:
        SuiteError: there is none.
    """
    place = Path(path)
    if place.is_file():
        return {place.stem: str(place)}
    if not place.is_dir():
        raise SuiteError(f"--model {path}: there is no such file or folder")
    found = sorted(file for file in place.iterdir() if file.suffix in (".onnx", ".scansuite") and file.is_file())
    if not found:
        raise SuiteError(f"--model {path}: has no ONNX file and no package: make one with export")
    names = [file.stem for file in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SuiteError(f"--model {path}: two files have the name {min(twice)}: rename one")
    return dict(zip(names, map(str, found), strict=True))


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for callers.

    Raises:
        SuiteError: the address cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SuiteError(
            f"--host {host} --port {port}: cannot be listened on ({reason}): give another --port"
        ) from None
    return opened


def serve(models: Mapping[str, str], settings: ServeSettings, ready: Callable[[str, list[str]], None]) -> None:
    """Serve until a signal (SIGTERM, SIGINT) ends it; requests that are here are answered first.

    Args:
        models: file of each model by name.
        settings: of the service.
        ready: is told the address and the names of the models once they can be asked.

    Raises:
        SuiteError: a package is missing, the address cannot be had, or a model cannot be opened.
    """
    try:
        import uvicorn

        from tasks.serving.app import Service
    except ImportError as error:
        raise SuiteError(f"{NO_SERVE} ({error.name})") from None
    for name in ("uvicorn.error", "python_multipart"):  # tracebacks, and parts of forms, may hold names of files
        logging.getLogger(name).setLevel(logging.CRITICAL)
    listening = listen(settings.host, settings.port)
    service = Service(models, settings)
    config = uvicorn.Config(
        service.app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        date_header=False, proxy_headers=False, timeout_keep_alive=15, h11_max_incomplete_event_size=32768,
        timeout_graceful_shutdown=int(3 * settings.limits.max_seconds + _GRACE),
    )  # fmt: skip

    class Server(uvicorn.Server):
        """Ends by the loop's own handlers, and with status 0."""

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            loop = asyncio.get_running_loop()
            for one in (signal.SIGTERM, signal.SIGINT):
                with suppress(NotImplementedError, RuntimeError, ValueError):  # not of the main thread
                    loop.add_signal_handler(one, self._end)
            yield

        def _end(self) -> None:
            self.force_exit = self.should_exit  # the second one does not wait
            self.should_exit = True

    async def run() -> None:
        async with service.running():
            server = Server(config)
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{port}", list(service.pool.models))
            if service.listener is not None:
                assert settings.dicom is not None
                log.info("DICOM: %s listens on port %d", settings.dicom.title, service.listener.port)
            await server.serve(sockets=[listening])

    with listening:
        asyncio.run(run())
