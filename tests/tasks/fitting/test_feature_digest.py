"""What features of a frozen network are kept by: all that an image goes through, its weights and its code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.classify.task import ClassificationTask
from tasks.fitting.features import FrozenFeatures
from tests.tasks.classify.batches import small_task

NETWORK = """
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet

default_cfgs = generate_default_cfgs({"thin_digested": {"first_conv": "conv1", "classifier": "fc"}})


@register_model
def thin_digested(pretrained=False, **kwargs):
    shape = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}
    return build_model_with_cfg(ResNet, "thin_digested", pretrained, **shape, **kwargs)
"""


def frozen(backbone: str = "test_resnet", **flags: Any) -> ClassificationTask:
    torch.manual_seed(0)
    return small_task(backbone=backbone, freeze="backbone", input_size=(32, 32), **flags).eval()


@pytest.mark.parametrize("head", ["pool", "knn"])
def test_a_norm_that_was_learnt_is_another_one(head: str) -> None:
    model = frozen("test_convnext", head=head)
    features = FrozenFeatures(model)
    image = torch.rand(2, 1, 32, 32)
    before, seen = features.digest, features(image)
    assert FrozenFeatures(frozen("test_convnext", head=head)).digest == before
    with torch.no_grad():
        model.get_parameter("head.norm.bias").fill_(1.0)
    assert not torch.allclose(features(image), seen)
    assert features.digest != before


def test_what_comes_behind_features_leaves_them_alone() -> None:
    model = frozen("test_convnext", head="mlp")
    before = FrozenFeatures(model).digest
    with torch.no_grad():
        for name in ("head.linear.weight", "head.hidden.0.weight"):
            model.get_parameter(name).add_(1.0)
    assert FrozenFeatures(model).digest == before


def test_a_network_of_the_users_counts_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its layers are timm's: nothing but the function that puts them together is the user's."""
    file = tmp_path / "digested_networks.py"
    file.write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("digested_networks")
    monkeypatch.setattr("scansuite.own_parts._allowed", {"digested_networks"})
    model = frozen("digested_networks.thin_digested")
    before = FrozenFeatures(model).digest
    assert FrozenFeatures(model).digest == before
    file.write_text(f"{NETWORK}\n# another line\n")
    assert FrozenFeatures(model).digest != before


@pytest.mark.parametrize("module", ["tasks.classify.heads", "backbones.pyramid", "backbones.stem", "tasks.views"])
def test_the_suites_own_code_counts(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = frozen()
    before = FrozenFeatures(model).digest
    code = importlib.import_module(module)
    edited = tmp_path / "edited.py"
    edited.write_text(f"{Path(str(code.__file__)).read_text()}\n# another line\n")
    monkeypatch.setattr(code, "__file__", str(edited))
    assert FrozenFeatures(model).digest != before
