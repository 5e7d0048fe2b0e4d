"""Text of annotation files (lists, YAML, JSON), in whatever encoding it was saved."""

from __future__ import annotations

import logging
from pathlib import Path

from datamodules.tables.encodings import UTF8, declared, encoding_of, spoken
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


def read_text(file: Path) -> str:
    """Text of a file: UTF-8, what its byte order mark says, or the encoding that its letters tell, which a line says.

    Raises:
        SuiteError: it cannot be read, or its encoding cannot be told.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SuiteError(f"{file}: cannot be read: {error.strerror}") from None
    encoding = declared(content) or UTF8
    try:
        return _lines(content, encoding)
    except UnicodeDecodeError:
        if encoding != UTF8:
            raise SuiteError(f"{file}: is no {spoken(encoding)}, as it begins: save it as UTF-8") from None
    encoding = encoding_of(content, str(file), None)
    try:
        text = _lines(content, encoding)
    except UnicodeDecodeError:
        raise SuiteError(f"{file}: is not {spoken(encoding)} as a whole: save it as UTF-8") from None
    other = next((line.strip() for line in text.splitlines() if not line.isascii()), "")
    log.info("%s: read as %s, such as %r (save it as UTF-8 if that is wrong)", file, spoken(encoding), other[:40])
    return text


def _lines(content: bytes, encoding: str) -> str:
    """Text with the line ends of this language, as files are opened."""
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
