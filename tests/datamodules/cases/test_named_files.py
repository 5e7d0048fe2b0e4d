"""Paths in a user's table: without their suffix, in the wrong column, or under another name."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from datamodules.cases.named_files import drop_missing, holds_files, no_column, swapped, with_suffixes
from scansuite.errors import SuiteError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a/IM0001.dcm", "a/IM0002", "b/x.nii.gz", "b/y.png", "b/y.jpg", "b/notes.txt", "b/.z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_paths_without_suffix_are_those_of_the_one_file_that_has_it(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    missing = ["a/IM0001", "a/IM0003", "b/x", "b/x.nii", "b/notes", "b/z", "c/d", "a/", ""]
    assert with_suffixes(root, missing, "t.csv") == {"a/IM0001": "a/IM0001.dcm", "b/x": "b/x.nii.gz"}
    assert caplog.messages == ["t.csv: 2 paths have no suffix: a/IM0001 is a/IM0001.dcm, for instance"]
    with pytest.raises(SuiteError, match=r"t\.csv: b/y may be y\.jpg or y\.png in .*: write the suffix, or remove one"):
        with_suffixes(root, ["b/y"], "t.csv")


def test_a_link_that_leads_out_is_refused_behind_a_suffix_too(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.touch()
    (root / "a" / "link.png").symlink_to(outside)
    with pytest.raises(SuiteError, match=r"link\.png \(number 1\) is outside"):
        with_suffixes(root, ["a/link"], "t.csv")
    assert with_suffixes(root, ["a/link"], "t.csv", allow_outside=True) == {"a/link": "a/link.png"}


def test_rows_are_kept_by_the_file_that_is_meant(root: Path) -> None:
    frame = pd.DataFrame({"path": ["a/IM0001", "a/IM0002", "b/x.nii.gz"], "n": [1, 2, 3]})
    kept = drop_missing(frame, "path", root, Path("t.csv"))
    assert kept["path"].tolist() == ["a/IM0001.dcm", "a/IM0002", "b/x.nii.gz"]
    assert kept["n"].tolist() == [1, 2, 3]
    with pytest.raises(SuiteError, match="a/IM0009 in column 'path' is not below"):
        drop_missing(frame.assign(path=["a/IM0001", "a/IM0009", "b/x"]), "path", root, Path("t.csv"))


def test_columns_of_files(root: Path) -> None:
    frame = pd.DataFrame(
        {"path": ["ill", "well"], "label": ["a/IM0001", "b/x.nii.gz"], "n": [1, 2], "half": ["a/IM0002", "no"]}
    )
    assert [name for name in frame if frame[name].dtype == "str" and holds_files(frame[name], root)] == ["label"]
    assert swapped(frame, "path", ["n", "label"], root) == "label"
    assert swapped(frame, "label", ["path"], root) is None  # as it should be
    assert swapped(frame, "path", ["n", "half"], root) is None


@pytest.mark.parametrize(
    ("columns", "flag", "says"),
    [
        (["pth", "label"], "--data.path_column", "no column 'path' for --data.path_column: did you mean 'pth'?"),
        (["image", "label"], "--data.path_column", "'image' holds paths of files: give --data.path_column image"),
        (["image", "label"], None, "no column 'path': 'image' holds paths of files: call it 'path'"),
        (["a/IM0002", "1"], None, "its first line names a file, no columns (a/IM0002, 1): write a line with the names"),
        (["u#v"], None, "there is 'u#v' alone: if that is several, name what separates them with --data.separator"),
        (["u", "label"], None, "no column 'path': there are u, label"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_a_mend(
    columns: list[str], flag: str | None, says: str, root: Path
) -> None:
    first = ["a/IM0001", "b/y.png"] if columns[0] == "image" else ["p", "q"]
    frame = pd.DataFrame(dict(zip(columns, [first, ["0", "1"]], strict=False)))
    assert says in str(no_column(Path("t.csv"), frame, "path", flag, root))
