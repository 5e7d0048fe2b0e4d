"""Description of an exported model, from the model and its checkpoints."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scansuite.version import __version__
from tasks.base import Task
from tasks.ensemble import Ensemble
from tasks.export.exporter import Exporter
from tasks.exported.description import Description


def describe(exporter: Exporter[Any], checkpoints: Sequence[Path], name: str | None = None) -> Description:
    """What is known of a model before it is exported.

    Args:
        exporter: of the model.
        checkpoints: that it was read from.
        name: for people; left out: the folder of the run.
    """
    model, members = exporter.model, exporter.members
    profile = members[0].training_profile if len(members) == 1 else None
    weights = list(dict.fromkeys(filter(None, map(first_weights, members))))
    licences = list(dict.fromkeys(filter(None, map(licence, members))))
    return Description(
        task=model.name,
        class_names=tuple(model.class_names),
        preprocess=model.preprocess,
        in_channels=model.in_channels,
        input_size=model.input_size,
        multiple=exporter.multiple,
        standardised=exporter.multiple > 1 and members[0].normalize.per_image,
        members=exporter.described(),
        slices=None if model.slices is None else model.slices.to_dict(),
        tile=model.tile,
        overlap=model.overlap if model.tile is not None else 0.0,
        operating_points=dict(model.operating_points),
        operating_rule=_rule(model),
        calibration=model.calibration,
        run=fingerprint(checkpoints),
        weights="; ".join(weights) or None,
        licence="; ".join(licences) or None,
        profile=profile,
        suite=__version__,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        name=name or run_name(checkpoints),
        **exporter.own(members[0]),
        **exporter.facts(),
    )


def fingerprint(checkpoints: Sequence[Path]) -> str | None:
    """SHA-256 (hexadecimal) of a checkpoint; of several, that of theirs in order; None: the model is of none."""
    if not checkpoints:
        return None
    digests = []
    for path in checkpoints:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def run_name(checkpoints: Sequence[Path]) -> str:
    """Name of the folder of the run that a checkpoint is of; of several with the number of the others."""
    if not checkpoints:
        return ""
    file = checkpoints[0].resolve()
    first = file.parent.parent.name if file.parent.name == "checkpoints" else file.stem
    return first if len(checkpoints) == 1 else f"{first} and {len(checkpoints) - 1} more"


def first_weights(member: Task) -> str | None:
    """What a model's weights began with, in words; None: from scratch."""
    weights = member.network.weights
    if weights is None:
        return None
    from backbones.sources import is_source, local, short

    if is_source(weights):
        return f"weights of {member.network.name} of {Path(short(weights)).name if local(weights) else short(weights)}"
    return f"ImageNet weights of {member.network.name}" if weights == "imagenet" else f"weights of {Path(weights).name}"


def licence(member: Task) -> str | None:
    """Licence of the weights that a model began with; None: not known, or from scratch."""
    return member.weights_licence


def _rule(model: Task | Ensemble[Any]) -> str | None:
    rule = getattr(model, "operating_rule", None)
    return None if rule is None or not model.operating_points else str(rule.text)
