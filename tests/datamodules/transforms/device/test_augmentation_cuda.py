"""What a GPU makes of a batch is what a CPU makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.transforms.device import parameters as at
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.device.pixel_noise import normal, uniform
from datamodules.transforms.names import PRESET_CONFIGS
from tests.datamodules.transforms.device.drawn_scans import batch, drawn, labels, scan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture
def refused_waiting() -> Iterator[None]:
    """Whatever makes the CPU wait for the GPU is an error."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("preset", [name for name in PRESET_CONFIGS if name != "none"])
def test_images_and_masks_are_those_of_a_cpu(preset: str, channels: int) -> None:
    size, count = (96, 120), 24
    augmentation = DeviceAugmentation(replace(PRESET_CONFIGS[preset], elastic=0.05), channels, size)
    images = batch([scan(size, channels, number) for number in range(count)])
    mask = torch.from_numpy(np.stack([labels(size, number) for number in range(count)]))
    params = drawn(augmentation, count)
    wanted, classes = augmentation.apply(images, params, mask)
    found, moved = augmentation.apply(images.cuda(), params.cuda(), mask.cuda())
    assert classes is not None
    assert moved is not None
    assert found.stride() == wanted.stride()
    apart = (found.cpu() - wanted).abs()
    # Places differ by some 1e-5 pixels; where one rounds into another pixel (a flip of a bent grid, an edge), more.
    assert apart.mean() < 1e-5
    assert apart.flatten().quantile(0.999) < 2e-4
    assert (moved.cpu() != classes).float().mean() < 2e-4


@pytest.mark.usefixtures("refused_waiting")
@pytest.mark.parametrize("preset", ["strong", "mri", "ultrasound", "histology"])
def test_nothing_waits_for_the_gpu(preset: str) -> None:
    augmentation = DeviceAugmentation(replace(PRESET_CONFIGS[preset], elastic=0.05), 3, (64, 64))
    params = drawn(augmentation, 8).pin_memory().cuda(non_blocking=True)
    mask = torch.zeros(8, 64, 64, dtype=torch.uint8, device="cuda")
    augmentation.apply(torch.zeros(8, 3, 64, 64, device="cuda"), params, mask)


def test_random_bits_are_the_same() -> None:
    high, low = (torch.arange(64.0) * step % 65536 for step in (991, 7919))
    here = uniform(high, low, (3, 64, 64))
    there = uniform(high.cuda(), low.cuda(), (3, 64, 64)).cpu()
    assert torch.equal(here, there)
    torch.testing.assert_close(
        normal(high.cuda(), low.cuda(), (3, 64, 64)).cpu(), normal(high, low, (3, 64, 64)), rtol=2e-6, atol=1e-6
    )


def test_a_case_alone_is_what_it_is_in_a_batch_whatever_the_precision_of_products() -> None:
    augmentation = DeviceAugmentation(replace(PRESET_CONFIGS["strong"], elastic=0.05), 3, (64, 64))
    images = batch([scan((64, 64), 3, number) for number in range(16)]).cuda()
    params = drawn(augmentation, 16).cuda()
    exact, _ = augmentation.apply(images, params)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            together, _ = augmentation.apply(images, params)
            for number in (0, 7, 15):
                alone, _ = augmentation.apply(images[number : number + 1], params[number : number + 1])
                torch.testing.assert_close(alone[0], together[number], rtol=0, atol=1e-5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, exact, rtol=0, atol=1e-5)


def test_cases_that_do_not_move_are_exact() -> None:
    augmentation = DeviceAugmentation(replace(PRESET_CONFIGS["light"], brightness=0, contrast=0, color=0), 3, (50, 70))
    params = drawn(augmentation, 64)
    images = batch([scan((50, 70), 3, number) for number in range(64)])
    found, _ = augmentation.apply(images.cuda(), params.cuda())
    still = params[:, at.MOVED] == 0
    assert 5 < still.sum() < 30
    for row, given, result in zip(params[still], images[still], found[still.cuda()].cpu(), strict=True):
        assert torch.equal(result, given.flip(2) if row[at.MAP] < 0 else given)
