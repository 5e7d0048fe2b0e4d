"""Loading of a backbone's weights from checkpoints and files, and their export for plain timm."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from backbones.imagenet import average_normalisation as average_normalisation
from backbones.imagenet import imagenet_weights, plain_shapes
from backbones.imagenet import pretrained_normalisation as pretrained_normalisation
from backbones.pyramid import Backbone
from backbones.records import metadata_of, read_licence, read_record, with_record
from backbones.sources import described, is_source
from backbones.weight_files import load_pickled, reading_once
from scansuite.errors import SuiteError
from scansuite.files import replacing

PREFIX = "backbone."  # where every task keeps its backbone

# Where a checkpoint keeps its state dict; averaged weights first, as timm has it.
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")

# What timm's model files call the function that brings foreign or older checkpoints to today's names and sizes.
FILTERS = (
    "checkpoint_filter_fn",
    "checkpoint_filter_fn_classifier",
    "pretrained_filter_fn",
    "_filter_fn",
    "_filter_torchvision_pretrained",
)


@dataclass(frozen=True)
class LoadReport:
    """Outcome of loading a state dict: its entries by what became of them.

    Attributes:
        loaded: entries of the backbone that were filled.
        missing: entries of the backbone that the file does not have; batch counters, which nothing reads, aside.
        mismatched: entries that both have in different shapes.
        unexpected: entries of the file that the network does not know.
        left_out: entries of the file that the network knows but this backbone has no place for: the classifier, and
            what was pruned because no level needs it.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        parts = [f"{len(self.loaded)} of {total} tensors loaded"]
        for title in ("missing", "mismatched", "unexpected", "left_out"):
            if names := getattr(self, title):
                parts.append(f"{len(names)} {title.replace('_', ' ')} ({_first(names)})")
        return "; ".join(parts)


def load_weights(backbone: Backbone, source: str) -> LoadReport:
    """Fills a backbone.

    The first convolution is fitted to another number of channels the way timm does it (one channel gets the sum over
    the channels of the file, several get repeated ones, rescaled). Position embeddings and the like are fitted to
    another image size by timm's own checkpoint filters.

    Args:
        backbone: is changed in place.
        source: ``imagenet``; a repository or a folder (:mod:`backbones.sources`); or a file: the checkpoint of any task
            (its ``backbone.*`` is taken), or a state dict of the plain timm network (``.pth``, ``.pt``, ``.bin``,
            ``.safetensors``), also nested under ``state_dict`` or ``model``, with or without ``module.``.

    Raises:
        SuiteError: no such file, a file that is damaged or holds more than weights, nothing in it fits, or ImageNet
            weights that cannot be had here.
    """
    if source == "imagenet":
        state = imagenet_weights(backbone.name)
    elif is_source(source):
        said = described(source)
        state = read_state_dict(said.weights)
        state = {key.removeprefix(said.prefix): one for key, one in state.items() if key.startswith(said.prefix)}
    else:
        state = read_state_dict(Path(source))
        state = backbone_part(state) or state

    own = backbone.state_dict()
    variants = [_fit_input(variant, backbone, own) for variant in (state, _filtered(state, backbone)) if variant]
    state = max(variants, key=lambda variant: sum(_fits(variant, own, key) for key in own))
    loaded = [key for key in own if _fits(state, own, key)]
    if all(_is_counter(key) for key in loaded):
        raise SuiteError(
            f"{source}: nothing in it fits backbone {backbone.name!r} (--model.weights): "
            f"the file has {_first(state)}, the backbone {_first(own)}"
        )
    backbone.load_state_dict({key: state[key] for key in loaded}, strict=False)

    heads = _classifiers(backbone)
    differ = [key for key in own if key in state and key not in loaded]
    heads_left = {key for key in state if key not in loaded and key.startswith(heads)}
    others = [key for key in state if key not in own and key not in heads_left]
    known = plain_shapes(backbone.name) if others else {}
    return LoadReport(
        loaded=tuple(loaded),
        missing=tuple(key for key in own if (key not in state and not _is_counter(key)) or key in heads_left),
        mismatched=tuple(key for key in differ if key not in heads_left),
        unexpected=tuple(key for key in others if key not in known),
        left_out=tuple(key for key in state if key in heads_left or (key in others and key in known)),
    )


