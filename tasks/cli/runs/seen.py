"""Refusal to evaluate on cases seen in training: by the model, an ensemble's member, a teacher, the first weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.runs.checkpoints import find_checkpoint
from tasks.cli.runs.run_data import split_of
from tasks.evaluation.metric_values import MetricValue, write_note
from tasks.evaluation.tables import read_table
from tasks.training.provenance import (
    KINDS,
    UNKNOWN,
    Overlap,
    Part,
    Provenance,
    fingerprint,
    joined,
    overlap,
    part_of,
    provenance_of,
    provenance_of_split,
)

log = logging.getLogger(__name__)

# What else can be done before a training that begins with, or learns from, a model that has seen the cases.
ELSEWHERE = "part the data as that model's run did (--data.split_file with its split.csv), begin with another model"
ALLOW = "go on knowingly with --data.allow_leakage true"


class Known(NamedTuple):
    """A model and what it has seen.

    Attributes:
        name: flag and file.
        record: what it has seen.
    """

    name: str
    record: Provenance


@dataclass
class Leaks:
    """Counts of evaluated cases that were seen in training, for ``metrics.json``.

    Attributes:
        metrics: how many cases of a part share what, where any do.
        doubts: of which models it cannot be told.
    """

    metrics: dict[str, MetricValue] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def note(self, file: Path) -> None:
        """Write the doubts."""
        if self.doubts:
            write_note(file, "split/seen_in_training_unknown", "; ".join(self.doubts))


def record_of(path: Path, plain: object) -> Provenance:
    """Record of what the model in a file has seen: by its own record, else by the ``split.csv`` of its run.

    Args:
        path: of the file.
        plain: the record as the file has it, if it has one.

    Raises:
        SuiteError: the record is damaged.
    """
    if plain is not None:
        try:
            return Provenance.from_plain(plain)
        except SuiteError as error:
            raise SuiteError(f"{path}: {error}: take the checkpoint of another run") from None
    split = split_of(path)
    table = None if split is None else read_table(split)
    if table is None or not {"case_id", "split"} <= set(table.columns):
        return UNKNOWN
    log.info("%s keeps no record of its cases: %s says who they are, but not which images", path, split)
    return provenance_of_split(table)


def ancestors_of(model: Task) -> list[Known]:
    """The models that a model begins with or learns from: ``--model.weights`` (also pruned ones), ``--model.teacher``.

    Raises:
        SuiteError: there is no such file.
    """
    from backbones.records import read_record
    from backbones.sources import is_source

    found = []
    weights = model.network.weights
    if is_source(weights):
        found.append(Known(f"--model.weights {weights}", UNKNOWN))
    elif weights is not None and weights != "imagenet":
        pruned = model.pruning.method is not None
        path = find_checkpoint(model.name, weights, flag="--model.weights") if pruned else Path(weights)
        record = read_record(path) if pruned else model.parent_record
        found.append(Known(f"--model.weights {path}", record_of(path, record)))
    if model.distillation.teacher is not None:
        path = find_checkpoint(model.name, model.distillation.teacher, flag="--model.teacher")
        found.append(Known(f"--model.teacher {path}", record_of(path, read_record(path))))
    return found


def begin_record(model: Task, data: ScanDataModule, ancestors: Sequence[Known], *, trains: bool) -> None:
    """Write into a model what it is about to see, with what its ancestors have seen.

    Args:
        model: keeps it in its checkpoints.
        data: of its run.
        ancestors: see :func:`ancestors_of`.
        trains: False for a model that is pruned and left so.
    """
    try:
        own = provenance_of(data, trains=trains)
    except SuiteError as error:  # without a key nothing can be noted; the training need not suffer for it
        log.warning("the checkpoint will not say what it was trained on: %s", error)
        own = UNKNOWN
    model.provenance = joined(model.provenance, own, *(known.record for known in ancestors))


def refuse_seen(
    models: Sequence[Known], data: ScanDataModule, parts: Mapping[str, NDArray[np.int64]], mend: str
) -> Leaks:
    """Stop where a model has seen cases that are to be evaluated.

    Args:
        models: each is compared for itself.
        data: to be evaluated on; ``allow_leakage`` makes a warning of it.
        parts: row numbers of the cases by what they are evaluated as, ``val`` or ``test``.
        mend: what else can be done.

    Returns:
        What is to stand in ``metrics.json``.

    Raises:
        SuiteError: names the model, how many cases and what they share, and one of them.
    """
    leaks = Leaks()
    if not models:
        return leaks
    try:
        fingerprint()
    except SuiteError as error:
        log.warning("whether a case was trained on cannot be told: %s", error)
        leaks.doubts.append("the key that cases are compared with cannot be used")
        return leaks
    for known in models:
        if (doubt := known.record.doubt) is not None:
            log.warning("%s %s: whether cases to be evaluated are among it cannot be told", known.name, doubt)
            leaks.doubts.append(f"{known.name} {doubt}")
    for split, rows in parts.items():
        part = _evaluated(data, rows)
        found = []
        for known in models:
            shared = overlap(part, known.record, split)
            if not shared.any.any():
                continue
            text = _text(known.name, shared, part, split)
            if not data.allow_leakage:
                raise SuiteError(f"{text}: {mend}, or {ALLOW}")
            log.warning("%s", text)
            found.append(shared)
        if found:
            leaks.metrics |= _metrics(reduce(Overlap.__or__, found), split)
    return leaks


def has_seen(models: Sequence[Known], data: ScanDataModule, split: str) -> bool:
    """Whether a model has seen a part, or may have."""
    if any(known.record.doubt for known in models):
        return True
    part = _evaluated(data, data.rows(split))
    return any(overlap(part, known.record, split).any.any() for known in models)


def _evaluated(data: ScanDataModule, rows: NDArray[np.int64]) -> Part:
    """The hashes of cases to be evaluated.

    Identical images in two parts of a published split are no news: they were counted, and warned of, when it was read.
    """
    table = data.table
    if data.split == "all_test" or not table.published_split or not len(data.contents):
        return part_of(data, rows)
    case = table.images["case"].to_numpy()
    inside = np.isin(case, rows)
    contents = np.asarray(data.contents, dtype=object)
    return part_of(data, rows, without=sorted(set(contents[inside]) & set(contents[~inside])))


def _text(name: str, shared: Overlap, part: Part, split: str) -> str:
    counts = {kind: int(cases.sum()) for kind, cases in shared.by_kind.items()}
    what = ", ".join(f"{count} by {KINDS[kind]}" for kind, count in counts.items() if count)
    how = "trained or chosen on" if split == "test" else "trained on"
    text = (
        f"{name}: {int(shared.any.sum())} of {len(part.names)} {split} cases are among those it was {how} ({what}; the "
        f"first is {str(part.names[int(np.argmax(shared.any))])!r})"
    )
    if not counts["image"]:
        text += ", though no image is the same: if others bear these names, give them their own (case_id, patient_id)"
    return text


def _metrics(shared: Overlap, split: str) -> dict[str, MetricValue]:
    nan, name = float("nan"), f"split/{split}_cases_seen_in_training"
    counts = {name: shared.any, **{f"{name}/{kind}": cases for kind, cases in shared.by_kind.items()}}
    return {name: MetricValue(int(cases.sum()), nan, nan, len(cases)) for name, cases in counts.items()}
