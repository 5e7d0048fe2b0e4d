"""What cannot be read is named before anything is trained or evaluated, or left out whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.readers.hashing import array_hash, volume_hash
from datamodules.readers.volume import read_volume
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Scan
from scansuite.errors import SuiteError
from tasks.training.provenance import provenance_of
from tests.datamodules.checks.checking import findings
from tests.datamodules.pictures_on_disk import picture, refuse_reading, write_masks, write_pairs
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCANSUITE_CACHE", str(folder))
    return folder


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize("workers", [0, 2])
def test_all_that_cannot_be_read_is_named_at_once(
    workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_masks(tmp_path)
    for name in ("images/02", "images/05", "masks/07", "images/09"):
        cut_off(root / f"{name}.png")

    def data(**settings: Any) -> MaskFolder:
        return MaskFolder(str(root), num_workers=workers, classes=["background", "organ"], **settings)

    with pytest.raises(SuiteError) as caught:
        _ = data().table
    line = str(caught.value)
    assert "\n" not in line
    for part in ("images/02.png: ", "images/05.png: ", "masks/07.png: ", "; ...", "4 of 12 cases", "the verb check",
                 "--data.skip_unreadable true"):  # fmt: skip
        assert part in line
    assert "images/09.png" not in line
    for settings in ({}, {"split": "all_test"}):
        left = data(skip_unreadable=True, **settings)
        kept = [f"{number:02d}" for number in range(12) if number not in (2, 5, 7, 9)]
        assert left.table.cases["case_id"].tolist() == kept
        assert left.table.images["path"].tolist() == [f"images/{name}.png" for name in kept]
        assert sorted(left.unreadable) == ["02", "05", "07", "09"]
        assert list(left.contents) == [array_hash(picture(int(name))) for name in kept]
        np.testing.assert_array_equal(left.read_classes(3), picture(4) % 2)
    assert "4 of 12 cases cannot be read and are left out" in caplog.text
    assert "images/09.png" in caplog.text


def test_check_draws_the_split_without_what_is_left_out(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "set")
    cut_off(root / "images" / "02.png")

    def data() -> MaskFolder:
        return MaskFolder(str(root), num_workers=0, classes=["background", "organ"], skip_unreadable=True, folds=2)

    trained = data()
    split = dict(zip(trained.table.cases["case_id"], trained.table.cases["split"], strict=True))
    other = data()
    found = findings(other, tmp_path / "check")
    cases = other.table.cases.set_index("case_id")["split"]
    assert cases.index[cases.isna()].tolist() == ["02"]
    assert cases.dropna().to_dict() == split
    assert found["severity"][found["kind"] == "unreadable"].tolist() == ["warning"]


def test_a_split_that_names_a_case_that_is_left_out_still_holds(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "set")
    parts = ["test", "val", *["train"] * 10]
    frame = pd.DataFrame({"case_id": [f"{number:02d}" for number in range(12)], "split": parts})
    frame.to_csv(tmp_path / "split.csv", index=False)
    cut_off(root / "images" / "02.png")
    settings: dict[str, Any] = {"num_workers": 0, "classes": ["background", "organ"]}
    data = MaskFolder(str(root), split_file=str(tmp_path / "split.csv"), skip_unreadable=True, **settings)
    assert data.table.cases["split"].tolist() == parts[:-1]
    frame.assign(case_id=frame["case_id"].replace("05", "other")).to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(SuiteError, match="case_id '05' is not in it"):
        _ = MaskFolder(str(root), split_file=str(tmp_path / "split.csv"), skip_unreadable=True, **settings).table


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    root = write_masks(tmp_path, 3)
    for file in (root / "images").iterdir():
        cut_off(file)
    with pytest.raises(SuiteError, match="3 of 3 cases cannot be read"):
        _ = MaskFolder(str(root), num_workers=0, classes=["background", "organ"], skip_unreadable=True).table


@pytest.mark.parametrize("damaged", ["imagesTr/case_3.nii.gz", "labelsTr/case_3.nii.gz"])
def test_volumes_that_cannot_be_read_are_left_out(damaged: str, tmp_path: Path) -> None:
    for number in range(8):
        write_nifti(tmp_path / "imagesTr" / f"case_{number}.nii.gz", picture(number, np.int16, (9, 8, 5)))
        write_nifti(tmp_path / "labelsTr" / f"case_{number}.nii.gz", picture(number, np.uint8, (9, 8, 5)) % 2)
    cut_off(tmp_path / damaged)
    for classes in (["background", "organ"], None):
        settings: dict[str, Any] = {"num_workers": 0, "folds": 2, "classes": classes}
        with pytest.raises(SuiteError, match=rf"{damaged}: .*\(1 of 8 cases cannot be read"):
            _ = Volumes(str(tmp_path), **settings).table
        data = Volumes(str(tmp_path), skip_unreadable=True, **settings)
        assert data.table.cases["case_id"].tolist() == [f"case_{number}" for number in range(8) if number != 3]
        assert data.unreadable == ["case_3"]
        np.testing.assert_array_equal(data.true_mask(3), picture(4, np.uint8, (9, 8, 5)) % 2)


def test_a_case_of_many_volumes_is_left_out_whole(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        write_nifti(tmp_path / f"{number}.nii.gz", picture(number, np.int16, (9, 8, 3)))
        rows.append({"path": f"{number}.nii.gz", "label": "ab"[number // 2 % 2], "case_id": f"v{number // 2}"})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    cut_off(tmp_path / "5.nii.gz")
    data = ImageTable(str(tmp_path), num_workers=0, bags=True, split="all_test", skip_unreadable=True)
    assert data.table.cases["case_id"].tolist() == ["v0", "v1", "v3", "v4", "v5"]
    assert data.unreadable == ["v2"]
    first = [volume_hash(read_volume(tmp_path / f"{number}.nii.gz")) for number in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)]
    assert list(data.contents) == [content for content in first for _ in range(3)]
    slices = ImageTable(str(tmp_path), num_workers=0, bags=True, split="all_test", skip_unreadable=True)
    assert slices.read(18).array.shape[:2] == (8, 9)


def test_a_damaged_stack_among_stacks_is_named_as_damaged(tmp_path: Path) -> None:
    for number in range(6):
        tifffile.imwrite(tmp_path / f"{number}.tif", picture(number, shape=(3, 9, 8)), photometric="minisblack")
    rows = [{"path": f"{number}.tif", "label": "ab"[number % 2]} for number in range(6)]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "4.tif").write_bytes((tmp_path / "4.tif").read_bytes()[:12])
    with pytest.raises(SuiteError, match=r"4\.tif: .*\(1 of 6 cases cannot be read"):
        _ = ImageTable(str(tmp_path), num_workers=0, split="all_test").table
    data = ImageTable(str(tmp_path), num_workers=0, folds=2, skip_unreadable=True)
    assert len(data.table) == 15
    assert data.unreadable == ["4"]


def test_a_mistake_in_a_table_is_named_before_any_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "scans"
    write_pairs(root)
    pd.DataFrame({"case_id": ["a/00"], "split": ["test"]}).to_csv(tmp_path / "split.csv", index=False)
    refuse_reading(monkeypatch)
    with pytest.raises(SuiteError, match=r"--data\.split_file .*split\.csv: case_id"):
        _ = ImageFolder(str(root), num_workers=0, split_file=str(tmp_path / "split.csv")).table
    frame = pd.DataFrame({"path": [f"a/{number:02d}.png" for number in (0, 2, 4)], "label": ["x", None, "y"]})
    frame.to_csv(root / "labels.csv", index=False)
    with pytest.raises(SuiteError, match=r"labels\.csv.*label"):
        _ = ImageTable(str(root), num_workers=0).table


class Hostile(ImageFolder):
    """One of its files ends the process that reads it."""

    def read(self, image: int) -> Scan:
        if str(self.table.images["path"].iat[image]).endswith("04.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(image)


def test_a_file_that_kills_its_reader_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.raises(SuiteError, match=r"a/04\.png: the process that read it died \(signal 9\) \(1 of 20 cases"):
        _ = Hostile(str(tmp_path), num_workers=1).table
    data = Hostile(str(tmp_path), num_workers=2, skip_unreadable=True)
    assert len(data.table) == 19
    assert data.unreadable == ["a/04"]


def test_a_full_cache_is_no_fault_of_the_data(tmp_path: Path) -> None:
    for number in range(4):
        write_nifti(tmp_path / "imagesTr" / f"case_{number}.nii.gz", picture(number, np.int16, (9, 8, 5)))
        write_nifti(tmp_path / "labelsTr" / f"case_{number}.nii.gz", picture(number, np.uint8, (9, 8, 5)) % 2)
    (tmp_path / "taken").write_text("")
    with pytest.raises(SuiteError, match=r"cannot be written.*--data\.cache_dir") as caught:
        _ = Volumes(str(tmp_path), classes="a,b", num_workers=0, cache_dir=str(tmp_path / "taken" / "cache"),
                    skip_unreadable=True).table  # fmt: skip
    assert "cases cannot be read" not in str(caught.value)


def test_no_file_is_read_before_it_is_used_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_pairs(tmp_path)
    cut_off(tmp_path / "a" / "00.png")
    flags: dict[str, Any] = {"num_workers": 0, "image_size": 16, "channels": 1, "normalize": "none"}
    with monkeypatch.context() as patch:
        read = refuse_reading(patch)
        data = ImageFolder(str(tmp_path), check_files=False, **flags)
        assert len(data.table) == 20
        assert set(data.table.cases["split"]) == {"train", "val", "test"}
        assert read == []
    assert list(data.contents) == []
    assert data.images_in_two_parts == 0
    assert "no file is read before it is used" in caplog.text
    case = data.table.cases.index[data.table.cases["case_id"] == "a/00"].to_numpy()
    with pytest.raises(SuiteError, match=r"a/00\.png"):
        _ = data.dataset(case)[0]
    with pytest.raises(SuiteError, match="leave one of the two out"):
        ImageFolder(str(tmp_path), check_files=False, skip_unreadable=True)
    assert len(provenance_of(data).mine.trained.image) == 0
    assert len(provenance_of(data).mine.trained.case_id) == len(data.rows("train"))
