"""Volumes as slices, and slices as volumes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datamodules.readers.volume import Grid, Plane, read_volume, slice_spacing, to_slices, write_volume
from datamodules.resampling import resize_mask
from datamodules.samples.label_values import IGNORE, label_values
from datamodules.samples.masks import Masks
from datamodules.samples.patches import PatchPlace
from datamodules.samples.slices import SliceSpec
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Draw
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import AFFINES, AXIAL, write_nifti

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
CLASSES = ["background", "organ", "tumour"]
SHAPE = (12, 14, 9)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCANSUITE_CACHE", str(folder))
    return folder


def picture(number: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(-1000, 1000, shape).astype(np.int16)


def labels(number: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    mask = np.random.default_rng([1, number]).integers(0, 3, shape).astype(np.uint8)
    mask[:, :, : shape[2] // 2] = 0
    return mask


def dataset(root: Path, count: int = 10, affine: NDArray[np.float64] = AXIAL, shape: tuple[int, ...] = SHAPE) -> Path:
    for number in range(count):
        write_nifti(root / "imagesTr" / f"case_{number}.nii.gz", picture(number, shape), affine)
        write_nifti(root / "labelsTr" / f"case_{number}.nii.gz", labels(number, shape[:3]), affine)
    return root


def data_of(root: Path, **settings: Any) -> Volumes:
    given = {"num_workers": 0, "batch_size": 8, "augment": "none", "classes": CLASSES, "folds": 3, **settings}
    return Volumes(str(root), **given)


def refused(root: Path, **settings: Any) -> str:
    def read_all() -> None:
        data = data_of(root, **settings)
        assert data.num_classes
        for image in range(len(data.table.images)):
            data.read(image)

    with pytest.raises(SuiteError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def restored(data: Volumes, seen: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Masks (S, h, w) as the network sees them, put back onto the volume's own grid by nearest neighbour."""
    if data.slices.spacing is not None:  # then they are filled up below and on the right
        height, width = data.slices.size(grid)
        seen = seen[:, :height, :width]
    return data.slices.to_grid(resize_mask(seen, data.slices.stored_size(grid)[1:]), grid)


# Slices.


@pytest.mark.parametrize("plane", PLANES)
def test_slices_are_samples_and_volumes_are_cases(plane: Plane, tmp_path: Path) -> None:
    root = dataset(tmp_path, affine=AFFINES["oblique"])
    data = data_of(root, axis=plane)
    counts = len(to_slices(labels(0), AFFINES["oblique"], plane))
    assert (len(data.table), len(data.table.images)) == (10, 10 * counts)
    assert (data.class_names, data.num_classes, data.in_channels) == (CLASSES, 3, 1)
    assert data.input_size == (32, 32)
    parts: dict[str, set[str]] = {}
    seen: dict[str, list[int]] = {}
    for part, loader in (
        ("train", data.train_dataloader()), ("val", data.val_dataloader()), ("test", data.test_dataloader()),
    ):  # fmt: skip
        for batch in loader:
            for mask, scan in zip(batch["mask"], batch["scan"], strict=True):
                parts.setdefault(part, set()).add(scan["case_id"])
                assert scan["slice"] is not None
                seen.setdefault(scan["case_id"], []).append(scan["slice"])
                slices = to_slices(labels(int(scan["case_id"][-1])), AFFINES["oblique"], plane)
                assert scan["original_size"] == slices.shape[1:]
                np.testing.assert_allclose(scan["affine"], AFFINES["oblique"], atol=1e-6)
                want = data.preprocess.mask(slices[scan["slice"]])
                np.testing.assert_array_equal(mask, want)
    assert not parts["train"] & parts["val"] | parts["train"] & parts["test"] | parts["val"] & parts["test"]
    assert sorted(seen) == [f"case_{number}" for number in range(10)]
    dropped = sum(counts - len(found) for found in seen.values())
    assert dropped <= 1  # a last training batch of one slice is left out
    for case in parts["val"] | parts["test"]:
        assert seen[case] == list(range(counts))


