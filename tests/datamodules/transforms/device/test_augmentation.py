"""What holds for every range, size and case of the augmentation on the device."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.transforms.device import parameters as at
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.elastic import LARGEST
from datamodules.transforms.names import PRESET_CONFIGS, AugmentConfig
from tests.datamodules.transforms.device.drawn_scans import as_scan, batch, drawn, labels, scan

LIMITS = {"rotation": 180.0, "scale": 0.9, "bias_field": 0.2, "blur": 3.0, "elastic": LARGEST, "speckle": 1.0}


@st.composite
def configs(draw: Any) -> AugmentConfig:
    """Ranges of any strength, each left out now and then."""
    given_: dict[str, Any] = {}
    for field in fields(AugmentConfig):
        if field.type == "bool":
            given_[field.name] = draw(st.booleans())
        elif draw(st.booleans()):
            limit = LIMITS.get(field.name, 1.0)
            given_[field.name] = draw(st.floats(0.05 * limit, limit))
    return AugmentConfig(**given_)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(configs(), sizes, st.sampled_from([1, 2, 3]), st.integers(0, 2**63))
def test_images_stay_finite_in_their_range_and_order_and_classes_are_none_but_theirs(
    config: AugmentConfig, size: tuple[int, int], channels: int, seed: int
) -> None:
    augmentation = DeviceAugmentation(config, channels, size)
    images = batch([scan(size, channels, number) for number in range(3)])
    before = images.clone()
    mask = torch.from_numpy(np.stack([labels(size, number) for number in range(3)]))
    result, moved = augmentation.apply(images, drawn(augmentation, 3, seed), mask)
    assert moved is not None
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert result.stride() == images.stride()
    assert torch.equal(images, before)
    assert moved.shape == mask.shape
    assert moved.dtype == mask.dtype
    assert set(moved.flatten().tolist()) <= {0, 1, 2, 3, 255}


@settings(max_examples=40, deadline=None)
@given(configs(), sizes, st.integers(0, 2**63), st.integers(1, 5))
def test_a_case_alone_is_what_it_is_in_a_batch(
    config: AugmentConfig, size: tuple[int, int], seed: int, count: int
) -> None:
    augmentation = DeviceAugmentation(config, 3, size)
    images = batch([scan(size, 3, number) for number in range(count)])
    params = drawn(augmentation, count, seed)
    together, _ = augmentation.apply(images, params)
    for number in range(count):
        alone, _ = augmentation.apply(images[number : number + 1], params[number : number + 1])
        # Sums over an image may be taken in another order.
        torch.testing.assert_close(alone[0], together[number], rtol=0, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(configs(), sizes, st.lists(st.integers(0, 2**64), max_size=4))
def test_parameters_repeat_with_their_words_and_differ_with_others(
    config: AugmentConfig, size: tuple[int, int], words: list[int]
) -> None:
    augmentation = DeviceAugmentation(config, 1, size)
    row = augmentation.draw(words)
    assert row.shape == (augmentation.length,)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(augmentation)).draw(words), row)
    assert not np.array_equal(augmentation.draw([*words, 0]), row)


def test_one_range_does_not_change_what_is_drawn_for_the_others() -> None:
    plain = DeviceAugmentation(AugmentConfig(rotation=10, noise=0.1), 1, (20, 20))
    more = DeviceAugmentation(AugmentConfig(rotation=10, noise=0.1, gamma=0.3, color=0.2, blur=1.0), 1, (20, 20))
    for number in range(20):
        first, second = plain.draw((number,)), more.draw((number,))
        columns = [*range(at.SPECKLE_WORD, at.NOISE_WORD + 2), at.NOISE, *range(at.MAP, at.MAP + 7)]
        np.testing.assert_array_equal(first[columns], second[columns])


@pytest.mark.parametrize("preset", [name for name, c in PRESET_CONFIGS.items() if not c.horizontal_flip])
def test_presets_that_keep_sides_never_mirror(preset: str) -> None:
    augmentation = DeviceAugmentation(PRESET_CONFIGS[preset], 1, (32, 32))
    maps = drawn(augmentation, 300)[:, at.MAP : at.MAP + 6].view(-1, 2, 3)
    assert (torch.linalg.det(maps[:, :, :2]) > 0).all()


def test_nothing_asked_for_changes_nothing() -> None:
    augmentation = DeviceAugmentation(AugmentConfig(), 3, (16, 16))
    images = batch([scan((16, 16), 3)])
    result, mask = augmentation.apply(images, drawn(augmentation, 1))
    assert torch.equal(result, images)
    assert mask is None


def test_regions_move_as_classes_do() -> None:
    augmentation = DeviceAugmentation(PRESET_CONFIGS["strong"], 1, (32, 40))
    images = batch([scan((32, 40), 1)] * 6)
    mask = torch.from_numpy(np.stack([labels((32, 40), number) for number in range(6)]))
    regions = torch.stack([mask == 1, mask == 2], dim=1).to(torch.uint8)
    params = drawn(augmentation, 6)
    _, classes = augmentation.apply(images, params, mask)
    _, moved = augmentation.apply(images, params, regions)
    assert classes is not None
    assert moved is not None
    assert moved.dtype == torch.uint8
    assert torch.equal(moved, torch.stack([classes == 1, classes == 2], dim=1).to(torch.uint8))


def test_shapes_that_do_not_fit_are_refused() -> None:
    augmentation = DeviceAugmentation(PRESET_CONFIGS["light"], 1, (16, 16))
    params = drawn(augmentation, 2)
    for image in (torch.zeros(2, 1, 16, 20), torch.zeros(2, 3, 16, 16), torch.zeros(3, 1, 16, 16)):
        with pytest.raises(ValueError, match="expected"):
            augmentation.apply(image, params)
    with pytest.raises(ValueError, match="expected"):
        augmentation.apply(torch.zeros(2, 1, 16, 16, dtype=torch.uint8), params)
    with pytest.raises(ValueError, match="expected"):
        augmentation.apply(torch.zeros(2, 1, 16, 16), params[:, :-1])


def drawn_boxes(size: tuple[int, int], count: int, seed: int) -> NDArray[np.float32]:
    """Boxes (N, 4) of at least a pixel within an image."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((count, 2, 2)), axis=1) * (np.array(size[::-1]) - 1)
    return np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(configs(), st.tuples(st.integers(8, 60), st.integers(8, 60)), st.integers(0, 6), st.integers(0, 2**32))
