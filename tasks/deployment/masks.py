"""Predicted masks as files for other programs, NIfTI on the source's grid or PNG, and the table of what they show."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datamodules.pictures.panels import class_colour
from datamodules.readers.volume import Grid, write_volume
from scansuite.errors import SuiteError
from scansuite.files import marked_name, replacing, safe_name, safe_path, write_text
from tasks.deployment.flags import MaskFormat

_MOST_COMPONENTS = 65535  # what 16 bits number


class MaskWriter:
    """Writes the masks of one folder, each file whole or not at all.

    With the first mask ``classes.json`` is written, which says what the values mean:
    ``{"classes": {name: value}, "overlapping": false, "instances": false}``. A region of ``overlapping`` has a file of
    its own, where its value is 1; with ``instances`` (``png16``) values are numbers of components, and the classes
    follow one another in the order of the list.

    Args:
        folder: where to; made if need be.
        class_names: in class order, background first; with ``overlapping`` the L regions.
        overlapping: masks have a layer for each region.
        mask_format: ``nifti`` and ``png`` (8 bits) hold class numbers, ``png16`` a number from 1 for each connected
            component (pixels touch by an edge or a corner); ``auto`` is NIfTI for volumes and PNG for flat images.
            A ``png`` has a palette, so that programs show its classes in the colours of the overlays, background black;
            its values are class numbers all the same.
    """

    def __init__(
        self, folder: Path, class_names: Sequence[str], overlapping: bool = False, mask_format: MaskFormat = "auto"
    ) -> None:
        self.folder, self.class_names = folder, list(class_names)
        self.overlapping, self.mask_format = overlapping, mask_format
        self._written: dict[Path, str] = {}  # file -> case

    def write(self, case_id: str, mask: NDArray[np.uint8], source: Grid | None) -> list[Path]:
        """Write the mask of a case.

        Args:
            case_id: names the file; ``/`` in it separates folders, and what no file name may hold is replaced.
            mask: ``(H, W)`` or ``(X, Y, Z)`` class numbers; with ``overlapping`` ``(L, ...)`` of 0 and 1.
            source: the volume whose grid the mask lies on; None for a flat image.

        Returns:
            The file, or one for each region: ``<case_id>_<region>``.

        Raises:
            SuiteError: the format does not suit the scan, there are more than 65535 components to number, or a file
                cannot be written. No file of the case is left then.
            ValueError: the mask has another number of layers or dimensions than promised.
        """
        if self.overlapping and len(mask) != len(self.class_names):
            raise ValueError(f"{case_id}: {len(mask)} layers of regions, but {len(self.class_names)} class names")
        kind = self._format(case_id, mask.ndim - self.overlapping, source)
        suffix = ".nii.gz" if kind == "nifti" else ".png"
        planes = dict(zip(self.class_names, mask, strict=True)) if self.overlapping else {"": mask}
        done: list[Path] = []
        try:
            for region, plane in planes.items():
                file = self._file(case_id, region, suffix)
                self._make_folder(file.parent)
                if kind == "nifti" and source is not None:
                    write_volume(file, plane, source)
                elif kind == "png16":
                    _write_png(file, number_components(plane, case_id))
                else:
                    first = self.class_names.index(region) if self.overlapping else 0
                    _write_png(file, plane, mask_palette(first))
                done.append(file)
            if not self._written:
                self._write_classes()
        except BaseException:
            for file in done:  # some regions of a case would pass for all of them
                file.unlink(missing_ok=True)
            raise
        self._written |= dict.fromkeys(done, case_id)
        return done

    def _format(self, case_id: str, dimensions: int, source: Grid | None) -> Literal["nifti", "png", "png16"]:
        if dimensions != (2 if source is None else 3):
            raise ValueError(
                f"{case_id}: the mask has {dimensions} dimensions, and {source.path if source else 'no grid'}"
            )
        if self.mask_format == "auto":
            return "png" if source is None else "nifti"
        if self.mask_format == "nifti" and source is None:
            raise SuiteError(f"--mask_format nifti: {case_id} is a flat image without a grid: give png, png16 or auto")
        if self.mask_format != "nifti" and source is not None:
            raise SuiteError(f"--mask_format {self.mask_format}: {case_id} is a volume: give nifti or auto")
        return self.mask_format

    def _file(self, case_id: str, region: str, suffix: str) -> Path:
        path = safe_path(case_id)
        name = f"{path.name}_{safe_name(region)}" if region else path.name
        file = self.folder / path.with_name(name + suffix)
        if self._written.get(file, case_id) != case_id:  # case "a", region "b_c" after case "a_b", region "c"
            file = file.with_name(marked_name(name, f"{case_id}/{region}") + suffix)
        return file

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SuiteError(
                f"{folder}: the folder for masks cannot be made ({error.strerror}): choose another --output"
            ) from None

    def _write_classes(self) -> None:
        values = {name: 1 if self.overlapping else number for number, name in enumerate(self.class_names)}
        meaning = {"classes": values, "overlapping": self.overlapping, "instances": self.mask_format == "png16"}
        write_text(self.folder / "classes.json", json.dumps(meaning, indent=2, ensure_ascii=False) + "\n")


def mask_palette(first: int = 0) -> list[int]:
    """Palette of a mask: red, green and blue of the numbers 0 to 255, black and then the colours of the overlays.

    It is full: with a short one Pillow would put several pixels into a byte, which not every reader unpacks.

    Args:
        first: class, the background not counted, whose colour 1 has.
    """
    colours = [class_colour(number) for number in range(first, first + 255)]
    return [0, 0, 0, *(part for colour in colours for part in colour)]


def number_components(mask: NDArray[np.uint8], case_id: str) -> NDArray[np.uint16]:
    """Number the connected components of each class, class by class, from 1 on; 0 is the background.

    Pixels of a component touch by an edge or a corner, as with ``connectivity="full"`` in
    :func:`tasks.evaluation.segmentation.lesions.match_lesions`.

    Args:
        mask: ``(H, W)`` class numbers.
        case_id: for messages.

    Raises:
        SuiteError: there are more than 65535 components.
    """
    numbers = np.zeros(mask.shape, np.uint16)
    total = 0
    for value in range(1, int(mask.max(initial=0)) + 1):
        labels, count = _components(mask == value)
        if total + count > _MOST_COMPONENTS:
            raise SuiteError(
                f"{case_id}: more than {_MOST_COMPONENTS} components, and 16 bits number no more: give --mask_format "
                "png, or remove small ones first"
            )
        np.add(labels, total, out=numbers, where=labels > 0, casting="unsafe")
        total += count
    return numbers


def mask_rows(
    case_id: str,
    mask: NDArray[np.uint8],
    class_names: Sequence[str],
    spacing: Sequence[float] | None = None,
    overlapping: bool = False,
) -> list[dict[str, str | int | float]]:
    """The rows of one predicted case: how large each class is, and of how many parts.

    Args:
        case_id: of the case.
        mask: ``(H, W)`` or ``(X, Y, Z)`` class numbers; with ``overlapping`` ``(L, ...)`` of 0 and 1.
        class_names: in class order, background first; with ``overlapping`` the L regions.
        spacing: mm per axis of the grid; None = unknown.
        overlapping: the mask has a layer for each region.

    Returns:
        A row for each class but the background, or each region: ``case_id``, ``class``, ``pixels`` (voxels of a
        volume), ``size_mm`` (mm^2 of a flat image, mm^3 of a volume; NaN without spacing) and ``components``, which are
        connected by an edge or a corner.

    Raises:
        ValueError: the spacing has another number of axes than the mask, or there are not as many layers as regions.
    """
    dimensions = mask.ndim - overlapping
    if spacing is not None and len(spacing) != dimensions:
        raise ValueError(f"{case_id}: spacing {tuple(spacing)} for a mask of {dimensions} dimensions")
    if overlapping and len(mask) != len(class_names):
        raise ValueError(f"{case_id}: {len(mask)} layers of regions, but {len(class_names)} class names")
    one = math.nan if spacing is None else math.prod(spacing)
    rows: list[dict[str, str | int | float]] = []
    for number, name in enumerate(class_names):
        if number == 0 and not overlapping:
            continue
        inside = mask[number] == 1 if overlapping else mask == number
        pixels = int(np.count_nonzero(inside))
        components = _components(inside)[1] if pixels else 0
        rows.append(
            {"case_id": case_id, "class": name, "pixels": pixels, "size_mm": pixels * one, "components": components}
        )
    return rows


def _components(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    labels, count = ndimage.label(inside, ndimage.generate_binary_structure(inside.ndim, inside.ndim))
    return labels, int(count)


def _write_png(file: Path, pixels: NDArray[Any], palette: Sequence[int] | None = None) -> None:
    """A PNG of the 8 or 16 bits that the pixels have, grey without a palette; values are stored as they are."""
    from PIL import Image

    with replacing(file) as temporary:
        # Pillow, because it says when the disk is full. It encodes from the array's own memory, row by row.
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if palette is not None:
            image.putpalette(palette)  # 8 bits become mode P
        image.save(temporary, format="PNG")
