"""The road to a device, walked on a CPU: through a real trainer, with all that it does to loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import move_data_to_device
from torch.utils.data import Dataset

from datamodules.loading import loaders
from datamodules.loading.ahead import AheadEpochLoader, AheadLoader, ahead, loader_on
from datamodules.loading.case_source import LazyScans
from datamodules.loading.case_stream import CaseStream, case_loader
from datamodules.loading.sampling import EvaluationSampler
from datamodules.phantoms import boxes, labels, masks
from datamodules.preprocess import Preprocess
from datamodules.samples.moving import MovingBatch, PackedBatch, pack
from datamodules.types import Draw, Scan, ScanInfo
from scansuite.errors import SuiteError
from tests.datamodules.loading.looking import Looking

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def trainer_of(**settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, use_distributed_sampler=False, **{"max_epochs": 2, **settings},
    )  # fmt: skip


def fitted(kind: Any, workers: int, how: dict[str, Any], **settings: Any) -> dict[str, list[Any]]:
    data = kind.Phantoms(num_patients=12, batch_size=5, num_workers=workers, augment="none", image_size=32, **how)
    data.seed = 3
    model = Looking()
    trainer_of(**settings).fit(model, datamodule=data)
    return model.shown


def assert_same(one: Any, other: Any) -> None:
    assert sorted(one) == sorted(other)
    for name in one:
        if name == "scan":
            assert one[name] == other[name]
        elif isinstance(one[name], list):
            assert [part.tolist() for part in one[name]] == [part.tolist() for part in other[name]]
        else:
            assert one[name].dtype == other[name].dtype
            assert torch.equal(one[name], other[name])


@pytest.fixture
def to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "finishing_device", lambda *_: CPU)


@pytest.mark.parametrize(
    ("kind", "workers", "how", "settings"),
    [
        (labels, 0, {}, {}),
        (labels, 2, {"cache": "memory"}, {"limit_train_batches": 2, "max_epochs": 3}),
        (masks, 1, {"round_resized": True}, {"limit_val_batches": 1}),
        (boxes, 1, {}, {"num_sanity_val_steps": 0, "val_check_interval": 2}),
        (labels, 0, {}, {"overfit_batches": 2}),
        (labels, 1, {}, {"reload_dataloaders_every_n_epochs": 1}),
    ],
)
def test_a_fit_shows_the_model_the_same(
    kind: Any, workers: int, how: dict[str, Any], settings: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    plain = fitted(kind, workers, how, **settings)
    request.getfixturevalue("to_a_device")
    there = fitted(kind, workers, how, **settings)
    for stage in ("train", "val"):
        assert len(plain[stage]) == len(there[stage]) > 0
        for wanted, got in zip(plain[stage], there[stage], strict=True):
            assert_same(wanted, got)


@pytest.mark.usefixtures("to_a_device")
def test_loaders_are_of_the_right_kind_and_an_interrupted_fit_leaves_no_process() -> None:
    data: Any = labels.Phantoms(num_patients=12, batch_size=5, num_workers=1, image_size=32)
    trainer = trainer_of()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.fit(Looking(stop_after=2), datamodule=data)
    train, val = trainer.train_dataloader, data.val_dataloader()
    assert isinstance(train, AheadEpochLoader)
    assert isinstance(val, AheadLoader)
    assert train._iterator is None  # its processes were ended


def packed_batches(count: int, broken: int = -1) -> Iterator[PackedBatch]:
    for number in range(count):
        if number == broken:
            raise SuiteError("x.png: cannot be read: leave it out")
        yield pack({"number": torch.tensor([number]), "boxes": [torch.zeros(number, 4), torch.ones(1, 4)]})


@pytest.mark.parametrize("early", [False, True])
def test_batches_keep_their_order_and_lists_come_apart_again(early: bool) -> None:
    got: list[Any] = list(ahead(packed_batches(4), CPU, lambda batch: batch, early=early))
    assert [batch["number"].item() for batch in got] == [0, 1, 2, 3]
    assert [[len(part) for part in batch["boxes"]] for batch in got] == [[number, 1] for number in range(4)]


@pytest.mark.parametrize(
    "parts",
    [
        [torch.tensor(1), torch.tensor(2)],
        [torch.ones(2, 3), torch.ones(2, 4)],
        [torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64)],
        [torch.zeros(0), torch.ones(2, 3)],
        [],
    ],
)
def test_lists_of_tensors_that_cannot_be_joined_stay_lists(parts: list[torch.Tensor]) -> None:
    def packed() -> Iterator[PackedBatch]:
        yield pack({"of_a_users": parts, "boxes": [torch.ones(1, 4)]})

    got: list[Any] = list(ahead(packed(), CPU, lambda batch: batch, early=True))
    assert len(got) == 1
    assert_same(got[0], {"of_a_users": parts, "boxes": [torch.ones(1, 4)]})
    assert [one.dtype for one in got[0]["of_a_users"]] == [one.dtype for one in parts]


@pytest.mark.parametrize(("early", "sent"), [(False, [1, 2, 3]), (True, [2, 3, 3])])
def test_a_batch_is_sent_before_the_one_in_front_of_it_is_handed_over(early: bool, sent: list[int]) -> None:
    finished: list[Any] = []

    def finish(batch: Any) -> Any:
        finished.append(batch)
        return batch

    assert [len(finished) for _ in ahead(packed_batches(3), CPU, finish, early=early)] == sent


@pytest.mark.parametrize("early", [False, True])
def test_an_error_comes_behind_the_batches_before_it(early: bool) -> None:
    got = ahead(packed_batches(5, broken=2), CPU, lambda batch: batch, early=early)
    numbers: list[Any] = [next(got), next(got)]
    assert [batch["number"].item() for batch in numbers] == [0, 1]
    with pytest.raises(SuiteError, match="cannot be read"):
        next(got)


class Untouchable:
    """What must not be looked into on the way."""

    def to(self, *_: Any) -> Any:
        raise AssertionError("the scans of a batch are gone through")


def test_lightning_does_not_go_through_the_scans_of_a_batch() -> None:
    batch = MovingBatch(image=torch.zeros(2, 1, 4, 4), boxes=[torch.zeros(0, 4)], scan=[{"affine": Untouchable()}])
    assert move_data_to_device(batch, CPU) is batch
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, MovingBatch)
    assert moved["image"].is_meta
    assert moved["boxes"][0].is_meta
    assert moved["scan"] is batch["scan"]
    data = labels.Phantoms(num_patients=12, batch_size=5, num_workers=0)
    data.prepare_data()
    data.setup("fit")
    assert isinstance(next(iter(data.train_dataloader())), MovingBatch)


class Cases:
    """Cases of several images, the second of which cannot be read."""

    def __len__(self) -> int:
        return 3

    def scan_of(self, case: int) -> ScanInfo:
        return ScanInfo(case_id=str(case), path=f"{case}.tif")

    def images(self, case: int) -> Any:
        if case == 1:
            raise SuiteError("1.tif: cannot be read: leave it out")
        kinds = (np.uint16, np.uint8, np.uint8)
        return LazyScans(3, lambda number: Scan(RNG.integers(0, 200, (20 + case, 30)).astype(kinds[number])))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("spec", [Preprocess(channels=1), Preprocess(channels=3, size=(24, 24), fit="pad")])
def test_pieces_are_the_same(workers: int, spec: Preprocess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.RNG", Repeating())
    stream = CaseStream(Cases(), spec, batch_size=4, tile=(16, 16), tolerant=True)
    plain, there = (list(case_loader(stream, num_workers=workers, device=device)) for device in (None, CPU))
    # Where types change within a case a batch as stored ends: pieces are compared one by one.
    assert [piece for batch in plain for piece in batch["pieces"]] == [p for batch in there for p in batch["pieces"]]
    assert torch.equal(*(torch.cat([b["image"] for b in some if len(b["image"])]) for some in (plain, there)))
    assert [b["unreadable"] for b in plain if b["unreadable"]] == [b["unreadable"] for b in there if b["unreadable"]]


class Repeating:
    """Gives the same numbers each time."""

    def integers(self, *how: Any) -> Any:
        return np.random.default_rng(5).integers(*how)


class Numbers(Dataset[Any]):
    """Packs what is drawn."""

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    @staticmethod
    def packed(draws: list[Draw]) -> PackedBatch:
        return pack({"image": torch.tensor([float(draw.case) for draw in draws])})


class Predicting(LightningModule):
    def predict_step(self, batch: Any, batch_idx: int) -> list[float]:
        values: list[float] = batch["image"].tolist()
        return values


@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_makes_a_loader_anew_where_it_predicts(workers: int) -> None:
    loader = loader_on(
        CPU, Numbers(), lambda batch: batch, batch_size=3, sampler=EvaluationSampler(7), num_workers=workers,
        collate_fn=Numbers.packed,
    )  # fmt: skip
    said = trainer_of().predict(Predicting(), loader)
    assert said == [[0, 1, 2], [3, 4, 5], [6]]
