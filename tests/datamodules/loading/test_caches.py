"""`--data.cache`: the same samples from memory, disk and files; what is found again, and what is not."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.arrays.labels import LabelledArrays
from datamodules.base import ScanDataModule
from datamodules.caching import image_cache
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.detection.voc import Voc
from datamodules.loading import caches, disk_cache
from datamodules.phantoms.labels import Phantoms
from datamodules.preprocess import Preprocess
from datamodules.readers import formats
from datamodules.samples.annotation import Annotation, Crop
from datamodules.samples.cached import CachedSource
from datamodules.samples.sources import KeptSource, ScanSource
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.types import Scan
from scansuite.errors import SuiteError
from tests.datamodules import boxes_on_disk
from tests.datamodules.dicom_on_disk import write as write_dicom
from tests.datamodules.pictures_on_disk import picture, write_masks
from tests.datamodules.scans_on_disk import cohort, data_of, write_table

Make = Callable[..., ScanDataModule]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCANSUITE_CACHE", str(folder))
    return folder


def source_of(data: ScanDataModule, split: str = "train") -> Any:
    dataset: Any = data._datasets[split]
    return getattr(dataset, "single", dataset).source


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert (type(one), one) == (type(other), other)


def epochs(data: ScanDataModule) -> list[Any]:
    loaders = [data.train_dataloader(), data.val_dataloader()]
    return [list(loader) for loader in loaders]


def compare(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Every batch of an epoch, from files, from a cache that is filled, from one that is found, and from memory."""
    caplog.set_level(logging.INFO)
    want = epochs(make(cache="none"))
    for turn in range(2):
        caplog.clear()
        data = make(cache="disk")
        assert_same(want, epochs(data))
        assert isinstance(source_of(data), CachedSource)
        assert (source_of(data).places[source_of(data).samples.images] >= 0).all()
        assert sum("written to" in record.message for record in caplog.records) == (2 if turn == 0 else 0)
        assert not [record for record in caplog.records if "differs from its file" in record.message]
    memory = make(cache="memory")
    assert_same(want, epochs(memory))
    kept = source_of(data).in_memory()
    assert isinstance(kept, KeptSource)
    assert_same(kept.open(1).image.stored, source_of(memory).open(1).image.stored)


KINDS: dict[str, Callable[[Path, int], object]] = {
    "png8": lambda file, seed: Image.fromarray(picture(seed)).save(file.with_suffix(".png")),
    "png16": lambda file, seed: Image.fromarray(picture(seed, np.uint16) * np.uint16(200)).save(
        file.with_suffix(".png")
    ),
    "colour": lambda file, seed: Image.fromarray(picture(seed, shape=(20, 24, 3))).save(file.with_suffix(".png")),
    "jpeg": lambda file, seed: Image.fromarray(picture(seed, shape=(20, 24, 3))).save(file.with_suffix(".jpg")),
    "unlike": lambda file, seed: (
        Image.fromarray(picture(seed, shape=(16 + seed % 5, 24, 1 + seed % 4)[: 2 + seed % 2]))
        .convert(("L", "RGB", "RGBA")[seed % 3])
        .save(file.with_suffix(".png"))
    ),
    "dicom": lambda file, seed: write_dicom(
        file.with_suffix(".dcm"), picture(seed, np.int16) - 100, PatientID=str(seed)
    ),
}


