"""Files beside the scans in a folder (masks, annotations, tables) that are not to be predicted."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from datamodules.cases.table import case_id_of
from datamodules.readers.dicom.header import is_dicom, is_scan

# Brain Imaging Data Structure 1.10: suffixes of masks and segmentations, and folders of what is not raw data.
_MASKS = ("mask", "dseg", "probseg")
_FOLDERS = ("derivatives", "sourcedata")
NO_IMAGE = "DICOM, but no image of a scan (a segmentation, dose, report, presentation or plan)"
NO_VOLUME = "a folder with DICOM, but no images of a volume (localisers, segmentations, reports, ...)"
MASK = "a mask by its name, which lies beside its image"
_DESCRIPTION = "dataset_description.json"


def why_no_scan(root: Path, name: str) -> str | None:
    """Why a file that could be a scan by its name is none; None where it is one, or may be.

    - A DICOM file that is a segmentation, a dose, a report, a presentation state or a plan.
    - In a data set of BIDS, a mask or a segmentation (``sub-01_dseg.nii.gz``), and what lies in ``derivatives/`` or
      ``sourcedata/``. A folder of derivatives that is named itself is read, but for its masks.

    Args:
        root: the folder that was named.
        name: of a file below it, relative (POSIX).
    """
    path = PurePosixPath(name)
    for parent in path.parents:
        if parent.name in _FOLDERS and (root / parent.parent / _DESCRIPTION).is_file():
            return f"in {parent.name}/ of a BIDS data set"
    stem = case_id_of(path.name) if path.name else ""  # the folder itself
    entities, _, suffix = stem.rpartition("_")
    described = (root / _DESCRIPTION).is_file()
    if suffix in _MASKS and entities and (described or entities.startswith("sub-")):
        return f"a mask by BIDS ({suffix})"
    file = root / name
    if is_dicom(file) and not is_scan(file):
        return NO_IMAGE
    return None
