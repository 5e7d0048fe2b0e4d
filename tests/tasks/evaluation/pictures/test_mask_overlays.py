from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.pictures.canvas import grid, legend, titled
from datamodules.pictures.panels import CLASS_COLOURS, UNKNOWN
from scansuite.errors import SuiteError
from tasks.evaluation.pictures.common import FALSE_CALL, MISSED, WRONG_CLASS, Overlay
from tasks.evaluation.pictures.mask_overlays import Shown, most_telling_slice, overlay, pick_cases, write_overlays

NAN = float("nan")
CLASSES = ["background", "anterior", "posterior"]


def table(values: dict[str, list[float]], metric: str = "dice") -> pd.DataFrame:
    rows = [(case, f"class {k}", value) for case, several in values.items() for k, value in enumerate(several)]
    return pd.DataFrame(rows, columns=["case_id", "class", metric])


def test_picks_of_a_table_worked_by_hand() -> None:
    # Means over the defined classes: a 0.7, b 0.9, c 0.2, d undefined, e 0.5, f 0.6
    frame = table({"a": [0.6, 0.8], "b": [NAN, 0.9], "c": [0.0, 0.4], "d": [NAN, NAN], "e": [0.5, NAN], "f": [0.6]})
    assert pick_cases(frame) == {"best": "b", "median": "f", "worst": "c"}
    # Of four, a b e f, the lower of the two in the middle.
    assert pick_cases(frame[frame["case_id"] != "c"]) == {"best": "b", "median": "f", "worst": "e"}
    assert pick_cases(frame.rename(columns={"dice": "iou"}), "iou")["worst"] == "c"


def test_picks_of_few_and_of_equal_cases() -> None:
    assert pick_cases(table({})) == {}
    assert pick_cases(table({"a": [NAN]})) == {}
    assert pick_cases(table({"a": [0.5], "b": [NAN]})) == {"best": "a"}
    assert pick_cases(table({"a": [0.5], "b": [0.6]})) == {"best": "b", "worst": "a"}
    assert pick_cases(table({"a": [0.5], "b": [0.5], "c": [0.5]})) == {"best": "a", "median": "b", "worst": "c"}
    with pytest.raises(SuiteError, match=r"no column 'nsd' \(found: case_id, class, dice\)"):
        pick_cases(table({"a": [0.5]}), "nsd")


def test_the_most_telling_slice() -> None:
    truth, prediction = np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4), np.uint8)
    assert most_telling_slice(truth, prediction) == 2
    prediction[4, :2] = 1
    truth[0] = 255
    assert most_telling_slice(truth, prediction) == 4
    truth[1, 0, :3] = 2
    truth[3, 0, 0] = 1
    assert most_telling_slice(truth, prediction) == 1
    regions = np.stack([truth == 1, truth == 2]).astype(np.uint8)
    assert most_telling_slice(regions, np.zeros_like(regions)) == 1
    assert most_telling_slice(np.zeros_like(regions), np.zeros_like(regions)) == 2


def panels(picture: NDArray[np.uint8], height: int, width: int) -> list[NDArray[np.uint8]]:
    """Scan, truth, prediction and errors, cut out of an overlay."""
    places = [(24, 8), (24, 16 + width), (56 + height, 8), (56 + height, 16 + width)]
    return [picture[top : top + height, left : left + width] for top, left in places]


def pixel(panel: NDArray[np.uint8], row: int, column: int, at: tuple[float, float] = (0.5, 0.5)) -> tuple[int, ...]:
    """The colour of a pixel of the mask, which is 24 x 24 in the picture, at its centre or elsewhere."""
    return tuple(panel[int((row + at[0]) * 24), int((column + at[1]) * 24)].tolist())


