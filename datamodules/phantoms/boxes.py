"""``Phantoms`` of detection: the data set that needs no data."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from datamodules.cases.table import CaseTable
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.phantoms.scans import PhantomScans

if TYPE_CHECKING:
    import pandas as pd


class Phantoms(PhantomScans, DetectionData):
    """Synthetic scans drawn from a seed, with boxes around their benign and malignant lesions.

    Args:
        root: not used; the scans are drawn.
        num_patients: number of patients, with one to four scans each.
        difficulty: difficulty, 0 (easy) to 1 (hard).
        phantom_seed: number that the patients are drawn from; training seeds leave them alone.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`.
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

    @cached_property
    def _cohort(self) -> pd.DataFrame:
        """The scans by name, as the table has them."""
        return super()._cohort.sort_values("path", kind="stable", ignore_index=True)

    def build_table(self) -> CaseTable:
        """One case a scan."""
        return DetectionData.build_table(self)

    def read_annotations(self) -> Annotated:
        """Draw all scans for their boxes; some seconds for the default cohort."""
        from datamodules.phantoms.plan import CLASS_NAMES

        cohort = self._cohort
        boxes = RawBoxes()
        sizes: list[tuple[int, int] | None] = []
        for case, path in enumerate(cohort["path"]):
            phantom = self.phantom(case)
            sizes.append((phantom.image.shape[0], phantom.image.shape[1]))
            for (x1, y1, x2, y2), label in zip(phantom.boxes.tolist(), phantom.labels, strict=True):
                boxes.add(case, CLASS_NAMES[label], (x1, y1, x2, y2), path)
        # The class of a scan is that of its lesions, which have classes of their own here.
        cases = cohort.drop(columns="label").assign(case_id=cohort["path"])
        return Annotated(cases, sizes, boxes, list(cohort["path"]), classes=list(CLASS_NAMES))
