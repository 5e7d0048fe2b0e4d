"""Mirror images of what is evaluated: their mean, where it acts, and the choice by held-out cases."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.samples.features import FeatureDataset
from datamodules.types import ScanInfo
from scansuite.errors import SuiteError
from tasks.classify.checks import unfit_for_features
from tasks.classify.task import ClassificationTask
from tasks.classify.tta_chosen import fit_with_views
from tasks.compression.distillation import keep_levels
from tasks.export.describe import describe
from tasks.export.exporting import exported, opened
from tasks.export.scans import Scans
from tasks.export.verify import verified
from tasks.registry.specs import spec_of
from tasks.views import VIEWS
from tests.tasks.classify.batches import small_batch, small_task


def seen(count: int = 2, size: int = 32) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(3))


def of_one_view(task: ClassificationTask, image: Tensor) -> Tensor:
    task.tta = "none"
    return task(image)  # type: ignore[no-any-return]


@pytest.mark.parametrize("head", ["pool", "levels", "native"])
@pytest.mark.parametrize("tta", ["mirror", "flips"])
@torch.no_grad()
def test_a_linear_head_gives_the_mean_of_the_logits_of_the_views(head: str, tta: Any) -> None:
    task, image = small_task(head=head, tta=tta).eval(), seen()
    found = task(image)
    torch.testing.assert_close(task(image.flip(-1)), found)
    views = [image.flip(dims) if dims else image for dims in VIEWS[tta]]
    single = torch.stack([of_one_view(task, view) for view in views])
    torch.testing.assert_close(found, single.mean(dim=0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, single[0], atol=1e-6)


@torch.no_grad()
def test_training_sees_one_view_and_kept_features_are_of_all() -> None:
    task, image = small_task(tta="mirror").train(), seen()
    passes = []
    handle = task.backbone.register_forward_hook(lambda *_: passes.append(1))
    task(image)
    assert len(passes) == 1
    task.backbone.eval()  # as a frozen one is, whatever the rest of the model does
    features = task.features(image)
    handle.remove()
    assert len(passes) == 3
    torch.testing.assert_close(task.features(image.flip(-1)), features)


def test_epochs_are_validated_on_one_view_and_what_is_trained_is_evaluated_on_all() -> None:
    task, passes = small_task(tta="mirror"), []
    task.backbone.register_forward_hook(lambda *_: passes.append(1))
    batches: DataLoader[Any] = DataLoader([small_batch(torch.tensor([0, 1, 0, 1]))], batch_size=None)  # type: ignore[arg-type]
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, batches, batches)
    assert len(passes) == 2  # a step, and a batch of validation
    assert task.eval().views == "mirror"
    trainer.validate(task, batches, verbose=False)
    assert len(passes) == 4


@torch.no_grad()
def test_what_listens_to_a_layer_has_the_maps_of_the_image_as_it_is_last() -> None:
    task, image, heard = small_task(tta="flips").eval(), seen(), []
    task.backbone.register_forward_hook(lambda module, args, output: heard.append(output[-1]))
    task(image)
    assert len(heard) == 4
    torch.testing.assert_close(heard[-1], task.backbone(task.normalize(image))[-1])


@torch.no_grad()
def test_a_student_imitates_the_maps_of_one_view() -> None:
    teacher, image, levels = small_task(tta="mirror").eval(), seen(), list[Tensor]()
    keep_levels(teacher.backbone, levels, grad=False)
    teacher(image)
    own = teacher.backbone(teacher.normalize(image))
    assert len(levels) == len(own)
    for level, wanted in zip(levels, own, strict=True):
        torch.testing.assert_close(level, wanted)


def test_classes_with_sides_are_refused() -> None:
    with pytest.raises(SuiteError, match=r"--model\.tta mirror mirrors images, but classes have sides"):
        small_task(tta="mirror", has_sides=True)
    assert small_task(tta="mirror", has_sides=False).tta == "mirror"


@pytest.mark.parametrize("arguments", [{}, {"head": "levels"}, {"aggregate": "attention"}])
def test_an_exported_graph_averages_too(arguments: dict[str, Any]) -> None:
    """Its maps are those of both views, mirrored back: their mean is the logits less the bias."""
    task = small_task(tta="mirror", input_size=(32, 32), **arguments).eval()
    exporter = spec_of("classify").exporter_class()(task, ["a"])
    made, _ = exported(exporter, describe(exporter, []), 20)
    scans = Scans("drawn ones", [torch.rand(1, 32, 32) for _ in range(3)])
    checks = {check.name: check for check in verified(exporter, opened(made, "a"), scans, "fp32")}
    assert "logits" in checks
    if not arguments:
        network = exporter.network(task)
        with torch.no_grad():
            logits, maps = network(seen())
            mirrored = network(seen().flip(-1))[1]
        torch.testing.assert_close(maps.mean(dim=(2, 3)), logits - task.head.linear.bias, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]
        torch.testing.assert_close(mirrored.flip(-1), maps, rtol=1e-4, atol=1e-5)


# The choice


@dataclass
class Kept:
    """Parts of features, as far as a fit looks at them."""

    parts: dict[str, FeatureDataset]
    table: Any = None

    def part(self, split: str) -> FeatureDataset:
        return self.parts[split]

    def replace_part(self, split: str, dataset: FeatureDataset) -> None:
        self.parts[split] = dataset

    def rows(self, split: str) -> list[int]:
        return list(range(len(self.parts[split])))

    def sampler_weights(self, rows: object) -> None:
        return None


def kept(task: ClassificationTask, mirrored: str) -> Kept:
    """Features of both views: that of the mirror image is noise, or halves the noise of the image's own."""
    generator = torch.Generator().manual_seed(0)
    assert task.feature_width is not None
    width = task.feature_width
    way = torch.randn(width, generator=generator)
    parts = {}
    for split, count in (("train", 120), ("val", 60)):
        label = torch.arange(count) % 2
        signal = 0.15 * (2.0 * label[:, None] - 1) * way
        plain, other = (torch.randn(count, width, generator=generator) for _ in range(2))
        both = torch.cat([signal + plain, (signal if mirrored == "helps" else 0) + other], dim=1)
        if mirrored == "harms":
            both[:, width:] *= 5
        scans = [cast("ScanInfo", {"case_id": f"c{number}"}) for number in range(count)]
        parts[split] = FeatureDataset(both[:, None], scans, label)
    return Kept(parts)


