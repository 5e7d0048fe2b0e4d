"""The fingerprints of real sets are what numpy, pandas and scipy say of their files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist import MedMNIST
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes

EDGES = ("xmin", "ymin", "xmax", "ymax")
QUANTILES = (0, 0.05, 0.5, 0.95, 1)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_breastmnist(shared_data: Path) -> None:
    found = measure_fingerprint(MedMNIST(str(shared_data / "medmnist"), name="breastmnist"))
    with np.load(shared_data / "medmnist" / "breastmnist.npz") as file:
        images, labels, val = file["train_images"], file["train_labels"].ravel(), file["val_labels"].ravel()
    assert (found.task, found.target, found.channels, found.types) == ("classify", "binary", 1, ("uint8",))
    assert found.cases == {"train": 546, "val": 78, "test": 156}
    assert found.samples == found.images == len(images)
    assert list(found.class_counts) == np.bincount(labels).tolist()
    assert list(found.val_counts) == np.bincount(val).tolist()
    assert list(found.height) == list(found.width) == [28] * 5
    assert found.intensities is not None
    assert found.intensities.median == pytest.approx(np.median(images), abs=8)  # 128 of 546 images
    assert found.intensities.high == pytest.approx(np.quantile(images, 0.95), abs=8)
    assert found.upright  # the probe is at the top
    assert not found.sided
    assert found.duplicates == len(images) - len({image.tobytes() for image in images})


def test_chest_films_with_many_labels(shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "nih_cxr64" / "labels.csv", dtype={"patient_id": str})
    columns = list(table.columns[table.columns.get_loc("Atelectasis") :])
    data = ImageTable(str(shared_data / "nih_cxr64"), label_columns=columns)
    found = measure_fingerprint(data)
    train = table[table["path"].isin(data.table.cases["path"].iloc[data.rows("train")])]
    assert found.target == "multilabel"
    assert found.cases["train"] == found.images == len(train)
    assert found.patients["train"] == train["patient_id"].nunique()
    assert list(found.class_counts) == train[columns].sum().tolist()
    assert list(found.class_known) == train[columns].notna().sum().tolist()
    assert (found.channels, found.colour) == (1, 0)  # some are stored as RGBA, and are grey
    assert found.upright


@pytest.mark.slow  # all volumes are decoded for it
def test_volumes_of_the_hippocampus(shared_data: Path) -> None:
    root = shared_data / "msd_hippocampus"
    data = Volumes(str(root), num_workers=0, split_file="splits/hippocampus")
    found = measure_fingerprint(data)
    names = data.table.cases["path"].iloc[data.rows("train")].tolist()
    shapes = np.array([nib.load(root / name).shape for name in names])
    assert found.volumes
    assert found.images == found.samples == shapes[:, 2].sum()
    assert list(found.spacing) == [1, 1, 1]
    assert found.modality == "mr"
    assert found.slices is not None
    assert found.slices.median == pytest.approx(np.median(shapes[:, 2]), abs=1)
    assert found.height.median == pytest.approx(np.median(shapes[:, 1]), abs=1)
    assert found.width.median == pytest.approx(np.median(shapes[:, 0]), abs=1)
    masks = [np.asarray(nib.load(root / name.replace("images", "labels")).dataobj) for name in names]
    shares = [np.mean([(mask == number).mean() for mask in masks]) for number in (1, 2)]
    assert found.class_counts == pytest.approx(shares, rel=0.1)
    assert found.objects is not None
    empty = np.mean(np.concatenate([~mask.any(axis=(0, 1)) for mask in masks]))
    assert found.objects.empty == pytest.approx(empty, abs=0.05)
    assert found.objects.side_mm is not None
    assert found.looked_at == 48
    assert not found.complete


def test_masks_of_nuclei(shared_data: Path) -> None:
    root = shared_data / "dsb2018_nuclei"
    data = MaskFolder(str(root), mask_kind="instances", split_file="splits/nuclei")
    found = measure_fingerprint(data)
    rows = data.table.cases.iloc[data.rows("train")]
    masks = [np.asarray(Image.open(root / mask)) > 0 for mask in rows["mask"]]
    assert found.complete
    assert found.looked_at == len(masks) == found.cases["train"]
    share = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
    assert found.class_counts == pytest.approx([share])
    assert found.height == tuple(np.quantile([mask.shape[0] for mask in masks], QUANTILES))
    labelled = [ndimage.label(mask, np.ones((3, 3))) for mask in masks]
    assert found.objects is not None
    assert found.objects.total == sum(count for _, count in labelled)
    assert found.objects.per_image == tuple(np.quantile([count for _, count in labelled], QUANTILES))
    areas = np.concatenate([np.bincount(labels.ravel())[1:] for labels, _ in labelled])
    assert found.objects.area == tuple(np.quantile(areas, QUANTILES))
    assert (found.modality, found.upright, found.channels) == ("microscopy", False, 3)


def test_boxes_of_nuclei(shared_data: Path) -> None:
    root = shared_data / "dsb2018_nuclei"
    data = Coco(str(root), annotations="instances.json", split_file="splits/nuclei")
    found = measure_fingerprint(data)
    content = json.loads((root / "instances.json").read_text())
    train = set(data.table.cases["path"].iloc[data.rows("train")].map(lambda path: Path(path).name))
    images = {image["id"] for image in content["images"] if Path(image["file_name"]).name in train}
    boxes = np.array([one["bbox"] for one in content["annotations"] if one["image_id"] in images], float)
    assert list(found.class_counts) == [len(boxes)]
    assert found.objects is not None
    assert found.objects.short_side == pytest.approx(np.quantile(boxes[:, 2:].min(axis=1), QUANTILES))
    assert found.objects.long_side == pytest.approx(np.quantile(boxes[:, 2:].max(axis=1), QUANTILES))


def test_blood_cells(shared_data: Path) -> None:
    root = shared_data / "bccd" / "BCCD"
    found = measure_fingerprint(Voc(str(root)))
    names = (root / "ImageSets" / "Main" / "train.txt").read_text().split()
    labels, sides, counts = [], [], []
    for name in names:
        boxes = ET.parse(root / "Annotations" / f"{name}.xml").findall("object")
        edges = {key: [float(box.findtext(f"bndbox/{key}") or 0) for box in boxes] for key in EDGES}
        wide = np.column_stack([np.subtract(edges["xmax"], edges["xmin"]), np.subtract(edges["ymax"], edges["ymin"])])
        usable = np.all(wide > 0, axis=1).tolist()  # two boxes of the set have no width
        counts.append(sum(usable))
        sides += wide[usable].tolist()
        labels += [str(box.findtext("name")) for box, use in zip(boxes, usable, strict=True) if use]
    assert found.cases == {"train": 205, "val": 87, "test": 72}
    assert dict(zip(found.classes, found.class_counts, strict=True)) == pd.Series(labels).value_counts().to_dict()
    assert found.objects is not None
    assert found.objects.total == len(sides)
    assert found.objects.per_image == tuple(np.quantile(counts, QUANTILES))
    assert found.objects.short_side.median == pytest.approx(np.median(np.min(sides, axis=1)), abs=1)
    assert (found.colour, found.upright, found.modality) == (1, False, "microscopy")
    assert (found.height.most, found.width.most) == (480, 640)
