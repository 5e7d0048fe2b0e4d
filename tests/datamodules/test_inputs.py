"""Files, folders and tables to predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tifffile import imwrite

from datamodules.inputs import InputFiles
from datamodules.preprocess import Preprocess
from datamodules.readers.raster import read
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import write_scans

SPEC = Preprocess(size=(8, 8), channels=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scans(tmp_path / "scans", ["b/2.png", "b/1.PNG", "a.png"])
    (tmp_path / "scans" / "notes.txt").write_text("no scan")
    return tmp_path / "scans"


def names(inputs: InputFiles, *texts: Path | str) -> dict[str, str]:
    cases = inputs.table([str(text) for text in texts]).cases
    return dict(zip(cases["case_id"], cases["path"], strict=True))


# What is read.


def test_a_folder_is_searched_and_cases_are_named_relative_to_it(folder: Path) -> None:
    assert names(InputFiles(), folder) == {
        "a": str(folder / "a.png"),
        "b/1": str(folder / "b/1.PNG"),
        "b/2": str(folder / "b/2.png"),
    }


def test_single_files_and_several_inputs(folder: Path) -> None:
    assert names(InputFiles(), folder / "b" / "2.png") == {"2": str(folder / "b/2.png")}
    assert list(names(InputFiles(), folder / "b", folder / "a.png")) == ["1", "2", "a"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".csv.gz"])
def test_a_table_names_its_files_and_may_name_its_cases(suffix: str, folder: Path) -> None:
    frame = pd.DataFrame({"image": ["b/2.png", "a.png"], "case_id": ["007", "008"]})
    file = folder / f"list{suffix}"

    def write(frame: pd.DataFrame) -> None:
        if suffix == ".parquet":
            frame.to_parquet(file)
        else:
            frame.to_csv(file, sep="\t" if suffix == ".tsv" else ",", index=False)

    write(frame)
    expected = {"007": str(folder / "b/2.png"), "008": str(folder / "a.png")}
    assert names(InputFiles(path_column="image"), file) == expected
    write(frame[["image"]])
    assert list(names(InputFiles(path_column="image"), file)) == ["b/2", "a"]


def test_paths_of_a_table_are_relative_to_the_root_where_one_is_given(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"path\na.png\n{folder / 'b/2.png'}\n")
    assert list(names(InputFiles(root=str(folder)), file).values()) == [str(folder / "a.png"), str(folder / "b/2.png")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "file\na.png\n",
            r"no column 'path' for --data\.path_column: 'file' holds paths of files: give --data\.path_col",
        ),
        ("image;x\nb.png;1\n", r"list\.csv: no column 'path' for --data\.path_column: there are image, x"),
        ("path,x\na.png,1\n,2\n", r"list\.csv: column 'path' is empty in row 2"),
        ("path,case_id\na.png,1\nb/2.png,1\n", "case_id '1' is duplicated"),
        ("path,case_id\na.png,1\nb/2.png,\n", "case_id is empty in row 2"),
        ("path\n", "the table has no rows"),
    ],
)
def test_tables_that_do_not_say_what_to_read_are_refused(table: str, says: str, folder: Path) -> None:
    (folder / "list.csv").write_text(table)
    with pytest.raises(SuiteError, match=says):
        InputFiles().table([str(folder / "list.csv")])


def test_what_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=rf"--input {tmp_path}/nowhere: no such file or folder"):
        InputFiles().table([str(folder), str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match=rf"--input {tmp_path}/empty: no images found"):
        InputFiles().table([str(tmp_path / "empty")])


# Batches.


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_what_the_spec_makes_of_the_files(workers: int, folder: Path) -> None:
    inputs = InputFiles(batch_size=2, num_workers=workers)
    table = inputs.table([str(folder)])
    batches = list(inputs.loader(table, SPEC, rank=0, world_size=1))
    assert [len(batch["image"]) for batch in batches] == [2, 1]
    assert [scan["case_id"] for batch in batches for scan in batch["scan"]] == ["a", "b/1", "b/2"]
    images = torch.cat([batch["image"] for batch in batches])
    expected = torch.stack([torch.from_numpy(SPEC(read(Path(path)))) for path in table.cases["path"]])
    assert torch.equal(images.permute(0, 2, 3, 1), expected)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert all(batch["unreadable"] == [] for batch in batches)
    assert all("label" not in batch for batch in batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_files_are_listed_and_the_rest_goes_on(workers: int, folder: Path, tmp_path: Path) -> None:
    (folder / "b" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    # A channel count that the spec has no rule for.
    imwrite(folder / "c.tif", np.zeros((8, 8, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    file = tmp_path / "list.csv"
    file.write_text("path\na.png\ngone.png\nb/2.png\nnotes.txt\nb/1.PNG\nc.tif\n")
    inputs = InputFiles(root=str(folder), batch_size=2, num_workers=workers)
    batches = list(inputs.loader(inputs.table([str(file)]), SPEC, rank=0, world_size=1))
    assert [len(batch["scan"]) for batch in batches] == [1, 0, 1]
    assert [scan["case_id"] for batch in batches for scan in batch["scan"]] == ["a", "b/1"]
    assert batches[1]["image"].shape[0] == 0
    reasons = dict(entry for batch in batches for entry in batch["unreadable"])
    assert list(reasons) == [str(folder / name) for name in ("gone.png", "b/2.png", "notes.txt", "c.tif")]
    for (path, reason), says in zip(
        reasons.items(), ("no such file", "cannot be decoded", "not a raster image", "has 5 channels"), strict=True
    ):
        assert reason.startswith(f"{path}: {says}")
        assert "\n" not in reason


def test_ranks_share_the_files_and_mark_the_padding(folder: Path) -> None:
    inputs = InputFiles(batch_size=2, num_workers=0)
    table = inputs.table([str(folder)])
    loaders = [inputs.loader(table, SPEC, rank, 2) for rank in range(2)]
    scans = [[scan for batch in loader for scan in batch["scan"]] for loader in loaders]
    assert [[scan["case_id"] for scan in rank] for rank in scans] == [["a", "b/2"], ["b/1", "a"]]
    assert [[scan.get("padding", False) for scan in rank] for rank in scans] == [[False, False], [False, True]]


def test_files_that_differ_in_suffix_or_folder_alone_are_told_apart(tmp_path: Path) -> None:
    for name in ("one/x.png", "two/x.png", "one/y.png"):
        write_scans(tmp_path, [name])
    cases = InputFiles().table([str(tmp_path / "one"), str(tmp_path / "two")]).cases
    assert cases["case_id"].tolist() == [str(tmp_path / "one/x.png"), "y", str(tmp_path / "two/x.png")]
