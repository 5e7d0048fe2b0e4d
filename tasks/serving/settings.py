"""Settings of the service: what it listens on, who may call it, and what one request may ask for."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.readers.limits import DEFAULT, Limits
from datamodules.windows import parse_windows
from scansuite.errors import SuiteError
from tasks.serving.dicom_settings import DicomSettings

MIB = 2**20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request, and of all that wait.

    Attributes:
        max_request: bytes of a request's body; what is longer is refused while it arrives.
        max_unpacked: bytes that the members of a zip have together, unpacked.
        max_members: files of a zip, or of an upload.
        max_seconds: that each of arrival, waiting and computing may take.
        max_queue: requests with a body that are here at a time, those that arrive included.
        max_pixels: largest height times width, in pixels, of an image, slice or page that is read.
        max_bytes: largest size in bytes of one file's values, unpacked.
        window: for scans with physical values and a model that has no scale for them: a name, or ``centre:width``; no
            limit, and with them since it goes the same way.
    """

    max_request: int = 512 * MIB
    max_unpacked: int = 2048 * MIB
    max_members: int = 5000
    max_seconds: float = 120.0
    max_queue: int = 64
    max_pixels: int = DEFAULT.max_pixels
    max_bytes: int = DEFAULT.max_bytes
    window: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_request", "max_unpacked", "max_members", "max_queue", "max_pixels", "max_bytes"):
            if getattr(self, name) < 1:
                raise SuiteError(f"--{name} {getattr(self, name)}: must be at least 1")
        if self.window is not None:
            try:
                parse_windows(self.window)
            except SuiteError as error:
                raise SuiteError(str(error).replace("--data.", "--")) from None
        if not self.max_seconds > 0:
            raise SuiteError(f"--max_seconds {self.max_seconds:g}: must be above 0")

    @property
    def of_files(self) -> Limits:
        """Limits of the readers."""
        return Limits(self.max_pixels, self.max_bytes)

    @property
    def max_spooled(self) -> int:
        """Bytes of all requests together that may lie in the temporary folder."""
        return 8 * self.max_request


@dataclass(frozen=True)
class ServeSettings:
    """Settings of the service.

    Attributes:
        host: address that it listens on.
        port: of it; 0: a free one.
        token: that every request must bear, but for the page itself and the health of the service; None: none.
        without_token: listen beyond this machine without one.
        workers: processes that run models.
        threads: of each run of a model; None: the cores of this process shared among the workers.
        together: requests that one worker has at a time, whose images are run together where they have one shape.
        wait: seconds that an image waits for others of its shape.
        trust: public key (PEM) whose signature a package must bear; None: any is served.
        task: that all models must be of; None: any.
        dicom: DICOM over the network; None: none.
        keep: folder in which requests and their results are kept; None: nothing is.
        limits: of requests.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    without_token: bool = False
    workers: int = 2
    threads: int | None = None
    together: int = 8
    wait: float = 0.004
    trust: Path | None = None
    task: str | None = None
    dicom: DicomSettings | None = None
    keep: Path | None = None
    limits: RequestLimits = field(default_factory=RequestLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SuiteError(f"--port {self.port}: give a number from 0 (any free one) to 65535")
        for name in ("workers", "together"):
            if getattr(self, name) < 1:
                raise SuiteError(f"--{name} {getattr(self, name)}: must be at least 1")
        if self.threads is not None and self.threads < 1:
            raise SuiteError(f"--threads {self.threads}: must be at least 1")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or not self.token.isprintable()):
            raise SuiteError("--token: give at least 8 printable characters (letters, digits, signs)")
        if self.token is None and not self.is_loopback and not self.without_token:
            raise SuiteError(
                f"--host {self.host}: others than this machine can call it: give --token, or --without_token true "
                "where something before it asks who they are"
            )

        if self.dicom is not None and not (self.is_loopback or self.dicom.accept or self.without_token):
            raise SuiteError(
                f"--dicom_port {self.dicom.port}: others than this machine can send: give --accept with AE titles, "
                "or --without_token true"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can call it."""
        if self.host in LOOPBACK:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def threads_of_each(self) -> int:
        """Threads of each run of a model."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.threads if self.threads is not None else max(1, cores // self.workers)
