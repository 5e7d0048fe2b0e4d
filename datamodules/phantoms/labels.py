"""``Phantoms`` of classification: the data set that needs no data."""

from __future__ import annotations

from typing import Any

from datamodules.cases.table import CaseTable
from datamodules.classification.base import ClassificationData
from datamodules.phantoms.scans import PhantomScans


class Phantoms(PhantomScans, ClassificationData):
    """Synthetic scans drawn from a seed, benign or malignant.

    Args:
        root: not used; the scans are drawn.
        num_patients: number of patients, with one to four scans each.
        difficulty: difficulty, 0 (easy) to 1 (hard); a good run ends near AUROC 0.95 at 0.5.
        phantom_seed: number that the patients are drawn from; training seeds leave them alone.
        kwargs: see :class:`~datamodules.classification.base.ClassificationData`.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        num_patients: int = 300,
        difficulty: float = 0.5,
        phantom_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, num_patients=num_patients, difficulty=difficulty, phantom_seed=phantom_seed, **kwargs)

    def build_table(self) -> CaseTable:
        """One case a scan."""
        from datamodules.phantoms.plan import CLASS_NAMES

        self.class_order = list(CLASS_NAMES)
        return super().build_table()