@pytest.mark.parametrize(("neighbors", "frames"), [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)])
def test_neighbours_and_frames_are_channels(neighbors: int, frames: int, tmp_path: Path) -> None:
    shape = SHAPE if frames == 1 else (*SHAPE, frames)
    data = data_of(dataset(tmp_path, 6, shape=shape), neighbors=neighbors, window="0:2000", image_size=[14, 12])
    channels = (2 * neighbors + 1) * frames
    assert data.in_channels == channels
    for index in (0, 3, SHAPE[2] - 1):
        array = data.read(SHAPE[2] * 2 + index).array
        slices = to_slices(picture(2, shape), AXIAL, "axial")
        near = [min(max(one, 0), SHAPE[2] - 1) for one in range(index - neighbors, index + neighbors + 1)]
        want = np.concatenate([slices[one].reshape(*slices.shape[1:3], -1) for one in near], axis=2)
        np.testing.assert_array_equal(array.reshape(want.shape), want)
        assert array.dtype == np.int16
    image = next(iter(data.val_dataloader()))["image"]
    assert image.shape[1:] == (channels, 14, 12)
    scan = next(iter(data.val_dataloader()))["scan"][0]
    stored = to_slices(picture(int(scan["case_id"][-1]), shape), AXIAL, "axial")[0].reshape(14, 12, -1)
    want = ((stored.astype(np.float32) + 1000) / 2000).clip(0, 1)
    np.testing.assert_allclose(image[0][neighbors * frames].numpy(), want[:, :, 0], atol=1e-6)


def test_sequences_in_files_of_their_own(tmp_path: Path) -> None:
    for number in range(6):
        for sequence in range(2):
            name = f"case_{number}_{sequence:04d}.nii.gz"
            write_nifti(tmp_path / "imagesTr" / name, picture(number * 10 + sequence))
        write_nifti(tmp_path / "labelsTr" / f"case_{number}.nii.gz", labels(number))
    data = data_of(tmp_path, neighbors=1, value_range=[-1000, 1000])
    assert data.in_channels == 6
    assert data.table.cases["case_id"].tolist() == [f"case_{number}" for number in range(6)]
    slices = [to_slices(picture(10 + sequence), AXIAL, "axial") for sequence in range(2)]
    want = np.stack([slices[sequence][index] for index in (3, 4, 5) for sequence in range(2)], axis=-1)
    np.testing.assert_array_equal(data.read(SHAPE[2] + 4).array, want)
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR"}}))
    (tmp_path / "imagesTr" / "case_3_0001.nii.gz").unlink()
    assert "case case_3 has no case_3_0001.nii.gz (FLAIR), which other cases have" in refused(tmp_path)


def test_intensities_follow_the_percentiles_of_the_volume(tmp_path: Path) -> None:
    root = dataset(tmp_path, 6)
    padded = np.full((20, 20, 9), -2000, np.int16)
    padded[:12, :14] = picture(0)
    write_nifti(root / "imagesTr" / "case_0.nii.gz", padded)
    write_nifti(root / "labelsTr" / "case_0.nii.gz", labels(0, (20, 20, 9)))
    for given, (low, high) in ((None, (0.5, 99.5)), ("5,90", (5, 90))):
        data = data_of(root, percentiles=given, image_size=20)
        limits = np.percentile(picture(0).astype(float), (low, high))
        want = ((padded - limits[0]) / (limits[1] - limits[0])).clip(0, 1)
        image = data.preprocess(data.read(4))[:, :, 0]
        np.testing.assert_allclose(image, to_slices(want, AXIAL, "axial")[4], atol=2e-5)
    flat = write_nifti(tmp_path / "flat.nii", np.full(SHAPE, 7, np.int16))
    assert not SliceSpec().cut_image(read_volume(flat)).any()


