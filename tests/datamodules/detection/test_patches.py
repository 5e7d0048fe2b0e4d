"""Patches of scans with boxes: what is cropped with them, where they are drawn, and what validation sees."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.samples.patches import PatchPlace
from datamodules.types import Draw
from tests.datamodules.detection.test_data import BOXES, SCANS, check, data_of, write_scans


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("memory", [False, True])
def test_boxes_are_cropped_with_their_patch(memory: bool, tmp_path: Path) -> None:
    data = data_of(write_scans(tmp_path), patch_size="32,24", foreground_share=0.7)
    assert (data.input_size, data.preprocess.size) == ((32, 24), None)
    dataset = data.dataset(np.arange(20), augmented=True)
    if memory:
        dataset = dataset.in_memory()
    with_boxes = 0
    for case in range(20):
        for epoch in range(5):
            sample = dataset[Draw(case, (0, epoch, case))]
            assert sample["image"].shape[1:] == (32, 24)
            bright = (sample["image"][0] > 0.6).sum()
            if len(sample["boxes"]):
                check(sample, within=0)
                with_boxes += 1
            else:
                x1, y1, x2, y2 = SCANS[case % 5][2]
                assert bright < 0.1 * (x2 - x1) * (y2 - y1)
    assert with_boxes > 60


def test_validation_sees_the_same_patch_each_time_and_foreground_where_training_does(tmp_path: Path) -> None:
    """Of images of which the middle shows nothing a metric of the middle would be undefined."""
    corner = [(64, 64, (2, 2, 12, 10))]
    root = write_scans(tmp_path, corner, repeat=20)
    middle = data_of(root, patch_size=16).dataset(np.arange(20))
    drawn = data_of(root, patch_size=16, foreground_share=0.5).dataset(np.arange(20))
    seen = [drawn[case] for case in range(20)]
    assert not any(len(middle[case]["boxes"]) for case in range(20))
    assert 4 <= sum(len(sample["boxes"]) > 0 for sample in seen) <= 16
    for case, sample in enumerate(seen):
        assert torch.equal(drawn[case]["image"], sample["image"])


def test_some_patches_are_laid_over_boxes_anywhere_in_them() -> None:
    place = PatchPlace((16, 16), foreground_share=0.99)
    boxes = np.array([[70.0, 30, 74, 34]])
    over = [partial(BOXES.foreground, (boxes, np.zeros(1, np.int64)))]
    places = {place.random((64, 96), (0, number), over) for number in range(300)}
    assert all(17 <= top <= 32 and 57 <= left <= 72 for top, left in places if (top, left) not in _by_chance(place))
    assert len({top for top, _ in places}) > 10
    assert place.random((64, 96), (0, 3), over) == place.random((64, 96), (0, 3), over)
    assert place.random((10, 10), (0, 3), over) == (0, 0)


def _by_chance(place: PatchPlace) -> set[tuple[int, int]]:
    """Where patches of these seeds would be without boxes."""
    return {place.random((64, 96), (0, number)) for number in range(300)}
