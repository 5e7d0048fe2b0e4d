"""Values of a space held against the flags that they are of, before anything is trained."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

from scansuite.errors import SuiteError
from tasks.cli.logs import quiet
from tasks.cli.parser import TaskParser
from tasks.cli.parser_line import parser_line
from tasks.cli.sweep.space import FLAG, Choices, Space, as_words
from tasks.hardware import on_cuda


def refuse_wrong_values(
    file: str, space: Space, config: dict[str, Any], parse: Callable[[Sequence[str]], TaskParser]
) -> None:
    """Parse both ends of each range and each choice, and build data and network by each choice.

    Other settings are those that the sweep starts from: what fails only beside another setting of the space is a trial
    that fails.

    Args:
        file: of the space.
        space: read from it.
        config: flags by full name, with the values that the sweep starts from.
        parse: the flags of the sweep, with more of them behind.

    Raises:
        SuiteError: a value that its flag does not take.
    """
    for name, part in space.items():
        chosen = isinstance(part, Choices)
        for value in part.values if isinstance(part, Choices) else part.ends():
            if value == config.get(name) and type(value) is type(config.get(name)):
                continue
            try:
                cli = parse(as_words({name: value}))
                if chosen:
                    _build(cli, name, value)
            except (ArgumentError, SuiteError) as error:
                line = parser_line(str(error)) if isinstance(error, ArgumentError) else str(error)
                raise SuiteError(f"{FLAG} {file}: {name} {json.dumps(value)}: {line}") from None


def _build(cli: TaskParser, name: str, value: Any) -> None:
    """Build what a choice is of, so that its own checks see it."""
    from backbones.network import check_name  # brings timm: not before the flags are known to be right

    if name == "model.backbone":
        check_name(value)
    with quiet():
        if name.startswith("data."):
            data = cli.build_data()
            data.check_augmentation(cuda=on_cuda(cli.config["trainer"]["accelerator"]))
        elif name.startswith("model."):
            cli.build_data_and_model()
