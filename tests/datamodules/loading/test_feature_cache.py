"""Which kept features of augmented copies a run takes: those of the augmentation that is in effect."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from datamodules.loading.feature_cache import featured
from datamodules.transforms.names import AugmentArgs
from scansuite.own_parts import allow
from tests.datamodules.scans_on_disk import cohort, data_of, write_table

ROWS = '''
import albumentations


class DarkRows(albumentations.ImageOnlyTransform):
    """Its upper rows are black."""

    def apply(self, img, **params):
        dark = img.copy()
        dark[:4] = 0
        return dark
'''


class Means:
    """A network whose features are the means of the left and the right half."""

    digest = "means"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return image.mean(dim=(1, 2)).reshape(len(image), 2, -1).mean(dim=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    frame = cohort()
    frame["side"] = np.where(frame["label"] == "benign", "left", "right")
    write_table(tmp_path / "scans", frame)
    return tmp_path / "scans"


def computed(root: Path, **settings: Any) -> int:
    """Images of the training part, copies among them, that go through the network."""
    data = data_of(root, image_size=16, cache="features", feature_copies=3, cache_dir=str(root / "c"), **settings)
    network = Means()
    featured(data, "train", data.dataset(data.rows("train"), augmented=True), network)
    return network.seen


def test_mirrored_copies_are_not_taken_for_classes_with_sides(root: Path) -> None:
    every = computed(root)
    assert computed(root) == 0
    copies = every * 2 // 3
    assert computed(root, label_columns="side") == copies  # the images as they are, are there
    assert computed(root, sided=True) == 0  # as the names of the other classes said
    assert computed(root, label_columns="side", sided=False) == 0  # mirrored, as those of the first


def test_a_transform_of_the_users_counts_with_its_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "counted_rows.py"
    file.write_text(ROWS)
    monkeypatch.syspath_prepend(root)
    importlib.import_module("counted_rows")
    monkeypatch.setattr("scansuite.own_parts._allowed", set())
    allow(["counted_rows"])
    dark = {"class_path": "counted_rows.DarkRows", "init_args": {"p": 1.0}}
    nested = {"class_path": "OneOf", "init_args": {"transforms": [dark], "p": 1.0}}
    for number, entry in enumerate((dark, nested)):
        args = AugmentArgs(transforms=[entry])
        assert computed(root, augment="none", augment_args=args) > 0
        assert computed(root, augment="none", augment_args=args) == 0
        file.write_text(ROWS.replace("[:4]", f"[:{5 + number}]"))
        assert computed(root, augment="none", augment_args=args) > 0
