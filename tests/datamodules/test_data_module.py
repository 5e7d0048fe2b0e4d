"""From a table to batches: what every data class shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from datamodules.base import Normalize
from datamodules.classification.image_table import ImageTable
from datamodules.phantoms.labels import Phantoms
from datamodules.preprocess import Preprocess
from datamodules.readers import raster
from datamodules.samples.collate import collate
from datamodules.settings import free_memory
from datamodules.types import Batch, Draw, Scan
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, data_of, images_of, write_scans, write_table


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCANSUITE_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty scans of twenty patients."""
    write_table(tmp_path, cohort())
    return tmp_path


def stored(folder: Path, paths: list[str]) -> NDArray[np.float64]:
    return np.stack([raster.read(folder / path).array for path in paths]) / 255


# Sizes and channels.


def test_grey_stored_in_colour_is_found_to_be_grey(shared_data: Path) -> None:
    root = shared_data / "nih_cxr64"
    data = ImageTable(str(root), label_columns="shipped_class", num_workers=0, augment="none", batch_size=64)
    assert (data.in_channels, data.input_size, len(data.rows("train"))) == (1, (64, 64), 640)
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (64, 1, 64, 64)
    original = [raster.read(root / scan["path"]).array for scan in batch["scan"]]
    assert {array.shape[2] for array in original} <= {3, 4}
    np.testing.assert_allclose(
        batch["image"][:, 0], np.stack([array[:, :, 0] for array in original]) / np.float32(255), atol=1e-6
    )


@pytest.mark.parametrize(
    ("shapes", "settings", "size", "channels"),
    [
        ([(16, 16)], {}, (16, 16), 1),
        ([(20, 12)], {}, (20, 12), 1),
        ([(256, 64, 3)], {}, (256, 64), 3),
        ([(257, 64, 4)], {}, (224, 224), 3),
        ([(16, 16), (16, 20)], {}, (224, 224), 1),
        ([(16, 16), (16, 16, 3)], {}, (16, 16), 3),
        ([(16, 16)], {"min_image_size": 64}, (64, 64), 1),
        ([(80, 40)], {"min_image_size": 64}, (80, 40), 1),
        ([(16, 16)], {"min_image_size": 64, "image_size": 24}, (24, 24), 1),
        ([(16, 16)], {"image_size": [20, 12]}, (20, 12), 1),
        ([(16, 16)], {"image_size": "20, 12"}, (20, 12), 1),
        ([(16, 16)], {"image_size": "32", "channels": 3}, (32, 32), 3),
        ([(16, 16, 3)], {"channels": 1}, (16, 16), 1),
        ([(16, 16)], {"window": ["100:200", "50:100"]}, (16, 16), 2),
        ([(16, 16, 3)], {"window": "100:200"}, (16, 16), 3),
    ],
)
def test_size_and_channels_are_found_or_given(
    shapes: list[tuple[int, ...]],
    settings: dict[str, Any],
    size: tuple[int, int],
    channels: int,
    tmp_path: Path,
) -> None:
    frame = cohort(10, 2)
    frame.to_csv(tmp_path / "labels.csv", index=False)
    for number, path in enumerate(frame["path"]):
        write_scans(tmp_path, [path], shapes[number // 2 % len(shapes)])
    data = data_of(tmp_path, **settings)
    assert (data.input_size, data.in_channels) == (size, channels)
    image = next(iter(data.train_dataloader()))["image"]
    assert image.shape == (len(image), channels, *size)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"image_size": 0}, r"--data\.image_size \[0\.0\]: one side or H,W in pixels"),
        ({"image_size": "8,8,8"}, r"--data\.image_size"),
        ({"image_size": "large"}, r"--data\.image_size large: expected numbers"),
        ({"channels": 0}, "--data.channels 0: an image has at least one"),
        ({"window": ["40:400", "50:100"], "channels": 3}, r"--data\.window: 2 windows make as many channels"),
        ({"percentiles": "99,1"}, r"--data\.percentiles \[99\.0, 1\.0\]: expected two numbers, the lower one first"),
        ({"value_range": [0]}, r"--data\.value_range \[0\.0\]: expected two numbers"),
        ({"gamma": 0}, r"--data\.gamma 0: must lie between 0\.1 and 10"),
        ({"stratify": "site"}, r"--data\.stratify site: no such column in the case table"),
        ({"batch_size": 0}, r"--data\.batch_size 0: must be at least 1"),
        ({"num_workers": -1}, r"--data\.num_workers -1: must be at least 0"),
        ({"augment": "ligth"}, r"--data\.augment 'ligth' is no preset: did you mean light"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], says: str, folder: Path) -> None:
    def load() -> None:
        data_of(folder, **settings).train_dataloader()

    with pytest.raises(SuiteError, match=says):
        load()


