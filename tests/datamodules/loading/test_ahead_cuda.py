"""On a GPU: the same values, on streams that do not run into one another, without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer

from datamodules.loading.ahead import AheadEpochLoader, AheadLoader, ahead
from datamodules.loading.case_source import LazyScans
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.phantoms import boxes, labels, masks
from datamodules.preprocess import Preprocess
from datamodules.samples.finish import finish, model_images
from datamodules.samples.moving import MovingBatch, PackedBatch, pack
from datamodules.types import Scan, ScanInfo
from tests.datamodules.loading.looking import Looking

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEVICE = torch.device("cuda", 0)
RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "uint8": RNG.integers(0, 256, (4, 37, 53)).astype(np.uint8),
    "uint16": RNG.integers(0, 65536, (4, 37, 53)).astype(np.uint16),
    "int16": RNG.integers(-2000, 3000, (4, 37, 53)).astype(np.int16),
    "float32": RNG.normal(50, 200, (4, 37, 53)).astype(np.float32),
    "colour": RNG.integers(0, 256, (4, 37, 53, 3)).astype(np.uint8),
}
sleep: Any = torch.cuda._sleep
SPECS = {
    "grey": Preprocess(channels=1, value_range=(-100.3, 777.7)),
    "repeated": Preprocess(channels=3, percentiles=(1, 99)),
    "windows": Preprocess(channels=2, windows=((40, 400), (-600, 1500))),
}


@pytest.mark.parametrize("gamma", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_values_are_those_of_preprocessing(kind: str, spec: str, gamma: float) -> None:
    if (kind, spec) == ("colour", "windows"):
        return  # windows take one channel
    preprocess = replace(SPECS[spec], gamma=gamma)
    opened = [preprocess.opened(Scan(array)) for array in ARRAYS[kind]]
    stored = torch.from_numpy(np.stack([one.stored.reshape(*one.stored.shape[:2], -1) for one in opened]))
    limits = torch.from_numpy(np.stack([one.limits for one in opened]))
    got = model_images(stored.permute(0, 3, 1, 2).to(DEVICE), limits.to(DEVICE), preprocess)
    wanted = np.stack([one.tile(0, 0, *one.size) for one in opened])
    values = np.ascontiguousarray(got.permute(0, 2, 3, 1).cpu().numpy())
    assert got.is_contiguous(memory_format=torch.channels_last)
    if gamma == 1:
        np.testing.assert_array_equal(values, wanted)
    else:
        assert np.abs(values.view(np.int32).astype(np.int64) - wanted.view(np.int32)).max() <= 8


def packed_batches(count: int) -> Iterator[PackedBatch]:
    for number in range(count):
        image = torch.full((64, 224, 224, 3), number % 251, dtype=torch.uint8).permute(0, 3, 1, 2)
        batch = {
            "image": image,
            "boxes": [torch.full((number % 3, 4), float(number)), torch.ones(1, 4)],
            "number": number,
        }
        yield pack(batch).pin_memory()


@pytest.mark.parametrize("early", [False, True])
def test_streams_do_not_run_into_one_another(early: bool) -> None:
    """The model is slow, and its batch is not written over; it is fast, and does not see what has not come yet."""

    def finish(batch: Any) -> Any:
        sleep(3_000_000)  # copies and kernels of the other stream end late
        return {**batch, "image": batch["image"].float()}

    sums: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    for batch in ahead(packed_batches(40), DEVICE, finish, early=early):
        whole: Any = batch
        if whole["number"] % 2:
            sleep(10_000_000)
        sums.append((whole["number"], whole["image"].double().mean(), torch.cat(whole["boxes"]).sum()))
        del batch, whole
    assert [number for number, *_ in sums] == list(range(40))
    for number, mean, found in sums:
        assert mean.item() == number % 251
        assert found.item() == (number % 3) * 4 * number + 4


def test_nothing_waits_for_the_device() -> None:
    spec = Preprocess(channels=3, gamma=0.7)
    limits = torch.tensor([[0.0], [255.0]]).repeat(64, 1, 1)
    batches = [
        pack({**one.unpacked(), "limits": limits, "mask": torch.zeros(64, 224, 224, dtype=torch.uint8)}).pin_memory()
        for one in packed_batches(4)
    ]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = list(ahead(batches, DEVICE, lambda batch: finish(batch, spec), early=True))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert {batch["image"].dtype for batch in got} == {torch.float32}
    assert {batch["mask"].dtype for batch in got} == {torch.int64}


def test_channels_last_memory_is_pinned_as_it_lies() -> None:
    image = torch.randint(0, 256, (8, 224, 224, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    packed = pack({"image": image, "label": torch.arange(8)}).pin_memory()
    assert packed.memory.is_pinned()
    pinned: Any = MovingBatch(image=image).pin_memory()
    for one in (packed.unpacked()["image"], pinned["image"]):
        assert one.is_pinned()
        assert one.stride() == image.stride()
        assert torch.equal(one, image)


def shown(kind: Any, accelerator: str, workers: int) -> dict[str, list[Any]]:
    data = kind(num_patients=30, batch_size=5, num_workers=workers, augment="none")
    data.seed = 3
    model = Looking()
    trainer = Trainer(
        accelerator=accelerator, devices=1, max_epochs=2, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False,
        num_sanity_val_steps=1,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model.shown


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "kind", [labels.Phantoms, masks.Phantoms, boxes.Phantoms], ids=["classify", "segment", "detect"]
)
def test_a_fit_shows_the_model_what_it_shows_it_on_a_cpu(kind: Any, workers: int) -> None:
    cpu, cuda = (shown(kind, accelerator, workers) for accelerator in ("cpu", "gpu"))
    for stage in ("train", "val"):
        assert len(cpu[stage]) == len(cuda[stage])
        for wanted, got in zip(cpu[stage], cuda[stage], strict=True):
            assert sorted(wanted) == sorted(got)
            assert got["scan"] == wanted["scan"]
            for name in sorted({*wanted} - {"scan"}):
                values = [(wanted[name], got[name])]
                if isinstance(wanted[name], list):
                    values = list(zip(wanted[name], got[name], strict=True))
                for one, other in values:
                    assert other.is_cuda
                    assert other.dtype == one.dtype
                    assert torch.equal(other.cpu(), one)


def test_loaders_are_ahead_where_the_trainer_is_on_a_gpu() -> None:
    data: Any = labels.Phantoms(num_patients=30, batch_size=5, num_workers=0)
    trainer = Trainer(accelerator="gpu", devices=1, logger=False, enable_checkpointing=False)
    data.trainer = trainer
    data.prepare_data()
    data.setup("fit")
    assert isinstance(data.train_dataloader(), AheadEpochLoader)
    assert isinstance(data.val_dataloader(), AheadLoader)
    assert next(iter(data.val_dataloader()))["image"].is_cuda


class Two:
    """Two cases of several sizes."""

    def __len__(self) -> int:
        return 2

    def scan_of(self, case: int) -> ScanInfo:
        return ScanInfo(case_id=str(case), path=str(case))

    def images(self, case: int) -> Any:
        return LazyScans(3, lambda number: Scan(ARRAYS["uint16"][number, : 20 + case]))


def test_pieces_are_those_of_a_cpu() -> None:
    stream = CaseStream(Two(), Preprocess(channels=1), batch_size=4, tile=(16, 16))
    plain, there = list(case_loader(stream)), list(case_loader(stream, num_workers=1, device=DEVICE))
    assert len(plain) == len(there)
    for wanted, got in zip(plain, there, strict=True):
        assert got["image"].is_cuda
        assert torch.equal(got["image"].cpu(), wanted["image"])
        assert got["pieces"] == wanted["pieces"]
