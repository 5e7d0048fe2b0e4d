"""Pieces in batches: what breaks off, what is refused, what is made ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from datamodules.loading.case_source import CaseSource
from datamodules.preprocess import Preprocess
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError
from tasks.exported.batches import PieceBatch, Unreadable, ahead, piece_batches, predicted_batches
from tasks.exported.images import FloatArray


class Slices(CaseSource):
    """Cases with so many images of (8, width); of some the last one cannot be read.

    Args:
        cases: (images, width, whether it breaks off) of each.
    """

    def __init__(self, *cases: tuple[int, int, bool]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def scan_of(self, case: int) -> ScanInfo:
        return ScanInfo(case_id=str(case), path=f"{case}.png", patient_id=None)

    def images(self, case: int) -> Sequence[Scan]:
        count, width, breaks = self.cases[case]
        scans = [Scan(np.full((8, width), case, np.uint8), ScanInfo(original_size=(8, width))) for _ in range(count)]
        return _Broken(scans) if breaks else scans


class _Broken(list[Scan]):
    def __getitem__(self, number: int) -> Scan:  # type: ignore[override]
        if number == len(self) - 1:
            raise SuiteError("ends too soon")
        return super().__getitem__(number)


def told(batches: Iterator[PieceBatch | Unreadable]) -> list[list[int] | str]:
    """Cases of the pieces of each batch, and paths in between."""
    return [one.path if isinstance(one, Unreadable) else [piece.case for piece in one.pieces] for one in batches]


def batches(source: Slices, size: int = 4) -> Iterator[PieceBatch | Unreadable]:
    return piece_batches(source, Preprocess(channels=1), None, 0.0, size)


def test_pieces_of_one_shape_share_a_batch_and_broken_cases_leave_it() -> None:
    source = Slices((3, 8, False), (3, 8, True), (2, 8, False), (1, 9, False))
    assert told(batches(source)) == [[0, 0, 0, 1], "1.png", [2, 2], [3]]
    assert told(batches(Slices((1, 8, False), (2, 8, True)))) == ["1.png", [0]]


def test_large_images_come_in_small_batches() -> None:
    (first, *_) = piece_batches(Slices((40, 2**17, False)), Preprocess(channels=1), None, 0.0, 32)
    assert isinstance(first, PieceBatch)
    assert first.images.shape == (8, 1, 8, 2**17)


def test_a_case_that_is_refused_is_named_once_and_left_out() -> None:
    def predict(images: FloatArray) -> float:
        if round(images.max() * 255) == 1:
            raise SuiteError("not this one")
        return float(images.max() * 255)

    found = list(predicted_batches(batches(Slices((2, 8, False), (5, 9, False), (2, 8, False)), 2), predict))
    assert [one if isinstance(one, Unreadable) else one[1] for one in found] == [
        0.0, Unreadable("1.png", "not this one"), pytest.approx(2.0)
    ]  # fmt: skip


def test_the_next_one_is_made_in_a_thread_of_its_own() -> None:
    makers: list[int] = []

    def made() -> Iterator[int]:
        for number in range(3):
            makers.append(threading.get_ident())
            yield number
        raise SuiteError("at the end")

    found = ahead(made())
    assert [next(found), next(found), next(found)] == [0, 1, 2]
    with pytest.raises(SuiteError, match="at the end"):
        next(found)
    assert threading.get_ident() not in makers
    closed = ahead(iter(range(10)))
    assert next(closed) == 0
    closed.close()  # type: ignore[attr-defined]