def test_colours_of_an_overlay() -> None:
    image = np.full((16, 20, 1), 0.5, np.float32)
    image[0, 0] = 1.0
    truth, prediction = np.zeros((16, 20), np.uint8), np.zeros((16, 20), np.uint8)
    truth[4:7, 4:7] = prediction[4:7, 4:7] = 1
    truth[10, 2] = 1  # missed
    prediction[10, 6] = 2  # false call
    truth[10, 10], prediction[10, 10] = 1, 2  # wrong class
    truth[10, 14], prediction[10, 14] = 255, 1  # unknown
    picture = overlay(image, truth, prediction, CLASSES)
    assert picture.dtype == np.uint8
    scan, true, called, errors = panels(picture, 384, 480)

    grey = pixel(scan, 15, 19)
    assert pixel(scan, 0, 0, (0.2, 0.2)) == (255, 255, 255)
    assert len(set(grey)) == 1
    assert pixel(true, 15, 19) == pixel(called, 15, 19) == grey
    assert pixel(errors, 15, 19) == (round(0.4 * grey[0]),) * 3

    green, purple = CLASS_COLOURS[:2]
    for panel in (true, called):
        assert pixel(panel, 4, 4, (0.05, 0.05)) == green  # the outline
        assert pixel(panel, 5, 5) == tuple(round(0.6 * g + 0.4 * c) for g, c in zip(grey, green, strict=True))
    assert pixel(true, 10, 2, (0.05, 0.5)) == pixel(true, 10, 10, (0.05, 0.5)) == green
    assert pixel(called, 10, 2) == grey
    assert pixel(true, 10, 6) == grey
    assert pixel(called, 10, 6, (0.05, 0.5)) == pixel(called, 10, 10, (0.05, 0.5)) == purple
    assert pixel(true, 10, 14) == UNKNOWN

    assert [pixel(errors, 10, column) for column in (2, 6, 10, 14)] == [MISSED, FALSE_CALL, WRONG_CLASS, UNKNOWN]
    assert pixel(errors, 5, 5) not in (MISSED, FALSE_CALL, WRONG_CLASS, pixel(errors, 15, 19))
    shown = {tuple(colour) for colour in picture[-24:].reshape(-1, 3).tolist()}
    assert {green, purple, MISSED, FALSE_CALL, WRONG_CLASS} <= shown  # the grey of letters has that of unknown


def test_the_legend_names_what_there_is() -> None:
    mask = np.zeros((16, 20), np.uint8)
    mask[3:6, 3:6] = 2
    picture = overlay(np.zeros((16, 20, 3), np.float32), mask, mask, CLASSES)
    shown = {tuple(colour) for colour in picture[-24:].reshape(-1, 3).tolist()}
    assert CLASS_COLOURS[1] in shown
    assert not {CLASS_COLOURS[0], MISSED, FALSE_CALL, WRONG_CLASS} & shown
    assert len(overlay(np.zeros((16, 20, 3), np.float32), mask * 0, mask * 0, CLASSES)) == len(picture) - 24


def test_overlapping_regions() -> None:
    truth = np.zeros((2, 16, 20), np.uint8)
    truth[0, 2:12, 2:12] = truth[1, 5:8, 5:8] = 1
    prediction = truth.copy()
    prediction[1, 5, 5] = 0
    prediction[0, 14, 14] = 1
    picture = overlay(np.zeros((16, 20, 1), np.float32), truth, prediction, ["whole", "core"], overlapping=True)
    _, true, called, errors = panels(picture, 384, 480)
    assert pixel(true, 2, 5, (0.05, 0.5)) == CLASS_COLOURS[0]
    assert pixel(true, 5, 6, (0.05, 0.5)) == CLASS_COLOURS[1]
    assert pixel(called, 5, 5, (0.05, 0.05)) != CLASS_COLOURS[1]
    assert pixel(errors, 5, 5) == MISSED
    assert pixel(errors, 14, 14) == FALSE_CALL
    assert pixel(errors, 9, 9) == pixel(errors, 3, 3)


def test_colour_stays_and_the_middle_of_other_channels_is_shown() -> None:
    empty = np.zeros((32, 32), np.uint8)
    for channels, expected in ((3, (128, 51, 255)), (5, (255, 255, 255)), (4, (255, 255, 255))):
        image = np.zeros((32, 32, channels), np.float32)
        image[:, :, 2 if channels > 3 else slice(None)] = 1.0 if channels > 3 else (0.5, 0.2, 1.0)
        scan = panels(overlay(image, empty, empty, CLASSES), 384, 384)[0]
        assert tuple(scan[100, 100].tolist()) == expected


