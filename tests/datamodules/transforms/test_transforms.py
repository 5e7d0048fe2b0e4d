from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.pictures.panels import CLASS_COLOURS, UNKNOWN
from datamodules.preprocess import Preprocess
from datamodules.transforms.names import PRESET_CONFIGS, PRESETS, AugmentConfig
from datamodules.transforms.pipeline import Augmentation
from datamodules.transforms.presets import build_augmentation, transforms_of
from datamodules.transforms.sheet import SheetRow, choose_rows, write_sheet
from scansuite.errors import SuiteError

RNG = np.random.default_rng(0)


def smooth(height: int, width: int, channels: int) -> NDArray[np.float32]:
    """Soft blobs in [0, 1], more like a scan than noise is."""
    image = cv2.GaussianBlur(RNG.random((height, width, channels), dtype=np.float32), (0, 0), 4)
    image = (image - image.min()) / (image.max() - image.min())
    return np.asarray(image, dtype=np.float32).reshape(height, width, channels)


def scans(kind: str) -> NDArray[np.float32]:
    if kind == "hu":
        hu = (smooth(48, 48, 1)[:, :, 0] * 4024 - 1024).astype(np.int16)
        return Preprocess(channels=1, windows=((40, 400),)).image(hu, "ct")
    if kind == "hu_windows":
        hu = (smooth(48, 48, 1)[:, :, 0] * 4024 - 1024).astype(np.int16)
        return Preprocess(channels=3, windows=((40, 80), (80, 200), (600, 2800))).image(hu, "ct")
    if kind == "uint16":
        return Preprocess(channels=1).image((smooth(48, 48, 1) * 65535).astype(np.uint16), "x")
    if kind == "five":
        return Preprocess(channels=5).image((smooth(48, 48, 5) * 65535).astype(np.uint16), "f")
    return Preprocess(channels=3).image((smooth(40, 56, 3) * 255).astype(np.uint8), "rgb")


