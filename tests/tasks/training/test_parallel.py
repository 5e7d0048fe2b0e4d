"""Settings of training on several devices: synchronised norms, the batch of all devices, what is refused."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from backbones.pyramid import Backbone
from datamodules.arrays.choose import Arrays
from datamodules.loading.sampling import TrainSampler
from datamodules.settings import per_device
from scansuite.errors import SuiteError
from tasks.training.parallel import SyncNorms, refuse_sync_on_cpu, several_devices
from tasks.training.seeding import SeedEpochs
from tasks.training.sharding import blocks, refuse_without_blocks


class Model(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.backbone = Backbone(name, 3, image_size=(64, 64))
        self.head = nn.BatchNorm1d(4)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_synchronised_norms_keep_weights_names_and_activations(name: str) -> None:
    torch.manual_seed(0)
    model, image = Model(name).eval(), torch.rand(2, 3, 64, 64)
    before, expected = {key: value.clone() for key, value in model.state_dict().items()}, model.backbone(image)[0]
    plain = [type(module) for module in model.modules()]
    sync = SyncNorms()
    assert sync.apply(model) is model
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 2
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    # Evaluation, where nothing is synchronised, gives what it gave: activations inside norms are still there.
    torch.testing.assert_close(model.backbone(image)[0], expected)
    after = model.state_dict()
    assert after.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value), key
    norms[0].running_mean.add_(1)  # type: ignore[union-attr]
    trained = {key: value.clone() for key, value in model.state_dict().items()}
    sync.revert(model)
    assert [type(module) for module in model.modules()] == plain
    for key, value in model.state_dict().items():
        assert torch.equal(trained[key], value), key


def test_norms_are_not_synchronised_on_a_cpu() -> None:
    refuse_sync_on_cpu(SimpleNamespace(root_device=torch.device("cuda", 0)))
    with pytest.raises(SuiteError, match=r"--trainer.sync_batchnorm true: .* on CUDA alone, and this trains on cpu"):
        refuse_sync_on_cpu(SimpleNamespace(root_device=torch.device("cpu")))


def test_the_strategy_is_ours_where_lightning_chose_ddp() -> None:
    ours = several_devices(DDPStrategy(), static=True)
    assert ours is not None
    assert ours._ddp_kwargs == {"gradient_as_bucket_view": True, "static_graph": True}
    assert several_devices(SingleDeviceStrategy(), static=True) is None


def test_the_batch_of_all_devices_is_shared_out_evenly() -> None:
    images, labels = np.random.default_rng(0).integers(0, 255, (12, 8, 8), np.uint8), np.arange(12) % 2
    data: Any = Arrays(images, labels, total_batch_size=12, split="all_test", num_workers=0)
    assert (data.batch_size, data.batch_size_on(4)) == (12, 3)
    data.trainer = SimpleNamespace(world_size=2)
    assert data.batch_size == 6
    with pytest.raises(SuiteError, match=r"--data.total_batch_size 12: .* among 5 devices: give 10 or 15"):
        data.batch_size_on(5)
    data.batch_size = 4  # as a search sets it
    assert (data.batch_size, data.total_batch_size) == (4, None)
    with pytest.raises(SuiteError, match=r"--data.total_batch_size 0: must be at least 1"):
        Arrays(images, labels, total_batch_size=0)


@pytest.mark.parametrize(("total", "devices"), [(64, 1), (64, 8), (7, 7)])
def test_shares_add_up(total: int, devices: int) -> None:
    assert per_device(total, devices) * devices == total


def test_transformers_have_blocks_to_share_out_and_others_are_refused_by_name() -> None:
    vit, resnet = (Backbone(name, 3, image_size=(64, 64)).net for name in ("test_vit", "test_resnet"))
    assert len(list(blocks(vit))) == len(vit.blocks)
    refuse_without_blocks("test_vit", vit)
    with pytest.raises(SuiteError, match=r"--trainer.strategy fsdp2: test_resnet has no blocks"):
        refuse_without_blocks("test_resnet", resnet)


def drawn(seed: int, epoch: int, rank: int) -> tuple[float, ...]:
    """First numbers of every generator in an epoch."""
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    model: Any = None
    SeedEpochs(seed).on_train_batch_start(trainer, model, {}, 0)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_every_stream_differs_by_rank_and_repeats_with_the_seed() -> None:
    places = [(seed, epoch, rank) for seed in (0, 1) for epoch in range(3) for rank in range(4)]
    first, again = [drawn(*place) for place in places], [drawn(*place) for place in places]
    assert first == again
    for stream in zip(*first, strict=True):
        assert len(set(stream)) == len(places)
    draws = [
        {draw.seed for draw in TrainSampler(23, seed, rank, 4) if not draw.padding}
        for seed in (0, 1)
        for rank in range(4)
    ]
    assert len(set().union(*draws)) == sum(map(len, draws)) == 2 * 23