def extract_weights(checkpoint: Path, output: Path) -> int:
    """Writes the backbone of a task's checkpoint as a state dict that plain timm loads.

    What the checkpoint keeps of the cases it was trained on goes along (see ``docs/leakage.md``), and the licence of
    the weights that it began with.

    Args:
        checkpoint: of any task.
        output: ``.pth``, ``.pt``, ``.bin`` or ``.safetensors``; the folder is made, a present file replaced.

    Returns:
        The number of tensors written.

    Raises:
        SuiteError: the checkpoint cannot be read or has no ``backbone.*``, or the output cannot be written.
    """
    with reading_once():
        state, told = read_state_dict(checkpoint), (read_record(checkpoint), read_licence(checkpoint))
    part = {key: tensor.contiguous().clone() for key, tensor in backbone_part(state).items()}
    if not part:
        raise SuiteError(f"{checkpoint}: not the checkpoint of a task, it has no {PREFIX}* but {_first(state)}")
    if output.suffix not in (".pth", ".pt", ".bin", ".safetensors"):
        raise SuiteError(f"{output}: name the output .pth or .safetensors")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as temporary:
            if output.suffix == ".safetensors":
                safetensors.torch.save_file(part, temporary, metadata={"format": "pt", **metadata_of(*told)})
            else:
                torch.save(with_record(part, *told), temporary)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise SuiteError(f"{output}: cannot be written ({error}); choose another --output") from error
    return len(part)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint or weight file; no code in it runs.

    Raises:
        SuiteError: the file is not there, is damaged, holds more than weights, or holds none.
    """
    if not path.is_file():
        raise SuiteError(
            f"--model.weights {path}: {'is a folder' if path.is_dir() else 'no such file'}: give imagenet, a "
            "checkpoint, "
            "or a .pth, .pt, .bin or .safetensors"
        )
    try:
        if path.suffix == ".safetensors":
            content: object = safetensors.torch.load_file(path)
        else:
            content = load_pickled(path)
    except pickle.UnpicklingError as error:
        if code := re.search(r"\bGLOBAL (\S+)", str(error)):
            raise SuiteError(
                f"{path}: refused, because it holds more than weights ({code[1]}) and could run code; "
                "save its state dict alone, best as .safetensors"
            ) from error
        raise SuiteError(f"{path}: damaged, or not a weight file; fetch or save it again") from error
    except Exception as error:  # readers raise all there is on a damaged file
        raise SuiteError(f"{path}: damaged, or not a weight file; fetch or save it again") from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
        state = {_bare(str(key)): value for key, value in content.items() if isinstance(value, Tensor)}
        if state:
            return state
    raise SuiteError(f"{path}: holds no state dict; give a checkpoint or a file of weights (--model.weights)")


def backbone_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries below ``backbone.``, under the names of plain timm."""
    return {_bare(key.removeprefix(PREFIX)): tensor for key, tensor in state.items() if key.startswith(PREFIX)}


def _bare(key: str) -> str:
    """Takes off what DistributedDataParallel and torch.compile put before a name."""
    return re.sub(r"^(module\.|_orig_mod\.)+", "", key)


def _first(names: Mapping[str, Any] | tuple[str, ...], count: int = 3) -> str:
    return ", ".join(list(names)[:count]) + (", ..." if len(names) > count else "")


def _fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], key: str) -> bool:
    return key in state and state[key].shape == own[key].shape


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")  # files from before PyTorch 0.4.1 have none


def _classifiers(backbone: Backbone) -> tuple[str, ...]:
    names = backbone.net.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def _filtered(state: dict[str, Tensor], backbone: Backbone) -> dict[str, Tensor] | None:
    """The state dict through timm's filter for this family; None where there is none or it cannot read this one."""
    entrypoint: Callable[..., nn.Module] = timm.models.model_entrypoint(backbone.name.partition(".")[0])
    module = sys.modules[entrypoint.__module__]
    filters: list[Callable[..., Any]] = [getattr(module, name) for name in FILTERS if hasattr(module, name)]
    if not filters:
        return None
    for arguments in ((dict(state), backbone.net), (dict(state),)):
        try:
            return dict(filters[0](*arguments))
        except TypeError:
            continue  # some take the state dict alone
        except Exception:  # written for foreign files: fails in any way on those that need no filter
            return None
    return None


def _fit_input(state: dict[str, Tensor], backbone: Backbone, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fits the first convolution to the backbone's channels as timm does."""
    names = backbone.net.pretrained_cfg.get("first_conv") or ()
    fitted = dict(state)
    for name in (names,) if isinstance(names, str) else names:
        key = f"{name}.weight"
        if key not in state or key not in own or state[key].ndim != 4 or own[key].ndim != 4:
            continue
        copies = own[key].shape[1] // backbone.in_channels  # above 1 where the stem folds pixels into channels
        channels = state[key].shape[1] // max(copies, 1)
        if copies and channels and channels != backbone.in_channels:
            base = {} if channels == 3 else {"base_chans": channels}
            with suppress(NotImplementedError):  # folded pixels and several channels: drawn anew, as in timm
                fitted[key] = timm.models.adapt_input_conv(backbone.in_channels, state[key], **base)
    return fitted