@pytest.mark.parametrize("kind", ["hu", "hu_windows", "uint16", "five", "oblong_colour"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_on_every_kind_of_scan(preset: str, kind: str) -> None:
    image = scans(kind)
    before = image.copy()
    image.flags.writeable = False
    augment = build_augmentation(preset, channels=image.shape[2], size=(image.shape[0], image.shape[1]))
    results = [augment(image, (7, number))["image"] for number in range(12)]
    for result in results:
        assert result.dtype == np.float32
        assert result.shape == image.shape
        assert result.flags.c_contiguous
        assert np.isfinite(result).all()
        assert result.min() >= 0
        assert result.max() <= 1
        assert result.std() > 0.25 * image.std()  # the scan is still there
    changed = sum(not np.array_equal(result, before) for result in results)
    assert changed == 0 if preset == "none" else changed >= 8
    np.testing.assert_array_equal(image, before)


def test_a_dim_scan_keeps_its_signal_under_every_preset() -> None:
    dim = smooth(64, 64, 1) * 0.08
    for preset in PRESETS:
        augment = build_augmentation(preset, channels=1)
        for number in range(20):
            result = augment(dim, (number,))["image"]
            assert result.std() > 0.4 * dim.std(), preset


@pytest.mark.parametrize("preset", ["xray", "ct"])
def test_presets_that_keep_laterality_never_mirror(preset: str) -> None:
    config = PRESET_CONFIGS[preset]
    assert not any((config.horizontal_flip, config.vertical_flip, config.quarter_turns))
    image = np.zeros((32, 32, 1), np.float32)
    image[:, 20:] = 1
    augment = build_augmentation(preset, channels=1)
    for number in range(50):
        result = augment(image, (number,))["image"]
        assert result[:, 16:].mean() > result[:, :16].mean()


def test_only_presets_without_an_up_flip_vertically() -> None:
    upside_down = {name for name, config in PRESET_CONFIGS.items() if config.vertical_flip}
    assert upside_down == {"histology", "microscopy", "dermoscopy"}


def orientation(result: NDArray[np.float32]) -> tuple[int, int]:
    """Where the bright corner stands: (row, column) in {0, 1}."""
    height, width = result.shape[:2]
    row, column = np.unravel_index(int(result[:, :, 0].argmax()), (height, width))
    return int(row >= height // 2), int(column >= width // 2)


def test_flips_are_fair_and_independent() -> None:
    image = np.zeros((8, 10, 1), np.float32)
    image[0, 0] = 1
    augment = build_augmentation("none", horizontal_flip=True, vertical_flip=True, channels=1)
    found = np.zeros((2, 2))
    for number in range(2000):
        found[orientation(augment(image, (3, number))["image"])] += 1
    # Four cells of 500 expected; 4 standard deviations are 77. Correlated flips would leave two cells empty.
    assert (np.abs(found - 500) < 80).all(), found


def test_quarter_turns_reach_all_eight_symmetries_and_keep_oblong_shapes() -> None:
    augment = build_augmentation("none", channels=1, transforms=None)
    assert repr(augment) == "Augmentation(none)"
    image = np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3, 1)
    turns = Augmentation(transforms_of(AugmentConfig(horizontal_flip=True, quarter_turns=True), 1), channels=1)
    assert len({turns(image, (number,))["image"].tobytes() for number in range(200)}) == 8
    oblong = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3, 1)
    results = [turns(oblong, (number,))["image"] for number in range(200)]
    assert {result.shape for result in results} == {(2, 3, 1)}
    assert len({result.tobytes() for result in results}) == 4


def test_same_words_repeat_whatever_was_called_before_and_other_words_differ() -> None:
    image = scans("oblong_colour")
    first = build_augmentation("strong", channels=3)
    second = build_augmentation("strong", channels=3)
    words = [(0, 0), (0, 1), (1, 0), (12345678901234567890, 2), (0,), ()]
    forward = {word: first(image, word)["image"] for word in words}
    for word in reversed(words):
        np.testing.assert_array_equal(second(image, word)["image"], forward[word])
    assert len({result.tobytes() for result in forward.values()}) == len(words)


def _augment_in_worker(task: tuple[Augmentation, NDArray[np.float32], list[tuple[int, int]]]) -> list[bytes]:
    augment, image, words = task
    return [augment(image, word)["image"].tobytes() for word in words]


def test_a_spawned_worker_gives_what_the_main_process_gives() -> None:
    image = scans("hu")
    augment = build_augmentation("strong", channels=1)
    augment(image, (9, 9))  # a history that must not matter
    words = [(0, number) for number in range(6)]
    wanted = [augment(image, word)["image"].tobytes() for word in words]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (elsewhere,) = pool.map(_augment_in_worker, [(augment, image, words[::-2])])
    assert elsewhere == wanted[::-2]
    assert len(set(wanted)) == len(words)


def test_pickled_augmentation_with_boxes_and_listed_transforms() -> None:
    augment = build_augmentation("medium", channels=3, boxes=True, transforms=["CLAHE", "Sharpen"])
    image = scans("oblong_colour")
    boxes, labels = np.array([[5, 5, 20, 20]], np.float32), np.array([2])
    copied = pickle.loads(pickle.dumps(augment))
    for number in range(3):
        one, other = (each(image, (number,), boxes=boxes, labels=labels) for each in (augment, copied))
        assert one.keys() == other.keys() == {"image", "boxes", "labels"}
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_ranges_replace_the_presets_own() -> None:
    image = smooth(64, 64, 1)
    off = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "brightness": 0.0, "contrast": 0.0}
    still = build_augmentation("light", horizontal_flip=False, **off, channels=1)  # type: ignore[arg-type]
    assert repr(still) == "Augmentation(none)"
    augment = build_augmentation("none", brightness=0.5, channels=1)
    gains = [augment(image * 0.5, (n,))["image"].mean() / (image * 0.5).mean() for n in range(200)]
    assert 0.5 <= min(gains) < 0.6
    assert 1.4 < max(gains) <= 1.5 + 1e-4


def test_shift_and_rotation_stay_in_their_range_and_fill_with_black() -> None:
    image = np.ones((100, 100, 1), np.float32)
    augment = build_augmentation("none", shift=0.2, channels=1)
    black = [float((augment(image, (n,))["image"][50, :, 0] < 0.5).mean()) for n in range(200)]
    assert 0.15 < max(black) <= 0.2 + 0.011
    strong = build_augmentation("strong", shift=0.5, channels=1)
    assert sum(strong(image * 0.5, (n,))["image"].min() == 0 for n in range(50)) > 30
    line = np.zeros((101, 101, 1), np.float32)
    line[50] = 1
    augment = build_augmentation("none", rotation=30, channels=1)
    angles = []
    for number in range(200):
        rows, columns = np.nonzero(augment(line, (number,))["image"][:, :, 0] > 0.4)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
    assert -30.5 < min(angles) < -25
    assert 25 < max(angles) < 30.5


