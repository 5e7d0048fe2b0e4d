"""Maps of all tasks: what is explained, in which image, at which layer, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.detect.ensemble import DetectionEnsemble
from tasks.explain.maps import Map, explain_image, explainers, refusal
from tasks.explain.methods import ABOUT, METHODS
from tasks.explain.targets import Target
from tests.tasks.explain.models import classifier, detector, image, segmenter


class _Corner(nn.Module):
    """Lets the network see a quarter of the image alone."""

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.zeros_like(images)
        seen[..., :32, 32:] = images[..., :32, 32:]
        return seen


def names(maps: list[Map]) -> list[str]:
    return [one.target.name for one in maps]


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (classifier, "integrated_gradients"),
        (classifier, "occlusion"),
        pytest.param(segmenter, "integrated_gradients", marks=pytest.mark.slow),
        pytest.param(segmenter, "occlusion", marks=pytest.mark.slow),
        (detector, "integrated_gradients"),
        pytest.param(detector, "occlusion", marks=pytest.mark.slow),
    ],
)
def test_maps_of_pixels_are_0_where_the_network_sees_nothing(make: type[Task], method: str) -> None:
    model = make()
    model.normalize = _Corner()  # type: ignore[assignment]
    seen = image()
    target = None
    if model.name == "segment":
        target = [Target("organ", "organ", region=np.ones((64, 64), bool))]
    if model.name == "detect":
        target = [Target("1", "1", box=(10.0, 10.0, 40.0, 40.0))]
    raw = explain_image(model, seen, target, [method])[0].raw  # type: ignore[list-item]
    unseen = np.ones((64, 64), bool)
    reach = 10 if method == "occlusion" else 0  # a window reaches from the quarter into its neighbours
    unseen[: 32 + reach, 32 - reach :] = False
    assert np.abs(raw[unseen]).max() < 1e-4 * np.abs(raw[~unseen]).max()  # batches of other sizes round differently


def test_integrated_gradients_add_up_to_what_the_image_changes() -> None:
    model, seen = classifier(), image()
    raw = explain_image(model, seen, ["1"], ["integrated_gradients"])[0].raw
    with torch.no_grad():
        logits = model(torch.cat([seen, seen.mean().expand_as(seen)]))
    odds = logits[:, 1] - logits[:, 0]
    assert raw.sum() == pytest.approx(float(odds[0] - odds[1]), rel=0.1, abs=5e-3)


def test_occlusion_is_the_fall_where_a_window_is_plain() -> None:
    model, seen = classifier(), image()
    raw = explain_image(model, seen, ["1"], ["occlusion"])[0].raw
    changed = seen.clone()
    changed[..., :10, :10] = seen.mean()  # the first window: two steps of 64 / 12
    with torch.no_grad():
        logits = model(torch.cat([seen, changed]))
    odds = logits[:, 1] - logits[:, 0]
    assert raw[0, 0] == pytest.approx(float(odds[0] - odds[1]), rel=1e-3, abs=1e-6)  # covered by that window alone


@pytest.mark.parametrize(
    ("target", "classes", "loss", "expected"),
    [
        ("binary", 2, "auto", ["1"]),
        ("multiclass", 3, "auto", None),
        ("multilabel", 3, "auto", None),
        ("ordinal", 3, "auto", ["grade"]),
        ("ordinal", 3, "cross_entropy", ["grade"]),
        ("regression", 1, "auto", ["number"]),
    ],
)
def test_what_is_explained_of_each_kind_of_target(
    target: str, classes: int, loss: str, expected: list[str] | None
) -> None:
    model, seen = classifier(target=target, num_classes=classes, loss=loss), image()
    found = explain_image(model, seen, None, ["gradcam"])
    scores = model.scores(model(seen))[0]
    if expected is None:
        called = [str(int(scores.argmax()))] if target == "multiclass" else None
        called = called or [str(one) for one in range(classes) if scores[one] >= 0.5] or [str(int(scores.argmax()))]
        expected = called
    assert names(found) == expected
    mean = float((scores * torch.arange(len(scores))).sum())
    shown = {"grade": mean, "number": float(scores[0])}.get(expected[0])
    assert found[0].score == pytest.approx(float(scores[int(expected[0])]) if shown is None else shown, rel=1e-5)
    assert found[0].values.shape == (64, 64)
    assert found[0].values.max() in (0.0, pytest.approx(1.0))
    if target != "regression":
        assert names(explain_image(model, seen, ["0"], ["gradcam"])) == ["0"]


def test_a_class_of_an_ordinal_model_is_explained_by_its_own_probability() -> None:
    model, seen = classifier(target="ordinal", num_classes=4), image()
    scorer = explainers(model, seen)[0].scorer(Target("2", "2"))
    output = model(seen)
    assert float(scorer.value(output).detach()) == pytest.approx(
        float(torch.logit(model.scores(output)[0, 2])), rel=1e-4
    )


@pytest.mark.parametrize(
    "aggregate", ["attention", "max", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mean", "topk"))]
)
def test_images_of_a_bag_are_explained_within_their_case(aggregate: str) -> None:
    model, seen = classifier(aggregate=aggregate, topk=0.5), image(5, 1, 64, 64)
    maps = explain_image(model, seen, ["1"], ["gradcam", "layercam"])
    assert len(maps) == 6
    output, weights = model.weighed(seen, [5])
    assert [one.score for one in maps] == pytest.approx([float(model.scores(output)[0, 1])] * 6, rel=1e-5)
    if weights is None:
        assert {one.weight for one in maps} == {None}
    else:
        shown = [one.image for one in maps[::2]]
        assert shown == weights.topk(3).indices.tolist()
        assert [one.weight for one in maps[::2]] == pytest.approx(weights.topk(3).values.tolist(), rel=1e-5)
    # An image of which the case takes no notice has a map of nothing.
    explainer = explainers(model, seen)[0]
    changed = torch.cat([explainer.forward(seen[:1] * 0, 0), explainer.forward(seen[:1], 0)])
    assert changed[1].tolist() == pytest.approx(output[0].tolist(), rel=1e-4, abs=1e-6)
    bag = torch.cat([seen[:1] * 0, seen[1:]])
    assert changed[0].tolist() == pytest.approx(model(bag, [5])[0].tolist(), rel=1e-4, abs=1e-6)


def test_a_class_of_a_mask_is_explained_over_its_pixels() -> None:
    model, seen = segmenter(), image()
    mask = model.predictions(model(seen))[0]
    maps = explain_image(model, seen, None, ["gradcam"])
    called = [number for number in (1, 2) if (mask == number).any()]
    assert names(maps) == [model.class_names[number] for number in called]
    for one, number in zip(maps, called, strict=True):
        np.testing.assert_array_equal(one.target.region, (mask == number).numpy())
    probability = model(seen).softmax(dim=1)[0, called[0]][mask == called[0]].mean()
    assert maps[0].score == pytest.approx(float(probability.detach()), rel=1e-4)


def test_a_class_that_no_pixel_is_called_is_refused() -> None:
    model = segmenter()
    dict(model.named_parameters())["decoder.heads.0.bias"].data[:] = torch.tensor([9.0, 0.0, 0.0])
    assert explain_image(model, image()) == []
    with pytest.raises(SuiteError, match="'lesion': no pixel of this image is called it"):
        explain_image(model, image(), ["lesion"])


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("retinanet", (50, 70)),
        ("fcos", (64, 64)),
        ("faster_rcnn", (64, 64)),
        pytest.param("retinanet", (64, 64), marks=pytest.mark.slow),
        pytest.param("fcos", (50, 70), marks=pytest.mark.slow),
        pytest.param("faster_rcnn", (50, 70), marks=pytest.mark.slow),
    ],
)
def test_a_box_is_explained_by_what_gave_it(kind: str, size: tuple[int, int]) -> None:
    model, seen = detector(kind), image(1, 1, *size)
    found = model.decode(model(seen))[0]
    label = int(found.labels[0])
    targets = [
        Target("it", str(int(name)), box=tuple(box.tolist()))
        for box, name in zip(found.boxes[:3], found.labels[:3], strict=True)
    ]
    maps = explain_image(model, seen, targets, ["gradcam"])
    assert [one.score for one in maps] == pytest.approx(found.scores[:3].tolist(), rel=1e-3)
    assert maps[0].values.shape == size
    assert maps[0].layer.startswith("backbone[")
    assert names(explain_image(model, seen, [str(label)], ["gradcam"]))[0] == f"{label}, box 1"
    assert len(explain_image(model, seen)) == 1  # none is called: the highest one


def test_the_level_that_gave_a_box_is_the_one_explained() -> None:
    model, seen = detector(), image()
    explainer = explainers(model, seen)[0]
    for found in explain_image(model, seen, ["0", "1"], ["gradcam"], layer="detector.neck")[:4]:
        raw = model(seen)
        scorer = explainer.scorer(found.target)
        level = int(found.layer.removeprefix("detector.neck[").rstrip("]"))
        assert found.raw.shape == raw.grids[level]
        assert float(scorer.score(raw)[0]) == pytest.approx(found.score, rel=1e-5)


def test_a_map_of_an_ensemble_is_the_mean_of_its_members() -> None:
    first, second = classifier(), classifier("resnet18")
    both = explain_image(ClassificationEnsemble([first, second], ["a", "b"]), image(), ["1"], ["layercam"])[0]
    apart = [explain_image(one, image(), ["1"], ["layercam"])[0] for one in (first, second)]
    mean = (apart[0].values + apart[1].values) / 2
    assert both.values == pytest.approx(mean / mean.max(), abs=1e-5)
    assert both.score == pytest.approx((apart[0].score + apart[1].score) / 2)


def test_members_of_a_detector_explain_the_fused_box() -> None:
    members = [detector(), detector("fcos")]
    maps = explain_image(DetectionEnsemble(members, ["a", "b"]), image(), ["0"], ["gradcam"])
    assert maps
    assert maps[0].target.box is not None
    assert maps[0].layer == "backbone[0]"


def test_what_a_network_cannot_do_is_refused_with_the_reason() -> None:
    seen = image()
    refused = {method: refusal(classifier(), method, seen) for method in METHODS}
    assert [method for method, reason in refused.items() if reason] == ["rollout", "attention"]
    with pytest.raises(SuiteError, match="--method rollout: its blocks do not let every place attend to all"):
        explain_image(classifier(), seen, None, ["rollout"])
    for model, reason in (
        (classifier(head="mlp"), "hidden layer"),
        (classifier(head="native"), "not one linear layer"),
        (classifier(target="ordinal", num_classes=3), "grade"),
        (segmenter(), "only a classifier"),
    ):
        assert reason in str(refusal(model, "cam", seen))
        with pytest.raises(SuiteError, match=reason):
            explain_image(
                model, seen, ["grade"] if reason == "grade" else ["1"] if model.name == "classify" else None, ["cam"]
            )
    with pytest.raises(SuiteError, match="'gradcamm' is unknown: did you mean 'gradcam'"):
        explain_image(classifier(), seen, None, ["gradcamm"])  # type: ignore[list-item]
    with pytest.raises(SuiteError, match="target '7' is no class of the model"):
        explain_image(classifier(), seen, ["7"])
    with pytest.raises(SuiteError, match="layer9: the network has no such layer"):
        explain_image(classifier(), seen, layer="layer9")
    with pytest.raises(SuiteError, match="no map of the image"):
        explain_image(classifier(), seen, layer="head.linear")


def test_every_method_is_described() -> None:
    assert tuple(ABOUT) == METHODS


def test_rollout_is_the_product_of_the_attention_with_half_of_the_residual_path() -> None:
    model = classifier("vit_tiny_patch16_224")
    attention: list[Tensor] = []
    for block in model.backbone.net.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_pre_hook(lambda _, args: attention.append(args[0].detach()))
    seen = image()
    model(seen)
    flow = torch.eye(17)
    for weights in attention:
        mean = weights[0].mean(dim=0) + torch.eye(17)
        flow = (mean / mean.sum(dim=1, keepdim=True)) @ flow
    rolled, last = explain_image(model, seen, ["1"], ["rollout", "attention"])
    assert rolled.raw == pytest.approx(flow[1:, 1:].mean(dim=0).reshape(4, 4).numpy(), abs=1e-6)
    assert last.raw == pytest.approx(attention[11][0].mean(dim=0)[1:, 1:].mean(dim=0).reshape(4, 4).numpy(), abs=1e-6)


def test_a_transformers_own_head_is_explained_before_its_last_block_mixes_places() -> None:
    """It reads the class token, to which the last block's places give nothing any more."""
    model = classifier("vit_tiny_patch16_224", head="native")
    maps = explain_image(model, image(), ["1"], ["gradcam", "rollout"])
    assert maps[0].layer == "backbone.blocks.10"
    assert np.abs(maps[0].raw).max() > 0
    fused = [block.attn.fused_attn for block in model.backbone.net.blocks]
    assert all(fused) == bool(fused[0])


