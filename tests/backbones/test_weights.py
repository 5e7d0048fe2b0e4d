from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from backbones.pyramid import Backbone
from backbones.weights import LoadReport, extract_weights, load_weights
from scansuite.errors import SuiteError


def same(one: dict[str, Tensor], two: dict[str, Tensor], keys: Any) -> bool:
    return all(torch.equal(one[key], two[key]) for key in keys)


@pytest.fixture(scope="module")
def resnet() -> dict[str, Tensor]:
    torch.manual_seed(5)
    state: dict[str, Tensor] = timm.create_model("resnet18").state_dict()
    return state


@pytest.mark.parametrize(
    "form", ["plain.pth", "nested.pt", "ddp.bin", "file.safetensors", "task.ckpt", "compiled.ckpt"]
)
def test_every_form_of_file(form: str, resnet: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / form
    task = {"head.weight": torch.zeros(3), **{f"backbone.{key}": value for key, value in resnet.items()}}
    contents: dict[str, Any] = {
        "plain.pth": resnet,
        "nested.pt": {"model": resnet, "epoch": 3},
        "ddp.bin": {"state_dict": {f"module.{key}": value for key, value in resnet.items()}},
        "task.ckpt": {"state_dict": task, "epoch": 3, "hyper_parameters": {"lr": 0.1}},
        "compiled.ckpt": {"state_dict": {key.replace(".", "._orig_mod.", 1): value for key, value in task.items()}},
    }
    if form.endswith(".safetensors"):
        safetensors.torch.save_file(resnet, path)
    else:
        torch.save(contents[form], path)
    backbone = Backbone("resnet18", strides=[4, 8, 16, 32])
    report = load_weights(backbone, str(path))
    assert report == LoadReport(tuple(backbone.state_dict()), (), (), (), report.left_out)
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert same(backbone.state_dict(), resnet, report.loaded)


def test_from_task_to_task_and_to_plain_timm(tmp_path: Path) -> None:
    class Task(nn.Module):
        def __init__(self, strides: list[int] | None) -> None:
            super().__init__()
            self.backbone = Backbone("convnext_atto", strides=strides)
            self.head = nn.Linear(320, 2)

    source, checkpoint = Task([4, 8, 16, 32]), tmp_path / "best.ckpt"
    torch.save({"state_dict": source.state_dict()}, checkpoint)
    target = Task(None)
    report = load_weights(target.backbone, str(checkpoint))
    assert same(target.backbone.state_dict(), source.backbone.state_dict(), report.loaded)
    assert (report.missing, report.mismatched, report.unexpected, report.left_out) == ((), (), (), ())

    for name in ("new/out.pth", "out.safetensors"):
        count = extract_weights(checkpoint, tmp_path / name)
        plain = timm.create_model("convnext_atto", num_classes=0)
        loaded = timm.models.load_state_dict(str(tmp_path / name), weights_only=True)
        answer = plain.load_state_dict(loaded, strict=False)
        assert count == len(loaded) == len(source.backbone.state_dict())
        assert answer.unexpected_keys == []
        assert set(answer.missing_keys) == {"head.norm.weight", "head.norm.bias"}  # pruned: the head brings its own
        assert same(plain.state_dict(), source.backbone.state_dict(), loaded)


@pytest.mark.parametrize(
    ("name", "in_channels"),
    [
        ("resnet18", 1),
        ("resnet18", 5),
        ("mobilenetv3_small_050", 2),
        ("convnext_atto", 4),
        ("vit_tiny_patch16_224", 1),
        ("fastvit_t8", 1),  # two first convolutions
        ("tresnet_m", 1),  # folds 4x4 pixels into channels
    ],
)
def test_other_channels_as_timm_does_it(name: str, in_channels: int, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model(name).state_dict(), file)
    reference = timm.create_model(
        name, pretrained=True, in_chans=in_channels, num_classes=0, pretrained_cfg_overlay={"file": str(file)}
    ).state_dict()
    backbone = Backbone(name, in_channels)
    report = load_weights(backbone, str(file))
    assert report.missing == report.mismatched == report.unexpected == ()
    assert same(backbone.state_dict(), reference, report.loaded)


def test_from_one_channel_to_three(tmp_path: Path) -> None:
    torch.save(Backbone("resnet18", 1).state_dict(), tmp_path / "grey.pth")
    backbone = Backbone("resnet18", 3)
    load_weights(backbone, str(tmp_path / "grey.pth"))
    grey = torch.load(tmp_path / "grey.pth")["conv1.weight"]
    torch.testing.assert_close(backbone.net.conv1.weight.sum(1, keepdim=True), grey)  # the same on a grey image in RGB


def test_other_image_size_as_timm_does_it(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), file)
    reference = timm.create_model(
        "vit_tiny_patch16_224", pretrained=True, img_size=(64, 96), pretrained_cfg_overlay={"file": str(file)}
    ).state_dict()
    backbone = Backbone("vit_tiny_patch16_224", image_size=(64, 96))
    report = load_weights(backbone, str(file))
    assert "pos_embed" in report.loaded
    assert same(backbone.state_dict(), reference, report.loaded)


