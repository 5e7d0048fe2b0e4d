from __future__ import annotations

import warnings
from typing import Any

import albumentations
import numpy as np
import pytest

from datamodules.transforms.listed import known_transforms, transforms_from_list
from datamodules.transforms.presets import build_augmentation
from scansuite.errors import SuiteError


def build(transforms: Any, channels: int = 3, **rest: Any) -> Any:
    return build_augmentation("none", transforms=transforms, channels=channels, **rest)


@pytest.mark.parametrize(
    "entry",
    [
        "HorizontalFlip",
        {"class_path": "HorizontalFlip", "init_args": {"p": 1.0}},
        {"class_path": "albumentations.HorizontalFlip", "init_args": {"p": 1.0}},
        {"class_path": "albumentations.augmentations.geometric.flip.HorizontalFlip", "init_args": {"p": 1.0}},
        {"class_path": "albumentations.HorizontalFlip", "init_args": None},
    ],
)
def test_ways_to_name_a_transform(entry: Any) -> None:
    (transform,) = transforms_from_list([entry])
    assert type(transform) is albumentations.HorizontalFlip


def test_listed_transforms_come_after_the_presets_own() -> None:
    augment = build_augmentation("light", transforms=[{"class_path": "Sharpen"}], channels=1)
    assert repr(augment) == "Augmentation(BrightnessContrast, HorizontalFlip, Affine, Sharpen)"


def test_a_listed_flip_does_what_albumentations_does() -> None:
    image = np.random.default_rng(0).random((6, 7, 2), dtype=np.float32)
    augment = build([{"class_path": "HorizontalFlip", "init_args": {"p": 1.0}}], channels=2)
    np.testing.assert_array_equal(augment(image, (0,))["image"], image[:, ::-1])


def test_compositions_take_lists() -> None:
    flips = [{"class_path": name, "init_args": {"p": 1}} for name in ("HorizontalFlip", "VerticalFlip")]
    augment = build([{"class_path": "OneOf", "init_args": {"p": 1.0, "transforms": flips}}], channels=1)
    image = np.random.default_rng(0).random((6, 6, 1), dtype=np.float32)
    found = {augment(image, (number,))["image"].tobytes() for number in range(40)}
    assert found == {image[:, ::-1].tobytes(), image[::-1].tobytes()}


@pytest.mark.parametrize(
    ("transforms", "says"),
    [
        (["HorizontalFip"], r"transforms\[0\].*no transform HorizontalFip: did you mean HorizontalFlip"),
        (["HorizontalFlip", "os.system"], r"transforms\[1\].*not of the albumentations package"),
        ([{"class_path": "subprocess.Popen", "init_args": {"args": "true"}}], "not of the albumentations package"),
        (["albumentations.load"], "no transform load"),
        (["albumentations.core.serialization.np"], "no transform np"),
        (["Lambda"], "no transform Lambda"),
        ([{"class_path": "HorizontalFlip", "init_args": {"p": 3}}], r"\(HorizontalFlip\): p: .*less than or equal"),
        ([{"class_path": "HorizontalFlip", "init_args": {"prob": 1}}], r"\(HorizontalFlip\).*prob"),
        ([{"class_path": "GaussNoise", "init_args": {"var_limit": [10, 50]}}], r"\(GaussNoise\).*var_limit"),
        ([{"class_path": "RandomCrop", "init_args": {}}], r"\(RandomCrop\).*height"),
        ([{"class": "HorizontalFlip"}], r"transforms\[0\]: must be a name or have class_path"),
        ({"class_path": "HorizontalFlip"}, "must be a list"),
        (
            [{"class_path": "OneOf", "init_args": {"transforms": ["HorizontalFlip", "Nothing"]}}],
            r"transforms\[0\]\.transforms\[1\].*no transform Nothing",
        ),
        ([{"class_path": "Compose", "init_args": {"transforms": ["HorizontalFlip"], "seed": 1}}], "leave out seed"),
    ],
)
def test_bad_entries_are_refused_by_place_and_name(transforms: Any, says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        build(transforms)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["CLAHE", "ColorJitter", "HueSaturationValue", "ToGray", "HEStain"])
def test_transforms_that_cannot_take_five_channels_are_refused_at_start(name: str) -> None:
    with pytest.raises(SuiteError, match=rf"augmentation {name} .*5 channels"):
        build([{"class_path": name, "init_args": {"p": 0.01}}], channels=5)