def test_contrast_keeps_the_mean_and_scales_the_spread() -> None:
    image = smooth(64, 64, 3) * 0.4 + 0.3
    augment = build_augmentation("none", contrast=0.3, channels=3)
    ratios = []
    for number in range(100):
        result = augment(image, (number,))["image"]
        assert result.mean() == pytest.approx(image.mean(), abs=1e-3)
        ratios.append(result.std() / image.std())
    assert 0.69 < min(ratios) < 0.75
    assert 1.25 < max(ratios) < 1.31


def test_noise_follows_the_spread_of_the_image() -> None:
    noise = Augmentation(transforms_of(AugmentConfig(noise=0.1), 1), channels=1)
    for image in (smooth(64, 64, 1) * 0.5 + 0.25, smooth(64, 64, 1) * 0.05 + 0.25):
        added = [float((noise(image, (n,))["image"] - image).std() / image.std()) for n in range(100)]
        assert 0.08 < max(added) < 0.103


def test_every_channel_moves_alike() -> None:
    image = np.repeat(smooth(48, 48, 1), 5, axis=2)
    augment = build_augmentation("none", rotation=20, scale=0.2, shift=0.1, channels=5)
    for number in range(10):
        result = augment(image, (number,))["image"]
        np.testing.assert_allclose(result, np.repeat(result[:, :, :1], 5, axis=2), atol=1e-5)


def test_mask_moves_with_the_image() -> None:
    mask = np.zeros((64, 64), np.int64)
    mask[10:30, 12:50] = 300  # needs more than 8 bits
    image = (mask[:, :, None] > 0).astype(np.float32)
    augment = build_augmentation("histology", rotation=20, scale=0.1, shift=0.1, channels=1, brightness=0, contrast=0)
    for number in range(20):
        result = augment(image, (number,), mask=mask)
        assert result["mask"].dtype == np.int64
        assert set(np.unique(result["mask"])) <= {0, 300}
        assert ((result["image"][:, :, 0] > 0.5) != (result["mask"] > 0)).mean() < 0.02


def test_overlapping_masks_move_layer_by_layer() -> None:
    masks = (RNG.random((6, 32, 40)) > 0.5).astype(np.uint8)
    image = masks[0][:, :, None].astype(np.float32)
    augment = build_augmentation("light", channels=1)
    for number in range(4):
        together = augment(image, (number,), mask=masks)["mask"]
        alone = np.stack([augment(image, (number,), mask=layer)["mask"] for layer in masks])
        np.testing.assert_array_equal(together, alone)


