"""Which stored values become 0 and 1: by how brightness differs from image to image."""

from __future__ import annotations

from tasks.planning.draft import Draft

UNLIKE = 4  # times that bright images are brighter than dim ones, from which each image is scaled by itself
DIM = 0.15  # of the bright values that the median value is below, where most of an image is dim
_NNUNET = "Isensee et al., nnU-Net, Nature Methods 2021"


def scale(draft: Draft) -> None:
    """Scale each image by percentiles of its own where brightness says nothing, and lift dim structures."""
    data = draft.fingerprint
    if data.volumes or data.stated_range or data.intensities is None or data.means is None or data.colour > 0.5:
        return  # of volumes percentiles are taken anyway; stains have colours that mean something
    if draft.is_given("data.percentiles", "data.value_range", "data.window", "data.gamma"):
        return
    unlike = data.means.high / max(1e-9, data.means.low)
    wide = any(name not in ("uint8", "bool") for name in data.types)
    if unlike < UNLIKE and not wide:
        return
    text = (
        f"bright images (95th percentile) have {unlike:.0f} times the mean of dim ones (5th)"
        if unlike >= UNLIKE
        else f"values of {', '.join(data.types)}, of which no file says what is black and white"
    )
    draft.plan("data.percentiles", [0.5, 99.5], f"{text}: each image is scaled by its own", _NNUNET)
    if data.modality == "microscopy" and data.intensities.median < DIM * data.intensities.high:
        text = f"the median value, {data.intensities.median:g}, is far below the bright ones, {data.intensities.high:g}"
        draft.plan("data.gamma", 0.5, f"{text}: the square root shows dim objects beside them", "experiment/nuclei")
