"""A packed batch comes apart again as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datamodules.samples.moving import PackedBatch, pack

KINDS = (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64, torch.bool)
UNLIKE = [torch.zeros(2, 3), torch.zeros(1, 4), torch.ones(())]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    numbers = torch.from_numpy(np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape))
    tensor = numbers.to(draw(st.sampled_from(KINDS)))
    order: list[int] = draw(st.permutations(range(len(shape))))
    return tensor.permute(order)


@st.composite
def lists(draw: st.DrawFn) -> list[torch.Tensor]:
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    return [torch.full((count, 4), float(number)) for number, count in enumerate(counts)]


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one.long(), other.long())


@given(st.dictionaries(st.sampled_from("abcdef"), tensors() | lists(), max_size=5))
def test_what_is_packed_comes_apart_as_it_was(batch: dict[str, Any]) -> None:
    got: Any = (
        pack({**batch, "scan": [{"path": "x"}], "boxes": [], "unlike": UNLIKE}).to(torch.device("cpu")).unpacked()
    )
    assert got.pop("scan") == [{"path": "x"}]
    assert got.pop("boxes") == []
    assert_same(got.pop("unlike"), UNLIKE)
    assert sorted(got) == sorted(batch)
    for key in batch:
        assert_same(got[key], batch[key])


def packed_numbers(numbers: list[int]) -> PackedBatch:
    image = torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
    return pack({"image": image.contiguous().permute(0, 3, 1, 2), "label": torch.tensor(numbers)})


def test_a_loader_process_hands_over_memory_that_both_see() -> None:
    loader: Any = DataLoader(range(5), 2, num_workers=1, collate_fn=packed_numbers)  # type: ignore[arg-type]
    for packed, wanted in zip(loader, ([0, 1], [2, 3], [4]), strict=True):
        assert packed.memory.is_shared()
        batch = packed.unpacked()
        assert batch["label"].tolist() == wanted
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["image"].amax((1, 2, 3)).tolist() == wanted


def test_labels_do_not_keep_the_memory_of_images() -> None:
    packed = packed_numbers([1, 2])
    batch = packed.unpacked()
    assert batch["image"].untyped_storage().data_ptr() == packed.memory.untyped_storage().data_ptr()
    assert batch["label"].untyped_storage().nbytes() == 16