@pytest.mark.parametrize("name", ["CLAHE", "ColorJitter", "HueSaturationValue"])
def test_the_same_ones_work_in_colour(name: str) -> None:
    result = build([name], channels=3)(np.full((8, 8, 3), 0.5, np.float32), (0,))["image"]
    assert result.shape == (8, 8, 3)


def test_what_the_library_only_warns_about_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"HueSaturationValue.*1 channel "):
        build(["HueSaturationValue"], channels=1)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("Normalize", r"Normalize takes values from \[0, 1\].*--data\.normalize"),
        ("FromFloat", "FromFloat turns float32 images into uint8"),
        ("ToTensorV2", "ToTensorV2 turns float32 images into Tensor"),
        ("Mosaic", "Mosaic cannot be used"),
    ],
)
def test_transforms_that_leave_the_unit_range_or_the_type_are_refused(entry: Any, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        build([entry])


def test_a_hidden_member_is_refused_by_its_own_name() -> None:
    inner = {"class_path": "Sequential", "init_args": {"p": 0.1, "transforms": ["HorizontalFlip", "CLAHE"]}}
    with pytest.raises(SuiteError, match="augmentation CLAHE"):
        build([{"class_path": "OneOf", "init_args": {"transforms": [inner, "VerticalFlip"]}}], channels=5)


def test_size_must_be_kept_where_there_is_one() -> None:
    crop = {"class_path": "RandomCrop", "init_args": {"height": 24, "width": 24, "p": 1.0}}
    back = {"class_path": "Resize", "init_args": {"height": 32, "width": 32, "p": 1.0}}
    assert build([crop, back], size=(32, 32))(np.zeros((32, 32, 3), np.float32), (0,))["image"].shape == (32, 32, 3)
    with pytest.raises(SuiteError, match=r"24 x 24 pixels, but --data\.image_size is 32 x 32"):
        build([crop], size=(32, 32))
    with pytest.raises(SuiteError, match="RandomCrop cannot be used"):
        build([crop], size=(16, 16))
    augment = build([crop])  # images of many sizes become one size
    assert augment(np.zeros((40, 50, 3), np.float32), (0,))["image"].shape == (24, 24, 3)
    with pytest.raises(SuiteError, match="image of 10 x 12 pixels"):
        augment(np.zeros((10, 12, 3), np.float32), (0,))


def test_boxes_need_transforms_that_can_move_them() -> None:
    image, labels = np.zeros((64, 64, 3), np.float32), np.array([1])
    boxes = np.array([[8, 8, 24, 40]], np.float32)
    for name in ("GridDistortion", "PixelDropout", "Sharpen"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            result = build([name], boxes=True)(image, (0,), boxes=boxes, labels=labels)
        assert len(result["boxes"]) == 1
    entry = {"class_path": "RandomCropNearBBox", "init_args": {"max_part_shift": 0.1}}
    with pytest.raises(SuiteError, match=r"RandomCropNearBBox.*with boxes"):
        build([entry], boxes=True)
    with pytest.raises(ValueError, match="boxes=True"):
        build(["HorizontalFlip"])(image, (0,), boxes=boxes, labels=labels)


def test_volume_transforms_are_not_offered() -> None:
    with pytest.raises(SuiteError, match="no transform CoarseDropout3D: did you mean CoarseDropout"):
        build(["CoarseDropout3D"])


def test_overshooting_filters_are_clipped() -> None:
    cubic = {"class_path": "Affine", "init_args": {"rotate": [-30, 30], "interpolation": 2, "p": 1.0}}
    image = np.zeros((32, 32, 1), np.float32)
    image[8:24, 8:24] = 1
    for number in range(10):
        result = build([cubic], channels=1)(image, (number,))["image"]
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_known_transform_works_or_is_refused_by_name(channels: int) -> None:
    image = np.random.default_rng(0).random((64, 64, channels), dtype=np.float32)
    worked, refused = set(), {}
    for name, kind in known_transforms().items():
        if issubclass(kind, albumentations.BaseCompose):
            continue
        try:
            augment = build([name], channels=channels, size=(64, 64))
        except SuiteError as error:
            refused[name] = str(error)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            for number in range(3):
                result = augment(image, (number,))["image"]
                assert result.dtype == np.float32
                assert np.isfinite(result).all()
                assert result.min() >= 0
                assert result.max() <= 1
                assert result.shape[2] == channels
        worked.add(name)
    assert [
        name for name, text in refused.items() if "\n" in text or (name not in text and "64 x 64" not in text)
    ] == []
    assert {"Affine", "ElasticTransform", "GaussianBlur", "GaussNoise", "GridDistortion", "CoarseDropout"} <= worked
    assert ("ColorJitter" in worked) == (channels != 5)
