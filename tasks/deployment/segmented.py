"""Segmented cases: from called slices to the mask on the grid as stored, its file, its picture and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.volume import Grid, is_series, may_be_volume, read_grid, slice_spacing
from datamodules.samples.picture import picture, thinned
from datamodules.samples.slices import SliceSpec
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError, nearest
from tasks.deployment.case_results import Sink
from tasks.deployment.dicom.result import CaseResult
from tasks.deployment.flags import MaskFormat
from tasks.deployment.mask_pictures import middle_found_slice, write_mask_picture
from tasks.deployment.masks import MaskWriter, mask_rows
from tasks.deployment.predictions import Predictions
from tasks.deployment.tables import UNCERTAINTY, draws
from tasks.evaluation.segmentation.cleanup import CleanUp

_LONGEST = 2048  # px of a flat image that is drawn from all of its pixels


@dataclass
class AssembledCase:
    """The mask of a whole case.

    Attributes:
        case: number of the case among those of its loader, as in :class:`~datamodules.types.Piece`.
        scan: of the case's first image.
        planes: (S, H, W) class numbers of the S images in their order, or (S, L, H, W) with 0 and 1 for each of L
            overlapping regions; H and W as stored.
        uncertainty: (C,) mean entropy, 0 to 1, of each class but the background, or of each region, over the pixels
            that are called it or nearly so; see :func:`~tasks.segment.mask_entropy.entropy_sums`.
    """

    case: int
    scan: ScanInfo
    planes: NDArray[np.uint8]
    uncertainty: NDArray[np.float64]


@dataclass(frozen=True)
class SegmenterFacts:
    """What turns the called images of a case into its mask.

    Attributes:
        class_names: in class order, background first; where regions overlap the regions.
        overlapping: masks have a layer for each region.
        cleanup: of masks.
        slices: how volumes are cut; None for flat images.
        preprocess: that the images were made with.
    """

    class_names: Sequence[str]
    overlapping: bool
    cleanup: CleanUp
    slices: SliceSpec | None
    preprocess: Preprocess


@dataclass(frozen=True)
class SegmentedCase:
    """A case with its mask on the grid as stored.

    Attributes:
        case: number of the case among those of its loader.
        scan: of the case's first image.
        mask: (H, W) or (X, Y, Z) class numbers; where regions overlap (L, ...) of 0 and 1.
        grid: of a volume; None for a flat image.
        rows: of ``predictions.csv``, a class each.
        limits: of the file.
    """

    case: int
    scan: ScanInfo
    mask: NDArray[np.uint8]
    grid: Grid | None
    rows: list[dict[str, Any]]
    limits: Limits = DEFAULT

    def result(self) -> CaseResult:
        """What is written of it as DICOM."""
        path, volume = Path(self.scan["path"]), self.grid is not None
        return CaseResult(self.scan["case_id"], path, mask=self.mask, volume=volume, limits=self.limits)


@dataclass(frozen=True, repr=False, eq=False)
class SegmentationPredictions(Predictions):
    """See :class:`~tasks.deployment.predictions.Predictions`.

    Attributes:
        masks: by case id, on the grid as stored: (H, W) or (X, Y, Z) class numbers; where regions overlap, (L, ...) of
            0 and 1 for each region.
        class_names: in the order of the numbers, background first; or the L regions.
    """

    masks: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()

    def found(self) -> str:
        """The classes that a row tells of."""
        told = set(self.table["class"]) if len(self.table) else set()
        return f", masks of {', '.join(name for name in self.class_names if name in told)}" if told else ""


def on_grid(case: AssembledCase, facts: SegmenterFacts, limits: Limits) -> SegmentedCase:
    """Put the planes of a case on its own grid, and clean the mask up.

    Args:
        case: with its planes.
        facts: of the model.
        limits: of the file.

    Raises:
        SuiteError: the grid of the file cannot be read.
    """
    case_id, path = case.scan["case_id"], Path(case.scan["path"])
    cut = facts.slices is not None and (may_be_volume(path.name) or is_series(path))
    grid = read_grid(path, limits) if cut else None
    mask = case.planes[0] if grid is None or facts.slices is None else facts.slices.to_grid(case.planes, grid)
    spacing = case.scan.get("spacing")
    mask = facts.cleanup(np.ascontiguousarray(mask), facts.class_names, spacing, facts.overlapping)
    rows = mask_rows(case_id, mask, facts.class_names, spacing, facts.overlapping)
    unsure = case.uncertainty.tolist()
    told = [{**row, UNCERTAINTY: own} for row, own in zip(rows, unsure, strict=True)]
    return SegmentedCase(case.case, case.scan, mask, grid, told, limits)


class MaskOutput:
    """Writes the mask of each case, and draws it.

    Args:
        facts: of the model.
        output: folder for what is written; None: the masks are kept in :attr:`masks`.
        options: values of :data:`~tasks.deployment.flags.SEGMENT_FLAGS`, None where left out.

    Attributes:
        rows: of the cases so far.
        masks: by case id, where they are not written.
        sink: takes each result too; None: nobody asks.

    Raises:
        SuiteError: an option is none.
    """

    def __init__(self, facts: SegmenterFacts, output: Path | None, options: Mapping[str, Any]) -> None:
        mask_format = cast("MaskFormat", options["mask_format"] or "auto")
        if mask_format not in get_args(MaskFormat):
            raise SuiteError(f"--mask_format {mask_format}: {nearest(mask_format, get_args(MaskFormat))}")
        self.facts = facts
        self.overlays = output / "overlays" if draws(options) and output is not None else None
        self.writer: MaskWriter | None = None
        if output is not None:
            self.writer = MaskWriter(output / "masks", facts.class_names, facts.overlapping, mask_format)
        self.rows: list[dict[str, Any]] = []
        self.masks: dict[str, NDArray[np.uint8]] = {}
        self.sink: Sink | None = None

    def add(self, case: SegmentedCase, images: Sequence[Scan] | None) -> None:
        """Write a case.

        Args:
            case: with its mask.
            images: of the case as stored, for its picture; None: it is not drawn.
        """
        case_id = case.scan["case_id"]
        if self.writer is not None:
            self.writer.write(case_id, case.mask, case.grid)
        else:
            self.masks[case_id] = case.mask
        if self.sink is not None:
            self.sink(case.result())
        if self.overlays is not None and images is not None:
            self._draw(case, images, self.overlays)
        self.rows += case.rows

    def _draw(self, case: SegmentedCase, images: Sequence[Scan], folder: Path) -> None:
        """Draw the calls of a case, on the middle one of a volume's slices that show any."""
        planes, spacing, slices = case.mask[None], case.scan.get("spacing"), self.facts.slices
        flat = None if spacing is None else (float(spacing[0]), float(spacing[1]))
        if case.grid is not None and slices is not None:
            planes = slices.to_planes(case.mask, case.grid)
            flat = slice_spacing(case.grid.affine, slices.plane)[1:]
        index = middle_found_slice(planes)
        note = f"slice {index + 1} of {len(planes)}" if len(planes) > 1 else ""
        scan, called = images[index], planes[index]
        step = max(called.shape[-2:]) // _LONGEST
        if step > 1 and case.grid is None:
            scan, called = thinned(scan, step), called[..., ::step, ::step]
        write_mask_picture(
            folder,
            case.scan["case_id"],
            picture(scan, self.facts.preprocess),
            called,
            self.facts.class_names,
            self.facts.overlapping,
            flat,
            note,
        )
