"""Networks that files describe: repositories of the Hugging Face hub (``hf-hub:``) and folders (``local-dir:``).

A source becomes the name of timm's network with its arguments, and a file of weights: a model that was trained from one
is built again from its checkpoint alone. Nothing of a source is run: its description is JSON, and weights are read as
tensors (:func:`backbones.weights.read_state_dict`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)

from backbones import hub
from scansuite.errors import SuiteError

HUB, FOLDER = "hf-hub:", "local-dir:"
# In the order in which they are looked for. RAD-DINO's model.safetensors has the names of transformers, and the file
# before it those of DINOv2, which timm knows.
_WEIGHTS = (
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    *("backbone_compatible.safetensors", "model.safetensors", "pytorch_model.bin"),
)
_TOWER = "visual.trunk."  # before the names of timm's network in files of open_clip
# Widths of DINOv2's networks, which transformers describes without a name.
_DINOV2 = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
# What the suite sets itself, or what is of the classifier.
_LEFT_OUT = ("img_size", "in_chans", "num_classes", "drop_rate", "global_pool", "pretrained", "features_only")

_Find = Callable[[str], "Path | None"]


class Described(NamedTuple):
    """A network as files describe it.

    Attributes:
        architecture: timm's name.
        args: for timm, beside those that the suite sets.
        mean: of R, G and B in [0, 1] that its weights expect; None: ImageNet's.
        std: likewise.
        licence: of its weights, as the source states it; None: it does not.
        weights: file with them.
        prefix: stands before the names of the network's tensors.
    """

    architecture: str
    args: dict[str, Any]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    licence: str | None
    weights: Path
    prefix: str = ""


def is_source(name: object) -> bool:
    """Whether a name is of a repository or a folder."""
    return isinstance(name, str) and name.startswith((HUB, FOLDER))


def local(name: str) -> bool:
    """Whether a source is a folder."""
    return name.startswith(FOLDER)


def short(name: str) -> str:
    """Repository or folder without what says which of the two it is."""
    return name.partition(":")[2]


@cache
def described(name: str) -> Described:
    """Read what a source says; a repository of which a part is not in the hub's cache is asked for it.

    Args:
        name: ``hf-hub:REPO``, also with ``@REVISION``, or ``local-dir:FOLDER``.

    Raises:
        SuiteError: it is not there, describes no network of timm's, or has no weights.
    """
    find = _in_folder(name) if name.startswith(FOLDER) else _in_hub(name)
    text = _card(find)
    for file, read in (("open_clip_config.json", _of_open_clip), ("config.json", _of_config)):
        found = find(file)
        if found is None:
            continue
        values = _json(found, name)
        made = read(values, name) if isinstance(values, Mapping) else None
        if made is None:
            continue
        weights = next((path for one in _WEIGHTS if (path := find(one)) is not None), None)
        if weights is None:
            raise SuiteError(f"--model.backbone {name}: there are no weights: expected one of {', '.join(_WEIGHTS)}")
        mean, std = _processor(find, name) if made.mean is None else (made.mean, made.std)
        return made._replace(weights=weights, licence=made.licence or text, mean=mean, std=std)
    raise SuiteError(
        f"--model.backbone {name}: nothing there describes a network of timm's: expected a config.json with its "
        "'architecture', as timm writes it, one of DINOv2, or an open_clip_config.json"
    )


def here(name: str) -> bool:
    """Whether a source and its weights are on this machine."""
    if name.startswith(FOLDER):
        return Path(short(name)).is_dir()
    repository, _, revision = short(name).partition("@")
    try:
        files = [try_to_load_from_cache(repository, one, revision=revision or None) for one in _WEIGHTS]
    except HFValidationError:  # whoever asks for it says what is wrong with the name
        return False
    return any(isinstance(file, str) for file in files)


def _of_config(values: Mapping[str, Any], name: str) -> Described | None:
    if isinstance(values.get("architecture"), str):  # as timm writes it
        stated = values.get("pretrained_cfg")
        facts = stated if isinstance(stated, Mapping) else values
        args = values.get("model_args")
        return Described(
            str(values["architecture"]).partition(".")[0],
            {key: value for key, value in (args or {}).items() if key not in _LEFT_OUT},
            _numbers(facts.get("mean")),
            _numbers(facts.get("std")),
            str(facts["license"]) if facts.get("license") else None,
            Path(),
        )
    if values.get("model_type") == "dinov2":  # as transformers writes it
        size = _DINOV2.get(int(values.get("hidden_size", 0)))
        if size is not None and int(values.get("patch_size", 14)) == 14:
            return Described(f"vit_{size}_patch14_dinov2", {}, None, None, None, Path())
    return None


def _of_open_clip(values: Mapping[str, Any], name: str) -> Described | None:
    model, prepared = values.get("model_cfg", {}), values.get("preprocess_cfg", {})
    tower = model.get("vision_cfg", {}).get("timm_model_name")
    if not isinstance(tower, str):
        raise SuiteError(f"--model.backbone {name}: its image tower is open_clip's own, and no network of timm's")
    mean, std = _numbers(prepared.get("mean")), _numbers(prepared.get("std"))
    return Described(tower.partition(".")[0], {}, mean, std, None, Path(), _TOWER)


def _processor(find: _Find, name: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation that transformers keeps beside the network: RAD-DINO's are not ImageNet's."""
    found = find("preprocessor_config.json")
    values = {} if found is None else _json(found, name)
    if not isinstance(values, Mapping):
        return None, None
    if values.get("do_normalize") is False:
        return (0.0,) * 3, (1.0,) * 3
    return _numbers(values.get("image_mean")), _numbers(values.get("image_std"))


