"""Small trainings of every task that one process and several must end alike."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed, multiprocessing

from datamodules.arrays.choose import Arrays
from datamodules.classification.image_table import ImageTable
from tasks.classify.task import ClassificationTask
from tasks.compression.distillation import Distillation
from tasks.detect.task import DetectionTask
from tasks.fitting.callbacks import training_callbacks
from tasks.segment.task import SegmentationTask
from tasks.training.seeding import SeedEpochs
from tests.datamodules.volumes_on_disk import write_nifti

SIDE, SEED = 32, 5
BATCH = 8  # of all processes together
# Neither 2 nor 4 divides the size of any part.
PARTS = ["train"] * 23 + ["val"] * 7 + ["test"] * 5
CASES = len(PARTS)
UNNORMED = {"use_norm": "identity", "decoder_channels": [16, 16, 8, 8, 8]}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (CASES, SIDE, SIDE), dtype=np.uint8)
LABELS = np.arange(CASES) % 3
for number, image in enumerate(IMAGES):
    image[4:14, 6 + LABELS[number] : 16] = 40 + 80 * LABELS[number]
MASKS = np.zeros((CASES, SIDE, SIDE), np.int64)
MASKS[:, 4:12, 6:20] = 1
MASKS[::2, 20:28, 2:9] = 2
BOXES = [
    np.array([[4, 5, 14, 16], [20, 2, 30, 12]][: number % 3], np.float64).reshape(-1, 4) for number in range(CASES)
]


@dataclass(frozen=True)
class Scenario:
    """A training.

    Attributes:
        task: which one.
        model: arguments of the task.
        data: arguments of the data.
        accumulate: batches a step.
        teacher: the model learns from another of its kind.
        epochs: of the training.
        clip: largest norm of the gradient.
        static: DDP takes the graph for the same in every step.
    """

    task: str = "classify"
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    accumulate: int = 1
    teacher: bool = False
    epochs: int = 1
    clip: float | None = None
    static: bool = False

    @property
    def by_case(self) -> bool:
        """Whether the loss of a batch is the mean over its cases."""
        return self.task == "classify" and "class_weights" not in self.model


# Short ones, in `make test`.
SCENARIOS: dict[str, Scenario] = {
    "classify, all at once": Scenario(
        model={"ema": 0.9, "mixup": 0.4, "class_weights": [0.5, 1.0, 2.0]}, accumulate=2, teacher=True,
        data={"augment": "light"}, epochs=2,
    ),
    "segment, all at once": Scenario(
        "segment", {"ema": 0.9}, {"augment": "light"}, accumulate=2, teacher=True,
    ),
    "detect, all at once": Scenario("detect", {"ema": 0.9}, {"augment": "light"}, accumulate=2, teacher=True),
    "bags": Scenario(model={"aggregate": "attention"}, static=True),
}  # fmt: skip
# One thing at a time.
GRID: dict[str, Scenario] = {
    **{f"{task}, static graph": Scenario(task, static=True, epochs=2) for task in ("classify", "segment", "detect")},
    **{f"{task}, augmented": Scenario(task, data={"augment": "medium"}) for task in ("classify", "segment", "detect")},
    **{f"{task}, distilled": Scenario(task, teacher=True) for task in ("classify", "segment", "detect")},
    **{f"{task}, averaged": Scenario(task, {"ema": 0.9}, epochs=2) for task in ("classify", "segment", "detect")},
    **{f"{task}, accumulated": Scenario(task, accumulate=3) for task in ("classify", "segment", "detect")},
    "classify, mixup": Scenario(model={"mixup": 0.4}, epochs=2),
    "classify, cutmix and mixup": Scenario(model={"cutmix": 1.0, "mixup": 0.4}, epochs=2),
    "classify, swa": Scenario(model={"swa": 0.0, "schedule": "constant"}, epochs=2),
    "classify, focal": Scenario(model={"loss": "focal"}),
    "classify, balanced draws": Scenario(data={"sampler": "balanced"}),
    "classify, one case a process": Scenario(data={"total_batch_size": 4}, static=True),
    "classify, clipped": Scenario(clip=0.1),
    "segment, dice": Scenario("segment", {"loss": "dice", "lr": 0.005}),
    "segment, deep supervision": Scenario("segment", {"deep_supervision": True}),
    "detect, fcos": Scenario("detect", {"detector": "fcos"}),
    **{f"bags, {name}": Scenario(model={"aggregate": name}) for name in ("mean", "max", "topk")},
}


def draw_volumes(folder: Path) -> None:
    """Volumes of which the ill ones have a bright spot in two slices, and their table."""
    rng = np.random.default_rng(0)
    rows = []
    for number, part in enumerate(PARTS):
        array = rng.normal(300, 60, (24, 20, int(rng.integers(3, 7))))
        if number % 2:
            array[8:14, 6:12, 1:3] += 500
        write_nifti(folder / f"scan{number:02d}.nii.gz", array.clip(0).astype(np.int16))
        rows.append({"path": f"scan{number:02d}.nii.gz", "label": ["healthy", "ill"][number % 2], "split": part})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)


def data_of(scenario: Scenario, volumes: Path) -> Any:
    """A data module of a scenario."""
    given: dict[str, Any] = {
        "num_workers": 0, "total_batch_size": BATCH, "augment": "none", "normalize": "none", "image_size": SIDE,
        "cache_dir": str(volumes / "cache"), **scenario.data,
    }  # fmt: skip
    if "aggregate" in scenario.model:
        return ImageTable(str(volumes), bags=True, bag_size=3, bag_limit=4, **given)
    given["parts"] = PARTS
    if scenario.task == "classify":
        return Arrays(IMAGES, LABELS, class_names=["a", "b", "c"], **given)
    if scenario.task == "segment":
        return Arrays(IMAGES, masks=MASKS, classes=["bg", "a", "b"], **given)
    return Arrays(IMAGES, boxes=BOXES, labels=[np.arange(len(boxes)) for boxes in BOXES], classes=["x", "y"], **given)


def model_of(scenario: Scenario, data: Any, seed: int, **more: Any) -> Any:
    """A model whose weights are drawn from a seed; no norm counts over a batch, and nothing is drawn in training."""
    torch.manual_seed(seed)
    networks: dict[str, tuple[Any, dict[str, Any]]] = {
        "classify": (ClassificationTask, {"backbone": "test_vit"}),
        "segment": (SegmentationTask, {"backbone": "test_convnext", "decoder": "unet", "decoder_args": UNNORMED}),
        "detect": (DetectionTask, {"backbone": "test_convnext", "channels": 16}),
    }
    cls, given = networks[scenario.task]
    training = {"optimizer": "momentum", "lr": 0.02, "warmup": 0.0, **scenario.model, **more}
    return cls.for_data(data, **{**given, **training})


def run(scenario: Scenario, volumes: Path, world: int = 1) -> dict[str, Any]:
    """Train, validate and test; weights, metrics, and the rows of predictions of all ranks."""
    data = data_of(scenario, volumes)
    data.seed = SEED
    model = model_of(scenario, data, SEED)
    model.prepared = True
    callbacks = [SeedEpochs(SEED), *training_callbacks(model, SEED)]
    if scenario.teacher:
        plain = {name: value for name, value in scenario.model.items() if name in ("detector", "aggregate")}
        teacher = model_of(Scenario(scenario.task, plain), data, SEED + 1)
        callbacks.insert(0, Distillation(teacher, alpha=0.5, temperature=2.0, features=0.0, pairs=[]))
    trainer = Trainer(
        max_epochs=scenario.epochs, accelerator="cpu", devices=world,
        strategy=DDPStrategy(gradient_as_bucket_view=True, static_graph=scenario.static) if world > 1 else "auto",
        accumulate_grad_batches=scenario.accumulate, gradient_clip_val=scenario.clip, callbacks=callbacks,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, precision="32-true",
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    trainer.test(model, datamodule=data, verbose=False)
    metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {"weights": weights, "metrics": metrics}


def one_rank(rank: int, world: int, port: int, folder: str, names: list[str]) -> None:
    """What each process does; the results are compared in the test's own process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("pytorch_lightning", "lightning_fabric", "datamodules"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "RANK": str(rank)}
    os.environ |= {"NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    results = {name: run({**SCENARIOS, **GRID}[name], Path(folder), world) for name in names}
    torch.save(results, f"{folder}/{world}-{rank}.pt")
    distributed.destroy_process_group()


def run_ranks(world: int, folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """Results of every rank, by scenario."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # One process imports this module, which takes most of the time; the ranks are its forks.
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        one_rank, args=(world, port, str(folder), names), nprocs=world, start_method="forkserver"
    )
    return [torch.load(folder / f"{world}-{rank}.pt", weights_only=True) for rank in range(world)]
