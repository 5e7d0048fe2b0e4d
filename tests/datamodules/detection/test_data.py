"""Boxes stay on what they bound, on the way from the file to the batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datamodules.detection.coco import Coco
from datamodules.loading.case_source import TableCases
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.phantoms.boxes import Phantoms
from datamodules.preprocess import Preprocess
from datamodules.readers.raster import write_png
from datamodules.samples.boxes import Boxes
from datamodules.samples.mosaic import mosaic
from datamodules.samples.sources import Shown
from datamodules.transforms.names import AugmentArgs
from datamodules.types import Draw, Sample, Scan, ScanInfo
from scansuite.errors import SuiteError

Rectangle = tuple[int, int, int, int]
# Height, width and a bright rectangle; even, so that halving is exact.
SCANS: list[tuple[int, int, Rectangle]] = [
    (40, 80, (10, 4, 30, 20)),
    (80, 40, (6, 30, 26, 70)),
    (80, 80, (2, 2, 18, 22)),
    (60, 80, (50, 40, 80, 60)),
    (80, 60, (0, 0, 20, 20)),
]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_scans(root: Path, scans: Sequence[tuple[int, int, Rectangle]] = SCANS, repeat: int = 4) -> Path:
    """Dark scans with one bright rectangle each, and its box; copies differ in the shade of the dark."""
    images, annotations = [], []
    (root / "images").mkdir(parents=True)
    for number in range(len(scans) * repeat):
        height, width, (x1, y1, x2, y2) = scans[number % len(scans)]
        array = np.full((height, width), 40 + number, np.uint8)
        array[y1:y2, x1:x2] = 255
        write_png(root / "images" / f"s{number:02d}.png", array)
        images.append({"id": number, "file_name": f"s{number:02d}.png", "height": height, "width": width})
        annotations.append({"image_id": number, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "bright"}]}
    (root / "boxes.json").write_text(json.dumps(content))
    return root


BOXES = Boxes(lambda _: (np.zeros((0, 4)), np.zeros(0, np.int64)))


def data_of(root: Path, **settings: Any) -> Coco:
    return Coco(str(root), **{"num_workers": 0, "batch_size": 4, "augment": "none", **settings})


def bright_box(image: NDArray[np.float32]) -> list[int]:
    """Where an image (C, H, W) is bright."""
    rows, columns = (np.flatnonzero((image[0] > 0.6).any(axis=axis)) for axis in (1, 0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def check(sample: Sample, within: float) -> None:
    """The one box of a sample is where the image is bright."""
    assert sample["boxes"].shape == (1, 4)
    assert (sample["boxes"].dtype, sample["labels"].tolist()) == (torch.float32, [0])
    np.testing.assert_allclose(sample["boxes"][0], bright_box(sample["image"].numpy()), atol=within)


# Padding.


def test_images_keep_their_aspect_and_are_filled_up(tmp_path: Path) -> None:
    data = data_of(write_scans(tmp_path), image_size=40)
    assert (data.input_size, data.preprocess.fit) == ((40, 40), "pad")
    dataset = data.dataset(np.arange(20))
    for case in range(20):
        height, width, rectangle = SCANS[case % 5]
        sample = dataset[case]
        content = sample["scan"]["content_size"]
        assert content == (height // 2, width // 2)
        assert sample["boxes"].tolist() == [[side / 2 for side in rectangle]]
        check(sample, within=0)
        image = sample["image"].numpy()
        assert image[:, : content[0], : content[1]].min() > 0.1
        assert not image[:, content[0] :].any()
        assert not image[:, :, content[1] :].any()


def test_filling_does_not_count_in_the_statistics(tmp_path: Path) -> None:
    data = data_of(write_scans(tmp_path), image_size=40, normalize="train")
    dataset = data.dataset(data.rows("train"))
    pixels = []
    for case in range(len(dataset)):
        sample = dataset[case]
        height, width = sample["scan"]["content_size"]
        image = sample["image"][:, :height, :width].numpy()
        pixels.append((image.mean(axis=(1, 2)), np.square(image).mean(axis=(1, 2))))
    mean, square = np.mean(pixels, axis=0)
    assert data.statistics is not None
    np.testing.assert_allclose(data.statistics, [mean, np.sqrt(square - mean**2)], atol=1e-5)


@pytest.mark.parametrize("size", [(40, 40), (33, 57), (200, 90)])
def test_padding_is_that_of_the_whole_image_tile_by_tile(size: tuple[int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    spec = Preprocess(size=size, fit="pad")
    scan = Scan(array, ScanInfo(path="x"))
    whole = spec(scan)
    opened = spec.opened(scan)
    height, width = spec.content_size((31, 47))
    assert (whole.shape, opened.size, opened.content_size) == ((*size, 3), size, (height, width))
    assert height == size[0] or width == size[1]
    assert abs(height / width - 31 / 47) < 0.05
    np.testing.assert_array_equal(whole[:height, :width], Preprocess(size=(height, width))(scan))
    assert not whole[height:].any()
    assert not whole[:, width:].any()
    for top in range(0, size[0], 16):
        for left in range(0, size[1], 16):
            tile = opened.tile(top, left, 16, 16)
            np.testing.assert_array_equal(tile, whole[top : top + 16, left : left + 16])
    mask = np.ones((31, 47), np.uint8)
    np.testing.assert_array_equal(spec.mask(mask)[:height, :width], 1)
    assert spec.mask(mask).sum() == height * width


def test_checkpoints_without_a_fit_stretch() -> None:
    plain = Preprocess(size=(8, 9)).to_dict()
    del plain["fit"]
    assert Preprocess.from_dict(plain) == Preprocess(size=(8, 9), fit="stretch")
    padded = Preprocess(size=(8, 9), fit="pad")
    assert Preprocess.from_dict(padded.to_dict()) == padded
    with pytest.raises(SuiteError, match="fit 'crop' is neither stretch nor pad"):
        Preprocess(fit="crop")  # type: ignore[arg-type]


def test_evaluation_sees_what_shows_the_scan(tmp_path: Path) -> None:
    data = data_of(write_scans(tmp_path), image_size=40)
    dataset = data.dataset(np.arange(5))
    batches = list(case_loader(CaseStream(TableCases(data, np.arange(5)), data.preprocess, batch_size=2)))
    assert len(batches) == 5
    for case, batch in enumerate(batches):
        torch.testing.assert_close(batch["image"][0], dataset[case]["image"], rtol=0, atol=0)
        assert batch["pieces"][0].size == batch["scan"][0]["content_size"] == dataset[case]["scan"]["content_size"]


def test_the_default_size_is_that_of_the_largest_image(tmp_path: Path) -> None:
    assert data_of(write_scans(tmp_path / "small")).input_size == (80, 80)
    assert data_of(tmp_path / "small", min_image_size=224).input_size == (224, 224)
    assert data_of(write_scans(tmp_path / "large", [(300, 1024, (8, 8, 96, 96))], 20)).input_size == (150, 512)


# Augmentation, patches, mosaics.


def test_the_default_augmentation_moves_boxes(tmp_path: Path) -> None:
    data = data_of(write_scans(tmp_path), augment="light", image_size=80)
    dataset = data.dataset(np.arange(20), augmented=True)
    moved = 0
    for case in range(20):
        sample = dataset[Draw(case, (0, 0, case))]
        # A turned rectangle has a larger box than the sum of its pixels at an angle shows: within a few pixels.
        check(sample, within=4)
        moved += not np.allclose(sample["boxes"][0], SCANS[case % 5][2])
    assert moved > 10


def test_flips_and_quarter_turns_are_exact(tmp_path: Path) -> None:
    args = AugmentArgs(brightness=0, contrast=0, color=0)
    data = data_of(write_scans(tmp_path), augment="histology", augment_args=args, image_size=80)
    dataset = data.dataset(np.arange(20), augmented=True)
    for case in range(20):
        for epoch in range(4):
            check(dataset[Draw(case, (0, epoch, case))], within=0.6)


def test_boxes_are_zoomed_with_the_image(tmp_path: Path) -> None:
    write_scans(tmp_path)
    plain, zoomed = (data_of(tmp_path, patch_size="400,400", zoom=zoom).dataset(np.arange(20)) for zoom in (1, 1.5))
    for case in range(20):
        one, other = plain[case], zoomed[case]
        torch.testing.assert_close(other["boxes"], one["boxes"] * 1.5, atol=0.6, rtol=0)  # of a side rounded to a pixel
        height, width = (round(side * 1.5) for side in SCANS[case % 5][:2])  # beyond it the edge is repeated
        other["image"] = other["image"][:, :height, :width]
        check(other, within=0.6)


def bright_pixels_of(boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    inside = np.zeros(size, bool)
    for x1, y1, x2, y2 in boxes.round().astype(int):
        inside[y1:y2, x1:x2] = True
    return inside


def test_a_mosaic_keeps_the_boxes_of_all_four() -> None:
    parts = []
    for number, (height, width, (x1, y1, x2, y2)) in enumerate(SCANS[:4]):
        image = np.zeros((80, 80, 1), np.float32)
        image[:height, :width] = 0.1 + 0.1 * number
        image[y1:y2, x1:x2] = 1
        box = (np.array([[x1, y1, x2, y2]], np.float64), np.array([number]))
        parts.append(Shown(image, (box,), ScanInfo(), (height, width)))
    counts = []
    for seed in range(40):
        image, ((boxes, labels),), _, content, _ = mosaic(parts, [BOXES], (seed,))
        assert (image.shape, content) == ((80, 80, 1), (80, 80))
        bright = image[:, :, 0] == 1
        inside = bright_pixels_of(boxes, (80, 80))
        assert (bright & inside).sum() == inside.sum()  # boxes hold nothing else
        # What is bright without a box is less than a tenth of a rectangle each.
        assert (bright & ~inside).sum() < sum(0.1 * (x2 - x1) * (y2 - y1) for _, _, (x1, y1, x2, y2) in SCANS[:4])
        for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
            quarter = image[:20, :20] if label == 0 else image[:20, 60:] if label == 1 else image[60:, :20]
            shade = 0.1 + 0.1 * label
            assert label == 3 or np.isin(quarter.round(3), np.array([0, shade, 1], np.float32).round(3)).all()
            assert x2 > x1
            assert y2 > y1
        counts.append(len(boxes))
        again = mosaic(parts, [BOXES], (seed,))
        np.testing.assert_array_equal(again.image, image)
    assert max(counts) >= 3


def test_mosaics_depend_on_the_draw_alone(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    plain, mixed = (data_of(root, image_size=40, mosaic=chance, augment="medium") for chance in (0.0, 0.5))
    one, other = mixed.dataset(np.arange(20), augmented=True), mixed.dataset(np.arange(20), augmented=True).in_memory()
    without = plain.dataset(np.arange(20), augmented=True)
    draws = [Draw(case, (0, 0, case)) for case in range(20)]
    same = 0
    for draw in reversed(draws):
        other[draw]
    for draw in draws:
        first, second, third = one[draw], other[draw], without[draw]
        torch.testing.assert_close(first["image"], second["image"], rtol=0, atol=0)
        torch.testing.assert_close(first["boxes"], second["boxes"], rtol=0, atol=0)
        same += torch.equal(first["image"], third["image"])
    assert 4 <= same <= 16  # about half are mosaics
    # Evaluation has none.
    assert all(torch.equal(plain.dataset(np.arange(20))[case]["image"], mixed.dataset(np.arange(20))[case]["image"])
               for case in range(3))  # fmt: skip


# Facts and classes.


def test_batches_hold_lists_of_boxes(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    content = json.loads((root / "boxes.json").read_text())
    content["annotations"] = content["annotations"][:10]
    (root / "boxes.json").write_text(json.dumps(content))
    data = data_of(root, image_size=40, cache="memory", augment="light")
    for batch in (*data.train_dataloader(), *data.val_dataloader()):
        for boxes, labels, scan in zip(batch["boxes"], batch["labels"], batch["scan"], strict=True):
            count = int(scan["case_id"] < "s10")
            assert (boxes.shape, boxes.dtype) == ((count, 4), torch.float32)
            assert (labels.shape, labels.dtype) == ((count,), torch.int64)
    sizes = np.array(data.box_sizes)
    assert len(sizes) == sum(1 for row in data.rows("train") if row < 10)
    assert sizes.max() <= 20


def test_no_box_at_all_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_scans(tmp_path)
    content = json.loads((root / "boxes.json").read_text())
    (root / "boxes.json").write_text(json.dumps({**content, "annotations": []}))
    data = data_of(root, image_size=40, augment="light", mosaic=0.5)
    assert (data.num_classes, data.max_detections, data.box_sizes) == (1, 100, [])
    assert [boxes.shape for batch in data.train_dataloader() for boxes in batch["boxes"]].count((0, 4)) == 12
    assert "the train part has no box of bright" in caplog.text
    truth = data.true_boxes(data.rows("test"))
    assert (len(truth), list(truth)) == (0, ["case_id", "label", "x1", "y1", "x2", "y2", "ignore", "difficult"])


def test_the_most_boxes_of_a_training_image_say_how_many_are_evaluated(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    content = json.loads((root / "boxes.json").read_text())
    many = [{"image_id": 0, "category_id": 1, "bbox": [x, y, 2, 2]} for x in range(0, 78, 4) for y in range(0, 38, 4)]
    (root / "boxes.json").write_text(json.dumps({**content, "annotations": many}))
    parts = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    rows = "".join(f"s{number:02d},{part}\n" for number, part in enumerate(parts))
    (root / "split.csv").write_text(f"case_id,split\n{rows}")
    assert data_of(root, split_file=str(root / "split.csv")).max_detections == 300  # of 200
    many[50:] = [{**one, "iscrowd": 1} for one in many[50:]]
    (root / "boxes.json").write_text(json.dumps({**content, "annotations": many}))
    data = data_of(root, split_file=str(root / "split.csv"))
    assert (data.max_detections, len(data.box_sizes)) == (100, 50)


def test_classes_of_a_model_are_matched_by_name(tmp_path: Path) -> None:
    root = write_scans(tmp_path)
    data = data_of(root, split="all_test", image_size=40)
    data.adopt_classes(["dark", "bright"])
    data.adopt(Preprocess(size=(20, 20), channels=1, fit="pad"))
    assert (data.class_names, data.num_classes) == (["dark", "bright"], 2)
    assert set(data.table.cases["split"]) == {"test"}
    sample = data.dataset(np.arange(20))[0]
    assert (sample["labels"].tolist(), sample["image"].shape) == ([1], (1, 20, 20))
    strange = data_of(root, split="all_test")
    strange.adopt_classes(["nodule"])
    with pytest.raises(SuiteError, match=r"class 'bright' is none of the model's \(nodule\): rename it with"):
        strange.true_boxes(np.arange(3))
    mapped = data_of(root, split="all_test", class_map={"bright": "nodule"})
    mapped.adopt_classes(["nodule"])
    rows = np.array([3, 1])
    assert mapped.true_boxes(rows)[["case_id", "label", "x1"]].to_numpy().tolist() == [
        ["s03", "nodule", 50.0],
        ["s01", "nodule", 6.0],
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mosaic": 1.5}, "--data.mosaic 1.5: a chance lies between 0 and 1"),
        ({"foreground_share": 0.5}, "give --data.patch_size too"),
        ({"zoom": 2.0}, "--data.zoom is of patches: give --data.patch_size too"),
        ({"patch_size": 32, "foreground_share": 1.0}, "must lie between 0 and 1"),
        ({"patch_size": "a"}, "--data.patch_size a"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="--data") as caught:
        data_of(tmp_path, **settings)
    assert said in str(caught.value)


def test_phantoms_have_the_boxes_they_were_drawn_with() -> None:
    data = Phantoms(num_patients=12, num_workers=0, batch_size=4)
    assert (data.class_names, data.input_size, data.in_channels) == (["benign", "malignant"], (96, 96), 1)
    assert data.table.cases.groupby("patient_id")["split"].nunique().max() == 1
    truth = data.true_boxes(np.arange(len(data.table)))
    for case in range(len(data.table)):
        drawn = data.phantom(case)
        own = truth[truth["case_id"] == data.table.cases["case_id"][case]]
        np.testing.assert_array_equal(own[["x1", "y1", "x2", "y2"]], drawn.boxes)
        assert own["label"].tolist() == [data.class_names[label] for label in drawn.labels]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 1, 96, 96)
