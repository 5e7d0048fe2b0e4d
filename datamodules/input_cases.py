"""Files, folders or a table to apply a model to, found and read one by one: no labels, no split. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from datamodules.cases.containment import refuse_outside
from datamodules.cases.ids import clean_ids
from datamodules.cases.named_files import exists, no_column, with_suffixes
from datamodules.cases.no_scans import MASK, NO_IMAGE, NO_VOLUME, why_no_scan
from datamodules.cases.side_by_side import side_by_side, told_apart
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.case_rows import join_files
from datamodules.loading.case_source import CaseSource, FileCases, LazyScans
from datamodules.preprocess import Preprocess
from datamodules.readers.dicom.header import is_dicom, is_scan
from datamodules.readers.format_table import by_name
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.listing import files_below, passed_over, refuse_missing
from datamodules.readers.own_formats import load_readers
from datamodules.readers.patterns import ALL, FilePatterns
from datamodules.remote import local, local_input
from datamodules.samples.scaling import with_scale
from datamodules.settings import check_loading, default_cache_dir, default_workers, name_list
from datamodules.tables.file import is_table, read_frame
from datamodules.tables.form import table_form
from datamodules.types import Scan
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.samples.slices import SliceSpec


class InputCases:
    """Files, folders and tables that a model is applied to, found and read.

    Args:
        root: folder or URL that the paths of a table are relative to; left out: the table's own folder.
        path_column: column of a table with the image's path.
        separator: character between the cells of a table, or ``tab``; left out: found in the file (docs/tables.md).
        encoding: text encoding of a table (``utf-8``, ``utf-16``, ``cp949``, ``cp1252``); left out: found in the file,
            and said.
        batch_size: cases a batch on each device.
        num_workers: loader processes; left out: by the cores this process may use.
        max_pixels: largest height times width, in pixels, of an image, slice or page that is read.
        max_bytes: largest size in bytes of one file's values, unpacked.
        allow_outside: let a table name files that are not below ``root``.
        readers: modules of yours that register file formats (docs/extending.md); left out: none.
        window: for scans with physical values and a model that has no scale for them: a name, or ``centre:width``;
            several become channels; left out: as the model was trained.
        percentiles: lower and upper percentile (0 to 100) of each image that become 0 and 1, where a model has no scale
            for it; left out: as the model was trained.
        value_range: lower and upper stored value that become 0 and 1, where a model has no scale for them; left out: as
            the model was trained.

    Attributes:
        passed_over: (path, reason) of the files in folders that are no scans, once :meth:`table` has looked.
        patterns: which files of folders are taken.
    """

    def __init__(
        self,
        root: str | None = None,
        path_column: str = "path",
        separator: str | None = None,
        encoding: str | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        max_pixels: int = DEFAULT.max_pixels,
        max_bytes: int = DEFAULT.max_bytes,
        allow_outside: bool = False,
        readers: list[str] | str | None = None,
        window: list[str] | str | None = None,
        percentiles: list[float] | str | None = None,
        value_range: list[float] | str | None = None,
    ) -> None:
        check_loading(batch_size, num_workers)
        self.root, self.path_column = root, path_column
        self.table_form = table_form(separator, encoding)
        self.batch_size = batch_size
        self.limits, self.allow_outside = Limits(max_pixels, max_bytes, load_readers(readers)), allow_outside
        self.num_workers = default_workers() if num_workers is None else num_workers
        self.window, self.percentiles, self.value_range = window, percentiles, value_range
        self.passed_over: list[tuple[str, str]] = []
        self.patterns = ALL

    def choose(
        self,
        include: Sequence[str] | str | None,
        exclude: Sequence[str] | str | None,
        flags: tuple[str, str] = ("--include", "--exclude"),
    ) -> None:
        """Take some files of the folders alone.

        Args:
            include: shell patterns of files to take, see :func:`~datamodules.readers.patterns.fits`; empty: all.
            exclude: of files to leave out.
            flags: that say so.
        """
        self.patterns = FilePatterns(name_list(include), name_list(exclude), flags)

    def table(
        self, inputs: Sequence[str], *, volumes: bool = False, sequences: int = 1, together: bool = False
    ) -> CaseTable:
        """One case a file, named relative to the folder or table it comes from.

        Args:
            inputs: files, folders and tables.
            volumes: look for volumes in folders, not for flat images.
            sequences: how many the model takes of each volume (``SliceSpec.sequences``). Where there are several,
                ``case_0000.nii.gz`` and ``case_0001.nii.gz`` are one case, and the table's ``images`` are its files.
            together: the raster images of a folder are one case, and so are the rows of a table with one ``case_id``.

        Raises:
            SuiteError: a path does not exist, nothing is found, or two files have one case id.
        """
        import pandas as pd

        rows = [row for text in inputs for row in self._rows(self._local(text), volumes)]
        if not rows:
            kind = "volumes" if volumes else "images"
            others = f" ({len(self.passed_over)} passed over: {self.passed_over[0][1]})" if self.passed_over else ""
            folder = next((Path(one) for one in inputs if Path(one).is_dir()), None)
            counted = passed_over(folder) if folder is not None and not others else ""
            raise SuiteError(f"--input {' '.join(inputs)}: no {kind} found{others}{counted}")
        if together:
            return join_files(rows)
        frame = pd.DataFrame(rows).drop(columns="group")
        if volumes and sequences > 1:
            from datamodules.segmentation.volume_inputs import join_sequences

            frame = join_sequences(frame, sequences)
        # x.png beside x.jpg, or two folders with equal names: their paths tell them apart. Names that a table gives
        # stay as they are, and are refused where they are duplicated.
        unclear = frame["case_id"].duplicated(keep=False) & ~frame.pop("named")
        files = frame.pop("files").explode()
        table = table_of_images(frame.assign(case_id=frame["case_id"].mask(unclear, frame["path"])))
        images = pd.DataFrame({"case": files.index, "path": files.astype("str").array, "frame": -1})
        return replace(table, images=images)

    def _local(self, text: str) -> Path:
        return local_input(text, "--input", alone=self.root is not None)

    def _rows(self, path: Path, volumes: bool) -> list[dict[str, object]]:
        from datamodules.cases.table import case_id_of

        if path.is_dir():
            below = self._scans_below(path, volumes)
            rows = [_row(path / name, case_id_of(name)) for name in below]
            if not volumes:
                for row, name in zip(rows, below, strict=True):
                    inside = PurePosixPath(name).parent.as_posix()
                    row["group"] = (str((path / name).parent), path.resolve().name if inside == "." else inside)
            return [*rows, *self._series_below(path)] if volumes else rows
        if is_table(path.name):
            text = (self.path_column, "case_id")
            frame = read_frame(path, flag="--input", text_columns=text, limits=self.limits, form=self.table_form)
            if self.path_column not in frame:
                root = path.parent if self.root is None else Path(self.root)
                raise no_column(path, frame, self.path_column, "--data.path_column", root)
            empty = frame.index[frame[self.path_column].isna()]
            if len(empty):
                raise SuiteError(f"{path}: column {self.path_column!r} is empty in row {empty[0] + 1}: drop the row")
            root = path.parent if self.root is None else local(self.root, default_cache_dir(), "--data.root")
            refuse_outside(root, frame[self.path_column], str(path), allow=self.allow_outside)
            paths = self._with_suffixes(frame[self.path_column], root, path)
            names = clean_ids(frame["case_id"]) if "case_id" in frame else frame[self.path_column].map(case_id_of)
            pairs = zip(paths, names, strict=True)
            rows = [_row(root / name, case, named="case_id" in frame) for name, case in pairs]
            for row in rows:
                row["group"] = (f"{path}:{row['case_id']}", str(row["case_id"])) if row["named"] else None
            return self._named(rows)
        refuse_missing(path, "--input")
        return self._named([_row(path, case_id_of(path.name))])

    def _with_suffixes(self, names: pd.Series[str], root: Path, file: Path) -> pd.Series[str]:
        """The paths of a table, those without suffix with that of the file that is there."""
        missing = [name for name in names if by_name(name) is None and not exists(root / name)]
        found = with_suffixes(root, missing, str(file), allow_outside=self.allow_outside)
        return names.map(lambda name: found.get(name, name)).astype("str")

    def _scans_below(self, folder: Path, volumes: bool) -> list[str]:
        """The files of a folder that are scans, relative to it; those that only look like one are noted."""
        from datamodules.readers import formats, volume

        def candidate(file: Path) -> bool:
            return volume.may_be_volume(file.name) if volumes else formats.is_image(file)

        below = self.patterns.chosen(files_below(folder, candidate), folder)
        masks = side_by_side(*told_apart(below)).images
        reasons = {name: MASK if name in masks else why_no_scan(folder, name) for name in below}
        self.passed_over += [(str(folder / name), reason) for name, reason in reasons.items() if reason is not None]
        return [name for name, reason in reasons.items() if reason is None]

    def _series_below(self, folder: Path) -> list[dict[str, object]]:
        """The DICOM series of a folder; folders with DICOM of other kinds alone are noted."""
        from datamodules.readers.dicom.series import series_folders
        from datamodules.segmentation.volume_inputs import series_in

        rows = []
        series = {path: case for path, case in series_in(folder) if self._taken(path, folder)}
        for path in [path for path in series_folders(folder) if self._taken(path, folder)]:
            reason = why_no_scan(folder, path.relative_to(folder).as_posix()) if path in series else NO_VOLUME
            if reason is not None:
                self.passed_over.append((str(path), reason))
            else:
                rows.append(_row(path, series[path]))
        return rows

    def _taken(self, series: Path, folder: Path) -> bool:
        return series == folder or self.patterns.take(series.relative_to(folder).as_posix())

    def _named(self, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """The files that a user or a table names, but for DICOM that is no scan."""
        others = [Path(str(row["path"])) for row in rows]
        reasons = [NO_IMAGE if is_dicom(path) and not is_scan(path) else None for path in others]
        self.passed_over += [(str(path), why) for path, why in zip(others, reasons, strict=True) if why is not None]
        return [row for row, why in zip(rows, reasons, strict=True) if why is None]

    def prepared(self, spec: Preprocess, slices: SliceSpec | None = None) -> Preprocess:
        """The spec of a model, with the scale that the user gives where it has none.

        Raises:
            SuiteError: it has one.
        """
        return with_scale(
            spec, window=self.window, percentiles=self.percentiles, value_range=self.value_range, slices=slices
        )

    def source(self, table: CaseTable, preprocess: Preprocess, slices: SliceSpec | None = None) -> CaseSource:
        """The cases of a table, to be read one by one (:mod:`~datamodules.loading.case_pieces`).

        Args:
            table: as :meth:`table` gives it.
            preprocess: of the model.
            slices: how its volumes are cut; None for flat images.
        """
        if slices is None:
            return FlatCases(table, self.limits)
        from datamodules.segmentation.volume_inputs import VolumeCases

        return VolumeCases(table, preprocess, slices, self.limits)

    def reader(self, table: CaseTable) -> Callable[[int], Scan]:
        """Row number of an image of a table -> the scan as stored."""
        return _Read(table, self.limits)


def _row(path: Path, case_id: str, *, named: bool = False) -> dict[str, object]:
    return {"path": str(path), "case_id": case_id, "named": named, "files": (str(path),), "group": None}


class FlatCases(FileCases):
    """Flat images, one a case.

    Args:
        table: the files of each case.
        limits: of the files.
    """

    def __init__(self, table: CaseTable, limits: Limits = DEFAULT) -> None:
        super().__init__(table)
        self.limits = limits

    def images(self, case: int) -> Sequence[Scan]:
        """The image of a case."""
        from datamodules.readers import formats

        files = self.files[case]
        return LazyScans(len(files), lambda number: formats.read(files[number], self.limits))


class _Read:
    """Reads an image of a table whose paths stand on their own."""

    def __init__(self, table: CaseTable, limits: Limits) -> None:
        self.paths, self.limits = list(table.images["path"]), limits

    def __call__(self, image: int) -> Scan:
        from datamodules.readers import formats

        return formats.read(Path(self.paths[image]), self.limits)
