"""The task around a detector: sizes, checkpoints, steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules.types import Batch, ScanInfo
from scansuite.errors import SuiteError
from tasks.detect.task import DetectionTask

CLASSES = ["cyst", "mass"]
SIZES = [[float(w), float(h)] for w in (10, 14, 20, 31) for h in (9, 15, 22, 33)]


def small_task(**arguments: Any) -> DetectionTask:
    given = {
        "backbone": "test_resnet", "channels": 16, "num_classes": 2, "class_names": CLASSES, "in_channels": 1,
        "input_size": (64, 80), "box_sizes": SIZES, **arguments,
    }  # fmt: skip
    return DetectionTask(**given)


def small_batch(images: int = 2, size: tuple[int, int] = (64, 80)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    scans = [ScanInfo(case_id=f"c{i}", path=f"c{i}.png", original_size=size) for i in range(images)]
    batch = Batch(image=torch.rand(images, 1, *size, generator=generator), scan=scans)
    batch["boxes"] = [torch.tensor([[4.0, 5.0, 20.0, 25.0]])[: i % 2 + 1] for i in range(images)]
    batch["labels"] = [torch.tensor([1]) for _ in range(images)]
    return batch


@pytest.mark.parametrize("detector", ["retinanet", "fcos", "faster_rcnn"])
@pytest.mark.parametrize("size", [(64, 80), (50, 71), (33, 97)])
def test_images_of_any_size(detector: str, size: tuple[int, int]) -> None:
    task = small_task(detector=detector).eval()
    with torch.no_grad():
        found = task.predict_step(small_batch(2, size), 0)["output"]
    assert len(found) == 2
    for boxes, scores, labels in found:
        assert boxes.shape == (len(scores), 4)
        assert len(scores) <= 100
        assert (scores[:-1] >= scores[1:]).all()
        assert set(labels.tolist()) <= {0, 1}
        # Images are padded to a multiple of 32 inside.
        assert (boxes[:, 2:] <= torch.tensor([-(-size[1] // 32) * 32, -(-size[0] // 32) * 32])).all()


@pytest.mark.parametrize("detector", ["retinanet", "fcos", "faster_rcnn"])
def test_a_checkpoint_is_built_again_without_the_data(detector: str) -> None:
    task = small_task(detector=detector, max_detections=7, nms="soft").eval()
    assert "box_sizes" not in task.hparams
    torch.manual_seed(1)
    again = DetectionTask(**task.hparams).eval()
    again.load_state_dict(task.state_dict())
    batch = small_batch()
    with torch.no_grad():
        first, second = (one.predict_step(batch, 0)["output"] for one in (task, again))
    for one, other in zip(first, second, strict=True):
        assert len(one.boxes) <= 7
        for left, right in zip(one, other, strict=True):
            torch.testing.assert_close(left, right)


def test_a_batch_without_cases_costs_nothing() -> None:
    task = small_task()
    batch = small_batch()
    output = task(batch["image"])[[]]
    empty = Batch(image=batch["image"][:0], scan=[], boxes=[], labels=[])
    loss = task.loss(output, empty)
    assert loss == 0
    loss.backward()  # type: ignore[no-untyped-call]


def test_tiles_follow_the_patches() -> None:
    spec = {"size": None}
    assert small_task(preprocess=spec).tile == (64, 80)
    assert small_task(preprocess=spec, window=128).tile == (128, 128)
    assert small_task(preprocess=spec, window="whole").tile is None
    assert small_task(preprocess={"size": (64, 80)}).tile is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"detector": "yolo"}, "--model.detector 'yolo'"),
        ({"overlap": 1.0}, "--model.overlap 1.0"),
        ({"nms_iou": -0.5}, "--model.nms_iou -0.5"),
        ({"froc_iou": 1.5}, "--model.froc_iou 1.5"),
        ({"channels": 12}, "--model.channels 12"),
        ({"anchors": "large"}, "--model.anchors large"),
        ({"class_names": ["one"]}, "2 classes, but 1 class names"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        small_task(**wrong)
