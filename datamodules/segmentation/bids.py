"""``Bids`` and ``BidsImages``: volumes, or flat images, as the Brain Imaging Data Structure has them."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from datamodules.readers.formats import is_stack_file
from datamodules.readers.volume import is_volume, may_be_volume
from datamodules.segmentation.bids_masks import masked_rows
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.mask_pairs import MaskPairs
from datamodules.segmentation.volumes import Volumes
from datamodules.useless import Useless
from scansuite.errors import SuiteError

_NAMED = "the names of BIDS say it"


class Bids(Volumes):
    """Volumes in folders of BIDS, with masks from its derivatives; a case is a volume, ``sub-`` is the patient.

    ``sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz`` goes with ``sub-01_ses-02_label-lesion_mask.nii.gz`` or
    ``..._dseg.nii.gz`` in ``derivatives/<pipeline>/sub-01/...``. Columns of ``participants.tsv`` and ``sessions.tsv``
    (``age``, ``sex``, ``group``) are subgroups; a column ``split`` is the split. Classes are those of ``dseg.tsv``,
    where there is one. What ``.bidsignore`` names is left out. More: docs/folders.md.

    Args:
        root: folder of the data set, above those of the subjects.
        suffix: what the names of images end in (``T1w``, ``desc-preproc_T1w``); left out: the only ending there is.
        derivatives: pipeline whose masks are meant, a folder in ``derivatives``; left out: the only one with masks.
        masks: what the names of masks end in (``label-lesion_mask``, ``dseg``); left out: the only ending there is.
        kwargs: see :class:`~datamodules.segmentation.volumes.Volumes`.
    """

    useless: ClassVar[tuple[Useless, ...]] = tuple(
        Useless(flag, _NAMED) for flag in ("images", "labels", "table", "path_column", "mask_column")
    )

    def __init__(
        self,
        root: str = ".",
        *,
        suffix: str | None = None,
        derivatives: str | None = None,
        masks: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.suffix, self.derivatives, self.masks = suffix, derivatives, masks

    def pairs_of_folders(self, sequences: tuple[str, ...]) -> pd.DataFrame:
        """Images of the subjects and their masks, with what is known of the participants."""
        rows, classes = masked_rows(
            self.root, self.suffix, self.derivatives, self.masks, self.patterns, self.table_form
        )
        flat = next((path for path in rows["path"] if not may_be_volume(path)), None)
        if flat is None and not any(is_volume(path) or is_stack_file(self.root / path) for path in rows["path"]):
            flat = next(iter(rows["path"]), None)
        if flat is not None:
            raise SuiteError(f"{self.root / flat}: a flat image, no volume: give --data BidsImages")
        if self.classes is None:
            self.classes = classes
        rows = rows.rename(columns={"label": "label_of_participant", "mask": "label"})
        return rows.assign(sequences=pd.Series([(path,) for path in rows["path"]], dtype=object))


class BidsImages(MaskFolder):
    """Flat images (microscopy, photos) in folders of BIDS, with masks from its derivatives; ``sub-`` is the patient.

    ``sub-01/micr/sub-01_sample-A_SEM.png`` goes with ``sub-01_sample-A_label-axon_mask.png`` or ``..._dseg.png`` in
    ``derivatives/<pipeline>/sub-01/...``. All else is as in :class:`Bids`. More: docs/folders.md.

    Args:
        root: folder of the data set, above those of the subjects.
        suffix: what the names of images end in (``SEM``, ``photo``); left out: the only ending there is.
        derivatives: pipeline whose masks are meant, a folder in ``derivatives``; left out: the only one with masks.
        masks: what the names of masks end in (``label-axon_mask``, ``dseg``); left out: the only ending there is.
        kwargs: see :class:`~datamodules.segmentation.mask_folder.MaskFolder`.
    """

    useless: ClassVar[tuple[Useless, ...]] = tuple(
        Useless(flag, _NAMED) for flag in ("images", "table", "path_column", "mask_column")
    )

    def __init__(
        self,
        root: str = ".",
        *,
        suffix: str | None = None,
        derivatives: str | None = None,
        masks: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.suffix, self.derivatives, self.mask_ending = suffix, derivatives, masks

    def pairs_of_folders(self) -> pd.DataFrame:
        """Images of the subjects and their masks, with what is known of the participants."""
        rows, classes = masked_rows(
            self.root, self.suffix, self.derivatives, self.mask_ending, self.patterns, self.table_form
        )
        volume = next((path for path in rows["path"] if is_volume(path)), None)
        if volume is not None:
            raise SuiteError(f"{self.root / volume}: a volume, no flat image: give --data Bids")
        if self.classes is None and classes is not None and self.palette_file is None:
            named = len(classes) == 2 and self.mask_kind in ("auto", "binary")
            self.classes = list(classes) if named else classes
        return MaskPairs(rows, "derivatives").frame
