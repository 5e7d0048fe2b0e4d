"""DICOM over the network from callers that mean harm, and from those that send faster than is computed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
pytest.importorskip("pynetdicom", reason="pynetdicom is not installed (extra serve)")

from tasks.serving.dicom_listener import Listener
from tasks.serving.dicom_settings import DicomSettings
from tasks.serving.settings import RequestLimits, ServeSettings

NO_ROOM = 0xA700


class Slow:
    """A pool whose requests end when they may."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {"m": {}}
        self.may_end = asyncio.Event()
        self.at_once = self.most = self.done = 0

    async def answer(self, _: Any) -> dict[str, Any]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.may_end.wait()
        self.at_once -= 1
        self.done += 1
        return {}


def with_listener(
    folder: Path, act: Callable[[Listener, Slow], Awaitable[None]], limits: RequestLimits | None = None
) -> None:
    async def run() -> None:
        pool = Slow()
        settings = ServeSettings(
            workers=2, limits=limits or RequestLimits(), dicom=DicomSettings(0, title="MODEL", wait=0.05)
        )
        listener = Listener(pool, folder, settings, shutil.rmtree)  # type: ignore[arg-type]
        await listener.start()
        try:
            await act(listener, pool)
        finally:
            pool.may_end.set()
            await listener.stop()

    import tempfile

    before = tempfile.tempdir
    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        tempfile.tempdir = before


def send(port: int, series: int, syntax: str = "1.2.840.10008.1.2.1") -> int | None:
    """Send one image of a series: the status; None where it is not taken at all."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pynetdicom import AE

    file = get_testdata_file("CT_small.dcm")
    assert file is not None
    data = dcmread(file)
    data.SeriesInstanceUID = f"1.2.3.{series}"
    ae = AE("SCANNER")
    ae.add_requested_context(data.SOPClassUID, syntax)
    association = ae.associate("127.0.0.1", port, ae_title="MODEL")
    if not association.is_established:
        return None
    try:
        return int(association.send_c_store(data).Status)
    finally:
        association.release()


def test_more_than_is_computed_waits_and_more_than_fits_is_refused(tmp_path: Path) -> None:
    async def act(listener: Listener, pool: Slow) -> None:
        for number in range(4):
            assert await asyncio.to_thread(send, listener.port, number) == 0
        while pool.at_once < 2:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert pool.most == 2  # the others wait here, where nobody refuses them for having waited
        assert await asyncio.to_thread(send, listener.port, 5) == NO_ROOM  # though all four have been handed on
        pool.may_end.set()
        while pool.done < 4 or list(tmp_path.iterdir()):
            await asyncio.sleep(0.02)
        assert await asyncio.to_thread(send, listener.port, 6) == 0

    with_listener(tmp_path, act, RequestLimits(max_members=4))


def test_bytes_are_counted_until_they_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(listener: Listener, pool: Slow) -> None:
        assert await asyncio.to_thread(send, listener.port, 1) == 0
        assert await asyncio.to_thread(send, listener.port, 2) == 0
        while pool.at_once < 2:
            await asyncio.sleep(0.02)
        assert await asyncio.to_thread(send, listener.port, 3) == NO_ROOM

    monkeypatch.setattr(RequestLimits, "max_spooled", property(lambda _: 90_000))  # an image has 39 kB
    with_listener(tmp_path, act)


def test_deflated_images_are_not_taken(tmp_path: Path) -> None:
    async def act(listener: Listener, _: Slow) -> None:
        assert await asyncio.to_thread(send, listener.port, 1, "1.2.840.10008.1.2.1.99") is None

    with_listener(tmp_path, act)


def test_a_message_that_says_it_has_gigabytes_is_not_waited_for(tmp_path: Path) -> None:
    def call(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1) + bytes(4096))
            try:
                return line.recv(16)
            except ConnectionResetError:
                return b""

    async def act(listener: Listener, _: Slow) -> None:
        assert await asyncio.to_thread(call, listener.port) == b""
        assert await asyncio.to_thread(send, listener.port, 1) == 0

    with_listener(tmp_path, act)
