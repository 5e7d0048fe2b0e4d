"""What stored label values and colours mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.readers.raster import write_png
from datamodules.samples.label_values import IGNORE, label_values
from datamodules.segmentation.masks import foreground, read_label_file, read_palette, stack_classes
from scansuite.errors import SuiteError


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64"])
def test_values_become_class_numbers(dtype: str) -> None:
    values = label_values({"tumour": 7, "background": 0, "organ": [2, 5]}, ignore_value=9)
    assert values.names == ("background", "organ", "tumour")
    stored = np.array([[0, 2, 5], [7, 9, 0]], dtype=dtype)
    found = values.read(stored, "mask.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 1], [2, IGNORE, 0]])


def test_names_alone_are_numbered_around_the_ignored_value() -> None:
    assert label_values(["air", "a", "b"]).values == ((0,), (1,), (2,))
    assert label_values(["air", "a"], ignore_value=0).values == ((1,), (2,))
    assert label_values(["air", "a"], ignore_value=-1).read(np.array([-1, 0, 1]), "m").tolist() == [IGNORE, 0, 1]


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (
            np.array([0, 1, 3, 3, 250], np.uint8),
            r"m\.png: unknown label value 3, 250 \(3 pixels\): the classes are a=0",
        ),
        (np.array([0, -1], np.int16), "unknown label value -1"),
        (np.array([0, 65535], np.uint16), "unknown label value 65535"),
        (np.array([0, 0.5], np.float32), r"label value 0\.5 is no whole number"),
        (np.array([0, np.nan]), "label value nan is no whole number"),
    ],
)
def test_unknown_values_are_refused_by_name(stored: Any, says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        label_values(["a", "b"]).read(stored, "m.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "ignore", "says"),
    [
        (["a"], None, "at least a background and one class"),
        (["a", "b", "a"], None, "'a' is duplicated"),
        ({"a": 0, "b": 0}, None, "label value 0 is given twice"),
        ({"a": 0, "b": 1}, 1, "label value 1 is given twice"),
        ({"a": 0, "b": "x"}, None, "b is 'x', but a label value is a whole number"),
        ([str(number) for number in range(300)], None, "300 classes"),
    ],
)
def test_senseless_classes_are_refused(classes: Any, ignore: int | None, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        label_values(classes, ignore)


PALETTES = {
    "rgb.csv": "class,r,g,b\nbackground,0,0,0\nliver,255,0,0\nignore,255,255,255\n",
    "hex.csv": "name,colour\nbackground,#000000\nliver,ff0000\nignore,#FFFFFF\n",
    "list.json": json.dumps({"background": [0, 0, 0], "liver": [255, 0, 0], "ignore": [255, 255, 255]}),
    "hex.json": json.dumps({"background": "#000000", "liver": "#ff0000", "ignore": "ffffff"}),
}


@pytest.mark.parametrize("name", PALETTES)
def test_palettes(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(PALETTES[name])
    palette = read_palette(tmp_path / name)
    assert palette.names == ("background", "liver")
    picture = np.array([[[0, 0, 0], [255, 0, 0]], [[255, 255, 255], [255, 0, 0]]], np.uint8)
    want = [[0, 1], [IGNORE, 1]]
    np.testing.assert_array_equal(palette.read(picture, "m.png"), want)
    np.testing.assert_array_equal(palette.read(np.dstack([picture, picture[:, :, 0]]), "m.png"), want)
    picture[1, 0] = 254, 0, 1
    with pytest.raises(SuiteError, match=r"m\.png: unknown colour \(254, 0, 1\) at row 1, column 0 .*--data\.palette"):
        palette.read(picture, "m.png")
    with pytest.raises(SuiteError, match="a colour mask is an 8-bit picture, not uint16"):
        palette.read(picture.astype(np.uint16), "m.png")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.csv", "class,red\na,1\n", "expected columns class,r,g,b or class,colour"),
        ("p.csv", "class,r,g,b\na,0,0,0\nb,0,0,0\n", r"colour \(0, 0, 0\) of class 'a' is duplicated"),
        ("p.csv", "class,r,g,b\na,0,0,0\nb,0,0,256\n", "neither three numbers 0..255 nor #rrggbb"),
        ("p.csv", "class,colour\na,#000000\nb,red\n", "colour 'red' of class 'b'"),
        ("p.json", "[1]", "expected"),
        ("p.json", "{", "no JSON"),
        ("p.json", '{"a": "#000000"}', "at least a background and one class"),
    ],
)
def test_senseless_palettes_are_refused(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SuiteError, match=says) as caught:
        read_palette(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(SuiteError, match=r"none\.json: cannot be read"):
        read_palette(tmp_path / "none.json")


def test_label_files_keep_their_stored_values(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    write_png(tmp_path / "grey.png", values)
    write_png(tmp_path / "deep.png", values.astype(np.uint16) * 300)
    write_png(tmp_path / "colour.png", np.dstack([values] * 3))
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(values > 0).save(tmp_path / "bit.png")
    for name, want in (
        ("grey", values), ("deep", values.astype(int) * 300), ("colour", values), ("palette", values),
        ("bit", values > 0),
    ):  # fmt: skip
        np.testing.assert_array_equal(read_label_file(tmp_path / f"{name}.png"), want, err_msg=name)
    write_png(tmp_path / "red.png", np.dstack([values, values * 0, values * 0]))
    with pytest.raises(SuiteError, match=r"red\.png: the mask is a colour picture.*--data\.palette"):
        read_label_file(tmp_path / "red.png")
    data = (tmp_path / "palette.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[:-25])
    with pytest.raises(SuiteError, match=r"cut\.png: cannot be decoded"):
        read_label_file(tmp_path / "cut.png")


def test_foreground_and_stacked_classes() -> None:
    np.testing.assert_array_equal(foreground(np.array([0, 1, 255, 40000], np.uint16), "m.png"), [0, 1, 1, 1])
    first, second = np.array([[1, 0, 0]], np.uint8), np.array([[0, 0, 1]], np.uint8)
    np.testing.assert_array_equal(stack_classes([first, second], ["a", "b"], "m"), [[1, 0, 2]])
    with pytest.raises(SuiteError, match=r"m: 1 pixels belong to 'a' and to 'b'.*--data\.overlapping true"):
        stack_classes([first, first], ["a", "b"], "m")
