"""Losses, metrics, heads, decoders and detectors of the user's in the three tasks, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import BinaryCohenKappa, MulticlassAccuracy

from scansuite import own_parts
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.detect.task import DetectionTask
from tasks.loading import build_from
from tasks.own.metrics import OwnMetrics
from tests.tasks.classify.batches import KINDS, random_labels
from tests.tasks.classify.batches import small_batch as labelled
from tests.tasks.classify.batches import small_task as classifier
from tests.tasks.own.own_classes import (
    CallsOf,
    CentreDetector,
    Distance,
    LearntLoss,
    MaxHead,
    NoMean,
    SharpLoss,
    SumDecoder,
    TwoStepHead,
    empty,
)  # fmt: skip
from tests.tasks.segment.batches import small_batch as masked
from tests.tasks.segment.batches import small_task as segmenter


def finder(**arguments: Any) -> DetectionTask:
    given = {"backbone": "test_resnet", "channels": 16, "in_channels": 1, "input_size": (64, 64), **arguments}
    return DetectionTask(**given)


def boxed(images: int = 2) -> Any:
    batch: Any = labelled(None, torch.rand(images, 1, 64, 64))
    batch["boxes"] = [torch.tensor([[4.0, 6.0, 30.0, 40.0]])] * (images - 1) + [torch.zeros(0, 4)]
    batch["labels"] = [torch.tensor([0])] * (images - 1) + [torch.zeros(0).long()]
    return batch


@pytest.fixture(autouse=True)
def _nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_parts, "_allowed", set())
    monkeypatch.setattr(own_parts, "_given", {})


def own_values(model: Task) -> dict[str, Tensor]:
    """What the user's metrics of validation are."""
    own = model.metrics["val_own"]
    assert isinstance(own, OwnMetrics)
    return own.values()


def kept(model: Task) -> dict[str, Any]:
    """A model as its checkpoint has it."""
    return {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict(), "scansuite": {}}


def test_a_loss_gets_its_arguments_and_the_logits() -> None:
    model = classifier("multiclass", loss=SharpLoss, loss_args={"sharpness": 2.0})
    output, label = torch.randn(4, 4), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(
        model.criterion(output.bfloat16(), label), F.cross_entropy(2 * output.bfloat16().float(), label)
    )
    assert model.hparams["loss"] == "tests.tasks.own.own_classes.SharpLoss"


def test_losses_of_torch_need_no_word() -> None:
    path = "torch.nn.CrossEntropyLoss"
    model = classifier("multiclass", loss=path, loss_args={"label_smoothing": 0.1})
    label = torch.tensor([0, 1, 2, 3])
    output = torch.randn(4, 4)
    torch.testing.assert_close(model.loss(output, labelled(label)), F.cross_entropy(output, label, label_smoothing=0.1))
    # It names ignore_index, and so learns which pixels are unknown.
    mask = torch.full((2, 8, 8), 255)
    mask[0] = 1
    logits = torch.randn(2, 3, 8, 8)
    wanted = F.cross_entropy(logits[:1], mask[:1])
    batch: Any = {**masked(2, size=(8, 8)), "mask": mask}
    torch.testing.assert_close(segmenter(loss=path).loss(logits, batch), wanted)


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_a_batch_without_cases_costs_nothing_and_gives_gradients(task: str) -> None:
    """Of several ranks one may have padding alone."""
    if task == "classify":
        model: Any = classifier(loss=SharpLoss, metrics=[CallsOf])
        batch = empty(labelled(torch.tensor([0, 1])))
    else:
        model, batch = segmenter(loss=SharpLoss), empty(masked(2))
    loss, *_ = model._shared_step(batch, "val")
    assert loss.item() == 0
    loss.backward()
    assert all(one.grad is not None and not one.grad.any() for one in model.parameters() if one.requires_grad)


