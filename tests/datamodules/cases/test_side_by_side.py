"""Which file is the mask of which, in folders where both lie side by side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.cases.side_by_side import SideBySide, mask_names, side_by_side


def paired(*names: str) -> SideBySide:
    speaking = mask_names(names)
    return side_by_side([name for name in names if name not in speaking], sorted(speaking))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("case1.png", "case1_mask.png"),
        ("case1.png", "case1_seg.tif"),
        ("case1.nii.gz", "case1-label.nii.gz"),
        ("case1.nii.gz", "case1_labels.nii.gz"),
        ("case1.png", "case1.mask.png"),
        ("case1.png", "case1_Mask.PNG"),
        ("case1.png", "case1_segmentation.png"),
        ("case1.png", "mask_case1.png"),
        ("img_001.png", "mask_001.png"),
        ("img001.png", "mask001.png"),
        ("image-7.png", "label-7.png"),
        ("case1_image.png", "case1_mask.png"),
        ("img_3.png", "img_3_mask.png"),
        ("a/image.nii.gz", "a/mask.nii.gz"),
        ("a/case1_flair.nii.gz", "a/case1_seg.nii.gz"),
        ("case1_0000.nii.gz", "case1_seg.nii.gz"),
    ],
)
def test_names_that_belong_together(image: str, mask: str) -> None:
    other = "other.png", "other_mask.png"
    found = paired(image, mask, *other)
    assert found.images == {mask: [image], "other_mask.png": ["other.png"]}
    assert not found.without_mask
    assert not found.without_image


@pytest.mark.parametrize(
    "names", [("a.png", "b.png"), ("masked.png", "a.png"), ("segment.png",), ("unlabel.png", "u.png")]
)
def test_names_that_only_look_like_masks(names: tuple[str, ...]) -> None:
    assert not paired(*names)
    assert mask_names(names) == set()


def test_other_folders_are_others() -> None:
    found = paired("a/1.png", "b/1_mask.png", "b/2.png", "b/2_mask.png")
    assert found.images == {"b/2_mask.png": ["b/2.png"]}
    assert found.without_mask == ["a/1.png"]
    assert found.without_image == ["b/1_mask.png"]


def test_an_image_whose_own_name_speaks_of_masks() -> None:
    found = paired("kid_mask.png", "kid_mask_mask.png")
    assert found.images == {"kid_mask_mask.png": ["kid_mask.png"]}


def test_sequences_of_a_case_share_a_mask() -> None:
    found = paired("c_0000.nii.gz", "c_0001.nii.gz", "c_seg.nii.gz")
    assert found.images == {"c_seg.nii.gz": ["c_0000.nii.gz", "c_0001.nii.gz"]}


def test_several_that_may_be_meant_are_all_named() -> None:
    assert paired("c_flair.nii.gz", "c_t1.nii.gz", "c_seg.nii.gz").images["c_seg.nii.gz"] == [
        "c_flair.nii.gz",
        "c_t1.nii.gz",
    ]
    assert paired("c.png", "c_mask.png", "c_label.png").masks["c.png"] == ["c_label.png", "c_mask.png"]


@given(st.lists(st.text("abcxyz0123", min_size=1, max_size=5), unique=True, min_size=1, max_size=8))
def test_every_image_finds_its_own_mask(stems: list[str]) -> None:
    found = paired(*(f"{stem}.png" for stem in stems), *(f"{stem}_mask.png" for stem in stems))
    assert found.masks == {f"{stem}.png": [f"{stem}_mask.png"] for stem in stems}
