"""Tables that name images and masks: one way for flat images and volumes, under the names that people give columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.readers.raster import write_png
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.pair_table import PairColumns, read_pairs
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import write_nifti

CASES = 6
Kind = type[MaskFolder] | type[Volumes]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def shape_of(kind: Kind) -> tuple[int, ...]:
    return (12, 14, 4) if kind is Volumes else (12, 14)


def mask_of(kind: Kind, number: int) -> Any:
    return (np.random.default_rng(number).random(shape_of(kind)) < 0.3).astype(np.uint8)


def pairs(root: Path, kind: Kind) -> pd.DataFrame:
    """Images ``a/0`` and their masks ``b/0-x``, two of each patient."""
    suffix = ".nii.gz" if kind is Volumes else ".png"
    write: Any = write_nifti if kind is Volumes else write_png
    rows = []
    for number in range(CASES):
        files = [f"a/{number}{suffix}", f"b/{number}-x{suffix}"]
        noise = np.random.default_rng([1, number]).integers(0, 100, shape_of(kind))
        for file, array in zip(files, (noise.astype(np.uint8), mask_of(kind, number)), strict=True):
            (root / file).parent.mkdir(exist_ok=True)
            write(root / file, array)
        rows.append([*files, f"p{number // 2}"])
    return pd.DataFrame(rows, columns=["image", "seg", "patient_id"])


def data_of(kind: Kind, root: Path, frame: pd.DataFrame, **settings: Any) -> SegmentationData:
    frame.to_csv(root / "t.csv", index=False)
    given: dict[str, Any] = {"num_workers": 0, "split": "all_test", "augment": "none", "check_files": False}
    return kind(str(root), table="t.csv", classes=["background", "cell"], **given, **settings)


def sizes(data: SegmentationData) -> list[int]:
    """Pixels of the class in each case."""
    owners = data.table.images["case"].to_numpy()
    counts = [int(data.read_classes(image).sum()) for image in range(len(owners))]
    return [int(count) for count in np.bincount(owners, counts)]


def true_sizes(kind: Kind) -> list[int]:
    return [int(mask_of(kind, number).sum()) for number in range(CASES)]


@pytest.mark.parametrize("kind", [MaskFolder, Volumes])
@pytest.mark.parametrize(
    ("named", "flags"),
    [
        ({"image": "path", "seg": "mask"}, {}),
        ({"image": "path", "seg": "label"}, {}),
        ({"image": "path"}, {"mask_column": "seg"}),
        ({"seg": "label"}, {"path_column": "image"}),
        ({}, {"path_column": "image", "mask_column": "seg"}),
    ],
)
def test_columns_bear_the_usual_names_or_those_of_the_flags(
    kind: Kind, named: dict[str, str], flags: dict[str, str], tmp_path: Path
) -> None:
    frame = pairs(tmp_path, kind).rename(columns=named)
    data = data_of(kind, tmp_path, frame, **flags)
    assert sizes(data) == true_sizes(kind)
    assert list(data.table.cases["path"]) == list(frame.iloc[:, 0])
    assert data.table.patients_known
    # The table's own columns go along under their own names.
    assert set(frame.columns) <= set(data.table.cases.columns)


@pytest.mark.parametrize("kind", [MaskFolder, Volumes])
@pytest.mark.parametrize("other", ["mask", "label"])
@pytest.mark.parametrize("values", [["yes", "no"] * (CASES // 2), [1, 0] * (CASES // 2)])
def test_a_class_beside_a_mask_is_no_mask(kind: Kind, other: str, values: Any, tmp_path: Path) -> None:
    """``label`` says what an image shows, and ``mask`` whether it has one, where another column holds the files."""
    frame = pairs(tmp_path, kind).rename(columns={"image": "path", "seg": "label" if other == "mask" else "mask"})
    frame[other] = values
    data = data_of(kind, tmp_path, frame)
    assert sizes(data) == true_sizes(kind)
    assert list(map(str, data.table.cases[other])) == list(map(str, values))


@pytest.mark.parametrize(("kind", "first", "second"), [(MaskFolder, "mask", "label"), (Volumes, "label", "mask")])
def test_of_two_columns_of_files_the_usual_one_counts(kind: Kind, first: str, second: str, tmp_path: Path) -> None:
    frame = pairs(tmp_path, kind).rename(columns={"image": "path", "seg": first})
    images = list(frame["path"])
    assert sizes(data_of(kind, tmp_path, frame.assign(**{second: images}))) == true_sizes(kind)
    # And the flag says otherwise.
    turned = frame.assign(**{second: frame[first].tolist(), first: images})
    assert sizes(data_of(kind, tmp_path, turned, mask_column=second)) == true_sizes(kind)


def test_names_without_suffix_are_found(tmp_path: Path) -> None:
    frame = pairs(tmp_path, MaskFolder).rename(columns={"image": "path"})
    bare = frame.assign(path=frame["path"].str.removesuffix(".png"), seg=frame["seg"].str.removesuffix(".png"))
    data = data_of(MaskFolder, tmp_path, bare, mask_column="seg")
    assert sizes(data) == true_sizes(MaskFolder)
    assert list(data.table.cases["seg"]) == list(frame["seg"])


@pytest.mark.parametrize("kind", [MaskFolder, Volumes])
@pytest.mark.parametrize(
    ("named", "flags", "line"),
    [
        ({"image": "path"}, {}, "'seg' holds paths of files: give --data.mask_column seg"),
        (
            {"seg": "mask"},
            {},
            "no column 'path' for --data.path_column: 'image' holds paths of files: give --data.path",
        ),
        ({"image": "path"}, {"mask_column": "sag"}, "no column 'sag' for --data.mask_column: did you mean 'seg'?"),
        ({"image": "path", "seg": "mask"}, {"mask_column": "path"}, "has the images there"),
        ({"image": "path", "seg": "mask"}, {"mask_column": "patient_id"}, "p0 in column 'patient_id' is not below"),
    ],
)
def test_mistakes_name_the_flag(
    kind: Kind, named: dict[str, str], flags: dict[str, str], line: str, tmp_path: Path
) -> None:
    data = data_of(kind, tmp_path, pairs(tmp_path, kind).rename(columns=named), **flags)
    with pytest.raises(SuiteError) as caught:
        _ = data.table
    assert line in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_empty_cells_are_named_by_the_column_of_the_file(tmp_path: Path) -> None:
    frame = pairs(tmp_path, MaskFolder)
    frame.loc[2, "seg"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SuiteError, match=r"t\.csv: column 'seg' is empty in row 3"):
        read_pairs(tmp_path, tmp_path / "t.csv", PairColumns("image", "seg"))


def test_paths_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "a"
    frame = pairs(tmp_path, MaskFolder)
    frame["image"] = frame["image"].str.removeprefix("a/")
    frame["seg"] = "../" + frame["seg"]
    frame.to_csv(root / "t.csv", index=False)
    columns = PairColumns("image", "seg")
    with pytest.raises(SuiteError, match=r"column 'seg'.*\.\./b/0-x\.png"):
        read_pairs(root, root / "t.csv", columns)
    read, masks = read_pairs(root, root / "t.csv", columns, allow_outside=True)
    assert (len(read), masks) == (CASES, "seg")