def test_boxes_stay_inside_with_their_labels(
    config: AugmentConfig, size: tuple[int, int], count: int, seed: int
) -> None:
    augmentation = DeviceAugmentation(config, 1, size)
    boxes = drawn_boxes(size, count, seed)
    for number in range(4):
        moved, kept = augmentation.move_boxes(augmentation.draw((seed, number)), boxes, np.arange(count))
        assert moved.shape == (len(kept), 4)
        assert moved.dtype == np.float32
        assert np.isfinite(moved).all()
        assert (moved >= 0).all()
        assert (moved[:, 2:] <= np.array(size[::-1])).all()
        assert (moved[:, 2:] > moved[:, :2]).all()
        assert set(kept.tolist()) <= set(range(count))


@pytest.mark.parametrize("elastic", [0.0, LARGEST])
def test_boxes_lie_about_what_they_lay_about(elastic: float) -> None:
    size = (96, 120)
    config = AugmentConfig(
        rotation=20, scale=0.2, shift=0.1, horizontal_flip=True, vertical_flip=True, quarter_turns=True, elastic=elastic
    )
    augmentation = DeviceAugmentation(config, 1, size)
    upright = DeviceAugmentation(
        AugmentConfig(horizontal_flip=True, vertical_flip=True, quarter_turns=True, elastic=elastic), 1, size
    )
    boxes = np.array([[20, 30, 60, 50], [70, 10, 100, 80], [30, 55, 60, 90]], np.float32)
    filled = torch.zeros(60, len(boxes), *size, dtype=torch.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        filled[:, number, y1:y2, x1:x2] = 1
    for which in (augmentation, upright):
        params = drawn(which, len(filled))
        _, shown = which.apply(torch.zeros(len(filled), 1, *size), params, filled)
        assert shown is not None
        for row, seen in zip(params.numpy(), shown.numpy(), strict=True):
            moved, kept = which.move_boxes(row, boxes, np.arange(3))
            for box, place in zip(moved, kept, strict=True):
                rows, columns = np.nonzero(seen[place])
                edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                # Pixels whose middle lies inside, of corners that come to a point.
                assert np.abs(box - edges).max() < 2.5


def test_boxes_are_those_of_albumentations() -> None:
    import albumentations

    from datamodules.transforms.names import MIN_VISIBILITY
    from tests.datamodules.transforms.device.test_against_albumentations import matrix

    size = (80, 100)
    augmentation = DeviceAugmentation(AugmentConfig(rotation=30, scale=0.3, shift=0.5), 1, size)
    rule = albumentations.BboxParams(
        format="pascal_voc", label_fields=["rows"], clip=True, filter_invalid_bboxes=True, min_visibility=MIN_VISIBILITY
    )
    dropped = 0
    for number in range(60):
        boxes = drawn_boxes(size, 5, number)
        row = augmentation.draw((number,))
        whole = matrix(row, size, 0.0)
        scale, angle = np.hypot(whole[0, 0], whole[0, 1]), np.degrees(np.arctan2(whole[0, 1], whole[0, 0]))
        centre = np.array([size[1] / 2, size[0] / 2, 1])
        right, down = (round(value) for value in (whole @ centre - centre)[:2])
        step = albumentations.Affine(
            rotate=(angle, angle), scale=(scale, scale), keep_ratio=True, fill=0, p=1,
            translate_px={"x": (right, right), "y": (down, down)},
        )  # fmt: skip
        reference = albumentations.Compose([step], bbox_params=rule)(
            image=np.zeros((*size, 1), np.float32), bboxes=boxes, rows=np.arange(5)
        )
        moved, kept = augmentation.move_boxes(row, boxes, np.arange(5))
        assert kept.tolist() == [int(place) for place in reference["rows"]]
        np.testing.assert_allclose(moved, np.asarray(reference["bboxes"]).reshape(-1, 4), atol=1e-3)
        dropped += 5 - len(kept)
    assert dropped > 10


def test_the_image_keeps_what_the_parameters_leave_alone() -> None:
    augmentation = DeviceAugmentation(PRESET_CONFIGS["light"], 1, (24, 24))
    params = drawn(augmentation, 200)
    images = batch([scan((24, 24), 1)] * 200)
    result, _ = augmentation.apply(images, params)
    plain = (params[:, at.GAIN] == 1) & (params[:, at.PULL] == 0) & (params[:, at.MOVED] == 0)
    assert plain.any()
    for row, image in zip(params[plain].numpy(), result[plain], strict=True):
        given_ = scan((24, 24), 1)
        np.testing.assert_array_equal(as_scan(image), given_[:, ::-1] if row[at.MAP] < 0 else given_)
