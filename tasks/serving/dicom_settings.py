"""Settings of DICOM over the network: who may send, and where results go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scansuite.errors import SuiteError

_LONGEST = 16  # characters of an AE title (DICOM PS3.8 section 9.3.2)


class Peer(NamedTuple):
    """Another application.

    Attributes:
        host: its machine.
        port: that it listens on.
        title: its AE title.
    """

    host: str
    port: int
    title: str


@dataclass(frozen=True)
class DicomSettings:
    """Settings of the listener.

    Attributes:
        port: that it listens on; 0: a free one.
        title: its AE title.
        send: where results go.
        accept: AE titles that may send; empty: any.
        wait: seconds without a new image after which a series is taken as whole.
        kinds: of the objects that are made of a result; empty: a report, and of masks a segmentation.
        model: that predicts; None: the only one that is served.
    """

    port: int
    title: str = "SCANSUITE"
    send: tuple[Peer, ...] = ()
    accept: tuple[str, ...] = ()
    wait: float = 5.0
    kinds: tuple[str, ...] = ()
    model: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SuiteError(f"--dicom_port {self.port}: give a number from 0 (any free one) to 65535")
        if not self.wait > 0:
            raise SuiteError(f"--dicom_wait {self.wait:g}: must be above 0")
        _check_title("--ae_title", self.title)
        for title in self.accept:
            _check_title("--accept", title)


def read_peers(texts: Sequence[str]) -> tuple[Peer, ...]:
    """Read ``--send``: ``HOST:PORT:AE_TITLE``, where a host of IPv6 stands in brackets.

    Raises:
        SuiteError: a text is none.
    """
    peers = []
    for text in texts:
        host, _, port = text.rpartition(":")[0].rpartition(":")
        title = text.rpartition(":")[2]
        if not host or not port.isdigit() or not 0 < int(port) <= 65535:
            raise SuiteError(f"--send {text}: give HOST:PORT:AE_TITLE, such as pacs.local:104:ARCHIVE")
        _check_title("--send", title)
        peers.append(Peer(host.strip("[]"), int(port), title))
    return tuple(peers)


def _check_title(flag: str, title: str) -> None:
    plain = title.isascii() and title.isprintable() and "\\" not in title
    if not plain or not title.strip() or len(title) > _LONGEST:
        raise SuiteError(f"{flag} {title}: an AE title has 1 to {_LONGEST} plain characters")
