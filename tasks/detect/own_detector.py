"""A detector of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from scansuite.own_parts import arguments_of, load_part, make_part, named_by, path_of
from tasks.detect.interface import Detector

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone

FLAG = "--model.detector"


def own_strides(path: str | type[Detector]) -> tuple[int, ...]:
    """Strides of the levels that it asks of a network.

    Raises:
        SuiteError: ``reads`` has other numbers; or see :func:`~scansuite.own_parts.load_part`.
    """
    cls = load_part(path, Detector, FLAG)  # type: ignore[type-abstract]
    if not cls.reads or sorted(set(cls.reads)) != list(cls.reads) or set(cls.reads) - {4, 8, 16, 32}:
        raise SuiteError(f"{FLAG} {path_of(cls)}: reads {cls.reads}: give some of 4, 8, 16 and 32, in this order")
    return tuple(cls.reads)


def own_detector(
    path: str | type[Detector],
    args: Mapping[str, Any] | None,
    backbone: Backbone,
    num_classes: int,
    *,
    offered: Mapping[str, Any],
    asked: Mapping[str, Any],
) -> Detector:
    """A :class:`~tasks.detect.interface.Detector` made from ``backbone`` and what else its constructor names.

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.
        backbone: whose ``channels`` and ``strides`` are those of the levels that it reads.
        num_classes: without background.
        offered: arguments that it gets where it names them.
        asked: likewise; what is not None is refused where it does not.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part` and :func:`~scansuite.own_parts.make_part`.
    """
    cls = load_part(path, Detector, FLAG)  # type: ignore[type-abstract]
    for flag, value in asked.items():
        if value is not None and flag not in arguments_of(cls):
            raise SuiteError(f"--model.{flag}: {path_of(cls)} takes none: leave it out")
    detector = make_part(cls, args, FLAG, {"backbone": backbone, **named_by(cls, {**offered, **asked}, args)})
    detector.num_classes = num_classes
    if not hasattr(detector, "strides"):
        detector.strides = list(backbone.strides)
    return detector
