"""``Bids``: images or volumes as the Brain Imaging Data Structure has them, with targets from its tables."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from datamodules.cases.bids import case_rows, images_of, table_columns
from datamodules.classification.image_table import ImageTable
from datamodules.useless import Useless
from scansuite.errors import SuiteError, nearest

_NAMED = "the names of BIDS say it"


class Bids(ImageTable):
    """Images or volumes in folders of BIDS, with targets from its tables; ``sub-`` is the patient.

    A case is an image, ``sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz`` or ``sub-01/micr/sub-01_sample-A_SEM.png``. Its
    target and what else is known of it (``age``, ``sex``, ``group``) stand in ``participants.tsv``, or by session in
    ``sub-01/sub-01_sessions.tsv``, whose cells go before; a column ``split`` is the split. What ``.bidsignore`` names
    is left out. More: docs/folders.md.

    Args:
        root: folder of the data set, above those of the subjects.
        suffix: what the names of images end in (``T1w``, ``desc-preproc_T1w``, ``SEM``); left out: the only ending
            there is.
        label_columns: column of ``participants.tsv`` or of the sessions' tables with the target (class names, or
            numbers for regression), or several (0, 1, empty = unknown); left out: an error that names the columns.
        kwargs: see :class:`~datamodules.classification.image_table.ImageTable`.
    """

    walks_folder: ClassVar[bool] = True

    useless: ClassVar[tuple[Useless, ...]] = tuple(
        Useless(flag, _NAMED) for flag in ("table", "path_column", "patient_column", "split_column", "case_column")
    )

    def __init__(
        self,
        root: str = ".",
        *,
        suffix: str | None = None,
        label_columns: list[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, label_columns=label_columns or [], **kwargs)
        self.suffix = suffix
        self.table_file = self.root / "participants.tsv"

    def read_rows(self) -> tuple[pd.DataFrame, set[str]]:
        """The images of the subjects, with what is known of the participants.

        Raises:
            SuiteError: nothing is found, it is ambiguous, or the target's column is not there.
        """
        rows = case_rows(self.root, images_of(self.root, self.suffix, self.patterns), self.table_form)
        known = table_columns(rows)
        if not known:
            raise SuiteError(
                f"{self.root}: neither participants.tsv nor a table of sessions (sub-01/sub-01_sessions.tsv) says "
                "anything of the subjects: classes come from a column there"
            )
        if not self.label_columns:
            raise SuiteError(
                f"{self.root}: the columns of the participants are {', '.join(known)}: name the one with the target "
                "with --data.label_columns"
            )
        missing = [name for name in self.label_columns if name not in rows]
        if missing:
            raise SuiteError(
                f"--data.label_columns {missing[0]}: no column of the participants: {nearest(missing[0], known)}"
            )
        return rows, set()
