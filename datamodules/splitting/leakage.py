"""Leakage: patients and identical images that are in two parts of a split."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable
from datamodules.splitting.splits import shared_between_parts
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)


def grouping(table: CaseTable, hashes: Sequence[str]) -> NDArray[np.int64]:
    """Numbers of the groups that a split must not tear: patients, joined where they share an identical image.

    Args:
        table: the cases; a case without a patient is a group of its own.
        hashes: content hash of each image, in the order of ``table.images``; empty where they are not known.

    Returns:
        (N,) group number of each case, 0..G-1.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(table)
    patients = table.cases["patient_id"]
    keys = patients.where(patients.notna(), "\0" + table.cases["case_id"])
    patient = pd.factorize(keys)[0]
    case = table.images["case"].to_numpy()[: len(hashes)]
    content = pd.factorize(np.asarray(hashes, dtype=object))[0]
    # Nodes: cases, then patients, then contents; cases hang together through what they share.
    ends = np.concatenate([count + patient, count + patient.max() + 1 + content])
    starts = np.concatenate([np.arange(count), case])
    nodes = int(ends.max()) + 1
    graph = coo_array((np.ones(len(starts), dtype=np.int8), (starts, ends)), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:count]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def refuse_leakage(table: CaseTable, hashes: Sequence[str], *, allow: bool) -> int:
    """Stop where a patient or an identical image stands in two parts.

    In a published official split identical images are a counted warning; with ``allow`` everything is.

    Args:
        table: the cases with their split.
        hashes: content hash of each image, in the order of ``table.images``; empty where they are not known.
        allow: ``--data.allow_leakage``.

    Returns:
        How many images stand in more than one part.

    Raises:
        SuiteError: names the first patients or images concerned.
    """
    split = table.cases["split"]
    patients = shared_between_parts(table.cases["patient_id"], split)
    if len(patients):
        head = patients.head(5)
        first = ", ".join(
            f"{key} ({' and '.join(parts)})" for key, parts in zip(head["key"], head["parts"], strict=True)
        )
        text = f"{len(patients)} patients stand in more than one part of the split: {first}"
        _stop_or_warn(f"{text}{', ...' if len(patients) > 5 else ''}", allow)
    if not len(hashes):
        return 0
    case = table.images["case"].to_numpy()
    content = pd.Series(list(hashes), dtype="str")
    images = shared_between_parts(content, split.iloc[case].reset_index(drop=True))
    if len(images):
        names = []
        for key in images["key"].head(3):
            rows = table.cases.iloc[np.unique(case[(content == key).to_numpy()])]
            named = rows.drop_duplicates("split").head(2)
            names.append(" = ".join(f"{row.case_id} ({row.split})" for row in named.itertuples()))
        text = f"{len(images)} identical images stand in more than one part of the split: {', '.join(names)}"
        _stop_or_warn(text, allow or table.published_split)
    return len(images)


def _stop_or_warn(text: str, allowed: bool) -> None:
    if not allowed:
        raise SuiteError(f"{text}: give another split, or go on knowingly with --data.allow_leakage true")
    log.warning("%s", text)
