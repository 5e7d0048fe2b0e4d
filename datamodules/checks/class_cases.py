"""A few cases of each class, as they are: what no finding tells is seen, such as axes that are swapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.labels import Labels
from datamodules.checks.masks import classes_in
from datamodules.checks.measures import READ
from datamodules.checks.pictures import mask_names
from datamodules.checks.survey import Survey
from datamodules.evenly import evenly
from datamodules.splitting.dealing import tie_words
from datamodules.stored import StoredBoxes, StoredMasks

_OF_CLASS = 4
_IN_ALL = 48
_CANDIDATES = 2000  # of a class, evenly spaced: a million need no look at each
_RANGES = 4  # of the numbers of a regression


class Group(NamedTuple):
    """Cases of one class.

    Attributes:
        name: of the class.
        cases: rows of the table, ascending.
    """

    name: str
    cases: NDArray[np.int64]


class ClassCases(NamedTuple):
    """Cases of a class that are shown.

    Attributes:
        name: of the class.
        total: how many cases it has.
        cases: some of them, as rows of the table.
    """

    name: str
    total: int
    cases: list[int]


def cases_of_classes(survey: Survey, most: int = _IN_ALL) -> tuple[list[ClassCases], int]:
    """Some readable cases of each class, whatever the order of the cases; none twice, where a class has others.

    Args:
        survey: with a table.
        most: cases in all.

    Returns:
        The classes, each with at most four of its cases; and how many classes are left out.
    """
    readable = np.zeros(len(survey.table), np.bool_)
    readable[survey.owners[(survey.records["status"] == READ) & ~survey.refused]] = True
    groups = [Group(name, cases[readable[cases]]) for name, cases in _groups(survey)]
    groups = [group for group in groups if len(group.cases)]
    each = max(1, min(_OF_CLASS, most // max(1, len(groups))))
    names = survey.table.cases["case_id"]
    taken: set[int] = set()
    found = []
    for group in groups[:most]:
        cases = group.cases
        some = cases[evenly(len(cases), _CANDIDATES)]
        words = tie_words((str(names.iat[case]) for case in some), 0, "check")
        order = [int(case) for case in some[np.argsort(words, kind="stable")]]
        chosen = sorted(order, key=lambda case: case in taken)[:each]
        taken.update(chosen)
        found.append(ClassCases(group.name, len(cases), chosen))
    return found, max(0, len(groups) - most)


def _groups(survey: Survey) -> Iterator[Group]:
    stored = survey.data.stored(survey.table)
    if survey.labels is not None and survey.labels.target is not None:
        yield from _of_labels(survey.labels)
    elif stored.boxes is not None:
        yield from _of_boxes(stored.boxes, len(survey.table))
    elif stored.masks is not None:
        yield from _of_masks(survey, stored.masks)
    else:
        yield Group("all cases", np.arange(len(survey.table)))


def _of_labels(labels: Labels) -> Iterator[Group]:
    target, rows = labels.target, labels.rows
    assert target is not None
    values = target.values
    if target.kind == "regression":
        name = target.class_names[0]
        for part in np.array_split(np.argsort(values, kind="stable"), _RANGES):
            if len(part):
                low, high = float(values[part[0]]), float(values[part[-1]])
                yield Group(f"{name} {low:.4g} to {high:.4g}", np.sort(rows[part]))
    elif target.kind == "multilabel":
        for number, name in enumerate(target.class_names):
            yield Group(name, rows[values[:, number] == 1])
        yield Group("none of the labels", rows[(values == 0).all(axis=1)])
    else:
        for number, name in enumerate(target.class_names):
            yield Group(name, rows[values == number])


def _of_boxes(stored: StoredBoxes, count: int) -> Iterator[Group]:
    cases, labels = stored.boxes["case"].to_numpy(np.int64), stored.boxes["label"].to_numpy(dtype=object)
    for name in stored.classes:
        yield Group(name, np.unique(cases[labels == name]))
    yield Group("no box", np.setdiff1d(np.arange(count), cases))


def _of_masks(survey: Survey, stored: StoredMasks) -> Iterator[Group]:
    shown = classes_in(survey.records["labels"])
    for number, name in enumerate(mask_names(survey, stored), start=1):
        yield Group(name, np.unique(survey.owners[shown[:, number]]))
    yield Group("no class", np.unique(survey.owners[~shown.any(axis=1)]))
