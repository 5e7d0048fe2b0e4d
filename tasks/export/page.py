"""What is printed of an export: a table of what was compared, and one of size and time."""

from __future__ import annotations

from collections.abc import Sequence

from scansuite.words import number_of
from tasks.export.tally import MEANINGS
from tasks.export.verify import Latency
from tasks.exported.description import Check

_MB = 1e6


def table_of(checks: Sequence[Check]) -> str:
    """Lines of what differs from PyTorch, and by how much it may."""
    head = f"{'compared':<10}{'difference':>12}{'at most':>10}  {number_of(checks[0].scans, 'scan')}"
    rows = [
        f"{check.name:<10}{check.value:>12.2g}{check.tolerance:>10g}  {MEANINGS.get(check.name, '')}".rstrip()
        for check in checks
    ]
    return "\n".join([head, *rows])


def latency_table(times: Sequence[Latency], size: int, weights: int) -> str:
    """Lines of size and time.

    Args:
        times: by batch.
        size: of the file in bytes.
        weights: bytes of the weights in PyTorch.
    """
    rows = [
        f"batch of {time.batch:<3}{time.torch_ms:>9.1f} ms PyTorch{time.export_ms:>9.1f} ms exported"
        f"{time.torch_ms / time.export_ms:>7.1f} times as fast"
        for time in times
    ]
    head = f"size {size / _MB:.1f} MB (weights in PyTorch: {weights / _MB:.1f} MB); medians on this machine:"
    return "\n".join([head, *rows])
