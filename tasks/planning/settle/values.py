"""Which stored values become 0 and 1: by how brightness differs from image to image, in CT by what is annotated."""

from __future__ import annotations

import math

from datamodules.fingerprint.fingerprint import Fingerprint
from tasks.planning.draft import Draft

UNLIKE = 4  # times that bright images are brighter than dim ones, from which each image is scaled by itself
MANY = 100  # times, beyond which a number says nothing: some images are black
CT_WINDOWS = ("lung", "soft", "bone")  # of flat images of which nothing says what they show
EIGHT_BITS = 255  # stored values that lie no further apart than those are no Hounsfield units any more
NARROWEST = 80  # HU, as the window for brains: what lies around an organ has to be seen too
ROUND = 5  # HU
DIM = 0.15  # of the bright values that the median value is below, where most of an image is dim
_NNUNET = "Isensee et al., nnU-Net, Nature Methods 2021"


def scale(draft: Draft) -> None:
    """Scale each image by percentiles of its own where brightness says nothing, and lift dim structures."""
    data = draft.fingerprint
    if data.volumes or data.intensities is None or data.means is None:
        return  # of volumes percentiles are taken anyway, or see `hounsfield`
    if draft.is_given("data.percentiles", "data.value_range", "data.window", "data.gamma"):
        return
    if data.modality == "ct" and _hounsfield_units(data) and not draft.is_given("data.channels"):
        text = "Hounsfield units, of which no image shows all: each of these windows is a channel"
        draft.plan("data.window", list(CT_WINDOWS), text, "Radiopaedia, Windowing (CT)")
        return
    wide = any(name not in ("uint8", "bool") for name in data.types)
    if (data.stated_range and data.modality not in ("mr", "ct")) or (data.colour > 0.5 and not wide):
        return  # what a file of MR states are the bits of its values; stains have colours that mean something
    unlike = data.means.high / max(1e-9, data.means.low)
    if unlike < UNLIKE and not wide:
        return
    times = f"{unlike:.0f}" if unlike < MANY else f"more than {MANY}"
    text = (
        f"bright images (95th percentile) have {times} times the mean of dim ones (5th)"
        if unlike >= UNLIKE
        else f"values of {', '.join(data.types)}, of which no file says what is black and white"
    )
    draft.plan("data.percentiles", [0.5, 99.5], f"{text}: each image is scaled by its own", _NNUNET)
    if data.modality == "microscopy" and data.intensities.median < DIM * data.intensities.high:
        text = f"the median value, {data.intensities.median:g}, is far below the bright ones, {data.intensities.high:g}"
        draft.plan("data.gamma", 0.5, f"{text}: the square root shows dim objects beside them", "experiment/nuclei")


def hounsfield(draft: Draft) -> None:
    """Scale all CT volumes alike, by the values of annotated voxels, so that Hounsfield units say the same in each."""
    data = draft.fingerprint
    if not data.volumes or data.modality != "ct" or data.foreground_range is None or data.intensities is None:
        return
    if not _hounsfield_units(data):
        return
    if draft.is_given("data.percentiles", "data.value_range", "data.window"):
        return
    low, high = data.foreground_range
    missing = max(0.0, NARROWEST - (high - low))
    lower = ROUND * math.floor((low - missing / 2) / ROUND)
    upper = ROUND * math.ceil((high + missing / 2) / ROUND)
    widened = f", made at least {NARROWEST} wide" if missing else ""
    text = (
        f"annotated voxels have values from {low:.0f} to {high:.0f} (0.5th and 99.5th percentile){widened}; all voxels "
        f"from {data.intensities.least:.0f} to {data.intensities.most:.0f}: air and metal of a volume do not count"
    )
    draft.plan("data.value_range", [float(lower), float(upper)], text, _NNUNET)


def _hounsfield_units(data: Fingerprint) -> bool:
    """Whether values of CT are as measured: pictures of it have 8 bits."""
    return data.intensities is not None and data.intensities.most - data.intensities.least > EIGHT_BITS
