"""Cases as streams of pieces."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from datamodules.loading.case_source import CaseSource, LazyScans, TableCases
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.preprocess import Preprocess
from datamodules.samples.tiles import plan_tiles
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Batch, Piece, Scan, ScanInfo
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, data_of, write_table
from tests.datamodules.volumes_on_disk import AXIAL, write_nifti

GREY = Preprocess(channels=1)


@dataclass
class Drawn(CaseSource):
    """Cases of noise; ``broken`` images cannot be read."""

    sizes: list[list[tuple[int, ...]]]  # of the images of each case
    broken: set[tuple[int, int]] = field(default_factory=set)
    read: list[tuple[int, int]] = field(default_factory=list)
    content: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def scan_of(self, case: int) -> ScanInfo:
        return ScanInfo(case_id=str(case), patient_id=None, path=f"{case}.png")

    def images(self, case: int) -> Sequence[Scan]:
        return LazyScans(len(self.sizes[case]), lambda number: self._read(case, number))

    def _read(self, case: int, number: int) -> Scan:
        if (case, number) in self.broken:
            raise SuiteError(f"{case}/{number}.png: broken")
        self.read.append((case, number))
        info = ScanInfo(path=f"{case}/{number}.png", slice=number)
        if self.content is not None:
            info["content_size"] = self.content
        return Scan(self.array(case, number), info)

    def array(self, case: int, number: int) -> NDArray[np.uint8]:
        return np.random.default_rng([case, number]).integers(0, 256, self.sizes[case][number], dtype=np.uint8)


def pieces_of(batches: Iterable[Batch]) -> list[Piece]:
    return [piece for batch in batches for piece in batch["pieces"]]


def stream(source: CaseSource, preprocess: Preprocess = GREY, batch_size: int = 4, **kwargs: Any) -> list[Batch]:
    return list(CaseStream(source, preprocess, batch_size, **kwargs))


# Pieces.


def test_every_pixel_comes_from_where_its_piece_says() -> None:
    source = Drawn([[(50, 70), (50, 70)], [(20, 90)], [(16, 16)]])
    batches = stream(source, tile=(32, 32), batch_size=5)
    for batch in batches:
        assert len({piece.case for piece in batch["pieces"]}) == 1
        assert batch["image"].shape == (len(batch["pieces"]), 1, 32, 32)
        assert batch["image"].dtype == torch.float32
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["unreadable"] == []
        for image, piece, scan in zip(batch["image"], batch["pieces"], batch["scan"], strict=True):
            whole = GREY.image(source.array(piece.case, piece.image), "x")[:, :, 0]
            part = whole[piece.top : piece.top + 32, piece.left : piece.left + 32]
            edges = [(0, 32 - side) for side in part.shape]
            np.testing.assert_array_equal(image[0].numpy(), np.pad(part, edges, mode="edge"))
            assert (piece.size, piece.images) == (whole.shape, len(source.sizes[piece.case]))
            # What the reader says of the slice, and the identity of the case.
            assert (scan["slice"], scan["path"], scan["case_id"]) == (
                piece.image, f"{piece.case}.png", str(piece.case)
            )  # fmt: skip
    assert source.read == [(0, 0), (0, 1), (1, 0), (2, 0)]


def expected_pieces(source: Drawn, cases: Iterable[int], tile: tuple[int, int]) -> list[Piece]:
    pieces = []
    for case in cases:
        for number, size in enumerate(source.sizes[case]):
            places = plan_tiles((size[0], size[1]), tile, 0.5)
            for top, left in places:
                last = (top, left) == places[-1]
                pieces.append(Piece(case, number, len(source.sizes[case]), top, left, (size[0], size[1]), last))
    return pieces


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
def test_each_piece_once_and_in_order_on_any_number_of_workers_and_ranks(workers: int, world: int) -> None:
    source = Drawn([[(40 + 9 * case, 50)] * (1 + case % 3) for case in range(7)])
    for rank in range(world):
        stream = CaseStream(source, GREY, batch_size=3, tile=(32, 32), rank=rank, world_size=world)
        loader = case_loader(stream, num_workers=workers)
        pieces = pieces_of(loader)
        # Those of a case keep their order, however cases mix.
        assert sorted(pieces, key=lambda piece: piece.case) == expected_pieces(source, range(rank, 7, world), (32, 32))
        if workers == 0:
            assert [piece.case for piece in pieces] == sorted(piece.case for piece in pieces)


def test_more_workers_and_ranks_than_cases() -> None:
    source = Drawn([[(8, 8)]])
    seen = [
        pieces_of(case_loader(CaseStream(source, GREY, batch_size=1, rank=rank, world_size=3), num_workers=2))
        for rank in (0, 1)
    ]
    assert [len(pieces) for pieces in seen] == [1, 0]


def test_whole_images_of_one_size_share_a_batch_and_cases_never_do() -> None:
    source = Drawn([[(8, 9)] * 5, [(8, 9), (8, 9), (7, 9), (8, 9)], [(8, 9)]])
    batches = stream(source)
    assert [tuple(batch["image"].shape) for batch in batches] == [
        (4, 1, 8, 9), (1, 1, 8, 9), (2, 1, 8, 9), (1, 1, 7, 9), (1, 1, 8, 9), (1, 1, 8, 9),
    ]  # fmt: skip
    assert all(piece.last and (piece.top, piece.left) == (0, 0) for piece in pieces_of(batches))


def test_a_size_of_the_model_is_the_size_that_tiles_lie_on() -> None:
    source = Drawn([[(50, 70, 3)]])
    spec = Preprocess(size=(64, 96), channels=3)
    batches = stream(source, spec, tile=(64, 48), overlap=0.0, batch_size=2)
    assert [piece[3:] for piece in pieces_of(batches)] == [(0, 0, (64, 96), False), (0, 48, (64, 96), True)]
    whole = torch.from_numpy(spec.image(source.array(0, 0), "x")).permute(2, 0, 1)
    assert torch.equal(torch.cat(list(batches[0]["image"]), dim=2), whole)


def test_what_was_filled_up_gets_no_tiles_of_its_own() -> None:
    source = Drawn([[(64, 96)]], content=(40, 32))
    pieces = pieces_of(stream(source, tile=(32, 32)))
    assert [piece[3:] for piece in pieces] == [(0, 0, (40, 32), False), (8, 0, (40, 32), True)]
    [whole] = stream(source)
    assert whole["image"].shape == (1, 1, 64, 96)
    assert whole["pieces"][0].size == (40, 32)


# What cannot be read.


@pytest.mark.parametrize("workers", [0, 2])
def test_a_case_that_cannot_be_read_is_named_and_the_rest_comes(workers: int) -> None:
    source = Drawn([[(8, 8)] * 3 for _ in range(4)], broken={(1, 2), (3, 0)})
    batches = list(case_loader(CaseStream(source, GREY, batch_size=2, tolerant=True), num_workers=workers))
    assert [(piece.case, piece.image) for piece in sorted(pieces_of(batches))] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip
    named = [batch for batch in batches if batch["unreadable"]]
    assert sorted(entry for batch in named for entry in batch["unreadable"]) == [
        ("1.png", "1/2.png: broken"), ("3.png", "3/0.png: broken"),
    ]  # fmt: skip
    assert all(batch["image"].numel() == 0 and not batch["scan"] and not batch["pieces"] for batch in named)


def test_where_it_is_not_tolerated_it_stops_the_stream() -> None:
    source = Drawn([[(8, 8)], [(8, 8)]], broken={(1, 0)})
    with pytest.raises(SuiteError, match=r"1/0\.png: broken"):
        stream(source)


def test_an_image_without_scale_is_named_by_its_own_file() -> None:
    source = Drawn([[(8, 8, 5)]])
    [batch] = stream(source, tolerant=True)
    assert batch["unreadable"] == [("0.png", "0/0.png: has 5 channels, but the model takes 1, and no rule turns one "
                                    "into the other: give --data.channels 5")]  # fmt: skip


def test_what_makes_no_pieces_is_refused_at_start() -> None:
    source = Drawn([[(8, 8)]])
    with pytest.raises(SuiteError, match="overlap"):
        CaseStream(source, GREY, 1, tile=(4, 4), overlap=1.0)
    with pytest.raises(SuiteError, match="batch_size 0"):
        CaseStream(source, GREY, 0)


# Memory.


@dataclass
class Large(Drawn):
    """One image after the other that fills a good part of the memory."""

    def array(self, case: int, number: int) -> NDArray[np.uint8]:
        array = np.zeros(self.sizes[case][number], np.uint8)
        array[::7, ::5] = 200
        return array


@pytest.mark.parametrize("spec", [Preprocess(), Preprocess(channels=1, percentiles=(1, 99))])
def test_tiles_of_a_large_image_cost_little_more_than_the_image(spec: Preprocess) -> None:
    source = Large([[(6000, 6000, 3)]] * 2)
    stored = 6000 * 6000 * 3
    tracemalloc.start()
    count = sum(len(batch["pieces"]) for batch in CaseStream(source, spec, 4, tile=(1024, 1024), overlap=0.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2 * 36
    assert peak < 2.2 * stored  # float32 of the whole image alone would be 4


def test_memory_does_not_grow_with_the_number_of_cases() -> None:
    def peak(cases: int) -> int:
        source = Drawn([[(256, 256)] * 4] * cases)
        tracemalloc.start()
        for _ in CaseStream(source, GREY, 4, tile=(128, 128)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(40) < peak(5) + 100_000


# Cases of a data module.


def test_cases_of_a_table_bear_its_names_and_are_read_by_the_data_module(tmp_path: Path) -> None:
    write_table(tmp_path, cohort(patients=10, scans=2))
    data = data_of(tmp_path, table="labels.csv", label_columns="label")
    rows = data.rows("test")
    source = TableCases(data, rows)
    assert len(source) == len(rows) > 0
    for case, row in enumerate(rows):
        expected = data.table.cases.iloc[row]
        assert source.scan_of(case) == {
            "case_id": expected["case_id"], "patient_id": expected["patient_id"], "path": expected["path"],
        }  # fmt: skip
        [scan] = source.images(case)
        np.testing.assert_array_equal(scan.array, data.read(int(row)).array)
    loader = data.test_dataloader()
    batches = stream(source, data.preprocess, batch_size=8)
    assert [scan for batch in batches for scan in batch["scan"]] == [scan for batch in loader for scan in batch["scan"]]
    images = torch.cat([batch["image"] for batch in batches])
    assert torch.equal(images, torch.cat([batch["image"] for batch in loader]))


def test_a_patient_that_is_not_known_is_none(tmp_path: Path) -> None:
    write_table(tmp_path, cohort(patients=10, scans=1).drop(columns="patient_id"))
    data = data_of(tmp_path, table="labels.csv", label_columns="label")
    assert TableCases(data, np.array([3])).scan_of(0)["patient_id"] is None


def test_slices_of_a_volume_come_several_to_a_batch_also_from_a_pickled_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    shape = (20, 26, 7)
    for number in range(6):
        rng = np.random.default_rng(number)
        write_nifti(tmp_path / "imagesTr" / f"c{number}.nii.gz", rng.integers(0, 900, shape).astype(np.int16), AXIAL)
        write_nifti(tmp_path / "labelsTr" / f"c{number}.nii.gz", rng.integers(0, 2, shape).astype(np.uint8), AXIAL)
    data = Volumes(str(tmp_path), classes=["background", "organ"], num_workers=0, folds=3, spacing=1.0, neighbors=1)
    rows = np.array([4, 1])
    assert len(pd.unique(data.table.images["case"])) == 6
    source = cast("TableCases", pickle.loads(pickle.dumps(TableCases(data, rows))))
    batches = stream(source, data.preprocess, batch_size=5)
    assert [len(batch["scan"]) for batch in batches] == [5, 2, 5, 2]
    assert [(scan["case_id"], scan["slice"]) for batch in batches for scan in batch["scan"]] == [
        (case, index) for case in ("c4", "c1") for index in range(7)
    ]
    dataset = data.dataset(rows)
    expected = torch.stack([dataset[number]["image"] for number in range(14)])
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), expected)
    # 20 rows of 0.8 mm and 26 columns of 0.9 mm, as the axial plane has them turned.
    sizes = {piece.size for piece in pieces_of(batches)}
    assert sizes == {(23, 16)}
    assert {scan["content_size"] for batch in batches for scan in batch["scan"]} == sizes
    assert expected.shape[-2:] == (32, 32)
