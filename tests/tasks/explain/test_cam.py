"""Class activation maps against the package grad-cam, and against what they are by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.explain.explainer import looking
from tasks.explain.maps import explain_image, explainers
from tasks.explain.methods import Method
from tasks.explain.targets import Target
from tests.tasks.explain.models import classifier, image

LAYER = "layer3"


class _Logits(nn.Module):
    """The model as the package wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("method", "name"),
    [("gradcam", "GradCAM"), ("gradcam++", "GradCAMPlusPlus"), ("layercam", "LayerCAM"), ("scorecam", "ScoreCAM")],
)
def test_maps_are_those_of_the_package_grad_cam(method: Method, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    monkeypatch.setattr("pytorch_grad_cam.score_cam.tqdm.tqdm", lambda some: some)
    model, seen = classifier(num_classes=3), image()
    ours = explain_image(model, seen, ["1"], [method], layer=LAYER)[0].raw
    value: Callable[[Tensor], Tensor] = explainers(model, seen)[0].scorer(Target("1", "1")).value
    given: list[np.ndarray] = []
    with getattr(package, name)(_Logits(model), [dict(model.named_modules())[f"backbone.{LAYER}"]]) as cam:
        kept: Any = cam.get_cam_image

        def noted(*args: Any, **kwargs: Any) -> Any:
            given.append(kept(*args, **kwargs))
            return given[-1]

        cam.get_cam_image = noted
        cam(seen.clone(), targets=[lambda logits: value(logits[None])[0]])
    np.testing.assert_allclose(ours, given[0][0], rtol=0, atol=1e-5 * float(np.abs(given[0]).max()))


@pytest.mark.parametrize("tta", ["none", "mirror"])
def test_the_mean_of_a_class_activation_map_is_the_log_odds(tta: str) -> None:
    model, seen = classifier(tta=tta), image()
    found = explain_image(model, seen, ["1"], ["cam"])[0]
    logits, bias = model(seen)[0], dict(model.named_parameters())["head.linear.bias"]
    expected = (logits[1] - logits[0]) - (bias[1] - bias[0])
    assert found.raw.mean() == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-5)


def test_grad_cam_of_the_deepest_layer_is_cam_where_the_head_is_linear() -> None:
    """Selvaraju et al., section 3.1: up to the number of cells. Two classes: the log-odds are linear too."""
    model, seen = classifier(), image()
    cam, gradcam = explain_image(model, seen, ["1"], ["cam", "gradcam"], layer="layer4")
    assert gradcam.raw * gradcam.raw.size == pytest.approx(cam.raw, rel=1e-4, abs=1e-5)


def test_nothing_of_the_model_changes() -> None:
    model, seen = classifier().train(), image()
    next(model.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    with torch.no_grad():
        explain_image(model, seen, None, ["gradcam", "scorecam", "integrated_gradients", "occlusion"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert wanted == [parameter.requires_grad for parameter in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_all_is_as_before_where_a_map_fails() -> None:
    model = classifier().train()
    with pytest.raises(RuntimeError, match="on purpose"), looking([model]):
        raise RuntimeError("on purpose")
    assert all(module.training for module in model.modules() if module is not model.backbone.net)
    assert all(parameter.requires_grad for parameter in model.parameters() if parameter.dim() > 1)
