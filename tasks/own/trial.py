"""A user's network: tried once when it is built, so that a wrong shape is said before the data are read; its layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scansuite.errors import SuiteError


@torch.no_grad()
def try_part(part: nn.Module, *inputs: object, shape: tuple[int, ...], where: str) -> None:
    """Run a module once, in evaluation mode and with the random numbers of training left alone.

    Args:
        part: the module.
        inputs: of its ``forward``.
        shape: that its output must have; -1 is any size.
        where: names it, for messages.

    Raises:
        SuiteError: it fails, or gives anything else.
    """
    training = part.training
    part.eval()
    try:
        with torch.random.fork_rng([]):
            output = part(*inputs)
    except SuiteError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise SuiteError(f"{where}: fails on {_shapes(inputs)}: {type(error).__name__}: {text}") from error
    finally:
        part.train(training)
    sizes = tuple(output.shape) if isinstance(output, Tensor) else None
    if sizes is None or len(sizes) != len(shape) or any(a not in (-1, b) for a, b in zip(shape, sizes, strict=True)):
        found = type(output).__name__ if sizes is None else _text(sizes)
        raise SuiteError(f"{where}: gives {found} for {_shapes(inputs)}, and must give {_text(shape)}")


def layers_of(part: nn.Module) -> list[nn.Module]:
    """All linear layers and convolutions of a user's network: which of them gives the logits is not known."""
    return [layer for layer in part.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _shapes(inputs: tuple[object, ...]) -> str:
    flat = [one for some in inputs for one in (some if isinstance(some, list) else [some])]
    return ", ".join(_text(tuple(one.shape)) for one in flat if isinstance(one, Tensor))


def _text(shape: tuple[int, ...]) -> str:
    return f"({', '.join('any' if size == -1 else str(size) for size in shape)})"
