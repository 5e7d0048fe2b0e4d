"""Bodies of requests written to a folder while they arrive: never whole in memory, and no longer than is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from tasks.serving.file_names import file_name, free_path
from tasks.serving.refused import RefusedError
from tasks.serving.settings import RequestLimits

_MOST_HEADERS = 8192  # characters of the headers of one part
_SUFFIXES = {"application/dicom": ".dcm", "image/png": ".png", "image/jpeg": ".jpg", "image/tiff": ".tif",
             "application/zip": ".zip", "image/bmp": ".bmp"}  # fmt: skip


class Spool:
    """The temporary files of all requests together.

    Args:
        most: bytes that they may have.
    """

    def __init__(self, most: int) -> None:
        self._most, self.size = most, 0

    def take(self, count: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            RefusedError: there are too many.
        """
        if self.size + count > self._most:
            raise RefusedError(503, "too much is being sent at a time: try again", retry=5)
        self.size += count


class Body:
    """A request's body on its way to a folder.

    Args:
        request: whose it is.
        limits: of requests.
        spool: counts what is written.

    Attributes:
        size: bytes that were written.
    """

    def __init__(self, request: Request, limits: RequestLimits, spool: Spool) -> None:
        self._request, self._limits, self._spool = request, limits, spool
        self.size = 0

    async def save(self, folder: Path, name: str | None = None) -> None:
        """Write the body: the files of a form (``multipart/form-data``), or the body itself as one.

        Args:
            folder: where to; it is there.
            name: of the file, where the body itself is one; left out: what the request says, else ``upload``.

        Raises:
            RefusedError: it is too long, has too many files, is cut, took too long, or has no file.
        """
        try:
            async with asyncio.timeout(self._limits.max_seconds):
                kind, options = parse_options_header(self._request.headers.get("content-type", ""))
                if name is None and kind == b"multipart/form-data":
                    await self._form(folder, options.get(b"boundary", b""))
                else:
                    with (folder / (name or self._name(kind.decode("latin-1")))).open("xb") as stream:
                        async for chunk in self._chunks():
                            stream.write(chunk)
        except TimeoutError:
            longest = f"{self._limits.max_seconds:g} s"
            raise RefusedError(408, f"the request took more than {longest} to arrive") from None
        except ClientDisconnect:
            raise RefusedError(400, "the request ended before it was whole") from None
        if self.size == 0:
            raise RefusedError(400, "the request has no file")

    async def _chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, counted."""
        async for chunk in self._request.stream():
            if self.size + len(chunk) > self._limits.max_request:
                raise too_long(self._limits)
            self._spool.take(len(chunk))
            self.size += len(chunk)
            yield chunk

    async def _form(self, folder: Path, boundary: bytes) -> None:
        if not boundary:
            raise RefusedError(400, "the form has no boundary in its Content-Type")
        parts = _Parts(folder, self._limits.max_members)
        try:
            parser = MultipartParser(boundary, parts.callbacks)  # type: ignore[arg-type]
            async for chunk in self._chunks():
                parser.write(chunk)
            parser.finalize()
        except MultipartParseError:
            raise RefusedError(400, "the form is damaged") from None
        finally:
            parts.close()
        if not parts.whole:
            raise RefusedError(400, "the form is cut off")
        if not parts.files:
            raise RefusedError(400, "the form has no file: send one under any name with a file name")

    def _name(self, kind: str) -> str:
        """The name of the file that a body is."""
        _, options = parse_options_header(self._request.headers.get("content-disposition", ""))
        said = options.get(b"filename", b"").decode("utf-8", "replace") or self._request.query_params.get("name", "")
        return file_name(said) if said else f"upload{_SUFFIXES.get(kind, '')}"


class _Parts:
    """The files of a form, written as they come; fields that are no files are passed over."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._stream: BinaryIO | None = None
        self._field, self._value, self._length = b"", b"", 0
        self._headers: dict[str, bytes] = {}
        self._taken: dict[Path, int] = {}
        self.files = 0
        self.whole = False
        self.callbacks = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self.close,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close the file that is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _begin(self) -> None:
        self._headers, self._length, self._field, self._value = {}, 0, b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, part: bytes) -> bytes:
        self._length += len(part)
        if self._length > _MOST_HEADERS:
            raise RefusedError(400, "the form has headers that are too long")
        return part

    def _header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"filename" not in options:
            return
        self.files += 1
        if self.files > self._most:
            raise RefusedError(413, f"the form has more than the {self._most} files allowed")
        self._stream = free_path(self._folder, options[b"filename"].decode("utf-8", "replace"), self._taken).open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._stream is not None:
            self._stream.write(data[start:end])

    def _end(self) -> None:
        self.whole = True


def too_long(limits: RequestLimits) -> RefusedError:
    """What is said of a body that is too long."""
    return RefusedError(413, f"the request is larger than the {limits.max_request / 2**20:.4g} MiB allowed")


def remove(folder: Path) -> None:
    """Remove the folder of a request, whatever lies in it."""
    import shutil

    with suppress(OSError):
        shutil.rmtree(folder, ignore_errors=True)