def test_a_spec_is_adopted_from_a_trained_model(folder: Path) -> None:
    data = data_of(folder, image_size=99, channels=3)
    data.adopt(Preprocess(size=(10, 14), channels=1))
    assert (data.input_size, data.in_channels) == ((10, 14), 1)
    assert next(iter(data.test_dataloader()))["image"].shape[1:] == (1, 10, 14)


# Statistics.


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
def test_statistics_are_those_of_the_training_images(shape: tuple[int, ...], folder: Path) -> None:
    write_scans(folder, cohort()["path"], shape)
    data = data_of(folder, normalize="train", augment="strong")
    assert data.statistics is not None
    training = stored(folder, data.table.cases["path"].iloc[data.rows("train")].tolist())
    pixels = training.reshape(-1, data.in_channels)
    np.testing.assert_allclose(data.statistics, [pixels.mean(axis=0), pixels.std(axis=0)], atol=1e-6)


@pytest.mark.parametrize(("normalize", "given"), [("auto", True), ("train", True), ("none", False), ("image", False)])
def test_statistics_are_taken_only_where_asked_for(normalize: Normalize, given: bool, folder: Path) -> None:
    assert (data_of(folder, normalize=normalize).statistics is not None) == given


# Batches.


def test_batches_are_float_in_unit_range_channels_last_with_label_and_scan(folder: Path) -> None:
    write_scans(folder, cohort()["path"], (16, 12, 3))
    data = data_of(folder, augment="strong")
    for part, loader in zip(
        ("train", "val", "test"), (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()), strict=True
    ):
        batches: list[Batch] = list(loader)
        assert sum(len(batch["image"]) for batch in batches) == len(data.rows(part))
        for batch in batches:
            image = batch["image"]
            assert image.dtype == torch.float32
            assert image.is_contiguous(memory_format=torch.channels_last)
            assert image.min() >= 0
            assert 0.2 < image.max() <= 1
            assert batch["label"].dtype == torch.int64
            assert len(batch["label"]) == len(batch["scan"]) == len(image)
            for label, scan in zip(batch["label"], batch["scan"], strict=True):
                row = data.table.cases.set_index("case_id").loc[scan["case_id"]]
                assert row["label"] == data.class_names[int(label)]
                assert (row["patient_id"], row["path"], row["split"]) == (scan["patient_id"], scan["path"], part)
                assert scan["original_size"] == (16, 12)


def test_evaluated_parts_come_in_table_order_and_unchanged(folder: Path) -> None:
    data = data_of(folder, augment="strong", batch_size=5)
    for part, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        paths = data.table.cases["path"].iloc[data.rows(part)].tolist()
        batches = list(loader)
        assert [scan["path"] for batch in batches for scan in batch["scan"]] == paths
        np.testing.assert_allclose(images_of(batches)[:, 0], stored(folder, paths), atol=1e-6)
        assert not any(scan.get("padding") for batch in batches for scan in batch["scan"])


def test_labels_may_be_unknown_and_targets_numbers(tmp_path: Path) -> None:
    frame = cohort().assign(a=[0, 1, np.nan] * 20, b=[1, 1, 0, 0] * 15, age=np.arange(60) / 7)
    write_table(tmp_path, frame)
    several = next(iter(data_of(tmp_path, label_columns="a,b").val_dataloader()))["label"]
    assert several.dtype == torch.float32
    assert several.shape == (8, 2)
    assert several.isnan().any(dim=0).tolist() == [True, False]
    number = data_of(tmp_path, label_columns="age", target="regression")
    labels = torch.cat([batch["label"] for batch in number.test_dataloader()])
    assert labels.dtype == torch.float32
    np.testing.assert_allclose(labels, frame["age"].iloc[number.rows("test")], rtol=1e-6)


def test_collate_keeps_values_and_order() -> None:
    samples = [{"image": torch.rand(3, 5, 4), "label": torch.tensor(n), "scan": {"case_id": str(n)}} for n in range(3)]
    batch = collate(samples)  # type: ignore[arg-type]
    assert torch.equal(batch["image"], torch.stack([sample["image"] for sample in samples]))  # type: ignore[misc]
    assert batch["label"].tolist() == [0, 1, 2]
    assert [scan["case_id"] for scan in batch["scan"]] == ["0", "1", "2"]
    assert "label" not in collate([{"image": torch.rand(1, 2, 2), "scan": {}}])


