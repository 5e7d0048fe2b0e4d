"""What a check has read is known to be readable: its content hashes are kept, so that training does not read again."""

from __future__ import annotations

import numpy as np

from datamodules.cases.contents import KeptContents
from datamodules.checks.measures import READ, kept_hashes
from datamodules.checks.survey import Survey


def keep_contents(survey: Survey) -> None:
    """Keep the content hashes of the images that a check has read and found nothing wrong with.

    Volumes are read anew by who cuts them: their slices are kept, too.

    Args:
        survey: of a check that is done, whose records are still there.
    """
    data, table = survey.data, survey.table
    usable = (survey.records["status"] == READ) & ~survey.refused
    volume_of = data.stored(table).volume
    if not len(table) or not usable.any() or (volume_of is not None and volume_of(0) is not None):
        return
    kept = KeptContents(data.units(table), data.cache_dir / "hashes.sqlite")
    contents = kept_hashes(survey.records)
    fresh = np.flatnonzero(usable & (kept.known == b""))
    kept.keep((int(unit), contents[unit]) for unit in fresh)
