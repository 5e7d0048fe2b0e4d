"""Networks that a folder or a repository of the hub describes: read without running anything, refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError

from backbones import available, hub, sources
from backbones.imagenet import source_normalisation
from backbones.names import own_network
from backbones.network import check_name
from backbones.pyramid import Backbone
from backbones.sources import described, here, is_source
from backbones.weights import load_weights
from scansuite.errors import SuiteError

TINY: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 16}
ARCHITECTURE = "vit_tiny_patch16_224"
IMAGE = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    described.cache_clear()
    yield
    described.cache_clear()


def write(folder: Path, config: dict[str, Any] | None = None, prefix: str = "", readme: str = "") -> str:
    """A folder with a small network as timm saves it, and the network's name."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    net = timm.create_model(ARCHITECTURE, **TINY)
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    name = "model.safetensors" if not prefix else "open_clip_model.safetensors"
    safetensors.torch.save_file({**state, **({"text.weight": torch.zeros(1)} if prefix else {})}, folder / name)
    written = config or {
        "architecture": ARCHITECTURE,
        "num_classes": 1000,
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit"},
        "model_args": {**TINY, "img_size": 224},
    }
    (folder / ("open_clip_config.json" if prefix else "config.json")).write_text(json.dumps(written))
    if readme:
        (folder / "README.md").write_text(readme)
    return f"local-dir:{folder}"


def test_a_folder_is_the_network_that_timm_saved(tmp_path: Path) -> None:
    name = write(tmp_path / "vit")
    said = described(name)
    assert is_source(name)
    assert here(name)
    assert (said.architecture, said.args, said.licence) == (ARCHITECTURE, TINY, "mit")
    assert own_network(name) == ARCHITECTURE
    assert source_normalisation(name) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert available.place_of(name) == "in the folder"
    check_name(name)

    backbone = Backbone(ARCHITECTURE, image_size=(224, 224), **said.args).eval()
    report = load_weights(backbone, name)
    assert report.missing == report.mismatched == report.unexpected == ()
    plain = timm.create_model(name, pretrained=True).eval()  # timm's own way
    with torch.no_grad():
        expected = plain.forward_intermediates(IMAGE, indices=1, norm=False, intermediates_only=True)[-1]
        assert torch.equal(backbone(IMAGE)[-1], expected)


def test_the_image_tower_of_open_clip_is_taken_out_of_its_file(tmp_path: Path) -> None:
    config = {
        "model_cfg": {"embed_dim": 32, "vision_cfg": {"timm_model_name": ARCHITECTURE, "image_size": 224}},
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }
    name = write(tmp_path / "clip", config, "visual.trunk.", "---\nlicense: mit\ntags:\n- clip\n---\n# A model\n")
    assert described(name).licence == "mit"
    assert source_normalisation(name)[0] == (0.48, 0.46, 0.41)
    backbone = Backbone(ARCHITECTURE, image_size=(224, 224), **TINY)
    report = load_weights(backbone, name)
    assert report.missing == report.mismatched == report.unexpected == ()
    assert torch.equal(backbone.state_dict()["cls_token"], timm_state()["cls_token"])


def timm_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(timm.create_model(ARCHITECTURE, **TINY).state_dict())


def test_dinov2_as_transformers_describes_it(tmp_path: Path) -> None:
    folder = tmp_path / "dino"
    name = write(folder, {"model_type": "dinov2", "hidden_size": 768, "patch_size": 14, "architectures": ["X"]})
    assert described(name).architecture == "vit_base_patch14_dinov2"
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: dinov3-license\n---\n")
    (folder / "backbone_compatible.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    described.cache_clear()
    assert described(name).licence == "dinov3-license"
    assert described(name).weights.name == "backbone_compatible.safetensors"  # under the names that timm knows


def test_mean_and_deviation_that_transformers_keeps_beside_a_network_are_its_own(tmp_path: Path) -> None:
    name = write(tmp_path / "dino", {"model_type": "dinov2", "hidden_size": 768, "patch_size": 14})
    imagenet = source_normalisation(name)
    processor = tmp_path / "dino" / "preprocessor_config.json"
    processor.write_text(json.dumps({"do_normalize": True, "image_mean": [0.53] * 3, "image_std": [0.26] * 3}))
    described.cache_clear()
    assert source_normalisation(name) == ((0.53,) * 3, (0.26,) * 3) != imagenet
    processor.write_text(json.dumps({"do_normalize": False, "image_mean": [0.53] * 3, "image_std": [0.26] * 3}))
    described.cache_clear()
    assert source_normalisation(name) == ((0.0,) * 3, (1.0,) * 3)
    processor.write_text("{")
    described.cache_clear()
    with pytest.raises(SuiteError, match=r"preprocessor_config.json cannot be read as JSON"):
        described(name)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "bert"}, "nothing there describes a network of timm's"),
        ({"architecture": "nonesuch_net"}, "it describes 'nonesuch_net', which this version of timm does not have"),
        ([1, 2], "nothing there describes a network of timm's"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, config: Any, said: str) -> None:
    name = write(tmp_path / "other", config)
    with pytest.raises(SuiteError, match=said):
        check_name(name)


def test_a_folder_without_weights_or_none_at_all_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").unlink()
    with pytest.raises(SuiteError, match="there are no weights"):
        described(name)
    (tmp_path / "vit" / "config.json").write_text("{")
    with pytest.raises(SuiteError, match=r"config.json cannot be read as JSON"):
        described(name)
    with pytest.raises(SuiteError, match="no such folder"):
        described("local-dir:/nowhere")


def test_weights_that_could_run_code_are_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "vit")
    (tmp_path / "vit" / "model.safetensors").unlink()
    torch.save({"model": _Code()}, tmp_path / "vit" / "pytorch_model.bin")
    with pytest.raises(SuiteError, match="could run code"):
        load_weights(Backbone(ARCHITECTURE, image_size=(224, 224), **TINY), name)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


def test_a_repository_is_read_from_the_cache_and_else_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "vit")
    asked: list[tuple[str, str | None]] = []

    def fetched(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((repository, revision))
        if not (tmp_path / "vit" / file).is_file():
            raise EntryNotFoundError(file)
        return str(tmp_path / "vit" / file)

    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(sources, "hf_hub_download", fetched)
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    assert not here("hf-hub:org/net@v1")
    assert described("hf-hub:org/net@v1").architecture == ARCHITECTURE
    assert set(asked) == {("org/net", "v1")}

    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(SuiteError, match="not on this machine, and the hub is out of reach"):
        described("hf-hub:org/other")
    (tmp_path / "vit" / "README.md").write_text("no front matter")
    kept = {one.name: str(one) for one in (tmp_path / "vit").iterdir()}
    monkeypatch.setattr(sources, "try_to_load_from_cache", lambda _, file, **__: kept.get(file))
    assert here("hf-hub:org/third")
    assert described("hf-hub:org/third").licence == "mit"


@pytest.mark.parametrize("name", ["hf-hub:https://huggingface.co/org/net", "hf-hub:a/b/c", "hf-hub:"])
def test_what_is_no_name_of_a_repository_is_one_line(name: str) -> None:
    assert not here(name)
    with pytest.raises(SuiteError, match=r"expected hf-hub:OWNER/NAME"):
        described(name)


def test_a_card_with_a_date_that_there_is_not_states_no_licence(tmp_path: Path) -> None:
    write(tmp_path / "vit")
    (tmp_path / "vit" / "README.md").write_text("---\ndate: 2024-02-30\n---\n")
    described(f"local-dir:{tmp_path / 'vit'}")