def test_boxes_follow_are_clipped_and_dropped_with_their_labels() -> None:
    image = np.zeros((64, 64, 1), np.float32)
    image[20:40, 8:24] = 1
    boxes = np.array([[8, 20, 24, 40], [0, 0, 2, 2], [30, 30, 30, 40]], np.float32)  # the last one has no area
    labels = np.array([4, 7, 9])
    augment = build_augmentation("none", shift=0.2, horizontal_flip=True, channels=1, boxes=True)
    dropped = 0
    for number in range(50):
        result = augment(image, (number,), boxes=boxes, labels=labels)
        assert result["boxes"].dtype == np.float32
        assert len(result["boxes"]) == len(result["labels"])
        assert 9 not in result["labels"]
        assert result["boxes"].min(initial=0) >= 0
        assert result["boxes"].max(initial=0) <= 64
        dropped += 7 not in result["labels"]
        rows, columns = np.nonzero(result["image"][:, :, 0] > 0.5)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(result["boxes"][list(result["labels"]).index(4)], found, atol=1.01)
    assert 0 < dropped < 50
    empty = augment(image, (0,), boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    assert empty["boxes"].shape == (0, 4)
    assert empty["labels"].shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"preset": "xry"}, "did you mean xray"),
        ({"preset": "light", "rotation": 200}, "rotation 200"),
        ({"preset": "light", "scale": 1.0}, "scale 1.0"),
        ({"preset": "light", "shift": -0.1}, "shift -0.1"),
        ({"preset": "light", "color": 0.2, "channels": 1}, "colour needs images of 3 channels"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        build_augmentation(**{"channels": 3, **wrong})


def test_names_import_nothing_heavy_and_albumentations_stays_offline() -> None:
    code = (
        "import sys, os\n"
        "import datamodules.transforms.names\n"
        "assert not {'numpy', 'cv2', 'albumentations', 'torch'} & set(sys.modules)\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment)


def test_sheet_shows_the_original_first(tmp_path: Path) -> None:
    images = [scans("hu"), scans("oblong_colour")[:, :, :1], smooth(200, 100, 1)]
    file = tmp_path / "samples.png"
    rows = [SheetRow(image) for image in images]
    write_sheet(rows, build_augmentation("medium", channels=1), file, columns=5, tile=64)
    sheet = cv2.imread(str(file))
    assert sheet is not None
    assert sheet.shape == (3 * 72, 5 * 68 + 4, 3)
    wanted = cv2.resize(images[0], (64, 64), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_allclose(sheet[4:68, 4:68, 0] / 255, wanted, atol=0.003)
    assert not np.array_equal(sheet[4:68, 4:68], sheet[4:68, 72:136])
    with pytest.raises(SuiteError, match="cannot be written"):
        write_sheet(rows, build_augmentation("none", channels=1), tmp_path / "missing" / "samples.png")


def test_sheet_draws_masks_and_boxes_where_the_augmentation_puts_them(tmp_path: Path) -> None:
    image = np.full((64, 64, 1), 0.5, np.float32)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:24, 8:24], mask[40:56, 40:56] = 2, 255
    boxes, labels = np.array([[8, 40, 24, 56]], np.float32), np.array([2])
    rows = [SheetRow(image, mask, caption="a mask"), SheetRow(image, boxes=boxes, labels=labels)]
    mirror = Augmentation([albumentations.HorizontalFlip(p=1)], channels=1, boxes=True)
    write_sheet(rows, mirror, tmp_path / "s.png", class_names=["a", "b", "c"], columns=2, tile=64)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "s.png")), cv2.COLOR_BGR2RGB)
    caption = sheet.shape[0] - 2 * 72 - 24  # above the first row; a line of the legend is below the last
    first, second = sheet[caption:][4:68, 4:68], sheet[caption:][4:68, 72:136]
    assert tuple(first[8, 12]) == tuple(second[8, 64 - 13]) == CLASS_COLOURS[1]  # the outline of class 2
    assert tuple(first[48, 48]) == tuple(second[48, 63 - 48]) == UNKNOWN
    first, second = sheet[caption + 72 :][4:68, 4:68], sheet[caption + 72 :][4:68, 72:136]
    assert tuple(first[40, 12]) == tuple(second[40, 63 - 12]) == CLASS_COLOURS[2]
    below = sheet[-24:]
    for number, present in enumerate((False, True, True)):  # the legend names what is there
        assert (below == CLASS_COLOURS[number]).all(axis=2).any() == present


def test_rows_of_a_sheet_show_all_classes() -> None:
    def row(*labels: int) -> SheetRow:
        return SheetRow(
            np.zeros((4, 4, 1), np.float32), None, np.zeros((len(labels), 4), np.float32), np.array(labels, int)
        )

    many = [row(), row(0), row(0), row(1), row(0, 1), row(0), row(2)]
    chosen = choose_rows(many, 4)
    assert [sorted(one.classes()) for one in chosen] == [[0, 1], [2], [0], [1]]
    assert len(choose_rows(many, 20)) == 7
    assert choose_rows([row(), row()], 1)[0].classes() == set()
    regions = SheetRow(np.zeros((4, 4, 1), np.float32), np.eye(3, 16).reshape(3, 4, 4).astype(np.uint8))
    assert regions.classes() == {0, 1, 2}


def test_real_scans_survive_every_preset(shared_data: Path) -> None:
    chest = sorted((shared_data / "nih_cxr64" / "train").rglob("*.png"))[:4]
    nuclei = sorted((shared_data / "dsb2018_nuclei" / "images").glob("*.png"))[:4]
    for channels, files in ((1, chest), (3, nuclei)):
        spec = Preprocess(size=(64, 64), channels=channels)
        images = [spec.image(np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)), str(file)) for file in files]
        for preset in PRESETS:
            augment = build_augmentation(preset, channels=channels, size=(64, 64))
            for number, image in enumerate(images):
                result = augment(image, (number,))["image"]
                assert result.std() > 0.5 * image.std(), (preset, files[number].name)
