"""``summary``: a task's network layer by layer. Nothing is trained or downloaded, and no weight is made."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.flags import given
from tasks.cli.logs import configure_logs
from tasks.cli.parser import TaskParser
from tasks.cli.tables import print_table
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.run_files import checkpoint_in
from tasks.registry.specs import spec_of

if TYPE_CHECKING:
    from backbones.trace import Trace

OWN_FLAGS: OwnFlags = {
    "image_size": "side, or H,W, in pixels, where no --data is given; left out: the network's own size",
    "channels": Flag("channels of the image, where no --data is given", stands_for=3),
    "classes": Flag("number of classes, where no --data is given", stands_for=2),
    "csv": "file to write the layers to as well; left out: they are printed alone",
}
HEAD = ("layer", "kind", "kernel", "stride", "padding", "output", "field", "parameters", "multiply-adds")


def run(task: str, argv: Sequence[str]) -> int:
    """Print the layers of a network and what they cost.

    Args:
        task: name of the task.
        argv: flags as typed.
    """
    configure_logs()
    cli = TaskParser(task, "summary", argv, own_flags=OWN_FLAGS, builds_model=True)
    settings = cli.config["model"]
    if settings["weights"] is not None:  # they change no layer, and would be fetched
        if settings["stem"] == "auto":
            from tasks.parent_checkpoint import read_parent

            parent = read_parent(checkpoint_in(settings["weights"]))
            settings["stem"] = parent.stem if parent is not None else "standard"
        settings["weights"] = None

    import torch

    from backbones.network import check_name, own_size

    name = str(settings["backbone"])
    check_name(name)
    if given(argv, "--data"):
        for flag in ("image_size", "channels", "classes"):
            if cli.config[flag] is not None:
                raise SuiteError(f"--{flag}: comes from the data; leave it or --data out")
        _, model = cli.build_data_and_model()
        facts: dict[str, Any] = {key: getattr(model, key) for key in ("input_size", "in_channels", "num_classes")}
    else:
        facts = {
            "input_size": _pair(cli.config["image_size"]) or own_size(name),
            "in_channels": _whole("channels", cli.config["channels"], cli.own_flags["channels"].stands_for),
            "num_classes": _whole("classes", cli.config["classes"], cli.own_flags["classes"].stands_for),
        }
        model = _build(task, {**settings.as_dict(), **facts})

    from backbones.trace import trace

    height, width = facts["input_size"]
    device = next(model.parameters()).device
    traced = trace(model, torch.empty(1, facts["in_channels"], height, width, device=device))
    print(f"{name}, {task}: images of {facts['in_channels']} x {height} x {width}, {facts['num_classes']} classes")
    print_layers(traced)
    if cli.config["csv"] is not None:
        _write(traced, Path(cli.config["csv"]))
    return 0


def _build(task: str, arguments: dict[str, Any]) -> Task:
    """The model without memory where that can be, which a few networks and detectors cannot."""
    import torch

    make: Callable[..., Task] = spec_of(task).task_class()
    try:
        with torch.device("meta"):
            return make(**arguments)
    except SuiteError:
        raise
    except (RuntimeError, NotImplementedError, ValueError):
        return make(**arguments)


def print_layers(traced: Trace) -> None:
    """A table of the layers, and the totals below it."""
    rows = []
    for layer in traced.layers:
        *texts, parameters, spent = layer
        rows.append([*map(str, texts), f"{parameters:,}" if parameters else "", f"{spent:,}" if spent else ""])
    print_table(HEAD, rows, right=HEAD[6:])
    counted = sum(layer.parameters for layer in traced.layers), sum(layer.multiply_adds for layer in traced.layers)
    print(f"parameters     {traced.parameters:,}, {traced.trainable:,} of them trainable")
    if counted[0] < traced.parameters:
        print(f"               {traced.parameters - counted[0]:,} of them stand outside of the layers above")
    print(f"multiply-adds  {traced.multiply_adds:,} for one image")
    if counted[1] < traced.multiply_adds:
        print(f"               {traced.multiply_adds - counted[1]:,} of them outside of the layers above (attention)")
    print("field: pixels of the image that a value depends on; all: the whole image; -: positions are mixed otherwise")


def _write(traced: Trace, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(traced.layers[0]._fields)
            writer.writerows(traced.layers)
    except OSError as error:
        raise SuiteError(f"--csv {path}: cannot be written ({error.strerror}): choose another file") from error
    print(f"written to {path}", file=sys.stderr)


def _pair(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    words = str(text).replace("x", ",").split(",")
    if len(words) > 2 or not all(word.strip().isdigit() and int(word) for word in words):
        raise SuiteError(f"--image_size {text}: must be a side, or H,W, in pixels")
    return int(words[0]), int(words[-1])


def _whole(flag: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not str(text).isdigit() or not int(text):
        raise SuiteError(f"--{flag} {text}: must be a whole number of at least 1")
    return int(text)
