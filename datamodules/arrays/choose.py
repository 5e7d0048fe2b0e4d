"""``Arrays``: the data class that fits what images come with."""

from __future__ import annotations

from typing import Any, cast, overload

from numpy.typing import ArrayLike

from datamodules.arrays.boxes import BoxedArrays
from datamodules.arrays.labels import LabelledArrays
from datamodules.arrays.masks import MaskedArrays
from datamodules.arrays.scans import ManyArrays
from scansuite.errors import SuiteError


@overload
def Arrays(images: ManyArrays, *, masks: ManyArrays, **settings: Any) -> MaskedArrays: ...
@overload
def Arrays(
    images: ManyArrays, *, boxes: ManyArrays, labels: ManyArrays | None = None, **settings: Any
) -> BoxedArrays: ...
@overload
def Arrays(images: ManyArrays, labels: ManyArrays | ArrayLike, **settings: Any) -> LabelledArrays: ...
def Arrays(  # noqa: N802 - it is called like the classes that it chooses from
    images: ManyArrays,
    labels: ManyArrays | ArrayLike | None = None,
    *,
    masks: ManyArrays | None = None,
    boxes: ManyArrays | None = None,
    **settings: Any,
) -> LabelledArrays | MaskedArrays | BoxedArrays:
    """Arrays in memory as a data class: with labels for classification, masks for segmentation, boxes for detection.

    Splits keep a patient's images together, and identical images; preprocessing, augmentation and loaders are those of
    all data classes.

    Args:
        images: numpy or torch: (N, H, W), (N, H, W, C) or (N, C, H, W), or a list; see
            :class:`~datamodules.arrays.scans.ArrayScans`.
        labels: see :class:`~datamodules.arrays.labels.LabelledArrays`; with ``boxes`` their classes.
        masks: see :class:`~datamodules.arrays.masks.MaskedArrays`.
        boxes: see :class:`~datamodules.arrays.boxes.BoxedArrays`.
        settings: ``patients``, ``case_ids``, ``parts``, ``channels_first``, and what the data class of the task takes
            (``image_size``, ``batch_size``, ``augment``, ``folds``, ``window``, ...).

    Raises:
        SuiteError: neither labels nor masks nor boxes, or several; or what was given does not fit.
    """
    if masks is not None and (labels is not None or boxes is not None):
        raise SuiteError("Arrays: masks are of segmentation, labels and boxes of other tasks: give one of them")
    if masks is not None:
        return MaskedArrays(images, masks, **settings)
    if boxes is not None:
        return BoxedArrays(images, boxes, cast("ManyArrays | None", labels), **settings)
    if labels is None:
        raise SuiteError("Arrays: give labels (classification), masks (segmentation) or boxes (detection)")
    return LabelledArrays(images, labels, **settings)
