"""Parts that the phantoms of all tasks share: the cohort, and drawing a scan."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.types import Scan, ScanInfo
from datamodules.useless import Useless

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.phantoms.draw import PhantomScan


class PhantomScans(ScanDataModule):
    """Synthetic scans drawn from a seed: organ-like outlines, two sites, benign and malignant lesions.

    Args:
        root: not used; the scans are drawn.
        num_patients: number of patients, with one to four scans each.
        difficulty: difficulty, 0 (easy) to 1 (hard).
        phantom_seed: number that the patients are drawn from; training seeds leave them alone.
        kwargs: of the task's own base class.
    """

    useless: ClassVar[tuple[Useless, ...]] = (Useless("root", "phantoms are drawn, and no folder is read"),)

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

    def not_on_disk(self) -> str | None:
        """Why images are not kept on disk."""
        return "phantoms are drawn, and no file is read"

    @property
    def origin(self) -> str:
        """Origin of the scans, in words."""
        return "drawn, no folder is read"

    @property
    def where(self) -> str:
        """Source that messages about labels name."""
        return f"Phantoms of {self.num_patients} patients"

    @cached_property
    def _cohort(self) -> pd.DataFrame:
        from datamodules.phantoms.cohort import cohort
        from datamodules.phantoms.plan import CLASS_NAMES

        table = cohort(self.num_patients, self.phantom_seed, self.difficulty)
        return table.assign(label=[CLASS_NAMES[number] for number in table["label"]])

    def build_table(self) -> CaseTable:
        """One case a scan."""
        return table_of_images(self._cohort)

    def phantom(self, image: int) -> PhantomScan:
        """Draw a scan with its whole truth."""
        row = self._cohort.iloc[image]
        return _draw(int(row["patient"]), int(row["scan"]), self.phantom_seed, self.difficulty)

    def read(self, image: int) -> Scan:
        """Draw a scan."""
        phantom = self.phantom(image)
        height, width = phantom.image.shape
        path = str(self._cohort["path"].iat[image])
        return Scan(phantom.image, ScanInfo(path=path, spacing=phantom.spacing, original_size=(height, width)))

    def hashes(self, table: CaseTable) -> list[str]:
        """No two draws are the same, so their names will do."""
        return list(table.images["path"])


@lru_cache(maxsize=4)
def _draw(patient: int, scan: int, seed: int, difficulty: float) -> PhantomScan:
    # An image and its mask are asked for one after the other, and drawing is what costs.
    from datamodules.phantoms.draw import draw

    return draw(patient, scan, seed=seed, difficulty=difficulty)