def test_deep_supervision_of_a_loss_of_ones_own() -> None:
    model, plain = (segmenter(deep_supervision=True, loss=loss).train() for loss in (SharpLoss, "cross_entropy"))
    output, mask = torch.randn(2, 3, 32, 32), torch.randint(3, (2, 32, 32))
    coarser = [torch.randn(2, 3, 32 // s, 32 // s) for s in (2, 4, 8)]
    torch.testing.assert_close(model.criterion(output, mask, coarser), plain.criterion(output, mask, coarser))


@pytest.mark.parametrize("own", [True, False])
def test_checkpoints_of_own_parts(own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are rebuilt where their modules are allowed; else one line names them all."""
    model = classifier("multiclass", loss=LearntLoss, head=MaxHead, head_args={"hidden": 5}, metrics=[CallsOf]).eval()
    torch.save(kept(model), tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    monkeypatch.setattr(own_parts, "_given", {})
    if own:
        own_parts.allow(["tests"])
        again = build_from(checkpoint, "classify", tmp_path / "last.ckpt").eval()
        image = torch.rand(2, 1, 32, 32)
        torch.testing.assert_close(again(image), model(image), rtol=0, atol=0)
        assert "criterion.module.log_scale" in checkpoint["state_dict"]
        return
    with pytest.raises(SuiteError, match=r"last.ckpt: was trained with .*must be importable and allowed") as stopped:
        build_from(checkpoint, "classify", tmp_path / "last.ckpt")
    assert "--allow_import tests" in str(stopped.value)
    for name in ("LearntLoss", "MaxHead", "CallsOf"):
        assert f"tests.tasks.own.own_classes.{name}" in str(stopped.value)


def test_checkpoints_without_the_new_arguments_load(tmp_path: Path) -> None:
    new = (
        "metrics",
        "monitor",
        "loss_args",
        "head_args",
        "decoder_args",
        "detector_args",
        "box_loss_args",
        "class_loss",
    )
    for name, model in (("classify", classifier()), ("segment", segmenter(decoder="fpn")), ("detect", finder())):
        checkpoint = kept(model)
        checkpoint["hyper_parameters"] = {
            key: value for key, value in checkpoint["hyper_parameters"].items() if key not in (*new, "class_loss_args")
        }
        build_from(checkpoint, name, tmp_path / "old.ckpt")


def test_a_head_may_be_weighed_by_attention() -> None:
    model = classifier(head=TwoStepHead, aggregate="attention").eval()
    assert model(torch.rand(5, 1, 32, 32), [2, 3]).shape == (2, 2)
    with pytest.raises(SuiteError, match="MaxHead has no width, features and classify"):
        classifier(head=MaxHead, aggregate="attention")


def test_a_decoder_reads_the_strides_that_it_asks_for() -> None:
    model = segmenter(decoder=SumDecoder, decoder_args={"kernel": 3}).eval()
    assert tuple(model.backbone.strides) == (4, 16)
    assert model(torch.rand(2, 1, 40, 50)).shape == (2, 3, 40, 50)


def test_a_detector_trains_and_finds() -> None:
    model = finder(
        detector=CentreDetector, detector_args={"weight": 3.0}, metrics=["torchmetrics.detection.MeanAveragePrecision"]
    )
    loss, *_ = model._shared_step(boxed(), "val")
    torch.autograd.backward(loss)
    assert own_values(model).keys() >= {"mean_average_precision_map"}
    assert model.predict_step(boxed(), 0)["output"][0].boxes.shape == (1, 4)
    assert tuple(model.backbone.strides) == (32,)


@pytest.mark.parametrize("detector", ["retinanet", "fcos", "faster_rcnn"])
def test_losses_of_detectors(detector: str) -> None:
    model = finder(detector=detector, box_loss=Distance, box_loss_args={"power": 1.5})
    losses = {name: loss for name, loss in _losses(model).items() if "box" in name}
    assert losses.keys() >= {"box"}
    plain = finder(detector=detector)
    plain.load_state_dict(model.state_dict())
    for name, loss in losses.items():
        assert loss.isfinite()
        assert not torch.isclose(loss, _losses(plain)[name])
    given: dict[str, Any] = {"class_loss": "torch.nn.BCEWithLogitsLoss", "class_loss_args": {"reduction": "none"}}
    if detector == "faster_rcnn":
        with pytest.raises(SuiteError, match=r"--model.class_loss: faster_rcnn .* take retinanet or fcos"):
            finder(detector=detector, **given)
        return
    # The focal loss of weight 1/2 and exponent 0 is half of it.
    half = finder(detector=detector, focal_alpha=0.5, focal_gamma=0.0)
    own = finder(detector=detector, **given)
    own.load_state_dict(half.state_dict())
    torch.testing.assert_close(_losses(own)["classification"], 2 * _losses(half)["classification"])


def _losses(model: DetectionTask) -> dict[str, Tensor]:
    torch.manual_seed(0)
    batch = boxed()
    return model.eval().detector.loss(model(batch["image"]), batch["boxes"], batch["labels"])


@given(st.integers(0, 99), st.sampled_from(KINDS))
def test_metrics_see_what_torchmetrics_wants(seed: int, kind: str) -> None:
    model = _CACHE.setdefault(kind, classifier(kind))
    output = torch.randn(6, len(model.class_names) - (kind == "ordinal"), generator=torch.Generator().manual_seed(seed))
    scores, label = model.metric_inputs(output, labelled(random_labels(kind, 6, seed)))
    assert len(scores) == len(label) == 6
    if kind == "multilabel":
        assert set(label.unique().tolist()) <= {-1, 0, 1}
    if kind != "regression":
        assert not label.is_floating_point()
        assert 0 <= scores.min() <= scores.max() <= 1


_CACHE: dict[str, Any] = {}


def test_a_metric_equals_itself_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        BinaryCohenKappa,
        {"class_path": "tests.tasks.own.own_classes.CallsOf", "init_args": {"shift": 2.0}, "name": "calls"},
    ]
    own_parts.allow(["tests"])
    model = classifier(metrics=entries, monitor="calls").eval()
    assert model.monitor == ("calls", "max")
    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(model, "log_dict", lambda values: logged.update(values))
    labels, kappa, called = [], BinaryCohenKappa(), []
    for seed in range(3):
        batch = labelled(random_labels("binary", 5, seed))
        _, output, _ = model._shared_step(batch, "val")
        kappa.update(*model.metric_inputs(output, batch))
        called += (model.scores(output)[:, 1] > 0.5).tolist()
        labels.append(batch["label"])
    model.on_validation_epoch_end()
    torch.testing.assert_close(logged["val/binary_cohen_kappa"], kappa.compute())
    assert logged["val/calls"].item() == pytest.approx(2 + sum(called) / 15)
    assert not own_values(model), "the next epoch begins anew"


def test_a_number_a_class_is_logged_by_class() -> None:
    metric = {"class_path": MulticlassAccuracy, "init_args": {"average": "none"}, "name": "hits"}
    model = segmenter(metrics=[metric]).eval()
    model._shared_step(masked(2), "val")
    assert list(own_values(model)) == ["hits/background", "hits/organ", "hits/lesion"]


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda: classifier(loss="mypkg.losses.MyLoss"), "--model.loss mypkg.losses.MyLoss: .*--allow_import mypkg"),
        (lambda: classifier(loss=SharpLoss, loss_args={"sharpnes": 1}), "'sharpnes': did you mean 'sharpness'"),
        (lambda: classifier(loss=SharpLoss, class_weights=[1, 2]), "--model.class_weights: .*SharpLoss takes none"),
        (lambda: classifier(loss=SharpLoss, label_smoothing=0.1), "--model.label_smoothing: .* takes none"),
        (lambda: classifier(loss="cross_entrop"), "--model.loss cross_entrop"),
        (lambda: classifier(loss="focal", loss_args={"gamma": 1}), "--model.loss_args: focal takes none"),
        (lambda: classifier(loss=dict), "must be a subclass of torch.nn.modules.module.Module"),
        (lambda: classifier(head=SumDecoder), "--model.head tests.tasks.own.own_classes.SumDecoder: "),
        (lambda: classifier(head=MaxHead, head_args={"outputs": 7}), r"gives \(2, 7\) for .*must give \(2, 2\)"),
        (lambda: classifier(head="mlp", head_args={"hidden": 7}), "--model.head_args: mlp takes none"),
        (lambda: segmenter(decoder="unett"), "did you mean 'unet'"),
        (lambda: segmenter(decoder=MaxHead), "--model.decoder tests.tasks.own.own_classes.MaxHead: "),
        (lambda: segmenter(decoder=SumDecoder, decoder_args={"outputs": 2}), r"gives \(2, 2, 16, 16\)"),
        (lambda: segmenter(decoder=SumDecoder, dropout=0.5), "--model.dropout 0.5: .*takes none"),
        (lambda: segmenter(decoder=SumDecoder, deep_supervision=True), "no maps to supervise"),
        (lambda: finder(detector="fcoss"), "did you mean 'fcos'"),
        (lambda: finder(detector=MaxHead), "must be a subclass of tasks.detect.interface.Detector"),
        (lambda: finder(detector=CentreDetector, box_loss=Distance), "--model.box_loss: .* takes none"),
        (lambda: finder(detector_args={"weight": 1}), "--model.detector_args: retinanet takes none"),
        (lambda: finder(box_loss="giouu"), "did you mean 'giou'"),
        (lambda: finder(box_loss="torch.nn.MSELoss"), r"--model.box_loss \S+MSELoss: gives \(\)"),
        (lambda: finder(class_loss="torch.nn.BCEWithLogitsLoss"), r"--model.class_loss \S+: gives \(\)"),
        (lambda: finder(class_loss_args={"reduction": "none"}), "there is no --model.class_loss"),
        (lambda: classifier(metrics=[CallsOf, CallsOf]), "two are called calls_of"),
        (lambda: classifier(metrics=[{"class": "x"}]), "give a dotted path"),
        (lambda: classifier(metrics=["torchmetrics.NoSuchMetric"]), "has no class 'NoSuchMetric'"),
        (lambda: classifier(metrics=["torch.nn.Linear"]), "must be a subclass of torchmetrics.metric.Metric"),
        (lambda: classifier(metrics=[CallsOf], monitor="calls"), "--model.monitor calls: .*did you mean 'calls_of'"),
        (lambda: classifier(monitor="calls"), "there are none"),
        (lambda: classifier(backbone="mypkg.nets.tiny"), "--model.backbone mypkg.nets.tiny: .*--allow_import mypkg"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_when_the_model_is_made(made: Any, line: str) -> None:
    with pytest.raises(SuiteError, match=line) as stopped:
        made()
    assert "\n" not in str(stopped.value)


def test_mistakes_that_show_in_training() -> None:
    with pytest.raises(SuiteError, match=r"NoMean: gives a tensor of shape \(2,\), and a loss is one number"):
        classifier(loss=NoMean).training_step(labelled(torch.tensor([0, 1])), 0)
    with pytest.raises(SuiteError, match=r"torch.nn.*BCEWithLogitsLoss: fails on \(2, 2\) and \(2,\) torch.int64"):
        classifier(loss="torch.nn.BCEWithLogitsLoss").training_step(labelled(torch.tensor([0, 1])), 0)
    model = classifier(metrics=[{"class_path": CallsOf, "name": "auroc"}])
    model._shared_step(labelled(torch.tensor([0, 1])), "val")
    with pytest.raises(SuiteError, match=r"--model.metrics auroc: the suite has a metric of this name"):
        model.on_validation_epoch_end()
    model = classifier(metrics=["torchmetrics.image.StructuralSimilarityIndexMeasure"])
    with pytest.raises(SuiteError, match=r"--model.metrics structural_similarity_index_measure: fails"):
        model._shared_step(labelled(torch.tensor([0, 1])), "val")


def test_random_numbers_of_training_are_left_alone() -> None:
    """The trial of a part draws nothing: the backbone is the same as without it."""
    torch.manual_seed(0)
    own = segmenter(decoder=SumDecoder).backbone.state_dict()
    torch.manual_seed(0)
    plain = segmenter(decoder="fpn").backbone.state_dict()
    for name in own.keys() & plain.keys():
        torch.testing.assert_close(own[name], plain[name], rtol=0, atol=0)
