"""What is true of explained cases: masks or boxes that maps are held against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers import formats
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.volume import is_series, may_be_volume, read_volume, to_slices
from datamodules.resampling import resize_mask
from datamodules.samples.slices import SliceSpec
from datamodules.tables.file import is_table, read_frame
from scansuite.errors import SuiteError
from scansuite.files import safe_path
from tasks.explain.cases import SeenImage
from tasks.explain.targets import Target

if TYPE_CHECKING:
    import pandas as pd

_FLAG = "--truth"
_EDGES = ("x1", "y1", "x2", "y2")
_BACKGROUND = 0


class Truth:
    """Masks or boxes of cases.

    Args:
        path: a table of boxes (``case_id,x1,y1,x2,y2`` in pixels as stored, and ``label``), a mask, or a folder of
            masks with the names of the cases.
        class_names: of the model, in class order.
        slices: how the model's volumes are cut; None: flat images.
        limits: of what is read.

    Raises:
        SuiteError: there is nothing at the path, or the table has other columns.
    """

    def __init__(self, path: str, class_names: list[str], slices: SliceSpec | None, limits: Limits = DEFAULT) -> None:
        self.path, self.class_names, self.slices, self.limits = Path(path), class_names, slices, limits
        if not self.path.exists():
            raise SuiteError(f"{_FLAG} {path}: no such file or folder")
        self.boxes: pd.DataFrame | None = None
        self._files: dict[str, Path] = {}
        if self.path.is_dir():
            files = (file for file in sorted(self.path.rglob("*")) if file.is_file())
            for file in files:
                name = file.relative_to(self.path).as_posix()
                self._files.setdefault(_stem(name), file)
        elif is_table(self.path.name):
            self.boxes = read_frame(self.path, flag=_FLAG, text_columns=("case_id", "label"), limits=limits)
            for column in ("case_id", *_EDGES):
                if column not in self.boxes:
                    found = ", ".join(map(str, self.boxes.columns))
                    raise SuiteError(f"{_FLAG} {path}: no column {column!r} (found: {found})")

    def mask(self, case_id: str, seen: SeenImage, target: Target) -> NDArray[np.bool_] | None:
        """(h, w) where a target truly is, on the image that the model sees; None where the case has no truth.

        Of masks that number the model's classes it is the target's class, of others all that is not 0. Of boxes it is
        those with the target's label, or all where the table has no labels.

        Args:
            case_id: of the case.
            seen: its image.
            target: that is explained.

        Raises:
            SuiteError: a mask cannot be read, or has another size than the scan.
        """
        if self.boxes is not None:
            stored = self._boxed(self.boxes, case_id, seen.original, target)
        else:
            values = self._plane(case_id, seen)
            stored = None if values is None else self._of_class(values, target)
        return None if stored is None else _as_seen(stored, seen)

    def _boxed(
        self, table: pd.DataFrame, case_id: str, size: tuple[int, int], target: Target
    ) -> NDArray[np.bool_] | None:
        rows = table[table["case_id"] == case_id]
        if not len(rows):
            return None
        if "label" in rows and target.label in self.class_names:
            rows = rows[rows["label"] == target.label]
        mask = np.zeros(size, np.bool_)
        for x1, y1, x2, y2 in rows[list(_EDGES)].to_numpy(dtype=float):
            mask[max(0, round(y1)) : max(0, round(y2)), max(0, round(x1)) : max(0, round(x2))] = True
        return mask

    def _plane(self, case_id: str, seen: SeenImage) -> NDArray[Any] | None:
        """(H, W) values of the case's mask, on the slice that is seen; None: there is none."""
        file = (
            self.path if not self.path.is_dir() else self._files.get(case_id, self._files.get(str(safe_path(case_id))))
        )
        if file is None:
            return None
        if self.slices is not None and seen.slice is not None and (may_be_volume(file.name) or is_series(file)):
            volume = read_volume(file, self.limits, labels=True)
            planes = to_slices(volume.array, volume.affine, self.slices.plane)
            if len(planes) != seen.slices:
                raise SuiteError(f"{_FLAG} {file}: has {len(planes)} slices, and the scan {seen.slices}")
            values = planes[seen.slice]
        else:
            values = formats.read(file, self.limits).array
        if values.ndim == 3:
            values = values[..., 0]
        if values.shape != seen.original:
            size, own = (" x ".join(map(str, one)) for one in (values.shape, seen.original))
            raise SuiteError(f"{_FLAG} {file}: is {size} pixels, and the scan {own}")
        return np.asarray(values)

    def _of_class(self, values: NDArray[Any], target: Target) -> NDArray[np.bool_]:
        numbers = np.unique(values)
        if target.region is not None and target.label in self.class_names:
            number = self.class_names.index(target.label)
            if number != _BACKGROUND and numbers.max(initial=0) < len(self.class_names):
                return np.asarray(values == number)
        return np.asarray(values != _BACKGROUND)


def _as_seen(stored: NDArray[np.bool_], seen: SeenImage) -> NDArray[np.bool_]:
    """A mask as stored on the image that the model sees; nothing is where it was filled up."""
    content = resize_mask(stored, seen.content)
    top, left = seen.place
    height, width = int(seen.image.shape[-2]), int(seen.image.shape[-1])
    part = content[top : top + height, left : left + width]
    return np.pad(part, [(0, height - part.shape[0]), (0, width - part.shape[1])])


def _stem(name: str) -> str:
    from datamodules.cases.table import case_id_of

    return case_id_of(name)
