"""Cases of many images: rows of one case, slices of volumes, what is shown of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.classification.bag_images import drawn, spaced
from datamodules.classification.bags import BagDataset
from datamodules.classification.image_table import ImageTable
from datamodules.inputs import InputFiles
from datamodules.readers.raster import read
from datamodules.samples.dataset import ScanDataset
from datamodules.samples.sources import Samples, ScanSource
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import write_scans
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def several_views(root: Path, cases: int = 12) -> pd.DataFrame:
    """One to three views a case, rows of the cases mixed."""
    rows = [
        {
            "path": f"{case:02d}/{view}.png",
            "case_id": f"study {case}",
            "label": "ab"[case % 2],
            "view": view,
            "age": case,
        }
        for view in range(3)
        for case in range(cases)
        if view <= case % 3
    ]
    frame = pd.DataFrame(rows)
    write_scans(root, frame["path"])
    frame.to_csv(root / "labels.csv", index=False)
    return frame


def volumes_of(root: Path, depths: list[int]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    for number, depth in enumerate(depths):
        array = rng.integers(0, 900, (20, 24, depth)).astype(np.int16)
        write_nifti(root / f"v{number:02d}.nii.gz", array)
    frame = pd.DataFrame(
        {"path": [f"v{n:02d}.nii.gz" for n in range(len(depths))], "label": ["ab"[n % 2] for n in range(len(depths))]}
    )
    frame.to_csv(root / "labels.csv", index=False)
    return frame


def test_training_draws_one_image_of_each_stretch_and_repeats_with_the_seed() -> None:
    for seed in range(50):
        chosen = drawn(20, 4, (seed, 1))
        assert [number // 5 for number in chosen] == [0, 1, 2, 3]
        np.testing.assert_array_equal(chosen, drawn(20, 4, (seed, 1)))
    assert len({tuple(drawn(20, 4, (seed, 1))) for seed in range(50)}) > 30
    assert set(np.concatenate([drawn(7, 3, (seed,)) for seed in range(200)])) == set(range(7))
    np.testing.assert_array_equal(drawn(3, 4, (0,)), range(3))


def test_evaluation_takes_all_images_or_evenly_spaced_ones() -> None:
    np.testing.assert_array_equal(spaced(5, 0), range(5))
    np.testing.assert_array_equal(spaced(5, 5), range(5))
    np.testing.assert_array_equal(spaced(9, 3), [1, 4, 7])
    np.testing.assert_array_equal(spaced(10, 4), [1, 3, 6, 8])


def test_rows_with_one_case_id_are_a_case(tmp_path: Path) -> None:
    several_views(tmp_path)
    data = ImageTable(str(tmp_path), bags=True, folds=2, image_size=16)
    cases = data.table.cases
    assert cases["case_id"].tolist() == [f"study {case}" for case in range(12)]
    assert cases["age"].tolist() == list(range(12))
    assert cases["view"].isna().tolist() == [case % 3 > 0 for case in range(12)]  # it is of an image, not of a case
    assert data.class_counts == [float(x) for x in np.bincount(data.targets.values[data.rows("train")])]
    owner = data.table.images["case"]
    assert [f"{case:02d}/" == path[:3] for case, path in zip(owner, data.table.images["path"], strict=True)]
    assert np.bincount(owner).tolist() == [1, 2, 3] * 4

    rows = np.array([2, 4])
    dataset = data.dataset(rows)
    assert isinstance(dataset, BagDataset)
    assert [dataset[case]["image"].shape[0] for case in range(2)] == [3, 2]
    sample = dataset[Draw(1, padding=True)]
    assert sample["scan"]["case_id"] == "study 4"
    assert sample["scan"]["padding"]
    assert [Path(image.path).name for image in sample["bag"]] == ["0.png", "1.png"]
    single = ScanDataset(
        ScanSource(lambda _: read(tmp_path / "04/1.png"), Samples(np.arange(1), [{}]), data.preprocess)
    )
    np.testing.assert_array_equal(sample["image"][1], single[0]["image"])
    np.testing.assert_array_equal(sample["image"][1], data.preprocess(read(tmp_path / "04/1.png")).transpose(2, 0, 1))
    batch = dataset.collate([dataset[0], dataset[1]])
    assert batch["image"].shape == (5, data.in_channels, 16, 16)
    assert [len(bag) for bag in batch["bags"]] == [3, 2]
    assert batch["label"].tolist() == data.targets.values[rows].tolist()
    assert (dataset.in_memory()[1]["image"] == sample["image"]).all()


def test_volumes_are_bags_of_their_slices_and_evaluated_up_to_the_limit(tmp_path: Path) -> None:
    volumes_of(tmp_path, [6, 9, 3, 5, 7, 4])
    settings: dict[str, Any] = {"bags": True, "folds": 3, "test_fraction": 0.0, "bag_size": 4, "neighbors": 1}
    data = ImageTable(str(tmp_path), **settings, bag_limit=5)
    assert data.table.cases["case_id"].tolist() == [f"v{number:02d}" for number in range(6)]
    assert np.bincount(data.table.images["case"]).tolist() == [6, 9, 3, 5, 7, 4]
    assert (data.in_channels, data.input_size) == (3, (32, 32))
    assert data.slices is not None
    assert data.slices.percentiles == (0.5, 99.5)
    assert data.preprocess.percentiles is None
    rows = np.arange(6)
    evaluated = data.dataset(rows)
    assert [image.slice for image in evaluated[1]["bag"]] == spaced(9, 5).tolist()
    assert len(evaluated[2]["bag"]) == 3
    assert evaluated[1]["scan"]["spacing"] == pytest.approx((0.8, 0.9, 3.0))
    assert evaluated[1]["scan"]["original_size"] == (24, 20)
    training = data.dataset(rows, augmented=True)
    draw = Draw(1, (3, 0, 7))
    assert [image.slice for image in training[draw]["bag"]] == drawn(9, 4, draw.seed).tolist()
    assert (training[draw]["image"] == training[draw]["image"]).all()
    assert not (training[draw]["image"] == training[Draw(1, (3, 1, 7))]["image"]).all()
    assert data.cases_in_batch("train") == 32
    assert data.cases_in_batch("val") == 32 * 4 // 5
    assert data.statistics is not None


def test_without_aggregate_each_slice_is_a_case_and_a_volume_stays_in_one_part(tmp_path: Path) -> None:
    volumes_of(tmp_path, [6, 9, 3, 5, 7, 4])
    cases = ImageTable(str(tmp_path), folds=3, test_fraction=0.0).table.cases
    assert len(cases) == 34
    assert cases["case_id"].tolist()[5:7] == ["v00/0005", "v01/0000"]
    assert cases.groupby("path")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("change", "bags", "says"),
    [
        (
            {"label": "b"},
            True,
            r"the rows of case_id 'study 2' differ in column 'label' \(a in row 3, b in row 14\)",
        ),
        ({"path": "02/0.png"}, True, r"02/0\.png is duplicated in case_id 'study 2' \(again in row 14\)"),
        (
            {},
            False,
            r"case_id 'study 1' is duplicated \(rows 2, 13\): evaluate its images together with --model\.aggregate",
        ),
        ({"path": "v.nii.gz"}, True, r"v\.nii\.gz is a volume and 00/0\.png is not"),
    ],
)
def test_tables_that_do_not_say_what_a_case_is(change: dict[str, str], bags: bool, says: str, tmp_path: Path) -> None:
    frame = several_views(tmp_path)
    write_nifti(tmp_path / "v.nii.gz", np.zeros((4, 4, 2), np.uint8))
    for column, value in change.items():
        frame.loc[13, column] = value
    frame.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(SuiteError, match=says) as caught:
        _ = ImageTable(str(tmp_path), bags=bags).table
    assert "\n" not in str(caught.value)


def test_an_unreadable_volume_is_named_before_training(tmp_path: Path) -> None:
    volumes_of(tmp_path, [3, 3])
    (tmp_path / "v01.nii.gz").write_bytes(b"no volume")
    with pytest.raises(SuiteError, match=r"v01\.nii\.gz"):
        _ = ImageTable(str(tmp_path), bags=True).table
    with pytest.raises(SuiteError, match=r"--data\.bag_size 0"):
        ImageTable(str(tmp_path), bag_size=0)
    with pytest.raises(SuiteError, match=r"--data\.bag_limit -1"):
        ImageTable(str(tmp_path), bag_limit=-1)


def test_files_to_predict_are_grouped_by_folder_or_case_id(tmp_path: Path) -> None:
    frame = several_views(tmp_path / "a")
    write_scans(tmp_path / "b", pd.Series(["00/x.png", "y.png"]))
    inputs = InputFiles(num_workers=0)
    table = inputs.table([str(tmp_path / "a"), str(tmp_path / "b/y.png")], together=True)
    assert table.cases["case_id"].tolist() == [f"{case:02d}" for case in range(12)] + ["y"]
    assert np.bincount(table.images["case"]).tolist() == [1, 2, 3] * 4 + [1]
    table = inputs.table([str(tmp_path / "a/labels.csv")], together=True)
    assert table.cases["case_id"].tolist() == frame["case_id"].unique().tolist()
    assert np.bincount(table.images["case"]).tolist() == [1, 2, 3] * 4
    table = inputs.table([str(tmp_path / "a"), str(tmp_path / "b")], together=True)
    assert table.cases["case_id"].iloc[[0, 12, 13]].tolist() == [str(tmp_path / "a/00"), str(tmp_path / "b/00"), "b"]
