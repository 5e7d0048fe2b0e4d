"""Images beside their masks, as people keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from datamodules.readers import raster
from datamodules.readers.raster import write_png
from datamodules.samples.label_values import IGNORE
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import write_scans

NAMES = [f"p{patient}_{number}" for patient in range(10) for number in range(2)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(name: str, shape: tuple[int, ...] = (16, 20)) -> NDArray[np.uint8]:
    return np.random.default_rng(list(name.encode())).integers(0, 256, shape, dtype=np.uint8)


def labels(name: str, classes: int = 3, shape: tuple[int, int] = (16, 20)) -> NDArray[np.uint8]:
    return np.random.default_rng([1, *name.encode()]).integers(0, classes, shape).astype(np.uint8)


def write(file: Path, array: NDArray[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, array)


def dataset(root: Path, masks: str = "masks", suffix: str = "", classes: int = 3) -> Path:
    for name in NAMES:
        write(root / "images" / f"{name}.png", picture(name))
        write(root / masks / f"{name}{suffix}.png", labels(name, classes))
    return root


def data_of(root: Path, **settings: Any) -> MaskFolder:
    return MaskFolder(str(root), **{"num_workers": 0, "batch_size": 4, "augment": "none", **settings})


def refused(root: Path, **settings: Any) -> str:
    def read_all() -> None:
        data = data_of(root, **settings)
        assert data.class_names
        for image in range(len(data.table.images)):
            data._checked_mask(image, data.read(image))

    with pytest.raises(SuiteError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("masks", "suffix"), [("masks", ""), ("labels", "_mask"), ("masks", "_segmentation")])
def test_masks_are_paired_by_stem(masks: str, suffix: str, tmp_path: Path) -> None:
    root = dataset(tmp_path, masks, suffix)
    data = data_of(root, classes=["background", "organ", "tumour"], patient_pattern=r"p\d+")
    assert (data.class_names, data.num_classes, data.in_channels) == (["background", "organ", "tumour"], 3, 1)
    assert (data.input_size, data.ignore_index, data.overlapping) == ((16, 20), None, False)
    assert data.table.cases["case_id"].tolist() == sorted(NAMES)
    assert data.table.cases.groupby("patient_id")["split"].nunique().max() == 1
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert batch["mask"].dtype == torch.int64
            assert "label" not in batch
            for image, mask, scan in zip(batch["image"], batch["mask"], batch["scan"], strict=True):
                np.testing.assert_array_equal(mask, labels(scan["case_id"]))
                np.testing.assert_allclose(image[0], picture(scan["case_id"]) / np.float32(255), atol=1e-6)
    counts = np.bincount(
        np.concatenate([labels(name).ravel() for name in data.table.cases.loc[data.rows("train"), "case_id"]])
    )
    assert data.class_counts == counts.tolist()


def test_masks_move_with_their_images(tmp_path: Path) -> None:
    for name in NAMES:
        write(tmp_path / "images" / f"{name}.png", labels(name, 2) * np.uint8(255))
        write(tmp_path / "masks" / f"{name}.png", labels(name, 2) * np.uint8(255))
    transforms: list[dict[str, Any]] = [
        {"class_path": "HorizontalFlip"},
        {"class_path": "VerticalFlip"},
        {"class_path": "RandomCrop", "init_args": {"height": 16, "width": 20}},
    ]
    data = data_of(tmp_path, augment_args=None)
    data.augment_args = type(data.augment_args)(transforms=transforms)
    dataset = data.dataset(data.rows("train"), augmented=True)
    moved = 0
    for case in range(len(dataset)):
        sample = dataset[Draw(case, (0, case))]
        np.testing.assert_array_equal(sample["image"][0].round(), sample["mask"])
        moved += not np.array_equal(sample["mask"], labels(sample["scan"]["case_id"], 2))
    assert moved > len(dataset) // 2


def test_images_and_masks_kept_in_memory_are_the_same(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    read, kept = (
        next(iter(data_of(root, classes=["b", "x", "y"], cache=cache, image_size=12).val_dataloader()))
        for cache in ("none", "memory")
    )
    torch.testing.assert_close(read["image"], kept["image"])
    torch.testing.assert_close(read["mask"], kept["mask"])
    assert kept["mask"].shape[1:] == (12, 12)


def test_split_folders(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write(tmp_path / "images" / part / "1.png", picture(part))
        write(tmp_path / "masks" / part / "1.png", labels(part, 2))
    data = data_of(tmp_path)
    assert dict(zip(data.table.cases["case_id"], data.table.cases["split"], strict=True)) == {
        "train/1": "train", "val/1": "val", "test/1": "test",
    }  # fmt: skip


def test_a_table_says_who_belongs_to_whom(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": [f"a/{name}.png" for name in NAMES], "mask": [f"b/{name}-x.png" for name in NAMES]})
    frame["patient_id"] = [name.split("_")[0] for name in NAMES]
    for path, mask, name in zip(frame["path"], frame["mask"], NAMES, strict=True):
        write(tmp_path / path, picture(name))
        write(tmp_path / mask, labels(name, 2))
    frame.to_csv(tmp_path / "cases.csv", index=False)
    data = data_of(tmp_path, table="cases.csv")
    assert data.table.patients_known
    np.testing.assert_array_equal(data.read_mask(3), labels(NAMES[3], 2))
    (tmp_path / frame["mask"][7]).unlink()
    assert f"cases.csv: {frame['mask'][7]} in column 'mask' is not below" in refused(tmp_path, table="cases.csv")
    frame.drop(columns="mask").to_csv(tmp_path / "cases.csv", index=False)
    assert "no column 'mask'" in refused(tmp_path, table="cases.csv")


# What masks hold.


def test_binary_masks_need_no_classes(tmp_path: Path) -> None:
    root = dataset(tmp_path, classes=2)
    assert data_of(root).class_names == ["background", "foreground"]
    write(root / "masks" / f"{NAMES[0]}.png", labels(NAMES[0], 2) * np.uint8(255))
    data = data_of(root, classes="background,lesion", mask_kind="binary")
    assert data.class_names == ["background", "lesion"]
    np.testing.assert_array_equal(data.read_mask(0), labels(NAMES[0], 2))
    write(root / "masks" / f"{NAMES[5]}.png", labels(NAMES[5], 2) * np.uint8(128))
    message = refused(root, mask_kind="binary")
    assert f"{NAMES[5]}.png: unknown label value 128" in message


def test_values_that_nobody_named_are_asked_for(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    message = refused(root)
    assert f"masks hold the values 0, 1, 2 (2 in {root}/masks/" in message
    assert ": name them with --data.classes" in message
    assert "unknown label value 2" in refused(root, classes="background,organ", mask_kind="index")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("classes", [None, "background,organ"])
def test_few_numbers_are_classes_or_objects_and_are_asked_for(
    kind: type[Any], classes: str | None, tmp_path: Path
) -> None:
    """16-bit masks with 0, 1 and 2 passed for instances, so two organs became one class without a word."""
    for name in NAMES:
        write(tmp_path / "images" / f"{name}.png", picture(name))
        write(tmp_path / "masks" / f"{name}.png", labels(name).astype(kind))
    message = refused(tmp_path, classes=classes)
    assert "masks hold the values 0, 1, 2" in message
    assert ("names background and organ alone" in message) == (classes is not None)
    assert "--data.mask_kind index" in message
    assert "--data.mask_kind instances" in message
    data = data_of(tmp_path, classes=classes, mask_kind="instances")
    np.testing.assert_array_equal(data.read_mask(0), labels(sorted(NAMES)[0]) > 0)
    data = data_of(tmp_path, classes="background,organ,tumour")
    np.testing.assert_array_equal(data.read_mask(0), labels(sorted(NAMES)[0]))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_masks_that_plainly_number_many_objects_are_instances(kind: type[Any], tmp_path: Path) -> None:
    counts = dict(zip(NAMES, np.linspace(1, 40, len(NAMES)).astype(int), strict=True))
    for name, count in counts.items():
        write(tmp_path / "images" / f"{name}.png", picture(name))
        write(tmp_path / "masks" / f"{name}.png", np.resize(np.arange(count + 1), (16, 20)).astype(kind))
    data = data_of(tmp_path)
    assert data.class_names == ["background", "foreground"]
    np.testing.assert_array_equal(data.read_mask(5), np.resize(np.arange(counts[NAMES[5]] + 1), (16, 20)) > 0)
    # A number is left out: one of many classes that an image does not show.
    write(tmp_path / "masks" / f"{NAMES[3]}.png", np.full((16, 20), 7, kind))
    assert "--data.mask_kind instances" in refused(tmp_path)


def test_ignored_values(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    data = data_of(root, classes=["background", "organ"], ignore_value=2)
    assert data.ignore_index == IGNORE
    stored = labels(sorted(NAMES)[0])
    np.testing.assert_array_equal(data.read_mask(0), np.where(stored == 2, IGNORE, stored))
    assert sum(data.class_counts) < sum(data_of(root, classes=["background", "organ", "x"]).class_counts)


def test_colour_masks(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    for name in NAMES:
        write(tmp_path / "images" / f"{name}.png", picture(name))
        write(tmp_path / "masks" / f"{name}.png", colours[labels(name)])
    assert "colour picture" in refused(tmp_path)
    (tmp_path / "palette.json").write_text(
        json.dumps({"background": "#000000", "vein": "#0000ff", "artery": "#ff0000"})
    )
    data = data_of(tmp_path, palette="palette.json")
    assert data.class_names == ["background", "vein", "artery"]
    np.testing.assert_array_equal(data.read_mask(0), np.array([0, 2, 1])[labels(NAMES[0])])
    (tmp_path / "palette.json").write_text(json.dumps({"background": "#000000", "vein": "#0000ff"}))
    assert "unknown colour (255, 0, 0)" in refused(tmp_path, palette="palette.json")


def class_files(root: Path, *, overlap: bool) -> None:
    for name in NAMES:
        write(root / "images" / f"{name}.png", picture(name))
        stored = labels(name)
        write(root / "masks" / "a_organ" / f"{name}.png", stored > 0 if overlap else stored == 1)
        write(root / "masks" / "tumour" / f"{name}_mask.png", stored == 2)


def test_a_file_for_each_class(tmp_path: Path) -> None:
    class_files(tmp_path, overlap=False)
    data = data_of(tmp_path)
    assert data.class_names == ["background", "a_organ", "tumour"]
    np.testing.assert_array_equal(data.read_mask(4), labels(NAMES[4]))
    other = data_of(tmp_path, classes=["tumour", "a_organ"])
    np.testing.assert_array_equal(other.read_mask(4), np.array([0, 2, 1])[labels(NAMES[4])])
    (tmp_path / "masks" / "tumour" / f"{NAMES[3]}_mask.png").unlink()
    assert f"{NAMES[3]}.png: no mask of class 'tumour'" in refused(tmp_path)


def test_files_that_overlap(tmp_path: Path) -> None:
    class_files(tmp_path, overlap=True)
    assert "pixels belong to 'a_organ' and to 'tumour'" in refused(tmp_path)
    data = data_of(tmp_path, overlapping=True)
    assert (data.class_names, data.num_classes) == (["a_organ", "tumour"], 2)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape[1:] == (2, 16, 20)
    for mask, scan in zip(batch["mask"], batch["scan"], strict=True):
        stored = labels(scan["case_id"])
        np.testing.assert_array_equal(mask, np.stack([stored > 0, stored == 2]))
    train = [labels(name) for name in data.table.cases.loc[data.rows("train"), "case_id"]]
    assert data.class_counts == [
        float(sum((one > 0).sum() for one in train)),
        float(sum((one == 2).sum() for one in train)),
    ]


def test_regions_are_unions_of_classes(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    classes = ["background", "edema", "core"]
    data = data_of(root, classes=classes, regions={"whole": ["edema", "core"], "core": ["core"]}, ignore_value=3)
    assert (data.class_names, data.overlapping) == (["whole", "core"], True)
    stored = labels(NAMES[2])
    stored[0, 0] = 3
    write(root / "masks" / f"{NAMES[2]}.png", stored)
    want = np.stack([stored > 0, stored == 2]).astype(np.uint8)
    want[:, 0, 0] = IGNORE
    np.testing.assert_array_equal(data.read_mask(2), want)
    assert "core names 'necrosis', which is none of" in refused(
        root, classes=classes, regions={"core": ["necrosis"]}, ignore_value=3
    )


def test_classes_of_a_trained_model_are_matched_by_name(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    data = data_of(root, classes=["background", "Leber", "spleen"], class_map={"Leber": "liver"})
    data.adopt_classes(["background", "spleen", "kidney", "liver"], overlapping=False)
    assert data.num_classes == 4
    np.testing.assert_array_equal(data.read_mask(1), np.array([0, 3, 1])[labels(NAMES[1])])
    stranger = data_of(root, classes=["background", "lung", "spleen"])
    stranger.adopt_classes(["background", "spleen"], overlapping=False)
    with pytest.raises(SuiteError, match=r"class 'lung' is none of the model's .*--data\.class_map"):
        _ = stranger.class_names
    with pytest.raises(SuiteError, match=r"--data\.overlapping false"):
        stranger.adopt_classes(["spleen"], overlapping=True)


# What is refused.


def test_missing_masks_and_folders_are_named(tmp_path: Path) -> None:
    assert "no such folder: MaskFolder wants images/" in refused(tmp_path)
    root = dataset(tmp_path)
    (root / "masks" / f"{NAMES[3]}.png").unlink()
    assert f"{root}/images/{NAMES[3]}.png: no mask of this name in masks/ (1 of 20 images" in refused(
        root, classes="a,b,c"
    )
    write(root / "masks" / f"{NAMES[3]}.png", labels(NAMES[3]))
    write(root / "masks" / f"{NAMES[3]}.tif", labels(NAMES[3]))
    assert f"{NAMES[3]}.png and {NAMES[3]}.tif are masks of the same image" in refused(root)
    (root / "labels").mkdir()
    assert "both masks/ and labels/ are there" in refused(root)
    assert "--data.masks" in refused(root, masks="annotations")


def test_a_mask_of_another_size_is_named_with_its_image(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    write(root / "masks" / f"{NAMES[9]}.png", labels(NAMES[9], shape=(16, 21)))
    message = refused(root, classes="a,b,c")
    assert (
        f"masks/{NAMES[9]}.png: the mask is 16 x 21, but its image {root}/images/{NAMES[9]}.png is 16 x 20" in message
    )
    data = data_of(root, classes="a,b,c", split="all_test", skip_unreadable=True)
    assert len(data.table) == len(NAMES) - 1
    assert data.unreadable == [NAMES[9]]
    write(root / "masks" / f"{NAMES[8]}.png", labels(NAMES[8], shape=(16, 21)))
    loader = data.test_dataloader()  # of a file that has changed since
    with pytest.raises(SuiteError, match="the mask is 16 x 21"):
        list(loader)


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    file = root / "masks" / f"{NAMES[6]}.png"
    file.write_bytes(file.read_bytes()[:-30])
    assert f"{file}: cannot be decoded" in refused(root, classes="a,b,c")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mask_kind": "colour"}, "--data.palette FILE"),
        ({"mask_kind": "index", "palette": "p.json"}, "--data.mask_kind is index"),
        ({"mask_kind": "files", "table": "t.csv"}, "leave out --data.table"),
        ({"mask_kind": "instances", "classes": "a,b,c"}, "instances masks have two classes"),
    ],
)
def test_flags_that_exclude_each_other(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert says in refused(dataset(tmp_path), **settings)


def test_nuclei(shared_data: Path) -> None:
    root = shared_data / "dsb2018_nuclei"
    data = data_of(root, image_size=64, batch_size=8)
    assert (len(data.table), data.class_names) == (166, ["background", "foreground"])
    assert data.table.cases["case_id"][0] == "00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552"
    for image in (0, 80, 165):
        stored = raster.read(root / "labels" / f"{data.table.cases['case_id'][image]}.png").array
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(data.true_mask(image), stored > 0)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape == (8, 64, 64)
    assert set(batch["mask"].unique().tolist()) == {0, 1}


def test_a_table_in_cp949_with_semicolons_and_without_suffixes(tmp_path: Path) -> None:
    names = [f"images/{number}" for number in range(4)]
    write_scans(tmp_path, [f"{name}.png" for name in names])
    for name in names:
        mask = tmp_path / f"{name.replace('images', 'masks')}.png"
        mask.parent.mkdir(exist_ok=True)
        write_png(mask, (np.arange(256).reshape(16, 16) > 128).astype(np.uint8))
    rows = "".join(f"{name};{name.replace('images', 'masks')};서울\n" for name in names)
    (tmp_path / "t.csv").write_bytes(("path;mask;병원\n" + rows).encode("cp949"))
    data = MaskFolder(str(tmp_path), table="t.csv", split="all_test", check_files=False)
    assert data.table.cases["case_id"].tolist() == names
    assert data.table.cases["mask"].tolist() == [f"masks/{number}.png" for number in range(4)]
    assert set(data.table.cases["병원"]) == {"서울"}
    assert data.read_classes(0).sum() == 127
    (tmp_path / "t.csv").write_text("image,mask\nimages/0,masks/0\n")
    with pytest.raises(SuiteError, match=r"t\.csv: no column 'path' .*: 'image' holds paths of files: give --data"):
        _ = MaskFolder(str(tmp_path), table="t.csv").table
