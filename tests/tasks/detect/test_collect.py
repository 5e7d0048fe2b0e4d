"""Boxes of tiles put together, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from datamodules.samples.tiles import plan_tiles
from datamodules.types import Batch, Piece, ScanInfo
from tasks.deployment.detected import CaseBoxes
from tasks.detect.collect import BoxCollector, calibrated
from tasks.detect.interface import Detections
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import StepMap
from tasks.exported.detection.suppression import Found
from tasks.exported.detection.tiles import merge_tiles

TILE = (100, 100)


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of x1, y1, x2, y2, score, label."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def piece(left: int, size: tuple[int, int] = (100, 175), last: bool = False) -> Piece:
    return Piece(0, 0, 1, 0, left, size, last)


def merged(*tiles: tuple[Piece, Detections], most: int = 100) -> list[list[float]]:
    arrays = [(place, Found(*(part.numpy() for part in one))) for place, one in tiles]
    boxes, scores, labels = merge_tiles(arrays, TILE, 0.25, 0.5, most)
    rows = np.concatenate([boxes, scores[:, None], labels[:, None]], axis=1).tolist()
    return [[round(value, 3) for value in row] for row in rows]


def test_what_two_tiles_see_is_found_once() -> None:
    first = found((80, 10, 95, 30, 0.6, 0), (80, 10, 95, 30, 0.5, 1))
    second = found((5, 10, 20, 30, 0.9, 0))
    # Of two classes at one place both stay.
    assert merged((piece(0), first), (piece(75), second)) == [[80, 10, 95, 30, 0.9, 0], [80, 10, 95, 30, 0.5, 1]]


def test_a_part_cut_off_by_a_border_goes_where_the_neighbour_shows_the_whole() -> None:
    first = found((90, 10, 100, 30, 0.9, 0))
    second = found((15, 10, 30, 30, 0.4, 0))
    assert merged((piece(0), first), (piece(75), second)) == [[90, 10, 105, 30, 0.4, 0]]


def test_what_is_too_large_for_any_tile_stays_in_parts() -> None:
    first, second = found((60, 10, 100, 30, 0.9, 0)), found((0, 10, 60, 30, 0.8, 0))
    assert len(merged((piece(0), first), (piece(75), second))) == 2


def test_at_the_border_of_the_image_nothing_is_cut_off() -> None:
    first, second = found((0, 0, 10, 10, 0.9, 0)), found((90, 90, 100, 100, 0.8, 0))
    assert len(merged((piece(0), first), (piece(75), second))) == 2


def test_boxes_stay_in_what_shows_the_scan() -> None:
    boxes = found((50, 10, 80, 30, 0.9, 0), (65, 10, 80, 30, 0.8, 0), (10, 55, 20, 70, 0.7, 0))
    assert merged((piece(0, (50, 60), last=True), boxes)) == [[50, 10, 60, 30, 0.9, 0]]


def test_calibrated_boxes_are_sorted_anew() -> None:
    found = Detections(torch.arange(12.0).reshape(3, 4), torch.tensor([0.9, 0.6, 0.5]), torch.tensor([0, 1, 0]))
    halved = Calibration("isotonic", ("a", "b"), False, {"a": StepMap((0.0, 1.0), (0.0, 0.5))})
    again = calibrated(found, halved, ["a", "b"])
    torch.testing.assert_close(again.scores, torch.tensor([0.6, 0.45, 0.25], dtype=torch.float64))
    assert again.labels.tolist() == [1, 0, 0]
    assert again.boxes[:, 0].tolist() == [4, 0, 8]
    assert calibrated(found, None, ["a", "b"]) is found


def test_the_best_ones_are_kept() -> None:
    boxes = found(*((10.0 * k, 0, 10.0 * k + 8, 8, 0.1 * k, 0) for k in range(1, 6)))
    assert [row[4] for row in merged((piece(0, (100, 100)), boxes), most=2)] == [0.5, 0.4]
    assert merged((piece(0), found()), (piece(75), found())) == []


@pytest.mark.parametrize("scale", [1, 2])
def test_boxes_are_in_pixels_as_stored_and_broken_cases_vanish(scale: int) -> None:
    done: list[CaseBoxes] = []
    collector = BoxCollector()
    collector.start(done.append, overlap=0.25, nms_iou=0.5, max_detections=100)
    size = (100, 175)
    lefts = [left for _, left in plan_tiles(size, TILE, 0.25)]
    assert lefts == [0, 75]

    def send(case: int, tile: int, boxes: Detections, unreadable: tuple[str, ...] = ()) -> None:
        scan = ScanInfo(case_id=f"c{case}", path=f"c{case}.png", original_size=(100 * scale, 175 * scale))
        batch: dict[str, Any] = Batch(image=torch.zeros(1, 1, *TILE), scan=[scan])  # type: ignore[assignment]
        batch["pieces"] = [Piece(case, 0, 1, 0, lefts[tile], size, tile == 1)]
        batch["unreadable"] = [(path, "cut off") for path in unreadable]
        collector.on_predict_batch_end(None, None, {"output": [boxes], "batch": batch})  # type: ignore[arg-type,typeddict-item]

    send(0, 0, found((10, 10, 20, 30, 0.5, 0)))
    send(1, 0, found((1, 1, 5, 5, 0.9, 0)))
    send(0, 1, found((30, 10, 50, 30, 0.6, 1)))
    send(2, 0, found(), unreadable=("c1.png",))
    send(2, 1, found())
    assert [(one.case, one.scan["case_id"]) for one in done] == [(0, "c0"), (2, "c2")]
    np.testing.assert_allclose(done[0].boxes / scale, [[105, 10, 125, 30], [10, 10, 20, 30]])
    assert done[0].labels.tolist() == [1, 0]
    assert done[1].boxes.shape == (0, 4)
    assert list(collector._tiles._open) == []