def _json(file: Path, name: str) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"--model.backbone {name}: {file.name} cannot be read as JSON: {error}") from None


def _numbers(values: Any) -> tuple[float, ...] | None:
    return tuple(float(value) for value in values) if isinstance(values, (list, tuple)) and values else None


def _card(find: _Find) -> str | None:
    """Licence that the front matter of a README states: of several names the most telling."""
    readme = find("README.md")
    if readme is None:
        return None
    _, found, rest = readme.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        matter = yaml.safe_load(rest.partition("\n---")[0]) if found else None
    except (yaml.YAMLError, ValueError):  # the latter of a date that there is not
        return None
    if not isinstance(matter, Mapping):
        return None
    stated = matter.get("license_name") or matter.get("license")
    return str(stated) if stated else None


def _in_folder(name: str) -> _Find:
    folder = Path(short(name)).expanduser()
    if not folder.is_dir():
        raise SuiteError(f"--model.backbone {name}: no such folder")
    return lambda file: folder / file if (folder / file).is_file() else None


def _in_hub(name: str) -> _Find:
    repository, _, revision = short(name).partition("@")

    def find(file: str) -> Path | None:
        try:
            kept = try_to_load_from_cache(repository, file, revision=revision or None)
        except HFValidationError:
            raise SuiteError(
                f"--model.backbone {name}: no name of a repository: expected {HUB}OWNER/NAME, as the hub writes it"
            ) from None
        if isinstance(kept, str):
            return Path(kept)
        if kept is not None or not hub.hub_answers():  # known not to be there; or nobody can be asked
            return None
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except EntryNotFoundError:
            return None
        except GatedRepoError:
            raise SuiteError(
                f"--model.backbone {name}: its terms have to be accepted first, at "
                f"https://huggingface.co/{repository}, and then `hf auth login`"
            ) from None
        except RepositoryNotFoundError:
            raise SuiteError(f"--model.backbone {name}: the hub has no such repository, or keeps it private") from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise SuiteError(f"--model.backbone {name}: cannot be fetched ({type(error).__name__})") from error

    if find("config.json") is None and find("open_clip_config.json") is None and not hub.hub_answers():
        raise SuiteError(
            f"--model.backbone {name}: not on this machine, and the hub is out of reach: run once with network, or "
            "give local-dir:FOLDER with its files"
        )
    return find
