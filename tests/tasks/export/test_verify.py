"""An export is compared with PyTorch on scans, and refused beyond what it may differ by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from scansuite.errors import SuiteError
from tasks.classify.exporter import ClassificationExporter
from tasks.classify.task import ClassificationTask
from tasks.export.scans import Scans
from tasks.export.tally import Tally
from tasks.export.verify import verified
from tasks.exported.description import Description
from tasks.exported.model_file import ExportedModel, Outputs


class Said(ExportedModel):
    """A model that says what PyTorch says, and something more."""

    def __init__(self, task: ClassificationTask, more: float, sizes: tuple[tuple[int, int], ...] = ()) -> None:
        self.task, self.more, self.where = task, more, "mine.onnx"
        self.description = Description("classify", ("a", "b"), task.preprocess, 1, sizes=sizes)

    @torch.no_grad()
    def run(self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None) -> Outputs:
        logits = self.task(torch.from_numpy(feeds["image"]))
        return {"logits": (logits + self.more).numpy()}


@pytest.fixture(scope="module")
def task() -> ClassificationTask:
    return ClassificationTask("test_resnet", class_names=["a", "b"], in_channels=1, input_size=(32, 32)).eval()


def drawn(count: int, size: tuple[int, int] = (32, 32)) -> Scans:
    return Scans("drawn ones", [torch.rand(1, *size) for _ in range(count)])


def test_what_is_the_same_passes(task: ClassificationTask) -> None:
    (check,) = verified(ClassificationExporter(task, ["x"]), Said(task, 1e-6), drawn(9), "fp32")
    assert check.name == "logits"
    assert 0 < check.value < check.tolerance
    assert check.scans == 18  # nine, and as many at other sizes


@pytest.mark.parametrize("more", [1e-2, float("nan"), float("inf")])
def test_what_differs_is_refused(task: ClassificationTask, more: float) -> None:
    with pytest.raises(SuiteError, match=r"differs from PyTorch on 3 scans of drawn ones: logits by .*no file is left"):
        verified(ClassificationExporter(task, ["x"]), Said(task, more), drawn(3), "fp32")


def test_scans_of_another_size_are_refused_where_the_graph_takes_one(task: ClassificationTask) -> None:
    with pytest.raises(SuiteError, match=r"takes images of 64 x 64 px alone, and drawn ones gives one of 32 x 32"):
        verified(ClassificationExporter(task, ["x"]), Said(task, 0.0, ((64, 64),)), drawn(3), "fp32")


def test_every_scan_is_in_a_batch_alone_or_with_others() -> None:
    scans = Scans("x", [torch.full((1, 8, 8 + number % 2), float(number)) for number in range(40)])
    batches = list(scans.batches(resized=False))
    assert sorted(float(image[0, 0, 0]) for batch in batches for image in batch) == list(range(40))
    assert {len(batch) for batch in batches} >= {1, 8}
    shapes = {tuple(batch.shape[-2:]) for batch in scans.batches(resized=True)}
    assert any(height != width for height, width in shapes)
    assert len(shapes) > 5


def test_shares_and_largest_differences_add_up() -> None:
    tally = Tally(scans=2)
    tally.share("masks", 1, 100)
    tally.share("masks", 3, 300)
    zero: Tensor = torch.zeros(2)
    tally.largest("logits", zero, torch.tensor([0.5, -0.25]))
    tally.largest("logits", torch.tensor([100.0, 0.0]), torch.tensor([110.0, 0.0]), relative=True)
    assert {check.name: check.value for check in tally.checks("fp32")} == {"logits": 0.5, "masks": 0.01}
    with pytest.raises(SuiteError, match="gives logits of"):
        tally.largest("logits", zero, torch.zeros(3))
