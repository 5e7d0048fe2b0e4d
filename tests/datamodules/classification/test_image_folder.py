"""Folders of class folders, as people keep them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder as Reference

from datamodules.classification.image_folder import ImageFolder, folder_table
from datamodules.readers.raster import write_png
from scansuite.errors import SuiteError


def image(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_png(file, np.random.default_rng(list(name.encode())).integers(0, 256, (16, 16), dtype=np.uint8))


def test_classes_and_order_are_those_of_torchvision(tmp_path: Path) -> None:
    image(
        tmp_path, "b/2.png", "b/10.png", "a/x/1.png", "a/y.JPG", "C/1.png", "a/z/deep/er/1.bmp", "10/1.tif", "9/1.png"
    )
    table, classes = folder_table(tmp_path)
    reference = Reference(tmp_path)
    assert classes == reference.classes == ["10", "9", "C", "a", "b"]
    want = [(Path(path).relative_to(tmp_path).as_posix(), classes[label]) for path, label in reference.samples]
    assert sorted(zip(table.cases["path"], table.cases["label"], strict=True)) == sorted(want)
    assert table.cases["path"].tolist() == [
        "10/1.tif", "9/1.png", "C/1.png", "a/x/1.png", "a/y.JPG", "a/z/deep/er/1.bmp", "b/10.png", "b/2.png",
    ]  # fmt: skip
    assert table.cases["case_id"][3] == "a/x/1"
    assert table.cases["split"].isna().all()
    assert not table.published_split


@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "validation", "testing"), ("train", "dev")])
def test_split_folders(tmp_path: Path, words: tuple[str, ...]) -> None:
    for word in words:
        image(tmp_path, f"{word}/ill/1.png", f"{word}/well/1.png")
    table, classes = folder_table(tmp_path)
    assert classes == ["ill", "well"]
    parts = ["train", "val", "test"][: len(words)]
    assert table.cases["split"].tolist() == [part for part in parts for _ in classes]
    assert table.cases["path"].tolist() == [f"{word}/{name}/1.png" for word in words for name in classes]
    assert not table.published_split


def test_a_class_may_be_absent_from_val_and_test(tmp_path: Path) -> None:
    image(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png", "test/b/1.png")
    (tmp_path / "val" / "b").mkdir()
    table, classes = folder_table(tmp_path)
    assert (len(table), classes) == (4, ["a", "b"])


def test_hidden_and_other_files_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path, "a/1.png", "b/1.png", "a/.hidden.png", "a/.cache/1.png", ".git/1.png", "__MACOSX/1.png", ".x.png")
    (tmp_path / "labels.csv").write_text("path,label\n")
    for name in ("a/notes.txt", "a/Thumbs.db", "b/1.npy"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO):
        table, classes = folder_table(tmp_path)
    assert (table.cases["path"].tolist(), classes) == (["a/1.png", "b/1.png"], ["a", "b"])
    assert "3 files that are no images are passed over" in caplog.text


def test_loops_of_links_end(tmp_path: Path) -> None:
    image(tmp_path, "a/sub/1.png", "b/1.png", "elsewhere.nobackup/2.png")
    (tmp_path / "elsewhere.nobackup").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    (tmp_path / "a" / "sub" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "root").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "linked").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    (tmp_path / "b" / "broken").symlink_to(tmp_path / "nowhere")
    table, _ = folder_table(tmp_path)
    assert table.cases["path"].tolist() == ["a/sub/1.png", "b/1.png", "b/linked/2.png"]


def refused(root: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        folder_table(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_roots_that_hold_no_classes_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == (
        f"--data.root {tmp_path / 'none'}: no such folder: correct the path, or put it there"
    )
    assert "no class folders in it: ImageFolder wants one folder per class" in refused(tmp_path)
    image(tmp_path, "1.png")
    assert "is a file, not a folder" in refused(tmp_path / "1.png")
    message = refused(tmp_path)
    assert message.startswith(
        f"{tmp_path}: 1 images lie directly in it (1.png): ImageFolder wants one folder per class"
    )
    assert "--data ImageTable" in message
    image(tmp_path, "a/1.png")
    assert "lie directly in it" in refused(tmp_path)


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    image(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c" / "sub").mkdir(parents=True)
    assert refused(tmp_path) == (
        f"{tmp_path / 'c'}: class 'c' has no images (it is empty): put some there, or remove the folder"
    )
    for name in ("1.txt", "2.txt", "3.heic", "none"):
        (tmp_path / "c" / "sub" / name).touch()
    assert refused(tmp_path) == (
        f"{tmp_path / 'c'}: class 'c' has no images (2 .txt, 1 .heic, 1 without suffix passed over): convert them to "
        "PNG, TIFF, DICOM or NIfTI, or remove the folder"
    )


def test_muddled_split_folders_are_refused(tmp_path: Path) -> None:
    image(tmp_path, "train/a/1.png", "train/b/1.png", "valid/a/1.png", "spare/a/1.png")
    assert "has folders of a split (train, valid) beside others (spare)" in refused(tmp_path)
    (tmp_path / "spare").rename(tmp_path / "val")
    assert "val and valid both mean val" in refused(tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")
    image(tmp_path, "test/2.png")
    assert refused(tmp_path).startswith(f"{tmp_path / 'test'}: 1 images lie directly in it (2.png)")


def test_a_class_that_is_never_trained_is_refused_except_for_evaluation(tmp_path: Path) -> None:
    image(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/c/2.png")
    cache = str(tmp_path.parent / "cache")
    with pytest.raises(SuiteError, match="class 'c' has images in test but none in train"):
        _ = ImageFolder(str(tmp_path), cache_dir=cache).table
    assert len(ImageFolder(str(tmp_path), split="all_test", cache_dir=cache).table) == 4


def test_data_module(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image(root, *(f"{name}/p{patient}_{number}.png" for name in "ab" for patient in range(20) for number in range(2)))
    data = ImageFolder(
        str(root), patient_pattern=r"[ab]/p\d+", batch_size=4, num_workers=0, cache_dir=str(tmp_path / "cache")
    )
    assert (data.target, data.class_names, data.in_channels, data.input_size) == ("binary", ["a", "b"], 1, (16, 16))
    assert data.table.cases.groupby("patient_id")["split"].nunique().max() == 1
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 1, 16, 16)
    for label, scan in zip(batch["label"], batch["scan"], strict=True):
        assert scan["case_id"].startswith("ab"[int(label)] + "/p")