@pytest.mark.parametrize(("mirrored", "chosen"), [("helps", "mirror"), ("harms", "none")])
def test_the_views_are_chosen_by_what_is_held_out(mirrored: str, chosen: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task = small_task(tta="auto", freeze="backbone")
    data = kept(task, mirrored)
    fit_with_views(task, data)  # type: ignore[arg-type]
    assert task.tta == task.hparams["tta"] == task.eval().views == chosen
    assert task.hparams["l2"] == task.l2
    assert f"--model.tta auto: {chosen}, by the loss of held-out cases" in caplog.text
    # The parts have the features that the head was fitted to, and the head is the better one of the two.
    for split in ("train", "val"):
        assert data.parts[split].features.shape[-1] == task.feature_width
    again = small_task(tta="none", freeze="backbone", l2=task.l2)
    fit_with_views(again, data)  # type: ignore[arg-type]
    torch.testing.assert_close(again.head.linear.weight, task.head.linear.weight)  # type: ignore[union-attr]


def test_a_choice_needs_a_head_that_is_fitted() -> None:
    assert "has no loss to choose by" in unfit_for_features(small_task(tta="auto", head="knn", freeze="backbone"))
    assert "has no loss to choose by" in unfit_for_features(small_task(tta="auto", head="mlp", freeze="backbone"))
    assert small_task(tta="auto").wants_features().startswith("--model.tta auto is chosen where")
    assert small_task(tta="mirror").wants_features() == ""
