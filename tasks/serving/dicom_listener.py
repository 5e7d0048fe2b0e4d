"""DICOM over the network: series that others send (C-STORE) are predicted, and results sent on.

A series is taken as whole when nothing of it has come for a while. Images are written to disk as they arrive; what is
said names no patient and no study, a series by the first digits of a hash of its UID.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.serving.dicom_sending import send_files
from tasks.serving.dicom_settings import DicomSettings
from tasks.serving.names import INPUT, OBJECTS
from tasks.serving.pool import Job, Pool
from tasks.serving.refused import RefusedError
from tasks.serving.settings import ServeSettings

if TYPE_CHECKING:
    from pynetdicom.events import Event

log = logging.getLogger(__name__)

_SUCCESS, _NO_ROOM, _NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
_MOST_ASSOCIATIONS = 10
_SILENCE = 60  # seconds after which an association without a word is ended
_LARGEST_PDU = 2**20  # bytes; senders are told of 16 KiB, and what opens an association is not large either
_LOOK = 0.2  # seconds between two looks for series that rest


@dataclass
class Series:
    """A series that arrives.

    Attributes:
        folder: of it, with its images in ``input``.
        last: when its last image came (monotonic).
        images: how many came.
        size: bytes of them.
    """

    folder: Path
    last: float
    images: int = 0
    size: int = 0


class Listener:
    """Listens for DICOM, and has what arrives predicted.

    Args:
        pool: of workers.
        folder: for temporary files.
        settings: of the service; its ``dicom`` is not None.
        finished: takes the folder of a series that is done with.
    """

    def __init__(self, pool: Pool, folder: Path, settings: ServeSettings, finished: Callable[[Path], None]) -> None:
        assert settings.dicom is not None
        self._pool, self._folder, self._limits = pool, folder, settings.limits
        self._settings: DicomSettings = settings.dicom
        self._host, self._finished = settings.host, finished
        self._lock = threading.Lock()
        self._series: dict[str, Series] = {}
        self._held = 0  # bytes of all series that are here, those that are computed included
        self._count_held = 0
        self._at_once = asyncio.Semaphore(settings.workers)
        self._server: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self.model = ""
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            SuiteError: a package is missing, the port cannot be had, or no model is named where several are served.
        """
        try:
            from pydicom.uid import UID
            from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
            from pynetdicom.sop_class import Verification
        except ImportError:
            raise SuiteError("--dicom_port: pynetdicom is missing: pip install 'scansuite[serve]'") from None
        self.model = self._chosen()
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it says names of patients
        _config.STORE_RECV_CHUNKED_DATASET = True  # images go to disk as they arrive
        tempfile.tempdir = str(self._folder)  # there
        application = AE(ae_title=self._settings.title)
        application.maximum_associations = _MOST_ASSOCIATIONS
        application.network_timeout = application.dimse_timeout = application.acse_timeout = _SILENCE
        application.require_called_aet = True
        application.require_calling_aet = list(self._settings.accept)
        # What is deflated would be unpacked in this process, to a thousand times its size.
        syntaxes = [one for one in ALL_TRANSFER_SYNTAXES if not UID(one).is_deflated]
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            application.add_supported_context(context.abstract_syntax, syntaxes)
        application.add_supported_context(Verification)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _: _SUCCESS),
            (evt.EVT_CONN_OPEN, _bound),
            (evt.EVT_DATA_RECV, self._count),
            (evt.EVT_REJECTED, lambda _: log.info("DICOM: a caller was refused")),
        ]
        try:
            self._server = application.start_server((self._host, self._settings.port), False, evt_handlers=handlers)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SuiteError(f"--dicom_port {self._settings.port}: cannot be listened on ({reason})") from None
        self.port = self._server.socket.getsockname()[1]
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Listen no more; series that have arrived are predicted and sent first."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
        if self._watching is not None:
            self._watching.cancel()
        self._take(time.monotonic() + self._settings.wait)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _chosen(self) -> str:
        known = list(self._pool.models)
        if self._settings.model is not None and self._settings.model not in known:
            raise SuiteError(f"--dicom_model {self._settings.model}: is not served: {', '.join(known)} are")
        if self._settings.model is None and len(known) > 1:
            raise SuiteError(f"--dicom_port: {number_of(len(known), 'model')} are served: name one with --dicom_model")
        return self._settings.model or known[0]

    def _count(self, event: Event) -> None:
        """Count what an association sends of one image; more than is allowed ends it."""
        association: Any = event.assoc
        so_far = getattr(association, "bytes_of_image", 0) + len(event.data)
        association.bytes_of_image = so_far
        if so_far > self._limits.max_request and not getattr(association, "ended_here", False):
            association.ended_here = True
            log.warning("DICOM: an image is larger than the %d MiB allowed", self._limits.max_request // 2**20)
            association.abort()

    def _store(self, event: Event) -> int:
        """Take an image: the status of the answer."""
        from pydicom import dcmread

        association: Any = event.assoc
        association.bytes_of_image = 0
        try:
            arrived = event.dataset_path
            tags = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
            head = dcmread(arrived, stop_before_pixels=True, specific_tags=tags)
            study, series, image = (str(head[tag].value) for tag in tags)
        except Exception:  # pydicom has no class of its own for what is no DICOM
            return _NOT_UNDERSTOOD
        caller = str(event.assoc.requestor.ae_title)
        key = hashlib.sha256("\0".join((caller, study, series)).encode()).hexdigest()[:16]
        size = arrived.stat().st_size
        with self._lock:
            if self._held + size > self._limits.max_spooled:
                return _NO_ROOM
            found = self._series.get(key)
            if found is None:
                if self._count_held >= self._limits.max_members:
                    return _NO_ROOM
                folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="series-"))
                (folder / INPUT / key).mkdir(parents=True)
                found = self._series[key] = Series(folder, time.monotonic())
                self._count_held += 1
            if found.images >= self._limits.max_members:
                return _NO_ROOM
            name = hashlib.sha256(image.encode()).hexdigest()[:24]
            shutil.move(arrived, found.folder / INPUT / key / f"{name}.dcm")
            found.images += 1
            found.size += size
            self._held += size
            found.last = time.monotonic()
        return _SUCCESS

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._take(time.monotonic())

    def _take(self, now: float) -> None:
        """Have the series predicted that rest."""
        with self._lock:
            keys = [key for key, one in self._series.items() if now - one.last >= self._settings.wait]
            resting = [(key, self._series.pop(key)) for key in keys]
        for key, one in resting:
            task = asyncio.get_running_loop().create_task(self._predict(key, one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _predict(self, key: str, series: Series) -> None:
        name = f"DICOM: series {key[:8]} ({number_of(series.images, 'image')})"
        try:
            async with self._at_once:  # in the pool they would be refused after a while, and they were taken already
                job = Job("dicom", self.model, series.folder, {"kinds": list(self._settings.kinds)})
                await self._pool.answer(job)
            files = sorted((series.folder / OBJECTS).rglob("*.dcm"))
            log.info("%s: predicted, %s", name, number_of(len(files), "object"))
            await self._send(name, files)
        except RefusedError:
            log.warning("%s: no result can be made of it", name)
        except Exception as error:  # one series must not end the listener
            log.error("%s: an error within the service (%s)", name, type(error).__name__)
        finally:
            await asyncio.to_thread(self._finished, series.folder)
            with self._lock:
                self._held -= series.size
                self._count_held -= 1

    async def _send(self, name: str, files: Sequence[Path]) -> None:
        for peer in self._settings.send:
            left = await asyncio.to_thread(send_files, files, peer, self._settings.title)
            if left:
                log.error("%s: %s cannot be sent to %s: %s", name, number_of(len(left), "object"), peer.title, left[0])
            else:
                log.info("%s: sent to %s", name, peer.title)


def _bound(event: Event) -> None:
    """Bound what one message of a connection may have: pynetdicom takes the four gigabytes that it may say into memory.

    A caller is not known yet when the first one comes.
    """
    line: Any = event.assoc.dul.socket
    take = line.recv

    def recv(count: int) -> bytearray:
        if count > _LARGEST_PDU:
            raise OSError("the message is too large")
        taken: bytearray = take(count)
        return taken

    line.recv = recv
