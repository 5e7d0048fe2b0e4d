"""The case table of a data class: prepared when it is first asked for, or given to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable


@dataclass(frozen=True)
class Prepared:
    """A case table on its way to one that can be trained or evaluated on; each step of the preparation adds to it.

    Attributes:
        table: the cases; with patients and split at the end.
        contents: content hash of each image, in the order of ``table.images``; empty where no file was looked at
            (``--data.check_files false``).
        strata: (N, S) what a split spreads evenly; None before it is known, and where nothing is drawn.
        usable: (N,) the cases that have a part; a check keeps the others in its table, so that it can name them. None:
            all.
        images_in_two_parts: how many identical images stand in more than one part of the split.
        dealt_validation: cases of a validation part of the data's own that are dealt into folds with train.
    """

    table: CaseTable
    contents: Sequence[str] = ()
    strata: NDArray[np.float64] | None = None
    usable: NDArray[np.bool_] | None = None
    images_in_two_parts: int = 0
    dealt_validation: int = 0


class PreparedData:
    """Data that have a case table."""

    _prepared: Prepared | None = None

    def prepare_table(self) -> Prepared:
        """Go all the way from files to a case table."""
        raise NotImplementedError(f"{type(self).__name__} prepares no table")

    @property
    def is_prepared(self) -> bool:
        """Whether the table has been made already."""
        return self._prepared is not None

    @property
    def prepared(self) -> Prepared:
        """The case table with what was found out on the way to it; prepared when it is first asked for."""
        if self._prepared is None:
            self._prepared = self.prepare_table()
        return self._prepared

    def adopt_table(self, prepared: Prepared | None) -> Prepared | None:
        """Take a case table that is prepared elsewhere, or is on the way there; None forgets it.

        Returns:
            What was there before.
        """
        before, self._prepared = self._prepared, prepared
        return before

    @property
    def table(self) -> CaseTable:
        """The cases with patients and split, checked for leakage."""
        return self.prepared.table

    @property
    def contents(self) -> Sequence[str]:
        """A content hash for each row of ``table.images``, equal for equal images; empty where they are not known."""
        return self.prepared.contents

    @property
    def images_in_two_parts(self) -> int:
        """Number of identical images in more than one part of the split."""
        return self.prepared.images_in_two_parts

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the cases of a part."""
        return np.flatnonzero((self.table.cases["split"] == split).to_numpy())

    def first_images(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row number of the first image of each of the given cases."""
        images = self.table.images
        first = images.index[~images["case"].duplicated()].to_numpy()
        return first[rows]
