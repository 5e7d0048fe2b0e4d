"""Types that all packages share: a scan, a sample, a batch.

Nothing here imports more than the standard library at run time, so readers, workers and tools may use it freely.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class ScanInfo(TypedDict, total=False):
    """Identity and geometry of a scan; they ride through the pipeline untouched, so that a writer finds them again."""

    path: str  # as the user would name the file: relative to the data root where there is one
    case_id: str
    patient_id: str | None
    spacing: tuple[float, ...] | None  # mm per (row, column) of a flat image, per (i, j, k) of a volume
    affine: NDArray[np.float64] | None  # (4, 4) voxel index -> RAS mm
    slice: int | None  # index along the slicing axis
    original_size: tuple[int, int]  # (H, W) as stored
    content_size: tuple[int, int]  # (h, w) of the model's image that show the scan; beyond it is filling
    windows: tuple[tuple[float, float], ...]  # (centre, width) that the file itself recommends, in stored units
    alpha: bool  # whether the last of 2 or 4 channels is alpha; left out: it is
    stored_range: tuple[float, float]  # black and white by what the file says; left out: those of the array's type
    padding: bool  # True for a case repeated only to fill a batch of another rank: never evaluated


@dataclass(frozen=True)
class Scan:
    """Scan as a reader returns it: the stored quantity, unscaled.

    Attributes:
        array: ``(H, W)`` or ``(H, W, C)``, in the type it was stored in (uint8, uint16, int16 HU, float32, ...).
        info: path, geometry and original size.
    """

    array: NDArray[Any]
    info: ScanInfo = field(default_factory=ScanInfo)


class Draw(NamedTuple):
    """Draw that a sampler hands to a dataset: which case, and where its randomness comes from.

    The seed words stand for (epoch, position in the epoch's order), so augmentation depends neither on the worker nor
    on the number of ranks, differs between epochs and between two draws of one case, and repeats with the seed.
    """

    case: int  # row number in the case table
    seed: tuple[int, ...] = ()
    padding: bool = False


class Piece(NamedTuple):
    """Place of one image of a batch in its case, so that evaluation and prediction put a case together again.

    A case is made of one image (a photograph) or several (the slices of a volume), and an image of one tile or
    several. The tiles of an image come in row-major order, the images of a case in their own.
    """

    case: int  # number of the case among those of its loader
    image: int  # number of the image within the case
    images: int  # how many images the case has
    top: int  # of the tile, on the model's image
    left: int
    size: tuple[int, int]  # (H, W) of the model's image, without what was filled up to make a tile
    last: bool  # no more tiles of this image


class BagImage(NamedTuple):
    """Origin of an image of a bag: which image of its case it is."""

    path: str
    slice: int  # index along the slicing axis of a volume; -1 for the whole file


class Sample(TypedDict, total=False):
    """One case as a dataset returns it."""

    image: Tensor  # (C, H, W) float32 in [0, 1]; (n, C, H, W) of a bag
    limits: Tensor  # (2, K) float32, or (n, 2, K): ``image`` is as stored, these make it the model's (OpenedImage)
    augment: Tensor  # (P,) float32, or (n, P): parameters of the augmentation that is still to come, on the device
    bag: list[BagImage]  # of the n images of a case that is evaluated by them together
    label: Tensor  # () int64, () float32 for regression, or (L,) float32 with NaN = unknown
    mask: Tensor  # (H, W) int64, or (L, H, W)
    boxes: Tensor  # (N, 4) float32 xyxy pixels
    labels: Tensor  # (N,) int64, 0..C-1
    ignored: Tensor  # (M, 6) float32 of other boxes, where they are evaluated: xyxy pixels, class, 1 = VOC's difficult
    scan: ScanInfo


class Batch(TypedDict, total=False):
    """Samples put together; images of one batch have one size."""

    image: Tensor  # (B, C, H, W) float32 in [0, 1]; where there are bags, those of all cases: (sum of n, C, H, W)
    limits: Tensor  # (B, 2, K) float32, (B, P) float32: on the way to the device only, as in a sample
    augment: Tensor
    bags: list[list[BagImage]]  # B x n: the images of each case, in the order of ``image``
    label: Tensor  # (B,) int64 or float32, or (B, L) float32 with NaN = unknown
    label_other: Tensor  # where images were mixed in pairs: of the image with the smaller share
    label_share: Tensor  # (B,) the share of the other one, the same throughout
    mask: Tensor  # (B, H, W) int64, or (B, L, H, W)
    boxes: list[Tensor]  # B x (N, 4)
    labels: list[Tensor]  # B x (N,)
    ignored: list[Tensor]  # B x (M, 6)
    scan: list[ScanInfo]  # left out by other people's loaders: no case is padding then, nor has it a name
    pieces: list[Piece]  # one for each image; evaluation and prediction of cases by pieces only
    unreadable: list[tuple[str, str]]  # (path, reason) of files left out of the batch; predict only
