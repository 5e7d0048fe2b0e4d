"""Pictures of cases in a run folder: read back as they were written, a part at a time, nothing from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from scansuite.errors import SuiteError
from tasks.evaluation.gallery.store import CasePicture, read_gallery, write_gallery
from tasks.evaluation.gallery.thumbnails import heat_layer, mask_picture, scan_thumbnail


def picture(case_id: str, value: int = 100) -> CasePicture:
    array = np.full((20, 30), value, np.uint8)
    array[5:9] = 200
    mask = (array == 200).astype(np.uint8)
    spec = Preprocess(channels=1, value_range=(0.0, 255.0))
    return CasePicture(
        case_id, scan_thumbnail(Scan(array), spec), (20, 30), mask_picture(mask, 1, (20, 30)), b"", ("worst", "best"),
        "slice 3 of 9",
    )  # fmt: skip


@pytest.mark.parametrize("case_id", ["a", "NA", "007", "p/q r", "../up", "<script>", "ü;,\"'", "a; b"])
def test_what_is_written_is_read(tmp_path: Path, case_id: str) -> None:
    table = write_gallery(tmp_path, "test", [picture(case_id), picture("z", 40)])
    assert table == tmp_path / "gallery" / "gallery.csv"
    assert {file.parent for file in tmp_path.rglob("*") if file.is_file()} == {tmp_path / "gallery"}
    first, second = read_gallery(tmp_path, "test")
    assert vars(first) == {**vars(picture(case_id)), "kinds": ["worst", "best"]}
    assert second.case_id == "z"
    assert read_gallery(tmp_path, "val") == []


def test_maps_are_kept_and_older_galleries_have_none(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 20 * 30, dtype=np.float32).reshape(20, 30)
    mapped = replace(picture("a"), map=heat_layer(values, (20, 30)), map_of="ill")
    write_gallery(tmp_path, "test", [mapped, picture("b")])
    first, second = read_gallery(tmp_path, "test")
    assert (first.map, first.map_of) == (mapped.map, "ill")
    assert (second.map, second.map_of) == (b"", "")
    layer = np.asarray(Image.open(BytesIO(first.map)).convert("RGBA"))
    assert layer[0, 0, 3] == 0  # nothing where the map is 0
    assert layer[-1, -1, 3] == layer[..., 3].max() > 150
    table = tmp_path / "gallery" / "gallery.csv"
    pd.read_csv(table).drop(columns=["map", "map_of"]).to_csv(table, index=False)
    assert [one.map for one in read_gallery(tmp_path, "test")] == [b"", b""]
    write_gallery(tmp_path, "val", [mapped])
    assert [one.map_of for one in read_gallery(tmp_path, "val")] == ["ill"]
    write_gallery(tmp_path, "val", [])
    assert not list((tmp_path / "gallery").glob("val*"))


def test_a_part_is_replaced_and_the_other_stays(tmp_path: Path) -> None:
    write_gallery(tmp_path, "val", [picture("a"), picture("b")])
    write_gallery(tmp_path, "test", [picture("a", 50)])
    write_gallery(tmp_path, "val", [picture("c")])
    assert [one.case_id for one in read_gallery(tmp_path, "val")] == ["c"]
    assert [one.case_id for one in read_gallery(tmp_path, "test")] == ["a"]
    names = {file.name for file in (tmp_path / "gallery").iterdir()}
    assert names == {"gallery.csv", "test_a.png", "test_a_truth.png", "val_c.png", "val_c_truth.png"}


def test_no_folder_lost_files_and_no_case(tmp_path: Path) -> None:
    assert read_gallery(tmp_path, "test") == []
    write_gallery(tmp_path, "test", [picture("a"), picture("b")])
    (tmp_path / "gallery" / "test_a.png").unlink()
    assert [one.case_id for one in read_gallery(tmp_path, "test")] == ["b"]
    write_gallery(tmp_path, "test", [])
    assert read_gallery(tmp_path, "test") == []


@pytest.mark.parametrize("cell", ["../secret.png", "/etc/passwd", "secret.txt", "fake.png", ".."])
def test_a_table_from_elsewhere_brings_no_other_file(tmp_path: Path, cell: str) -> None:
    file = write_gallery(tmp_path, "test", [picture("a")])
    for name in ("secret.png", "gallery/secret.txt", "gallery/fake.png"):
        (tmp_path / name).write_text("secret")
    table = pd.read_csv(file)
    table["truth"] = cell
    table.to_csv(file, index=False)
    with pytest.raises(SuiteError, match=r"gallery\.csv: is damaged: evaluate the checkpoint again"):
        read_gallery(tmp_path, "test")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    file = write_gallery(tmp_path, "test", [picture("a")])
    table = pd.read_csv(file)
    table.assign(height="tall").to_csv(file, index=False)
    with pytest.raises(SuiteError, match="is damaged"):
        read_gallery(tmp_path, "test")
    table.drop(columns="note").to_csv(file, index=False)
    with pytest.raises(SuiteError, match="no column 'note'"):
        read_gallery(tmp_path, "test")
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "gallery").write_text("")
    with pytest.raises(SuiteError, match="the folder for pictures cannot be made"):
        write_gallery(blocked, "test", [picture("a")])
