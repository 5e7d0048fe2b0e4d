"""``Phantoms`` of segmentation: the data set that needs no data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable
from datamodules.phantoms.scans import PhantomScans
from datamodules.segmentation.base import PATCHES_ALONE, SegmentationData
from datamodules.useless import Useless


class Phantoms(PhantomScans, SegmentationData):
    """Synthetic scans drawn from a seed, with masks of the organ and of its benign and malignant lesions.

    Args:
        root: not used; the scans are drawn.
        num_patients: number of patients, with one to four scans each.
        difficulty: difficulty, 0 (easy) to 1 (hard).
        phantom_seed: number that the patients are drawn from; training seeds leave them alone.
        kwargs: see :class:`~datamodules.segmentation.base.SegmentationData`.
    """

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("classes", "phantoms have classes of their own (--data.class_map renames them)"),
        Useless("ignore_value", "the masks of phantoms know every pixel"),
        PATCHES_ALONE,
    )

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
        from datamodules.phantoms.plan import SEGMENTATION_CLASSES

        self.stored_classes = SEGMENTATION_CLASSES
        return super().build_table()

    def read_classes(self, image: int) -> NDArray[np.uint8]:
        """Draw the mask of a scan: (H, W) class numbers."""
        return self.phantom(image).mask

    def mask_name(self, image: int) -> str:
        """The name of a scan; there is no file."""
        return str(self._cohort["path"].iat[image])