@pytest.mark.parametrize(("batch_size", "batches"), [(38, 1), (37, 1), (19, 2), (36, 2), (1, 38), (100, 1)])
def test_no_training_batch_of_one_case_is_left_over(batch_size: int, batches: int, tmp_path: Path) -> None:
    frame = cohort(24, 2).assign(split=np.repeat(["train", "val", "test"], [38, 6, 4]))
    write_table(tmp_path, frame)
    data = data_of(tmp_path, batch_size=batch_size)
    sizes = [len(batch["image"]) for batch in data.train_dataloader()]
    assert len(sizes) == batches
    assert batch_size == 1 or min(sizes) > 1
    assert sum(sizes) == (37 if batch_size == 37 else 38)


def test_padding_is_marked_in_the_scan(folder: Path) -> None:
    data = data_of(folder)
    dataset = data.dataset(data.rows("val"))
    assert dataset[Draw(1, padding=True)]["scan"].get("padding") is True
    assert "padding" not in dataset[Draw(1)]["scan"]
    assert "padding" not in dataset[1]["scan"]


# Memory.


def test_memory_gives_what_the_disk_gives_and_reads_no_scan_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, memory = data_of(folder, augment="medium"), data_of(folder, augment="medium", cache="memory")
    expected = [list(loader) for loader in (disk.train_dataloader(), disk.val_dataloader(), disk.test_dataloader())]
    loaders = [memory.train_dataloader(), memory.val_dataloader(), memory.test_dataloader()]

    def gone(path: Path) -> Scan:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(raster, "read", gone)
    for loader, batches in zip(loaders, expected, strict=True):
        for _ in range(2):  # twice: augmentation must not write into the memory
            for kept, fresh in zip(loader, batches, strict=True):
                assert torch.equal(kept["image"], fresh["image"])
                assert torch.equal(kept["label"], fresh["label"])
                assert kept["scan"] == fresh["scan"]


def test_memory_that_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory()
    assert free is None or 2**20 < free < 2**50
    monkeypatch.setattr("datamodules.loading.loaders.free_memory", lambda: 10_000)
    with pytest.raises(SuiteError, match=r"--data\.cache memory: .* GiB are needed .*: use --data\.cache none"):
        data_of(folder, cache="memory").train_dataloader()


# Damaged files.


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_from_inside_a_worker_too(workers: int, folder: Path) -> None:
    data = data_of(folder, num_workers=workers, image_size=16, channels=1, augment="none")
    path = data.table.cases["path"].iloc[data.rows("val")[-1]]
    (folder / path).write_bytes((folder / path).read_bytes()[:60])
    with pytest.raises(SuiteError, match=rf"{folder / path}: cannot be decoded: "):
        list(data.val_dataloader())


# Splits through the data module.


def test_the_written_split_gives_the_same_parts(folder: Path, tmp_path: Path) -> None:
    first = data_of(folder, fold=2, split_seed=7)
    file = tmp_path / "split.csv"
    first.table.cases[["case_id", "patient_id", "split"]].to_csv(file, index=False)
    again = data_of(folder, split_file=str(file), test_fraction=0.5, fold=1)
    assert again.table.cases["split"].tolist() == first.table.cases["split"].tolist()
    assert data_of(folder, fold=1).table.cases["split"].tolist() != first.table.cases["split"].tolist()


def test_a_split_file_for_other_data_is_refused(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    pd.DataFrame({"case_id": ["p000/0", "p999/0"], "split": "train"}).to_csv(file, index=False)
    with pytest.raises(SuiteError, match=r"case_id 'p000/1' is not in it \(59 of 60 cases are not\)"):
        _ = data_of(folder, split_file=str(file)).table


def test_a_whole_data_set_may_be_evaluated(folder: Path) -> None:
    data = data_of(folder, split="all_test")
    assert [len(data.rows(part)) for part in ("train", "val", "test")] == [0, 0, 60]
    assert sum(len(batch["image"]) for batch in data.test_dataloader()) == 60
    with pytest.raises(SuiteError, match="the data have no val part"):
        data.val_dataloader()


def test_content_hashes_are_kept_in_the_cache_and_the_data_stay_as_they_are(folder: Path, cache: Path) -> None:
    before = sorted(folder.rglob("*"))
    _ = data_of(folder).table
    assert (cache / "hashes.sqlite").is_file()
    assert sorted(folder.rglob("*")) == before


# Phantoms, the data that need no data.


def test_phantoms_through_the_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Phantoms(num_patients=20, num_workers=1, batch_size=4)
    assert (data.target, data.in_channels) == ("multiclass" if data.num_classes > 2 else "binary", 1)
    assert data.table.cases.groupby("patient_id")["split"].nunique().max() == 1
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 1, *data.input_size)
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["scan"][0]["spacing"] is not None
    again = Phantoms(num_patients=20, num_workers=0, batch_size=4)
    again.seed = 1
    for one, other in zip(data.test_dataloader(), again.test_dataloader(), strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])
    assert sum(data.class_counts) == data.known_counts[0] == len(data.rows("train"))
    assert not list(tmp_path.iterdir())