def write_kind(root: Path, kind: str, count: int = 16) -> Path:
    for number in range(count):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        KINDS[kind](root / "ab"[number % 2] / f"{number:02d}", number)
    return root


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("png8", {}),
        ("png8", {"image_size": "16,12", "gamma": 0.5}),
        ("png8", {"image_size": 12, "round_resized": True}),
        ("png16", {"percentiles": [1, 99]}),
        ("colour", {"image_size": 16, "percentiles": [5, 95], "channels": 3}),
        ("jpeg", {"channels": 3}),
        ("unlike", {"image_size": 16, "channels": 3}),
        ("dicom", {"window": "40:300"}),
        ("dicom", {"window": ["40:300", "0:100"], "image_size": 10}),
    ],
    ids=str,
)
def test_images_of_every_kind(kind: str, flags: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_kind(tmp_path / "data", kind)
    shared = {"num_workers": 0, "batch_size": 5}
    compare(lambda **more: ImageFolder(str(root), **{**shared, **flags, **more}), caplog)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"patch_size": "8,6", "foreground_share": 0.5},
        {"image_size": 12, "overlapping": True, "classes": ["background", "lesion", "duct"], "mask_kind": "index"},
    ],
    ids=["whole", "patches", "regions"],
)
def test_masks(flags: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_masks(tmp_path / "data", 20)
    compare(lambda **more: MaskFolder(str(root), **{"num_workers": 0, "batch_size": 4, **flags, **more}), caplog)


@pytest.mark.parametrize("flags", [{"mosaic": 0.5}, {"patch_size": 16, "foreground_share": 0.5}], ids=str)
def test_boxes(flags: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = boxes_on_disk.write_voc(tmp_path / "data", boxes_on_disk.pictures(ignored=True))
    compare(lambda **more: Voc(str(root), **{"num_workers": 0, "batch_size": 2, **flags, **more}), caplog)


def test_bags(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = cohort(16, 3).rename(columns={"patient_id": "case_id"})
    write_table(tmp_path, frame)
    compare(lambda **more: data_of(tmp_path, bags=True, bag_size=2, **more), caplog)


def test_loaders_with_processes_fill_and_read_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_table(tmp_path, cohort())
    compare(lambda **more: data_of(tmp_path, **more, num_workers=2 if more["cache"] == "disk" else 0), caplog)


# What is found again, and what not.


def shards(cache: Path) -> list[Path]:
    return sorted((cache / "images").rglob("*.arrow"))


def trained_on(cache: Path, folder: Path, **flags: Any) -> int:
    """How many shards an epoch adds."""
    before = len(shards(cache))
    data = data_of(folder, **{"cache": "disk", **flags})
    epochs(data)
    return len(shards(cache)) - before


def test_what_does_not_matter_finds_the_old_entry_and_what_matters_none(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    write_table(root, cohort())
    assert trained_on(cache, root) == 2
    for same in (
        {"gamma": 0.5}, {"fold": 1, "batch_size": 3}, {"augment": "none", "split_seed": 0},
        {"class_names": ["malignant", "benign"]},
    ):  # fmt: skip
        assert trained_on(cache, root, **same) == 0, same
    for other in ({"image_size": 12}, {"channels": 3}, {"percentiles": [1, 99]}, {"value_range": [0, 99]}):
        assert trained_on(cache, root, **other) == 2, other
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    assert trained_on(cache, moved) == 0
    monkeypatch.setattr("datamodules.loading.disk_cache.behaviour", lambda *more: "mended")
    assert trained_on(cache, root) == 2


def test_a_changed_file_is_read_again_and_the_others_are_not(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, cohort())
    data = data_of(tmp_path, cache="disk")
    epochs(data)
    image = int(source_of(data).samples.images[3])
    file = Path(data.path_of(image))
    Image.fromarray(picture(99, shape=(16, 16))).save(file)
    os.utime(file, ns=(5, 5))
    again = data_of(tmp_path, cache="disk")
    before = len(shards(cache))
    epochs(again)
    assert len(shards(cache)) == before + 1
    np.testing.assert_array_equal(source_of(again).open(3).image.stored, picture(99, shape=(16, 16)))
    assert source_of(again).samples.images[3] == image


def test_another_meaning_of_masks_is_another_entry(tmp_path: Path, cache: Path) -> None:
    root = write_masks(tmp_path, 20)
    for number, names in enumerate((["background", "lesion"], ["background", "lesion"], ["lesion", "background"])):
        data = MaskFolder(str(root), num_workers=0, cache="disk", mask_kind="binary", classes=names)
        if number == 2:
            data.adopt_classes(["background", "lesion"], overlapping=False)
        epochs(data)
        assert len(shards(cache)) == (2 if number < 2 else 4)
        [mask] = source_of(data).open(0).values
        np.testing.assert_array_equal(mask, source_of(data).source.open(0).values[0])


class Brighter(ImageFolder):
    """A data class of the user's that reads by something its units do not name."""

    more = 0

    def read(self, image: int) -> Scan:
        scan = super().read(image)
        return Scan(scan.array // 2 + np.uint8(self.more), scan.info)


def test_what_units_do_not_name_is_noticed_and_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_kind(tmp_path, "png8")
    shared: dict[str, Any] = {"num_workers": 0, "cache": "disk", "channels": 1}
    epochs(Brighter(str(root), **shared))
    assert "differs" not in caplog.text
    data = Brighter(str(root), **shared)
    data.more = 7
    epochs(data)
    assert "image of " in caplog.text
    assert "Brighter depends on something that its units() do not name" in caplog.text
    assert isinstance(source_of(data), ScanSource)


class Points(Annotation[list[int]]):
    """Annotation that is no array."""

    names: ClassVar[tuple[str, ...]] = ("points",)

    def read(self, image: int, scan: Scan) -> list[int]:
        return [1, 2]

    def scale(self, value: list[int], stored: tuple[int, int], preprocess: Preprocess) -> list[int]:
        return value

    def crop(self, value: list[int], crop: Crop) -> list[int]:
        return value

    def join(self, values: Any, corners: Any, size: tuple[int, int]) -> list[int]:
        return [1, 2]

    def arrays(self, value: list[int]) -> dict[str, Any]:
        return {}

    def tensors(self, arrays: Any) -> dict[str, Tensor]:
        return {"points": torch.tensor([1, 2])}


class Pointed(ImageFolder):
    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        return (Points(),)


def test_annotations_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    root = write_kind(tmp_path, "png8")
    data = Pointed(str(root), num_workers=0, cache="disk", augment="none")
    with pytest.raises(SuiteError, match=r"--data\.cache disk: Points gives neither arrays .*--data\.cache none"):
        data.train_dataloader()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_any_more_is_named_and_the_next_run_goes_on(
    workers: int, tmp_path: Path, cache: Path
) -> None:
    write_table(tmp_path, cohort())
    data = data_of(tmp_path, cache="disk", num_workers=workers)
    _ = data.statistics
    file = Path(data.path_of(int(data.rows("train")[9])))
    good = file.read_bytes()
    file.write_bytes(good[:70])
    with pytest.raises(SuiteError, match=rf"{file}: cannot be decoded"):
        data.train_dataloader()
    assert not list(cache.rglob("*.tmp"))
    file.write_bytes(good)
    again = data_of(tmp_path, cache="disk")
    assert_same(epochs(data_of(tmp_path)), epochs(again))
    assert isinstance(source_of(again), CachedSource)


def test_a_lost_shard_costs_no_run(tmp_path: Path, cache: Path) -> None:
    write_table(tmp_path, cohort())
    want = epochs(data_of(tmp_path))
    data = data_of(tmp_path, cache="disk")
    loaders = [data.train_dataloader(), data.val_dataloader()]
    for source in (source_of(data), source_of(data, "val")):
        source.cache._open.clear()
    for file in shards(cache):
        file.unlink()
    assert_same(want, [list(loader) for loader in loaders])


def fill(folder: Path, started: Any) -> None:
    image_cache.SHARD_BYTES = 2000
    disk_cache._BATCH_BYTES = 1000
    original = formats.read
    count = 0

    def slow(*arguments: Any, **named: Any) -> Scan:
        nonlocal count
        count += 1
        if count > 60:
            started.set()
            time.sleep(60)
        return original(*arguments, **named)

    data = data_of(folder, cache="disk", normalize="none", channels=1)
    _ = data.preprocess
    count = 0
    formats.read = slow
    epochs(data)


def test_after_a_kill_in_the_middle_it_goes_on(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    root = tmp_path / "data"
    write_table(root, cohort(40, 3))
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=fill, args=(root, started))
    process.start()
    assert started.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    assert 2 < len(shards(cache)) < 36
    data = data_of(root, cache="disk", normalize="none", channels=1)
    assert_same(epochs(data_of(root, normalize="none", channels=1)), epochs(data))
    [line] = [
        record.message for record in caplog.records if "written to" in record.message and "train" in record.message
    ]
    assert int(line.split(": ")[1].split(" ")[0]) < len(data.rows("train"))


def test_no_room_is_said_before_anything_is_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, cohort())
    monkeypatch.setattr(image_cache.ImageCache, "room", lambda self: 1000)
    with pytest.raises(SuiteError, match=r"images/\w+: the disk is full: \d+ images of train need about .*cache_dir"):
        data_of(tmp_path, cache="disk").train_dataloader()
    assert not shards(cache)


# What is chosen.


@pytest.mark.parametrize(
    ("slow", "memory", "room", "choice"),
    [
        (False, 2**40, 2**40, "none"),
        (True, 2**40, 2**40, "memory"),
        (True, 10_000, 2**40, "disk"),
        (True, 10_000, 2**20, "none"),
        (True, None, 2**20, "memory"),
    ],
)
def test_auto_chooses_and_says_so(
    slow: bool, memory: int | None, room: int, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(caches, "_NOTHING", 0.0 if slow else 1e9)
    monkeypatch.setattr(caches, "free_memory", lambda: memory)
    monkeypatch.setattr(image_cache.ImageCache, "room", lambda self: room)
    write_table(tmp_path, cohort())
    data = data_of(tmp_path, cache="auto")
    assert_same(epochs(data_of(tmp_path)), epochs(data))
    kind = {"none": ScanSource, "memory": KeptSource, "disk": CachedSource}[choice]
    assert isinstance(source_of(data), kind)
    [line] = [
        record.message for record in caplog.records if "cache auto" in record.message and "of train" in record.message
    ]
    count = len(data.rows("train"))
    assert line.startswith(f"--data.cache auto: {choice} for the {count} images of train: ")


def test_a_cache_that_there_is_not_is_refused_from_python_too() -> None:
    other: Any = "Memory"
    data = Phantoms(num_patients=20, num_workers=0, cache=other, image_size=32)
    with pytest.raises(SuiteError, match=r"--data\.cache Memory: one of none, memory, disk, auto"):
        data.train_dataloader()


def test_data_that_are_no_files_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    arrays: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    made = [
        LabelledArrays(arrays, labels=[0, 1] * 10, num_workers=0, cache="disk", augment="none"),
        Phantoms(num_patients=20, num_workers=0, cache="disk", image_size=32),
    ]
    for data in made:
        caplog.clear()
        data.train_dataloader()
        assert "--data.cache disk does nothing: " in caplog.text
        assert isinstance(source_of(data), ScanSource)


def test_scratch_is_read_instead(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "data"
    write_table(root, cohort())
    data = data_of(root, cache="disk", scratch=str(tmp_path / "fast"), keep_scratch=True)
    assert_same(epochs(data_of(root)), epochs(data))
    copies = list((tmp_path / "fast").rglob("*.arrow"))
    assert {file.name for file in copies} == {file.name for file in shards(cache)}
    again = data_of(root, cache="disk", scratch=str(tmp_path / "fast"), keep_scratch=True)
    epochs(again)
    assert set(source_of(again).cache._local.values()) <= set(copies)


# Real scans.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nih", "nuclei", "nuclei_patches", "bccd", "dicom"])
def test_real_scans(name: str, shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags: dict[str, Any] = {"num_workers": 2, "batch_size": 16}
    nih, nuclei = shared_data / "nih_cxr64", shared_data / "dsb2018_nuclei"
    if name == "dicom":
        frame = pd.DataFrame({"path": readable_dicom(shared_data / "dicom_syntaxes")})
        frame["label"] = ["a", "b"] * (len(frame) // 2) + ["a"] * (len(frame) % 2)
        frame.to_csv(tmp_path / "table.csv", index=False)
        flags |= {"table": str(tmp_path / "table.csv"), "percentiles": [1, 99], "image_size": 64, "channels": 3}
    makes: dict[str, Make] = {
        "nih": lambda **more: ImageTable(str(nih), label_columns="shipped_class", **flags, **more),
        "nuclei": lambda **more: MaskFolder(str(nuclei), image_size=64, **flags, **more),
        "nuclei_patches": lambda **more: MaskFolder(str(nuclei), patch_size=64, foreground_share=0.5, **flags, **more),
        "bccd": lambda **more: Voc(str(shared_data / "bccd" / "BCCD"), image_size=96, mosaic=0.5, **flags, **more),
        "dicom": lambda **more: ImageTable(
            str(shared_data / "dicom_syntaxes"), test_fraction=0, folds=3, **flags, **more
        ),
    }
    compare(makes[name], caplog)


def readable_dicom(folder: Path) -> list[str]:
    """Files with one image of up to three channels."""
    found = []
    for file in sorted(folder.glob("*.dcm")):
        try:
            scan = formats.read(file)
        except SuiteError:
            continue
        if scan.array.ndim == 2 or scan.array.shape[2] == 3:
            found.append(file.name)
    return found
