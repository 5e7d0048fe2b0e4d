"""int8 is let pass by what it does to metrics, with the file in the place of the network and nothing else changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.arrays.labels import LabelledArrays
from scansuite.errors import SuiteError
from tasks.classify.evaluator import ClassificationEvaluator
from tasks.classify.exporter import ClassificationExporter
from tasks.classify.task import ClassificationTask
from tasks.export.describe import describe
from tasks.export.exporting import exported, opened
from tasks.export.int8 import in_int8, table_of_metrics
from tasks.export.metrics import compared, computed_by, evaluated, lost, metrics_of, table_of_comparison
from tasks.export.quantise import Quantisation
from tasks.exported.description import Description

pytest.importorskip("onnxruntime")


class Made:
    """An untrained classifier, its export, and images of two classes."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        labels = np.arange(120) % 2
        images = (rng.integers(0, 120, (120, 32, 32)) + 40 * labels[:, None, None]).astype(np.uint8)
        torch.manual_seed(0)
        names = ["dark", "bright"]
        self.task = ClassificationTask("test_resnet", class_names=names, in_channels=1, input_size=(32, 32)).eval()
        self.exporter = ClassificationExporter(self.task, ["best.ckpt"])
        (folder / "best.ckpt").write_bytes(b"weights")
        self.model, self.description = exported(
            self.exporter, describe(self.exporter, [folder / "best.ckpt"], "mine"), 20
        )
        self.data = LabelledArrays(images, labels, class_names=names, channels=1, num_workers=0)
        ClassificationEvaluator().adopt(self.task, self.data)

    def tables(self, split: str = "val") -> Any:
        return evaluated(ClassificationEvaluator(), self.task, self.data, split, "run")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("int8"))


def test_the_file_answers_in_place_of_the_network(made: Made) -> None:
    before = made.tables()
    with computed_by(made.exporter, opened(made.model, "m")):
        same = made.tables()
    np.testing.assert_allclose(same.predictions["score_dark"], before.predictions["score_dark"], atol=1e-5)
    assert not same.predictions.equals(before.predictions)  # another order of sums: PyTorch was not asked
    assert abs(lost(before, same, "val", ("auroc",))[1]) < 1e-6

    other = type(made.model)()
    other.CopyFrom(made.model)
    import onnx

    for tensor in other.graph.initializer:
        if tensor.name.endswith("linear.weight"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    with computed_by(made.exporter, opened(other, "m")):
        turned = made.tables()
    assert lost(before, turned, "val", ("none", "auroc"))[1] != 0
    assert compared(before, turned, "val").primary is not None
    again = made.tables()  # and the network answers again
    assert again.predictions.equals(before.predictions)


def test_metrics_of_an_export_beside_those_of_pytorch(made: Made) -> None:
    comparison = metrics_of(made.exporter, opened(made.model, "m"), made.data, ClassificationEvaluator)
    head, first, *_ = table_of_comparison(comparison, "PyTorch", "exported").splitlines()
    assert head.split()[:4] == ["metric", "PyTorch", "exported", "difference"]
    assert first.startswith("AUROC")
    assert comparison.primary is not None
    assert abs(comparison.primary.value.value) < 1e-6
    bare = LabelledArrays(
        np.zeros((8, 32, 32), np.uint8), np.arange(8) % 2, class_names=["dark", "bright"], channels=1, split="all_test"
    )
    with pytest.raises(SuiteError, match="no validation part"):
        metrics_of(made.exporter, opened(made.model, "m"), bare, ClassificationEvaluator)


def test_figures_of_the_network_do_not_pass_for_those_of_the_file(made: Made) -> None:
    with pytest.raises(RuntimeError, match="was not asked"), computed_by(made.exporter, opened(made.model, "m")):
        pass


def test_int8_says_what_it_does(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = in_int8(
        made.exporter, made.model, made.description, made.data, ClassificationEvaluator, Quantisation(), allowed=0.5
    )
    assert found.description.precision == "int8"
    assert [check.name for check in found.description.checks] == ["auroc"]
    assert found.description.checks[0].scans == len(made.data.rows("val"))
    assert found.model.ByteSize() < 0.4 * made.model.ByteSize()
    said = next(one.value for one in found.model.metadata_props if one.key == "scansuite")
    assert Description.from_json(said, "m") == found.description
    table = table_of_metrics(found).splitlines()
    assert table[0].split()[:3] == ["metric", "float", "int8"]
    assert table[1].startswith("AUROC")
    assert "none stays in float" in table[-1]
    assert list(tmp_path.iterdir()) == []  # onnxruntime's symbolic shapes would leave files here


def test_it_needs_cases_with_truth(made: Made) -> None:
    bare = LabelledArrays(
        np.zeros((8, 32, 32), np.uint8), np.arange(8) % 2, class_names=["dark", "bright"], channels=1, split="all_test"
    )
    ClassificationEvaluator().adopt(made.task, bare)
    with pytest.raises(SuiteError, match="calibrated on a training part"):
        in_int8(made.exporter, made.model, made.description, bare, ClassificationEvaluator, Quantisation())
