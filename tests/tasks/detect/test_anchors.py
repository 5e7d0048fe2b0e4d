"""Anchors from the data, given, and published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from scansuite.errors import SuiteError
from tasks.detect.anchors import AnchorGrid, AnchorTable, choose_anchors, shrink

STRIDES = (8, 16, 32, 64, 128)


def chosen(asked: Any, octaves: int = 3, **options: Any) -> AnchorTable:
    return choose_anchors(asked, STRIDES, octaves=octaves, density=4, **options)


def cells(count: int = 600) -> list[list[float]]:
    """Three kinds of cells: small and round, middling and wide, large and high."""
    rng = np.random.default_rng(0)
    kinds = np.array([[12.0, 12.0], [60.0, 30.0], [90.0, 140.0]])[rng.integers(3, size=count)]
    sizes: list[list[float]] = (kinds * rng.lognormal(0, 0.15, size=(count, 2))).tolist()
    return sizes


def shape_iou(boxes: NDArray[np.float64], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    both = np.minimum(boxes[:, None], anchors[None]).prod(axis=2)
    iou: NDArray[np.float64] = both / (boxes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - both)
    return iou


def yolo9000(boxes: NDArray[np.float64], count: int, rounds: int = 50) -> float:
    """Mean IoU with the best of ``count`` centres found by 1 - IoU: the best of ten starts."""
    best = 0.0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        centres = boxes[rng.choice(len(boxes), count, replace=False)]
        for _ in range(rounds):
            nearest = shape_iou(boxes, centres).argmax(axis=1)
            centres = np.array(
                [boxes[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(count)]
            )
        best = max(best, float(shape_iou(boxes, centres).max(axis=1).mean()))
    return best


def test_clusters_are_as_good_as_those_by_one_minus_iou() -> None:
    boxes = np.array(cells())
    one_level = boxes[(boxes.prod(axis=1) ** 0.5 >= 32) & (boxes.prod(axis=1) ** 0.5 < 64)]
    table = chosen("auto", octaves=1, box_sizes=one_level.tolist())
    assert table.fit is not None
    assert table.fit == pytest.approx(yolo9000(one_level, 3), abs=0.01)
    assert table.counts == (len(one_level), 0, 0, 0, 0)


def test_anchors_lie_on_the_level_that_fits_them() -> None:
    table = chosen("auto", box_sizes=cells())
    assert sum(table.counts or ()) == 600
    sizes = [np.sqrt(np.array(level).prod(axis=1)) for level in table.shapes]
    assert all(len(level) == 9 for level in table.shapes)
    assert (sizes[0] < 4 * 16).all()
    for stride, level in list(zip(STRIDES, sizes, strict=True))[1:-1]:
        assert (level >= 4 * stride * 0.99).all()
        assert (level < 4 * 2 * stride * 1.01).all()
    small = min(table.shapes[0], key=lambda shape: shape[0] * shape[1])
    assert small[0] < 16
    assert table.fit is not None
    published = chosen("default")
    everything = np.array([shape for level in published.shapes for shape in level])
    assert table.fit > shape_iou(np.array(cells()), everything).max(axis=1).mean() + 0.1


def test_the_same_boxes_give_the_same_anchors() -> None:
    assert chosen("auto", box_sizes=cells()).shapes == chosen("auto", box_sizes=cells()).shapes


def test_few_shapes_leave_the_published_ones_beside_them() -> None:
    table = chosen("auto", box_sizes=[[40.0, 20.0]] * 50)
    published = chosen("default")
    assert sorted(table.shapes[2]) == sorted(published.shapes[2])
    assert sum(abs(w - 40) < 0.5 and abs(h - 20) < 0.5 for w, h in table.shapes[0]) == 1
    assert sum(shape in published.shapes[0] for shape in table.shapes[0]) == 8
    assert table.fit == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("sizes", [None, [], [[0.0, 5.0]]])
def test_without_boxes_the_published_ones_stay(sizes: Any) -> None:
    table = chosen("auto", box_sizes=sizes)
    assert table.shapes == chosen("default").shapes
    assert "no training boxes" in str(table)


def test_published_anchors_are_those_of_torchvision() -> None:
    sizes = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))
    theirs = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5).cell_anchors
    for ours, other in zip(chosen("default").shapes, theirs, strict=True):
        # Torchvision rounds sizes down and corners to whole pixels.
        np.testing.assert_allclose(np.array(ours), (other[:, 2:] - other[:, :2]).numpy(), atol=3)


def test_published_anchors_shrink_with_small_images() -> None:
    large, small = chosen("default", input_size=(800, 600)), chosen("default", input_size=(256, 320))
    np.testing.assert_allclose(np.array(small.shapes), np.array(large.shapes) * 320 / 512)
    assert shrink(512, (64, 64)) == 0.5
    assert shrink(512, None) == 1.0


def test_sizes_in_pixels() -> None:
    table = chosen([10, 20, 50, 100, 200], octaves=1)
    assert [round(level[1][0]) for level in table.shapes] == [10, 20, 50, 100, 200]
    np.testing.assert_allclose(np.array(table.shapes).prod(axis=2)[2], 2500)
    assert chosen("10,20,50,100,200", octaves=1).shapes == table.shapes
    assert [round(level[1][0]) for level in chosen("12", octaves=1).shapes] == [12, 24, 48, 96, 192]


def test_the_table_says_what_was_chosen() -> None:
    text = str(chosen("auto", octaves=1, box_sizes=cells()))
    assert text.splitlines()[0] == "anchors (width x height in pixels), from 600 training boxes"
    assert len(text.splitlines()) == 7
    assert "stride   8" in text
    assert "mean IoU of a training box with its best anchor: 0." in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("atuo", "--model.anchors atuo: expected auto, default, or sizes in pixels"),
        ([10, 20], "--model.anchors 10,20: expected 5 sizes above 0, one for each level .strides 8, 16, 32, 64, 128."),
        ("8,x", "--model.anchors 8,x: expected numbers"),
        (-3, None),
        ([[[1.0, 2.0]]], "--model.anchors: expected 9 pairs of width and height for each of 5 levels"),
    ],
)
def test_what_is_not_anchors_is_refused(asked: Any, words: str | None) -> None:
    with pytest.raises(SuiteError, match=words or "--model.anchors -3"):
        chosen([asked] if words is None else asked)


@pytest.mark.parametrize("size", [(128, 256), (256, 384)])
def test_the_grid_is_torchvisions_where_levels_divide_the_image(size: tuple[int, int]) -> None:
    table = chosen("auto", box_sizes=cells())
    grid = AnchorGrid(STRIDES, table.shapes)
    grids = [(size[0] // stride, size[1] // stride) for stride in STRIDES]
    theirs = AnchorGenerator(((1,),) * 5, ((1,),) * 5)
    half = torch.tensor(table.shapes) / 2
    theirs.cell_anchors = list(torch.cat([-half, half], dim=2))
    image = ImageList(torch.zeros(1, 3, *size), [size])
    expected = theirs(image, [torch.zeros(1, 1, *place) for place in grids])[0]
    torch.testing.assert_close(torch.cat(grid(grids)), expected)


def test_places_lie_at_multiples_of_the_stride_in_any_image() -> None:
    grid = AnchorGrid([8, 128], [[[8.0, 8.0]], [[128.0, 128.0]]])
    coarse = grid([(20, 12), (2, 1)])[1]  # of an image of 160 x 96
    assert coarse.tolist() == [[-64.0, -64.0, 64.0, 64.0], [-64.0, 64.0, 64.0, 192.0]]
