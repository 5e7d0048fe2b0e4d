"""A model becomes an ONNX file that says what PyTorch says, at sizes that tracing did not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from scansuite.errors import SuiteError
from tasks.classify.exporter import ClassificationExporter
from tasks.classify.heads import Head, Standardised
from tasks.classify.kernel_fit import fit_kernels
from tasks.classify.kernel_head import KernelHead
from tasks.classify.task import ClassificationTask
from tasks.export.describe import describe
from tasks.export.exporting import exported, write
from tasks.export.feeding import run_model
from tasks.exported.model_file import ExportedModel, open_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassificationTask, ExportedModel]:
    torch.manual_seed(0)
    task = ClassificationTask("test_resnet", class_names=["healthy", "ill"], in_channels=1, input_size=(48, 64)).eval()
    return task, exported_file(task, tmp_path_factory.mktemp("export"))


def exported_file(task: ClassificationTask, folder: Path) -> ExportedModel:
    checkpoint = folder / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    exporter = ClassificationExporter(task, [str(checkpoint)])
    model, _ = exported(exporter, describe(exporter, [checkpoint], "mine"), 20)
    write(model, folder / "mine.onnx")
    return open_model(folder / "mine.onnx")


@pytest.mark.parametrize("shape", [(1, 48, 64), (3, 70, 33), (2, 32, 128)])
@torch.no_grad()
def test_a_classifier_says_the_same(
    made: tuple[ClassificationTask, ExportedModel], shape: tuple[int, int, int]
) -> None:
    task, model = made
    image = torch.rand(shape[0], 1, *shape[1:])
    found = run_model(model, image.numpy())
    np.testing.assert_allclose(found["logits"], task(image).numpy(), atol=1e-5)
    # The map's mean is the logit less the bias, as the head is one linear layer on average-pooled features.
    assert isinstance(task.head, Head)
    bias = task.head.linear.bias.numpy()
    np.testing.assert_allclose(found["cam"].mean(axis=(2, 3)) + bias, found["logits"], atol=1e-4)


@torch.no_grad()
def test_a_head_on_all_levels_says_the_same_and_has_no_map(tmp_path: Path) -> None:
    task = ClassificationTask("test_resnet", class_names=["healthy", "ill"], in_channels=1, head="levels").eval()
    assert isinstance(task.head, Head)
    assert isinstance(task.head.scale, Standardised)
    task.head.scale.see(torch.rand(9, task.head.width) * 3)
    model = exported_file(task, tmp_path)
    for shape in ((1, 48, 64), (3, 70, 33)):
        image = torch.rand(shape[0], 1, *shape[1:])
        found = run_model(model, image.numpy())
        assert set(found) == {"logits"}
        np.testing.assert_allclose(found["logits"], task(image).numpy(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_head_of_kernels_says_the_same(tmp_path: Path) -> None:
    task = ClassificationTask("test_resnet", class_names=["healthy", "ill"], in_channels=1, head="kernel").eval()
    assert isinstance(task.head, KernelHead)
    features, labels = torch.rand(30, task.head.width) * 3, torch.arange(30) % 2
    fit_kernels(task, task.head, (features, labels), (features, labels), None, np.arange(30))
    task.head.landmarks, task.head.weights = torch.rand(30, task.head.width) / 9, torch.randn(30, 2)
    model = exported_file(task, tmp_path)
    for shape in ((1, 48, 64), (3, 70, 33)):
        image = torch.rand(shape[0], 1, *shape[1:])
        np.testing.assert_allclose(run_model(model, image.numpy())["logits"], task(image).numpy(), rtol=1e-4, atol=1e-4)


def test_the_file_does_not_say_where_it_was_made(made: tuple[ClassificationTask, ExportedModel]) -> None:
    content = Path(made[1].where).read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).resolve().parents[3]).encode() not in content


def test_the_file_says_what_it_is(made: tuple[ClassificationTask, ExportedModel]) -> None:
    said = made[1].description
    assert (said.task, said.class_names, said.in_channels) == ("classify", ("healthy", "ill"), 1)
    assert (said.sizes, said.multiple, said.opset, said.name) == ((), 1, 20, "mine")
    assert said.run is not None
    assert len(said.run) == 64


def test_a_model_of_many_passes_is_refused() -> None:
    task = ClassificationTask("test_resnet", class_names=["a", "b"], dropout=0.5, mc_dropout=4)
    with pytest.raises(SuiteError, match=r"best.ckpt: cannot be exported: .*4 passes"):
        ClassificationExporter(task, ["best.ckpt"])


def test_weights_above_what_a_file_holds_lie_beside_it(
    made: tuple[ClassificationTask, ExportedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.export.exporting._LARGEST", 1000)
    model = onnx.load(made[1].where)
    write(model, tmp_path / "large.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    image = np.random.default_rng(0).random((1, 1, 40, 40), np.float32)
    again = run_model(open_model(tmp_path / "large.onnx"), image)
    np.testing.assert_array_equal(again["logits"], run_model(made[1], image)["logits"])
