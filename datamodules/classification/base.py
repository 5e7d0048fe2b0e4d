"""Base of data classes with one target a case."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.class_names import class_text, clean_map, refuse_twice, renamed, warn_of_unused
from datamodules.cases.ids import clean_text
from datamodules.cases.scan_rows import ScanRows
from datamodules.cases.table import CaseTable
from datamodules.classification.target import ClassificationTarget, TargetKind, join_labels, make_target
from datamodules.loading.sampling import balanced_weights
from datamodules.samples.dataset import SampleDataset, ScanDataset
from datamodules.samples.sources import Samples
from datamodules.stored import Stored, StoredLabels
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from torch import Tensor

    from datamodules.samples.slices import SliceSpec

_LIMIT = 64  # images of a case, where --data.bag_limit is left out

log = logging.getLogger(__name__)


class ClassificationData(ScanDataModule):
    """Adds targets to :class:`~datamodules.base.ScanDataModule`.

    A data class sets ``label_columns`` and, where the data say so, ``class_order`` and ``task_kind`` in its table; or
    ``found_order``, where it finds classes in an order that means nothing.

    Args:
        root: folder (or file) of the data set.
        target: kind of target; left out: two classes are binary, more multiclass, several label columns multilabel.
        class_names: names in class order; left out: numeric or alphabetic order (grades that are names need it).
        positive_class: the class that bare sensitivity, specificity, precision and F1 of a binary target speak of; left
            out: the last.
        class_map: renames classes, ``{theirs: ours}``, so that another data set's names match; two may become one; left
            out: none.
        sampler: order of the training cases: ``shuffle``, or ``balanced``, which draws every class equally often (with
            replacement).
        bag_size: images of a case in a training batch, one of each of so many equal stretches, drawn anew each epoch
            (where ``--model.aggregate`` evaluates the images of a case together).
        bag_limit: most images of a case that are evaluated, evenly spaced; 0 for all; left out: 64, or what the model
            was trained with.
        bags: the images of a case are evaluated together; from ``--model.aggregate``.
        kwargs: see :class:`~datamodules.base.ScanDataModule`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        target: TargetKind | None = None,
        class_names: list[str] | None = None,
        positive_class: str | None = None,
        class_map: dict[str, str] | None = None,
        sampler: Literal["shuffle", "balanced"] = "shuffle",
        bag_size: int = 16,
        bag_limit: int | None = None,
        bags: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.task_kind: TargetKind | None = target
        self.class_order: list[str] | None = None
        self.found_order: list[str] | None = None
        self.label_columns: list[str] = ["label"]
        self.class_map, self.sampler = clean_map(class_map), sampler
        if bag_size < 1:
            raise SuiteError(f"--data.bag_size {bag_size}: must be at least 1")
        if bag_limit is not None and bag_limit < 0:
            raise SuiteError(f"--data.bag_limit {bag_limit}: must be at least 1, or 0 for all images")
        self.bag_size, self.bags = bag_size, bags
        self._bag_limit, self._slices = bag_limit, cast("SliceSpec | None", None)
        self._class_names = None if class_names is None else [clean_text(name) for name in class_names]
        refuse_twice(self._class_names or (), "--data.class_names")
        self._positive_class = None if positive_class is None else clean_text(positive_class)

    def adopt_classes(self, target: TargetKind, class_names: Sequence[str], positive_class: str | None) -> None:
        """Take kind, classes and their order from a trained model; the data's classes are matched by name."""
        self.task_kind, self._class_names, self._positive_class = target, list(class_names), positive_class

    def adopt_bags(self, *, bags: bool, limit: int | None, slices: SliceSpec | None) -> None:
        """Take from a trained model how cases of many images are evaluated.

        Args:
            bags: together, or each image for itself.
            limit: most images of a case; what the user gives goes before it.
            slices: how volumes are cut.
        """
        self.bags, self._slices = bags, slices
        if self._bag_limit is None:
            self._bag_limit = limit

    @property
    def bag_limit(self) -> int | None:
        """Most images of a case that are evaluated, 0 for all; None where each image is evaluated for itself."""
        if not self.bags:
            return None
        return _LIMIT if self._bag_limit is None else self._bag_limit

    @property
    def slices(self) -> SliceSpec | None:
        """Cutting of volumes, where the data are volumes."""
        _ = self.table
        return self._slices

    def dataset(self, rows: NDArray[np.int64], *, augmented: bool = False) -> SampleDataset:
        """The given cases as a data set: one image each, or bags of images."""
        limit = self.bag_limit
        if limit is None:
            return super().dataset(rows, augmented=augmented)
        from datamodules.classification.bags import BagDataset

        single = self.dataset_of(self.every_image(rows), augmented=augmented)
        counts = [len(self.table.images_by_case[row]) for row in rows]
        cases = self.samples(rows)
        return BagDataset(single, counts, cases.scans, cases.labels, size=self.bag_size, limit=limit)

    def single_images(self, rows: NDArray[np.int64]) -> ScanDataset:
        """All images of the given cases one by one, without targets."""
        return self.dataset_of(self.every_image(rows))

    def every_image(self, rows: NDArray[np.int64]) -> Samples:
        """All images of the given cases, without targets."""
        images, owners = self.table.images_by_case.together(rows)
        # Without the path, which is that of the case's first image: the reader says that of each.
        return Samples(images, ScanRows(self.table.cases, owners, path=False))

    def cases_in_batch(self, split: str) -> int:
        """As asked for in training; so many cases in evaluation that they have no more images than there, or one."""
        if split == "train" or self.bag_limit is None:
            return self.batch_size
        return max(1, self.batch_size * self.bag_size // self.bag_limit) if self.bag_limit else 1

    def named_columns(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """A frame of cases with the classes named as ``class_map`` says, and its label columns.

        Labels of several columns that get one name are one label (:func:`~.target.join_labels`).
        """
        columns, names = self.label_columns, self.class_map
        if not names or any(column not in frame for column in columns):
            return frame, columns
        if len(columns) == 1 and self.task_kind != "multilabel":
            return frame.assign(**{columns[0]: class_text(frame[columns[0]]).replace(names)}), columns
        joined = {}
        for name in renamed(columns, names):
            several = [column for column in columns if names.get(column, column) == name]
            joined[name] = frame[several[0]] if len(several) == 1 else join_labels(frame[several])
        return frame.assign(**joined), list(joined)

    @property
    def declared_classes(self) -> list[str] | None:
        """Classes in class order as the user or the data list them, or None where those found will do."""
        if self._class_names is None and self.class_order is not None:
            return renamed(self.class_order, self.class_map)
        return self._class_names

    def _names_of_the_data(self) -> list[str]:
        """The names that ``class_map`` may rename."""
        if len(self.label_columns) > 1 or self.task_kind == "multilabel":
            return self.label_columns
        seen = class_text(self.table.cases[self.label_columns[0]]).dropna().unique()
        return list(dict.fromkeys([*seen, *(self.class_order or ()), *(self.found_order or ())]))

    def _target_of(self, table: CaseTable) -> ClassificationTarget:
        frame, columns = self.named_columns(table.cases)
        order = self.declared_classes
        if order is not None and (self.task_kind == "multilabel" or (self.task_kind is None and len(columns) > 1)):
            columns = order
        found = None if self.found_order is None else renamed(self.found_order, self.class_map)
        return make_target(frame, columns, kind=self.task_kind, class_order=order, found_order=found, where=self.where)

    @property
    def where(self) -> str:
        """File or folder that messages about labels name."""
        return str(self.root)

    @cached_property
    def targets(self) -> ClassificationTarget:
        """The targets of all cases."""
        table = self.table
        parted = table.cases["split"].notna()
        targets = self._target_of(table.select(parted))  # others may have classes that nobody asked for
        if not parted.all():
            values = np.zeros((len(table), *targets.values.shape[1:]), targets.values.dtype)
            values[parted] = targets.values
            targets = replace(targets, values=values)
        if self._positive_class is not None and targets.kind != "binary":
            log.warning("--data.positive_class does nothing: the target is %s, not binary", targets.kind)
        if self.class_map:
            warn_of_unused(self.class_map, self._names_of_the_data())
        if self.split != "all_test":
            self._check_parts(targets)
            self._warn_of_absent(targets)
        if self.bags:
            counts = np.bincount(table.images["case"])
            if counts.max() == 1:
                log.info("each case has one image: --model.aggregate has nothing to put together")
            else:
                log.info(
                    "cases have %d to %d images: %d of each in training, up to %s in evaluation",
                    counts.min(), counts.max(), self.bag_size, self.bag_limit or "all",
                )  # fmt: skip
        return targets

    def _check_parts(self, targets: ClassificationTarget) -> None:
        if len(self.rows("train")) == 0:
            raise SuiteError(
                f"{self.where}: the data have no train part: give one in the split; to evaluate a checkpoint on "
                "all of them use test --data.split all_test"
            )
        training = targets.counts((self.table.cases["split"] == "train").to_numpy())
        absent = [name for name, count in zip(targets.class_names, training, strict=False) if count == 0]
        if absent:
            others = f", nor have {len(absent) - 1} others of {len(training)}" if len(absent) > 1 else ""
            raise SuiteError(
                f"{self.where}: class {absent[0]!r} has no training case{others}: add cases, leave the class out, or "
                "change the split (--data.folds, --data.test_fraction, --data.split_file)"
            )

    def _warn_of_absent(self, targets: ClassificationTarget) -> None:
        for part in ("val", "test"):
            counts = targets.counts((self.table.cases["split"] == part).to_numpy())
            absent = [name for name, count in zip(targets.class_names, counts, strict=False) if count == 0]
            if absent and len(self.rows(part)):
                log.warning("the %s part has no case of %s: its metrics are undefined there", part, ", ".join(absent))

    def stored(self, table: CaseTable) -> Stored:
        """Labels, beside what the base says."""
        frame, columns = self.named_columns(table.cases)
        stored = self.label_columns
        labels = StoredLabels(
            frame,
            columns,
            self._target_of,
            self.where,
            self.task_kind,
            self.declared_classes,
            self._positive_class,
            table.cases[stored[0]] if len(stored) == 1 and stored[0] in table.cases else None,
        )
        return replace(super().stored(table), labels=labels)

    def strata(self, table: CaseTable) -> NDArray[np.float64]:
        """(N, S) class or label indicators."""
        return self._target_of(table).strata()

    def case_labels(self, cases: NDArray[np.int64]) -> Tensor | None:
        """Targets of the given cases: (n,) int64 or float32, or (n, L) float32 with NaN = unknown."""
        import torch

        return torch.from_numpy(self.targets.values[cases])

    def sampler_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Equal chances for all classes, where asked for.

        Raises:
            SuiteError: the target has no classes to balance.
        """
        if self.sampler == "shuffle":
            return None
        if self.targets.kind in ("multilabel", "regression"):
            raise SuiteError(f"--data.sampler balanced: a {self.targets.kind} target has no classes to draw equally")
        return balanced_weights(self.targets.values[rows])

    # Facts that the model asks for.

    @property
    def target(self) -> TargetKind:
        """Kind of target."""
        return self.targets.kind

    @property
    def class_names(self) -> list[str]:
        """Names in class order."""
        return list(self.targets.class_names)

    @property
    def num_classes(self) -> int:
        """Number of classes, of labels (multilabel), or 1 (regression)."""
        return len(self.targets.class_names)

    @property
    def class_counts(self) -> list[float]:
        """Training cases of each class, or positive ones of each label."""
        return self.targets.counts((self.table.cases["split"] == "train").to_numpy())

    @property
    def known_counts(self) -> list[float]:
        """Training cases of which each class or label is known; unknown cells of a multilabel target do not count."""
        values = self.targets.values[self.rows("train")]
        if self.targets.kind == "multilabel":
            return [float(count) for count in (~np.isnan(values)).sum(axis=0)]
        return [float(len(values))] * self.num_classes

    @property
    def target_statistics(self) -> list[float] | None:
        """Mean and standard deviation of the training numbers of a regression target; None for other kinds."""
        return self.targets.statistics(self.rows("train"))

    @property
    def positive_class(self) -> str | None:
        """The positive class of a binary target.

        Raises:
            SuiteError: the class asked for is not among the classes.
        """
        if self.targets.kind != "binary":
            return None
        names = self.class_names
        positive = self._positive_class if self._positive_class is not None else names[-1]
        if positive not in names:
            raise SuiteError(
                f"--data.positive_class {positive!r} is none of the classes {', '.join(names)}: give one of them"
            )
        return positive
