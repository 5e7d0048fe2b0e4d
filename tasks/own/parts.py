"""The parts of a model that may be a class of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from scansuite.own_parts import is_path, load_part, refuse_unknown_arguments


@dataclass(frozen=True)
class OwnPart:
    """A flag of a model that takes a dotted path.

    Attributes:
        flag: argument that names the class; its own arguments are in ``<flag>_args``.
        offered: arguments that the suite gives where the constructor names them and the user leaves them out.
        withheld: arguments that the suite alone gives.
    """

    flag: str
    offered: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


def refuse_mistyped(part: OwnPart, name: Any, args: Mapping[str, Any] | None) -> None:
    """Refuse arguments that a class of the user's does not know, before data are read; parts of the suite pass.

    Args:
        part: of a model.
        name: that the user gives.
        args: of the user's.

    Raises:
        SuiteError: names the nearest; or see :func:`~scansuite.own_parts.load_part`.
    """
    if name is not None and is_path(name):
        flag = f"--model.{part.flag}"
        refuse_unknown_arguments(load_part(name, nn.Module, flag), args or {}, f"{flag}_args", part.withheld)
