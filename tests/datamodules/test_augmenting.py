"""Where the training augmentation of a data module runs, and that both places take the same ranges."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.base import ScanDataModule
from datamodules.phantoms.boxes import Phantoms as BoxPhantoms
from datamodules.phantoms.labels import Phantoms as LabelPhantoms
from datamodules.phantoms.masks import Phantoms as MaskPhantoms
from datamodules.samples.dataset import ScanDataset
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.names import PRESET_CONFIGS, AugmentArgs
from datamodules.transforms.pipeline import Augmentation
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, data_of, write_table

SMALL: dict[str, Any] = {"num_patients": 8, "image_size": 48, "num_workers": 0, "augment": "strong"}
FLIP: dict[str, Any] = {"class_path": "HorizontalFlip"}


def on(kind: str) -> Any:
    """A trainer as far as a data module asks it for its device."""
    strategy = SimpleNamespace(root_device=torch.device(kind))
    return SimpleNamespace(strategy=strategy, num_devices=1, global_rank=0, world_size=1)


def training_part(data: ScanDataModule) -> ScanDataset:
    dataset = data.dataset(data.rows("train"), augmented=True)
    assert isinstance(dataset, ScanDataset)
    return dataset


@pytest.mark.parametrize(
    ("asked", "device", "place"),
    [
        ("auto", "cpu", Augmentation),
        ("auto", "cuda", DeviceAugmentation),
        ("auto", None, Augmentation),
        ("cpu", "cuda", Augmentation),
        ("gpu", "cuda", DeviceAugmentation),
    ],
)
def test_augmentation_runs_where_the_trainer_and_the_user_say(asked: Any, device: str | None, place: type) -> None:
    data = LabelPhantoms(**SMALL, augment_on=asked)
    data.trainer = None if device is None else on(device)
    assert type(training_part(data).augment) is place
    assert data.dataset(data.rows("val")).augmented is False


@pytest.mark.parametrize("cls", [LabelPhantoms, MaskPhantoms, BoxPhantoms])
def test_samples_are_those_that_a_batch_on_the_device_gives(cls: type[ScanDataModule]) -> None:
    data = cls(**SMALL, augment_args=AugmentArgs(elastic=0.05))
    assert data.settle_augmentation(cuda=True) == "gpu"
    dataset = training_part(data)
    augment = dataset.augment
    assert isinstance(augment, DeviceAugmentation)
    plain = data.dataset(data.rows("train"))
    draws = [Draw(case, (0, 1, case)) for case in range(len(dataset))]
    given = plain.collate([plain.sample(draw) for draw in draws])
    found = dataset.collate([dataset.sample(draw) for draw in draws])
    rows = [augment.draw(draw.seed) for draw in draws]
    image, mask = augment.apply(given["image"], torch.from_numpy(np.stack(rows)), given.get("mask"))
    torch.testing.assert_close(found["image"], image, rtol=0, atol=2e-6)
    assert not torch.equal(found["image"], given["image"])
    if mask is not None:
        assert torch.equal(found["mask"], mask)
        assert found["mask"].dtype == torch.int64
    for number, row in enumerate(rows if "boxes" in given else []):
        boxes, labels = augment.move_boxes(row, given["boxes"][number].numpy(), given["labels"][number].numpy())
        np.testing.assert_array_equal(found["boxes"][number].numpy(), boxes)
        np.testing.assert_array_equal(found["labels"][number].numpy(), labels)


def test_ranges_are_those_of_the_cpu(tmp_path: Path) -> None:
    write_table(tmp_path, cohort(6))
    windows: dict[str, Any] = {"window": ["10:20", "50:100", "80:90"], "augment_on": "gpu"}
    ranges = AugmentArgs(rotation=3, elastic=0.02, brightness=0)
    data = data_of(tmp_path, **windows, augment="light", augment_args=ranges)
    augment = data.training_augmentation()
    assert isinstance(augment, DeviceAugmentation)
    assert (augment.channels, augment.size) == (3, (16, 16))
    config = augment.config
    assert (config.rotation, config.elastic, config.brightness, config.color) == (3, 0.02, 0, 0)
    assert (config.scale, config.horizontal_flip) == (PRESET_CONFIGS["light"].scale, True)
    augment = data_of(tmp_path, **windows, augment="dermoscopy", sided=True).training_augmentation()
    assert isinstance(augment, DeviceAugmentation)
    assert not augment.config.horizontal_flip
    assert not augment.config.vertical_flip
    assert augment.config.quarter_turns


def test_transforms_of_the_users_own_stay_on_the_cpu_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    data = LabelPhantoms(**SMALL, augment_args=AugmentArgs(transforms=[FLIP]))
    with caplog.at_level(logging.INFO, logger="datamodules"):
        assert data.settle_augmentation(cuda=True) == "cpu"
        data.trainer = on("cuda")
        assert isinstance(training_part(data).augment, Augmentation)
    said = [record.getMessage() for record in caplog.records if "augmentation" in record.getMessage()]
    assert said == ["augmentation on the CPU: a list of transforms is Albumentations'"]


def test_a_gpu_that_is_not_there_is_an_error_in_training_alone() -> None:
    data = LabelPhantoms(**SMALL, augment_on="gpu")
    with pytest.raises(SuiteError, match=r"--data.augment_on gpu: this training does not run on a CUDA GPU"):
        data.check_augmentation(cuda=False)
    data.check_augmentation(cuda=True)
    data.trainer = on("cpu")
    with pytest.raises(SuiteError, match=r"--data.augment_on gpu: this training does not run on a CUDA GPU"):
        data.train_dataloader()
    data = LabelPhantoms(**SMALL, augment_on="gpu", augment_args=AugmentArgs(transforms=[FLIP]))
    with pytest.raises(SuiteError, match=r"gpu: a list of transforms is Albumentations'"):
        data.check_augmentation(cuda=True)
    with pytest.raises(SuiteError, match=r"--data.augment_on tpu: one of auto, cpu, gpu"):
        LabelPhantoms(**SMALL, augment_on="tpu").check_augmentation(cuda=True)


def test_a_training_that_began_on_a_gpu_goes_on_with_its_numbers_anywhere() -> None:
    data = LabelPhantoms(**SMALL, augment_on="gpu")
    data.augmented_on_gpu_before = True
    data.check_augmentation(cuda=False)
    assert data.settle_augmentation(cuda=False) == "gpu"
    assert isinstance(training_part(data).augment, DeviceAugmentation)


def test_a_trainer_in_python_settles_it_with_the_loader(caplog: pytest.LogCaptureFixture) -> None:
    data = LabelPhantoms(**SMALL)
    data.trainer = on("cpu")
    with caplog.at_level(logging.INFO, logger="datamodules"):
        data.train_dataloader()
    assert data.augment_place == "cpu"
    assert not [record for record in caplog.records if "augmentation" in record.getMessage()]


# A list of transforms in the preset's place.


def test_a_list_in_the_place_of_a_preset_is_the_list_alone() -> None:
    listed: list[dict[str, Any] | str] = [{"class_path": "HorizontalFlip", "init_args": {"p": 1.0}}, "Sharpen"]
    data = LabelPhantoms(**{**SMALL, "augment": listed})
    assert repr(data.build_augmentation()) == "Augmentation(HorizontalFlip, Sharpen)"
    behind = LabelPhantoms(**{**SMALL, "augment": "none"}, augment_args=AugmentArgs(transforms=listed))
    for draw in (Draw(0, (1,)), Draw(1, (2,))):
        images = [training_part(one).sample(draw)["image"] for one in (data, behind)]
        assert torch.equal(*images)
    ranged = LabelPhantoms(**{**SMALL, "augment": listed}, augment_args=AugmentArgs(rotation=5))
    assert repr(ranged.build_augmentation()) == "Augmentation(Affine, HorizontalFlip, Sharpen)"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"augment": ["HorizontalFlop"]},
            "albumentations has no transform HorizontalFlop: did you mean Hor",
        ),
        ({"augment": [FLIP], "augment_args": AugmentArgs(transforms=[FLIP])}, "are both lists: put them into one"),
        ({"augment": [FLIP], "sided": True}, "(HorizontalFlip) mirrors images, but classes have sides"),
        ({"augment": [FLIP], "augment_on": "gpu"}, "which run on the CPU: leave one of the two out"),
        ({"augment": [{"class_path": "os.system"}]}, "is not of the albumentations package"),
    ],
)
def test_a_list_that_cannot_be_taken_is_refused(settings: dict[str, Any], line: str) -> None:
    def look() -> None:
        LabelPhantoms(**{**SMALL, **settings}).check_augmentation(cuda=True)

    with pytest.raises(SuiteError) as caught:
        look()
    assert line in str(caught.value)
