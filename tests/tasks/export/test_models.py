"""Models of each kind become files that say what PyTorch says: whole exports, seconds for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.classify.task import ClassificationTask
from tasks.ensemble import Ensemble
from tasks.export.describe import describe
from tasks.export.exporting import exported, opened
from tasks.export.scans import Scans
from tasks.export.torch_archive import archived
from tasks.export.verify import verified
from tasks.registry.specs import spec_of
from tests.tasks.explain.models import classifier, segmenter

pytestmark = pytest.mark.slow


def checked(task: str, model: Any, names: list[str], channels: int) -> set[str]:
    """Names of what was compared of an export to ONNX, and of an archive."""
    exporter = spec_of(task).exporter_class()(model.eval(), names)
    scans = Scans("drawn ones", [torch.rand(channels, 64, 64) for _ in range(5)])
    made, about = exported(exporter, describe(exporter, []), 20)
    checks = verified(exporter, opened(made, names[0]), scans, "fp32")
    archive = archived(exporter, describe(exporter, []))
    assert archive.outputs == [one.name for one in made.graph.output]
    assert verified(exporter, archive, scans, "fp32")
    assert about.sizes == archive.description.sizes == ()
    return {check.name for check in checks}


def test_segmentation() -> None:
    model = segmenter()
    assert checked("segment", model, ["a"], model.in_channels) == {"logits", "masks"}


def test_images_of_a_case_that_are_weighed() -> None:
    model = ClassificationTask("test_resnet", class_names=["a", "b"], in_channels=1, aggregate="attention")
    assert checked("classify", model, ["a"], 1) == {"logits", "weights"}


def test_an_ensemble_of_two() -> None:
    members = [classifier(class_names=["a", "b"]) for _ in range(2)]
    ensemble = spec_of("classify").ensemble_class()(members, ["a", "b"])
    assert isinstance(ensemble, Ensemble)
    assert checked("classify", ensemble, ["a", "b"], members[0].in_channels) == {"logits"}
