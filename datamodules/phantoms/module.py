"""``Phantoms``: the data set that needs no data."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from datamodules.classification.base import ClassificationData
from datamodules.table import CaseTable, one_image_a_case
from datamodules.types import Scan, ScanInfo

if TYPE_CHECKING:
    import pandas as pd


class Phantoms(ClassificationData):
    """Synthetic scans drawn from a seed: organ-like outlines, two sites, benign and malignant lesions.

    Args:
        root: not used; the scans are drawn.
        num_patients: how many patients, with one to four scans each.
        difficulty: 0 (easy) to 1 (hard); a good run ends near AUROC 0.95 at 0.5.
        phantom_seed: draws the patients; training seeds leave them alone.
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
        super().__init__(root, **kwargs)
        self.num_patients, self.difficulty, self.phantom_seed = num_patients, difficulty, phantom_seed

    @property
    def where(self) -> str:
        """What messages about labels name."""
        return f"Phantoms of {self.num_patients} patients"

    @cached_property
    def _cohort(self) -> pd.DataFrame:
        from datamodules.phantoms.cohort import cohort
        from datamodules.phantoms.plan import CLASS_NAMES

        table = cohort(self.num_patients, self.phantom_seed, self.difficulty)
        return table.assign(label=[CLASS_NAMES[number] for number in table["label"]])

    def build_table(self) -> CaseTable:
        """One case a scan."""
        from datamodules.phantoms.plan import CLASS_NAMES

        self.class_order = list(CLASS_NAMES)
        return one_image_a_case(self._cohort)

    def read(self, image: int) -> Scan:
        """Draw a scan."""
        from datamodules.phantoms.draw import draw

        row = self._cohort.iloc[image]
        phantom = draw(int(row["patient"]), int(row["scan"]), seed=self.phantom_seed, difficulty=self.difficulty)
        height, width = phantom.image.shape
        info = ScanInfo(path=str(row["path"]), spacing=phantom.spacing, original_size=(height, width))
        return Scan(phantom.image, info)

    def hashes(self, table: CaseTable) -> list[str]:
        """No two draws are the same, so their names will do."""
        return list(table.images["path"])
