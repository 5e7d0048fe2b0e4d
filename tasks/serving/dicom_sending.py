"""DICOM objects sent to another application (C-STORE), once more where it does not take them at first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tasks.serving.dicom_settings import Peer

_ATTEMPTS = 3
_PAUSE = 2.0  # seconds before the second attempt; longer each time
_SILENCE = 30  # seconds


def send_files(files: Sequence[Path], peer: Peer, title: str, pause: float = _PAUSE) -> list[str]:
    """Send files to another application.

    Args:
        files: DICOM files.
        peer: where to.
        title: of this application.
        pause: seconds before another attempt.

    Returns:
        Why a file could not be sent, for each of those; empty: all were.
    """
    left = list(files)
    reasons: list[str] = []
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * attempt)
        left, reasons = _attempt(left, peer, title)
        if not left:
            break
    return reasons


def _attempt(files: Sequence[Path], peer: Peer, title: str) -> tuple[list[Path], list[str]]:
    """The files that could not be sent, and why."""
    from pydicom import dcmread
    from pynetdicom import AE

    application = AE(ae_title=title)
    application.network_timeout = application.dimse_timeout = application.acse_timeout = _SILENCE
    application.connection_timeout = _SILENCE
    objects = [(file, dcmread(file)) for file in files]
    wanted = {(one.file_meta.MediaStorageSOPClassUID, one.file_meta.TransferSyntaxUID) for _, one in objects}
    for sop_class, syntax in sorted(wanted):
        application.add_requested_context(sop_class, syntax)
    association = application.associate(peer.host, peer.port, ae_title=peer.title)
    if not association.is_established:
        why = "it refuses the association" if association.is_rejected else "it cannot be reached"
        return list(files), [why] * len(files)
    left, reasons = [], []
    try:
        for file, one in objects:
            try:
                status = association.send_c_store(one)
                failed = "it does not answer" if "Status" not in status else _failed(int(status.Status))
            except (ValueError, RuntimeError):  # no context was accepted for it, or the association has ended
                failed = "it does not take objects of this kind"
            if failed:
                left.append(file)
                reasons.append(failed)
    finally:
        association.release()
    return left, reasons


def _failed(status: int) -> str:
    """What a status of C-STORE means; empty: it was taken (0x0000, warnings 0xB000 and up)."""
    return "" if status == 0 or status & 0xF000 == 0xB000 else f"it answers status {status:#06x}"
