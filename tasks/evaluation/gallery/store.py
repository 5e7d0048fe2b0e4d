"""Thumbnails of chosen cases in a run folder, so that its report has pictures without model and data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scansuite.errors import SuiteError
from scansuite.files import replacing, safe_name
from tasks.evaluation.gallery.thumbnails import Thumbnail
from tasks.evaluation.tables import read_table, write_table

FOLDER = "gallery"
INDEX = "gallery.csv"
_COLUMNS = (
    "case_id", "split", "kinds", "scan", "truth", "prediction", "height", "width", "window_low", "window_high",
    "stored_low", "stored_high", "image_height", "image_width", "note", "map", "map_of",
)  # fmt: skip
_NEWER = ("map", "map_of")  # columns that galleries of earlier versions lack
_FILES = ("scan", "truth", "prediction", "map")
_BETWEEN = "; "  # kinds
_BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff")  # of PNG and JPEG


@dataclass(frozen=True, eq=False)
class CasePicture:
    """Pictures of a case.

    Attributes:
        case_id: of the case.
        scan: its thumbnail.
        image_size: (height, width) of the image as stored, which boxes are in pixels of.
        truth: PNG of the true mask, see :func:`~.thumbnails.mask_picture`; empty = none.
        prediction: likewise of the predicted mask.
        kinds: why it is shown.
        note: what part of the case it is, such as ``slice 17 of 35``.
        map: PNG of what raises the score of a class, see :func:`~.thumbnails.heat_layer`; empty = none.
        map_of: name of that class.
    """

    case_id: str
    scan: Thumbnail
    image_size: tuple[int, int]
    truth: bytes = b""
    prediction: bytes = b""
    kinds: Sequence[str] = ()
    note: str = ""
    map: bytes = b""
    map_of: str = ""


def write_gallery(run_dir: Path, split: str, pictures: Sequence[CasePicture]) -> Path:
    """Write the pictures of a part into ``gallery/``, and the table of them; what it had of the part is replaced.

    Args:
        run_dir: run folder.
        split: ``val`` or ``test``.
        pictures: in the order in which they are shown.

    Returns:
        The table, ``gallery/gallery.csv``.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    folder = run_dir / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{folder}: the folder for pictures cannot be made: {error.strerror}") from None
    kept = _index(folder)
    for old in kept[kept["split"] == split][list(_FILES)].to_numpy().ravel():
        if isinstance(old, str) and old == Path(old).name:
            (folder / old).unlink(missing_ok=True)
    rows = []
    for one in pictures:
        name = f"{split}_{safe_name(one.case_id.replace('/', '_'))}"
        files = {"scan": (f"{name}{one.scan.suffix}", one.scan.data)}
        files |= {
            kind: (f"{name}_{kind}.png", data)
            for kind, data in (("truth", one.truth), ("prediction", one.prediction), ("map", one.map))
            if data
        }
        for file, data in files.values():
            with replacing(folder / file, durable=False) as temporary:
                temporary.write_bytes(data)
        rows.append(_row(one, split, {kind: file for kind, (file, _) in files.items()}))
    kept = kept[kept["split"] != split]
    new = pd.DataFrame(rows, columns=list(_COLUMNS))
    return write_table(pd.concat([kept, new], ignore_index=True) if len(kept) else new, folder / INDEX)


def read_gallery(run_dir: Path, split: str) -> list[CasePicture]:
    """The pictures that a run folder has of a part, in order; none where it has no gallery.

    A picture whose files are gone is left out.

    Raises:
        SuiteError: the table is damaged.
    """
    folder = run_dir / FOLDER
    table = _index(folder)
    found = []
    for row in table[table["split"] == split].to_dict("records"):
        try:
            found.append(_picture(folder, row))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, TypeError, OSError):
            raise SuiteError(
                f"{folder / INDEX}: is damaged: evaluate the checkpoint again with validate or test"
            ) from None
    return found


def _row(one: CasePicture, split: str, files: dict[str, str]) -> dict[str, Any]:
    low, high = one.scan.units or (None, None)
    return {
        "case_id": one.case_id,
        "split": split,
        "kinds": _BETWEEN.join(one.kinds),
        **files,
        "height": one.scan.size[0],
        "width": one.scan.size[1],
        "window_low": one.scan.window[0],
        "window_high": one.scan.window[1],
        "stored_low": low,
        "stored_high": high,
        "image_height": one.image_size[0],
        "image_width": one.image_size[1],
        "note": one.note,
        "map_of": one.map_of,
    }


def _picture(folder: Path, row: dict[Any, Any]) -> CasePicture:
    def data(kind: str) -> bytes:
        name = row[kind]
        if not isinstance(name, str) or not name:
            return b""
        # A folder from elsewhere must not bring another file of this machine into the report.
        if Path(name).name != name or Path(name).suffix not in (".png", ".jpg"):
            raise ValueError(name)
        content = (folder / name).read_bytes()
        if not content.startswith(_BEGINNINGS):
            raise ValueError(name)
        return content

    units = (float(row["stored_low"]), float(row["stored_high"]))
    scan = Thumbnail(
        data("scan"),
        (int(row["height"]), int(row["width"])),
        (float(row["window_low"]), float(row["window_high"])),
        None if pd.isna(units[0]) else units,
    )
    size = (int(row["image_height"]), int(row["image_width"]))
    kinds = str(row["kinds"]).split(_BETWEEN) if isinstance(row["kinds"], str) else []
    note = row["note"] if isinstance(row["note"], str) else ""
    of = row["map_of"] if isinstance(row["map_of"], str) else ""
    truth, prediction = data("truth"), data("prediction")
    return CasePicture(str(row["case_id"]), scan, size, truth, prediction, kinds, note, data("map"), of)


def _index(folder: Path) -> pd.DataFrame:
    file = folder / INDEX
    if not file.is_file():
        return pd.DataFrame(columns=list(_COLUMNS))
    table = read_table(file)
    table = table.assign(**{column: None for column in _NEWER if column not in table})
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise SuiteError(f"{file}: no column {missing[0]!r}: evaluate the checkpoint again with validate or test")
    return table