def test_older_names_through_timms_own_filter(tmp_path: Path) -> None:
    """Torchvision's first DenseNet files have dots in other places and no counters: timm's filter knows them."""
    state = timm.create_model("densenet121").state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    backbone = Backbone("densenet121")
    report = load_weights(backbone, str(tmp_path / "old.pth"))
    assert (report.missing, report.unexpected) == ((), ())
    assert same(backbone.state_dict(), state, report.loaded)


def test_report_of_what_does_not_fit(resnet: dict[str, Tensor], tmp_path: Path) -> None:
    state = {key: value for key, value in resnet.items() if not key.startswith("bn1.running")}
    torch.save({**state, "extra": torch.zeros(2)}, tmp_path / "file.pth")
    backbone = Backbone("resnet18", small_stem=True, classes=2)
    report = load_weights(backbone, str(tmp_path / "file.pth"))
    assert report.mismatched == ("conv1.weight",)  # 7x7 into 3x3
    assert report.missing == ("bn1.running_mean", "bn1.running_var", "fc.weight", "fc.bias")
    assert report.left_out == ("fc.weight", "fc.bias")  # of another number of classes
    assert report.unexpected == ("extra",)
    assert str(report) == (
        "117 of 122 tensors loaded; 4 missing (bn1.running_mean, bn1.running_var, fc.weight, ...); "
        "1 mismatched (conv1.weight); 1 unexpected (extra); 2 left out (fc.weight, fc.bias)"
    )


class Malicious:
    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "args": Malicious()}, "unsafe.ckpt")
    whole = Path("whole.pth")
    torch.save(timm.create_model("resnet18").state_dict(), whole)
    Path("cut.pth").write_bytes(whole.read_bytes()[:100_000])
    Path("text.pth").write_text("not weights")
    Path("empty.ckpt").touch()
    Path("text.safetensors").write_text("not weights at all")
    torch.save([1, 2], "list.pth")
    torch.save({"encoder.weight": torch.zeros(3, 3)}, "other.pth")
    backbone = Backbone("resnet18")
    for source, message in {
        "missing.pth": "no such file",
        "imagenett": "no such file: give imagenet, a checkpoint",
        ".": "is a folder",
        "unsafe.ckpt": r"posix\.mkdir\) and could run code",
        "cut.pth": "damaged",
        "text.pth": "damaged",
        "empty.ckpt": "damaged",
        "text.safetensors": "damaged",
        "list.pth": "holds no state dict",
        "other.pth": "the file has encoder.weight, the backbone conv1.weight, bn1.weight",
    }.items():
        with pytest.raises(SuiteError, match=message) as caught:
            load_weights(backbone, source)
        assert source in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not Path("owned").exists()


def test_bad_extraction(tmp_path: Path, resnet: dict[str, Tensor]) -> None:
    plain, task = tmp_path / "plain.pth", tmp_path / "task.ckpt"
    torch.save(resnet, plain)
    torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(2)}}, task)
    with pytest.raises(SuiteError, match="not the checkpoint of a task"):
        extract_weights(plain, tmp_path / "out.pth")
    with pytest.raises(SuiteError, match=r"\.pth or \.safetensors"):
        extract_weights(task, tmp_path / "out.onnx")
    with pytest.raises(SuiteError, match="cannot be written"):
        extract_weights(task, plain / "out.pth")
