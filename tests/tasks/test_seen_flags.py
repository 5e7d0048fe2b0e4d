"""Under every flag that changes what a network sees, all verbs show it the same, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.classification.image_table import ImageTable
from datamodules.detection.coco import Coco
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.volumes_on_disk import AFFINES, write_nifti
from tests.tasks.seen import check_all_ways

SETTINGS: dict[str, Any] = {"num_workers": 0, "batch_size": 3, "augment": "none", "folds": 2, "test_fraction": 0.2}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes of unlike size and direction, and a table of them."""
    root = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    affines = list(AFFINES.values())
    rows = ["path,label"]
    for case in range(5):
        shape = tuple(int(side) for side in rng.integers(5, 24, 3))
        affine = affines[case % len(affines)]
        write_nifti(root / "imagesTr" / f"v{case}.nii", rng.integers(-900, 900, shape).astype(np.int16), affine)
        write_nifti(root / "labelsTr" / f"v{case}.nii", (rng.random(shape) > 0.5).astype(np.uint8), affine)
        rows.append(f"imagesTr/v{case}.nii,{'ab'[case % 2]}")
    (root / "cases.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of unlike size with masks and boxes."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    images, boxes = [], []
    for folder in ("images", "masks", "annotations"):
        (root / folder).mkdir()
    for case in range(6):
        height, width = (int(side) for side in rng.integers(9, 60, 2))
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / f"images/c{case}.png")
        Image.fromarray((rng.random((height, width)) > 0.5).astype(np.uint8)).save(root / f"masks/c{case}.png")
        images.append({"id": case, "file_name": f"c{case}.png", "height": height, "width": width})
        boxes.append({"id": case, "image_id": case, "category_id": 1, "bbox": [1, 2, 5, 4]})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    (root / "annotations" / "instances.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    "flags",
    [
        {"spacing": 0.7, "patch_size": 16},  # slices smaller and larger than a patch
        {"spacing": [1.3, 0.6], "patch_size": [12, 20], "neighbors": 1, "axis": "coronal", "window": "0:800"},
        {"spacing": 0.7, "patch_size": 16, "image_size": 96, "normalize": "image"},
        {"spacing": 0.7, "patch_size": [40, 9], "axis": "sagittal", "percentiles": "2,95", "gamma": 0.5},
        {"patch_size": 16, "neighbors": 2, "value_range": [-900, 900]},
        {"patch_size": 12, "image_size": [18, 26], "window": ["0:800", "100:400"], "gamma": 2.0},
        {"spacing": 0.9, "neighbors": 2, "normalize": "image"},
        {"spacing": [0.5, 3.0], "axis": "coronal", "window": "0:800", "foreground_share": 0.5},
        {"image_size": [15, 22], "neighbors": 2, "axis": "sagittal"},  # five channels, one side shrinks
        {"patch_size": 48, "overlapping": True},
        {},
    ],
    ids=str,
)
def test_volumes(flags: dict[str, Any], volumes: Path, tmp_path: Path) -> None:
    """``test`` filled slices of one spacing up to a patch with their darkest value, ``predict`` with their last one."""

    def build(**changed: Any) -> Volumes:
        given = {**SETTINGS, "classes": "background,organ", **flags, **changed}
        return Volumes(str(volumes), **given)

    shown = check_all_ways(build, [volumes / "imagesTr"], tmp_path)
    patch = flags.get("patch_size")
    if patch and flags.get("spacing"):
        assert max(len(tiles) for tiles in shown.values()) > 1  # larger than a patch, and not refused


@pytest.mark.parametrize(
    "flags",
    [
        {"spacing": 0.7, "axis": "coronal", "neighbors": 1, "normalize": "image"},
        {"image_size": [15, 22], "neighbors": 2, "window": "0:800", "gamma": 0.5},
        {"spacing": [1.3, 0.6], "bags": True, "bag_limit": 0, "percentiles": "2,95"},
    ],
    ids=str,
)
def test_volumes_with_a_target(flags: dict[str, Any], volumes: Path, tmp_path: Path) -> None:
    def build(**changed: Any) -> ImageTable:
        return ImageTable(str(volumes), table="cases.csv", **{**SETTINGS, **flags, **changed})

    check_all_ways(build, [volumes / "imagesTr"], tmp_path)


@pytest.mark.parametrize(
    "flags",
    [
        {"patch_size": 16},
        {"patch_size": [33, 12], "zoom": 1.7, "channels": 1, "percentiles": "1,99"},
        {"patch_size": 16, "zoom": 0.6, "gamma": 0.5},
        {"patch_size": 16, "image_size": [40, 30], "normalize": "image"},
        {"image_size": [40, 30], "channels": 1, "value_range": [20, 200]},
        {"image_size": 32, "percentiles": "1,99", "window": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [MaskFolder, Coco])
def test_flat_images(kind: type[Any], flags: dict[str, Any], pictures: Path, tmp_path: Path) -> None:
    """Detection fills images up (``fit`` pad): validation repeated the last pixels where tiles showed the filling."""

    def build(**changed: Any) -> Any:
        classes = {"classes": "background,cell"} if kind is MaskFolder else {}
        return kind(str(pictures), **{**SETTINGS, **classes, **flags, **changed})

    check_all_ways(build, [pictures / "images"], tmp_path)