@pytest.mark.parametrize(
    ("shape", "spacing", "panel"),
    [
        ((35, 51), None, (385, 561)),
        ((28, 28), None, (392, 392)),
        ((400, 500), None, (400, 500)),
        ((2000, 1000), None, (768, 384)),
        ((20, 400), None, (20, 400)),  # far from square: enlarged as far as the longer side allows
        ((20, 100), (5.0, 1.0), (400, 400)),
        ((100, 20), (0.5, 2.5), (400, 400)),
    ],
)
def test_sizes(shape: tuple[int, int], spacing: tuple[float, float] | None, panel: tuple[int, int]) -> None:
    empty = np.zeros(shape, np.uint8)
    picture = overlay(np.zeros((*shape, 1), np.float32), empty, empty, CLASSES, spacing=spacing)
    assert picture.shape == (2 * (24 + panel[0] + 8), 8 + 2 * (panel[1] + 8), 3)


def test_wrong_shapes() -> None:
    image, mask = np.zeros((8, 9, 1), np.float32), np.zeros((8, 9), np.uint8)
    with pytest.raises(ValueError, match="shape"):
        overlay(image, mask, mask[:4], CLASSES)
    with pytest.raises(ValueError, match="shape"):
        overlay(image, mask[:4], mask[:4], CLASSES)
    with pytest.raises(ValueError, match="1 classes"):
        overlay(image, np.stack([mask, mask]), np.stack([mask, mask]), ["one"], overlapping=True)


def test_words_fit_the_picture() -> None:
    panel = np.zeros((60, 200, 3), np.uint8)
    picture = grid([("left", panel), ("right", panel)])
    assert picture.shape == (24 + 60 + 8, 8 + 2 * 208, 3)
    assert (picture[:24] < 128).any()
    for text in ("x" * 500, "µ ж 漢\n\0\udc80", ""):
        above = titled(picture, text)
        assert above.shape[1] == picture.shape[1]
        assert np.array_equal(above[-len(picture) :], picture)
        assert not (above[: -len(picture), -8:] < 255).any()
    below = legend(picture, [(f"class {number}", (0, 0, 0)) for number in range(12)] + [("y" * 300, MISSED)])
    assert (len(below) - len(picture)) % 24 == 0
    assert len(below) > len(picture) + 48
    assert not (below[len(picture) :, -4:] < 255).any()


def scans(case_id: str) -> Shown:
    truth = np.zeros((16, 20), np.uint8)
    truth[2:5, 2:5] = 1
    return Shown(np.zeros((16, 20, 1), np.float32), truth, truth, note=f"slice 3 of {len(case_id)}")


def test_pictures_are_written(tmp_path: Path) -> None:
    frame = table({"a/../x": [0.9, 0.8], "b": [0.5, NAN], "c": [0.1, 0.2]})
    drawn = write_overlays(tmp_path / "overlays", "val", frame, scans, CLASSES)
    assert [(one.rank, one.case_id, one.title) for one in drawn] == [
        ("best", "a/../x", "best of val: a/../x, Dice 0.850 (slice 3 of 6)"),
        ("median", "b", "median of val: b, Dice 0.500 (slice 3 of 1)"),
        ("worst", "c", "worst of val: c, Dice 0.150 (slice 3 of 1)"),
    ]
    assert [one.file.name for one in drawn] == ["val_best_a_.._x.png", "val_median_b.png", "val_worst_c.png"]
    for one in drawn:
        with Image.open(one.file) as image:
            assert np.array_equal(np.asarray(image), one.picture)
        plain = overlay(*drawn_masks(one), CLASSES)
        assert np.array_equal(one.picture[-len(plain) :], plain)
        assert (one.picture[: -len(plain)] < 128).any()

    # Pictures of an earlier evaluation do not stay beside those of a later one.
    write_overlays(tmp_path / "overlays", "test", frame, scans, CLASSES)
    write_overlays(tmp_path / "overlays", "val", table({"z": [0.3]}), scans, CLASSES)
    names = sorted(file.name for file in (tmp_path / "overlays").iterdir())
    assert names == ["test_best_a_.._x.png", "test_median_b.png", "test_worst_c.png", "val_best_z.png"]


def drawn_masks(one: Overlay) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    shown = scans(one.case_id)
    return shown.image, shown.truth, shown.prediction


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, file: Path, format: str) -> None:
        file.write_bytes(b"\x89PNG")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(SuiteError, match=r"val_best_a\.png: cannot be written.*No space left"):
        write_overlays(tmp_path, "val", table({"a": [0.5]}), scans, CLASSES)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot be made"):
        write_overlays(tmp_path / "file", "val", table({"a": [0.5]}), scans, CLASSES)