@pytest.mark.parametrize(
    ("backbone", "layer", "grid"),
    [
        ("resnet10t", "backbone.layer2", (8, 8)),
        ("vit_tiny_patch16_224", "backbone.blocks.11", (4, 4)),
        pytest.param("swin_tiny_patch4_window7_224", "backbone.layers.1", (8, 8), marks=pytest.mark.slow),
        pytest.param("hrnet_w18_small", "backbone.stage3[1]", (8, 8), marks=pytest.mark.slow),
    ],
)
def test_the_layer_is_the_deepest_that_is_fine_enough(backbone: str, layer: str, grid: tuple[int, int]) -> None:
    found = explain_image(classifier(backbone), image(), ["1"], ["gradcam"])[0]
    assert found.raw.shape == grid
    assert found.layer == layer
    assert np.abs(found.raw).max() > 0


FAMILIES = (
    *("resnet10t", "tf_efficientnet_lite0", "convnext_atto", "mobilenetv3_small_050", "densenet121", "regnetx_002"),
    *("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "maxvit_pico_rw_256", "hrnet_w18_small"),
)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize("make", [classifier, segmenter, partial(detector, "retinanet")])
def test_every_family_of_networks_has_maps_in_every_task(make: Callable[..., Task], backbone: str) -> None:
    seen = image(1, 1, 96, 96)
    model = make(backbone, size=96)
    whole = np.zeros((96, 96), bool)
    whole[20:60, 30:70] = True
    targets = {
        "classify": [Target("1", "1")],
        "segment": [Target("organ", "organ", region=whole)],
        "detect": [Target("1", "1", box=(30.0, 20.0, 70.0, 60.0))],
    }
    for one in explain_image(model, seen, targets[model.name], ["gradcam", "layercam"]):
        assert one.values.shape == (96, 96)
        assert one.raw.shape == (len(one.raw), len(one.raw)), one.layer  # the image is square
        assert np.abs(one.raw).max() > 0