# There and back.


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("plane", PLANES)
def test_true_masks_go_round_exactly(name: str, plane: Plane, tmp_path: Path) -> None:
    root = dataset(tmp_path, 5, AFFINES[name], (*SHAPE, 1))
    data = data_of(root, axis=plane, image_size=64)
    for case in range(2):
        images = data.images_by_case(np.array([case]))[0]
        masks = data.dataset(np.array([case]))
        seen = np.stack([masks[number]["mask"].numpy() for number in range(len(images))])
        assert seen.shape[1:] == (64, 64)
        grid = data.grid(case)
        back = restored(data, seen, grid)
        np.testing.assert_array_equal(back, labels(case))
        np.testing.assert_array_equal(data.true_mask(case), labels(case))
        write_volume(tmp_path / "out.nii.gz", back, grid)
        written, source = (nibabel.load(file) for file in (tmp_path / "out.nii.gz", grid.path))
        np.testing.assert_array_equal(written.affine, source.affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj), labels(case))


def test_slices_are_resampled_to_a_spacing(tmp_path: Path) -> None:
    affine = AFFINES["oblique"]  # 0.7, 1.1 and 2.5 mm
    block = np.zeros((30, 20, 6), np.uint8)
    block[6:20, 5:15, 2:5] = 1
    for number in range(5):
        write_nifti(tmp_path / "imagesTr" / f"{number}.nii", (block * 100 + number).astype(np.int16), affine)
        write_nifti(tmp_path / "labelsTr" / f"{number}.nii", block, affine)
    for plane in PLANES:
        data = data_of(tmp_path, spacing=0.5, axis=plane, classes=["background", "block"])
        grid = data.grid(0)
        stored, now = data.slices.stored_size(grid), slice_spacing(affine, plane)
        want = tuple(round(count * mm / 0.5) for count, mm in zip(stored[1:], now[1:], strict=True))
        assert data.slices.size(grid) == want
        assert data.input_size == tuple(-(-side // 32) * 32 for side in want)
        cases = data.dataset(np.array([0]))
        seen = np.stack([cases[number]["mask"].numpy() for number in range(len(cases))])
        image = np.stack([cases[number]["image"][0].numpy() for number in range(len(cases))])
        assert ((image > 0.5) != seen.astype(bool)).mean() < 0.02  # image and mask lie on one grid
        assert seen.sum() * 0.5 * 0.5 * now[0] == pytest.approx(block.sum() * 0.7 * 1.1 * 2.5, rel=0.05)
        np.testing.assert_array_equal(restored(data, seen, grid), block)  # a finer grid loses nothing
    assert "larger than --data.image_size 16,16" in refused(tmp_path, spacing=0.5, image_size=16, classes="a,b")


def test_a_spec_survives_a_checkpoint() -> None:
    spec = SliceSpec("coronal", 2, (1.0, 0.5), None)
    assert SliceSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


# Classes.


@pytest.mark.parametrize(
    "described",
    [
        {"labels": {"0": "background", "1": "organ", "2": "tumour"}, "modality": {"0": "CT"}},
        {"labels": {"background": 0, "tumour": 2, "organ": 1}, "channel_names": {"0": "CT"}},
    ],
)
def test_dataset_json_names_the_classes(described: dict[str, Any], tmp_path: Path) -> None:
    root = dataset(tmp_path, 5)
    (root / "dataset.json").write_text(json.dumps(described))
    data = data_of(root, classes=None)
    assert data.class_names == CLASSES
    np.testing.assert_array_equal(data.true_mask(1), labels(1))


def test_regions_and_ignored_labels_of_nnunet(tmp_path: Path) -> None:
    root = dataset(tmp_path, 5)
    stored = labels(1)
    stored[0, 0, 0] = 3
    write_nifti(root / "labelsTr" / "case_1.nii.gz", stored)
    content = {"labels": {"background": 0, "whole": [1, 2], "tumour": 2, "ignore": 3}}
    (root / "dataset.json").write_text(json.dumps(content))
    data = data_of(root, classes=None)
    assert (data.class_names, data.overlapping, data.ignore_index) == (["whole", "tumour"], True, IGNORE)
    want = np.stack([stored > 0, stored == 2]).astype(np.uint8)
    want[:, 0, 0, 0] = IGNORE
    np.testing.assert_array_equal(data.true_mask(1), want)
    assert next(iter(data.val_dataloader()))["mask"].shape[1:] == (2, 32, 32)


def test_without_names_the_values_in_the_masks_are_the_classes(tmp_path: Path) -> None:
    assert data_of(dataset(tmp_path, 5), classes=None).class_names == ["background", "1", "2"]


def test_slices_with_foreground_are_drawn_as_often_as_asked_for(tmp_path: Path) -> None:
    data = data_of(dataset(tmp_path), foreground_share=0.9)
    rows = data.rows("train")
    weights = data.sampler_weights(rows)
    assert weights is not None
    holds = np.concatenate([to_slices(labels(row), AXIAL, "axial").any(axis=(1, 2)) for row in rows])
    assert (len(weights), 0 < holds.mean() < 1) == (len(holds), True)
    assert weights[holds].sum() / weights.sum() == pytest.approx(0.9)
    slices = [scan["slice"] for batch in data.train_dataloader() for scan in batch["scan"]]
    assert np.mean([index is not None and index >= SHAPE[2] // 2 for index in slices]) > 0.7


# What is refused, before training begins.


def test_masks_on_another_grid_are_named_with_their_image(tmp_path: Path) -> None:
    root = dataset(tmp_path, 5)
    write_nifti(root / "labelsTr" / "case_2.nii.gz", labels(2), AFFINES["lps"])
    message = refused(root)
    assert f"{root}/labelsTr/case_2.nii.gz: the mask is not on the grid of its image {root}/imagesTr/case_2" in message
    assert "affines that differ" in message
    write_nifti(root / "labelsTr" / "case_2.nii.gz", labels(2)[:-1])
    assert "11 x 14 x 9 voxels against 12 x 14 x 9" in refused(root)


def test_bad_files_are_named(tmp_path: Path, cache: Path) -> None:
    root = dataset(tmp_path, 5)
    label, image = root / "labelsTr" / "case_3.nii.gz", root / "imagesTr" / "case_3.nii.gz"
    mask = labels(3)
    mask[1, 2, 3] = 9
    write_nifti(label, mask)
    assert refused(root).startswith(f"{label}: unknown label value 9 (1 pixels)")
    write_nifti(label, labels(3))
    values = picture(3).astype(np.float32)
    values[0, 0, 0] = np.nan
    write_nifti(image, values)
    assert refused(root).startswith(f"{image}: 1 voxels are NaN or infinite")
    write_nifti(image, picture(3))
    image.write_bytes(image.read_bytes()[:-300])
    assert refused(root).startswith(f"{image}: damaged or truncated")
    write_nifti(image, picture(3)[:, :, :0])
    assert refused(root).startswith(f"{image}: has no voxels")
    write_nifti(image, np.stack([picture(3)] * 2, axis=-1))
    assert refused(root).startswith(f"{image}: has 2 channels, but {root}/imagesTr/case_0.nii.gz has 1")
    write_nifti(image, picture(3))
    assert len(data_of(root).table) == 5
    label.unlink()
    assert f"{image}: no mask case_3.nii.gz in {root}/labelsTr (1 of 5 cases have none)" in refused(root)
    assert not list((cache / "volumes").glob(".*.tmp"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"images": "imagesXx"}, "imagesXx: no such folder: Volumes wants imagesTr/"),
        ({"axis": "axail"}, "--data.axis 'axail': expected one of axial, coronal, sagittal"),
        ({"neighbors": -1}, "--data.neighbors -1"),
        ({"spacing": "0"}, "--data.spacing"),
        ({"spacing": [1, 1, 1]}, "--data.spacing [1, 1, 1]: one number of mm"),
        ({"percentiles": "0,101"}, "--data.percentiles"),
        ({"percentiles": "1,99", "window": "lung"}, "exclude each other"),
        ({"foreground_share": 1.0}, "--data.foreground_share 1.0"),
        ({"classes": "background,organ"}, "unknown label value 2"),
    ],
)
def test_flags_out_of_range(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert says in refused(dataset(tmp_path, 5), **settings)


def test_a_broken_dataset_json_is_named(tmp_path: Path) -> None:
    root = dataset(tmp_path, 5)
    for content in ("{", "[]", '{"labels": {"0": "a", "1": {}}, "modality": {"x": 1}}'):
        (root / "dataset.json").write_text(content)
        assert refused(root, classes=None).startswith(f"{root}/dataset.json: cannot be read as a dataset.json")


def test_a_table_instead_of_folders(tmp_path: Path) -> None:
    rows = ["path,label,patient_id"]
    for number in range(8):
        write_nifti(tmp_path / f"a/{number}.nii.gz", picture(number))
        write_nifti(tmp_path / f"b/{number}-seg.nii.gz", labels(number))
        rows.append(f"a/{number}.nii.gz,b/{number}-seg.nii.gz,{number // 2}")
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    data = data_of(tmp_path, table="cases.csv", folds=2)
    assert data.table.cases.groupby("patient_id")["split"].nunique().max() == 1
    np.testing.assert_array_equal(data.true_mask(5), labels(5))
    (tmp_path / "b/4-seg.nii.gz").unlink()
    assert "cases.csv: b/4-seg.nii.gz in column 'label' is not below" in refused(tmp_path, table="cases.csv")


# Real volumes.


@pytest.fixture
def hippocampus(shared_data: Path, tmp_path: Path) -> Path:
    for file in sorted((shared_data / "msd_hippocampus" / "imagesTr").glob("[!.]*.nii.gz"))[:10]:
        for folder in ("imagesTr", "labelsTr"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / file.name).symlink_to(file.parents[1] / folder / file.name)
    return tmp_path


def test_hippocampus(hippocampus: Path) -> None:
    data = data_of(hippocampus, neighbors=1, axis="coronal", classes=None, image_size=64, num_workers=1)
    assert (data.class_names, data.in_channels) == (["background", "1", "2"], 3)
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (8, 3, 64, 64)
    assert 0 <= batch["image"].min() < 0.1
    assert 0.9 < batch["image"].max() <= 1
    for case in range(len(data.table)):
        dataset = data.dataset(np.array([case]))
        seen = np.stack([dataset[number]["mask"].numpy() for number in range(len(dataset))])
        stored = nibabel.load(data.grid(case).path.replace("imagesTr", "labelsTr")).get_fdata()
        np.testing.assert_array_equal(restored(data, seen, data.grid(case)), stored)


def test_a_volume_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(dataset(tmp_path, count=6))
    images = range(len(data.table.images))
    first = [data.read(image).array.copy() for image in images]

    def opened(*args: Any, **settings: Any) -> NoReturn:
        raise AssertionError("a slice of a volume that is in the cache opens its file")

    monkeypatch.setattr("datamodules.samples.sliced_volumes.read_volume", opened)
    for image in images:
        np.testing.assert_array_equal(data.read(image).array, first[image])


def test_label_values_need_no_memory_of_their_own(tmp_path: Path) -> None:
    volume = read_volume(write_nifti(tmp_path / "m.nii", labels(0).astype(np.float32)))
    cut = SliceSpec().cut_mask(volume, label_values(CLASSES))
    assert cut.dtype == np.uint8
    torch.testing.assert_close(torch.from_numpy(cut), torch.from_numpy(to_slices(labels(0), AXIAL, "axial").copy()))


def test_training_patches_lie_over_the_scan_not_over_its_filling(tmp_path: Path) -> None:
    """Tiles are laid over what shows the scan alone; patches were drawn from what slices are filled up with too."""
    data = data_of(dataset(tmp_path, 6), spacing=0.4, image_size=96, patch_size=12)
    rows = data.rows("train")
    patches = data.dataset(rows, augmented=True)
    assert max(data.slices.size(data.grid(int(rows[0])))) <= 40
    for case in range(len(patches)):
        sample = patches[Draw(case, (0, case))]
        assert sample["image"].shape == (1, 12, 12)
        assert sample["image"].std() > 0  # filling has one value
    mask = np.zeros((96, 96), np.uint8)
    mask[30, 5] = 1
    over = [partial(Masks(lambda *_: mask).foreground, mask)]
    for seed in range(20):
        top, left = PatchPlace((12, 12), foreground_share=1 - 1e-9).random((40, 20), (seed,), over)
        assert mask[top : top + 12, left : left + 12].any()
        assert (top + 12 <= 40, left + 12 <= 20) == (True, True)
