"""Matrix of networks and tasks: a small member of each family takes a training step and predicts, on real scans.

    python -m benchmarks.matrix [--families resnet vgg ...] [--data DIR]

Writes ``docs/matrix.md``, and ``configs/matrix.csv``, which the verb ``list`` reads (all families), or prints the rows
(some). A cell passes when the training loss is finite, no trainable parameter is left without gradient (plain
data-parallel training stops on one), and a prediction of finite numbers follows; or when the network is refused before
training, with one line that says why. Images are as small as the network takes: 64 px, or the first of 96, 128, 224 and
its own size. Exit status 1 when a cell does neither.

The scans are BreastMNIST (classification) and the nuclei of the Data Science Bowl 2018 (segmentation, detection) in
``--data``, by default ``../shared/data`` beside the checkout; drawn phantoms where they are absent.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from backbones.classic import NAMES
from backbones.receptive_field import tensors_in
from datamodules.base import ScanDataModule
from datamodules.classification.medmnist import MedMNIST
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.phantoms import boxes, labels, masks
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.registry.specs import SPECS, spec_of

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "configs" / "networks.csv"
OUTCOMES = ROOT / "configs" / "matrix.csv"
REAL = ROOT.parent / "shared" / "data"
BATCH = 2
SIZES = (64, 96, 128, 224)
TASKS: dict[str, type[Task]] = {name: spec_of(name).task_class() for name in SPECS}
# What keeps a cell cheap without leaving a part of the task out.
CHEAP: dict[str, dict[str, Any]] = {
    "classify": {},
    "segment": {"decoder_args": {"decoder_channels": [32, 16, 16, 8, 8]}},
    "detect": {"channels": 32},
}


class Cell(NamedTuple):
    """What became of a network in a task.

    Attributes:
        family: of the network.
        name: of the network.
        task: on the command line.
        outcome: ``trained``, ``refused``, or ``failed``.
        size: side of the images in pixels.
        loss: of the one step; NaN unless trained.
        unused: parameters that the task's levels do not depend on, kept without gradient.
        reason: why it was refused or has failed.
        seconds: from construction to prediction.
    """

    family: str
    name: str
    task: str
    outcome: Literal["trained", "refused", "failed"]
    size: int
    loss: float = float("nan")
    unused: int = 0
    reason: str = ""
    seconds: float = 0.0


class Step(NamedTuple):
    """A training batch, a batch to predict, and the facts of the data that a model is built with."""

    train: Batch
    predict: Batch
    facts: dict[str, Any]


class Watch(Callback):
    """Notes the loss and the trainable parameters that a step left without gradient."""

    def __init__(self) -> None:
        self.loss = float("nan")
        self.without: list[str] = []

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called between the backward pass and the optimiser."""
        named = pl_module.named_parameters()
        self.without = [name for name, value in named if value.requires_grad and value.grad is None]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Called after the optimiser."""
        self.loss = float(outputs["loss"])


class Steps:
    """Batches of real scans, read once for each task and size.

    Args:
        root: folder with ``medmnist`` and ``dsb2018_nuclei``; phantoms stand in for what is absent.
    """

    def __init__(self, root: Path = REAL) -> None:
        self.root = root
        self._made: dict[tuple[str, int], Step] = {}

    def data(self, task: str, size: int) -> ScanDataModule:
        """The data module of a task at a size."""
        common: dict[str, Any] = {
            "image_size": size, "batch_size": BATCH, "num_workers": 0, "augment": "none", "normalize": "image",
        }  # fmt: skip
        nuclei, medmnist = self.root / "dsb2018_nuclei", self.root / "medmnist"
        if task == "classify":
            real = (medmnist / "breastmnist.npz").is_file()
            return MedMNIST(str(medmnist), name="breastmnist", **common) if real else labels.Phantoms(**common)
        if task == "segment":
            if nuclei.is_dir():
                return MaskFolder(str(nuclei), masks="labels", **common)
            return masks.Phantoms(**common)
        return InstanceMasks(str(nuclei), masks="labels", **common) if nuclei.is_dir() else boxes.Phantoms(**common)

    def __call__(self, task: str, size: int) -> Step:
        """The batches of a task at a size."""
        key = (task, size)
        if key not in self._made:
            data = self.data(task, size)
            data.setup("fit")
            facts = {name: getattr(data, name) for name in TASKS[task].facts if name not in ("preprocess", "slices")}
            facts["preprocess"] = data.preprocess.to_dict()
            train = next(batch for batch in data.train_dataloader() if "boxes" not in batch or len(batch["boxes"][0]))
            self._made[key] = Step(train, next(iter(data.val_dataloader())), facts)
        return self._made[key]


def run_cell(family: str, name: str, task: str, steps: Steps, own_size: int) -> Cell:
    """Train a network for one step, and predict with it, at the smallest size that it takes."""
    start = time.perf_counter()
    reason, size = "", 0
    for size in sorted({*SIZES, own_size}):
        if size > max(SIZES) and size != own_size:
            continue
        torch.manual_seed(0)
        step = steps(task, size)
        try:
            model = TASKS[task](name, **CHEAP[task], **step.facts)
        except SuiteError as error:
            reason = reason or str(error)
            if "image_size" not in str(error):  # another size mends nothing
                break
            continue
        except Exception as error:
            return Cell(family, name, task, "failed", size, reason=_line(error))
        try:
            cell = _train_and_predict(model, step)
        except Exception as error:
            return Cell(family, name, task, "failed", size, reason=_line(error))
        return cell._replace(family=family, name=name, task=task, size=size, seconds=time.perf_counter() - start)
    return Cell(family, name, task, "refused", size, reason=reason, seconds=time.perf_counter() - start)


def _train_and_predict(model: Task, step: Step) -> Cell:
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch], use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, train_dataloaders=_loader(step.train))
    predicted = cast("list[dict[str, Any]]", trainer.predict(model, _loader(step.predict)))
    problems = []
    if not torch.isfinite(torch.tensor(watch.loss)):
        problems.append(f"loss {watch.loss}")
    if watch.without:
        problems.append(f"{len(watch.without)} parameters without gradient: {', '.join(watch.without[:3])}")
    if not all(torch.isfinite(tensor).all() for tensor in tensors_in(predicted[0]["output"])):
        problems.append("predictions that are not finite")
    outcome: Literal["trained", "failed"] = "failed" if problems else "trained"
    return Cell("", "", "", outcome, 0, watch.loss, len(model.backbone.unused), "; ".join(problems))


def _loader(batch: Batch) -> DataLoader[Any]:
    """One batch; a bare list would be taken for several loaders."""
    return DataLoader(cast("Any", [batch]), batch_size=None)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def members() -> pd.DataFrame:
    """The smallest network of each family, and all of our own; from the table of the verb ``list``."""
    table = pd.read_csv(TABLE, keep_default_na=False)
    smallest = table.sort_values("parameters", kind="stable").groupby("family", sort=True).head(1)
    chosen = pd.concat([smallest, table[table["name"].isin(NAMES)]]).drop_duplicates("name")
    return chosen.sort_values(["family", "name"])


def markdown(cells: Sequence[Cell]) -> str:
    """The table of ``docs/matrix.md``."""
    by_network: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        by_network.setdefault((cell.family, cell.name), {})[cell.task] = cell
    lines = ["| family | network | " + " | ".join(TASKS) + " |", "|---" * (2 + len(TASKS)) + "|"]
    for (family, name), row in by_network.items():
        shown = [_shown(row[task]) if task in row else "" for task in TASKS]
        lines.append(f"| {family} | `{name}` | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _shown(cell: Cell) -> str:
    if cell.outcome == "trained":
        return f"{cell.size} px" + (f", {cell.unused} unused" if cell.unused else "")
    return f"**{cell.outcome}**: {cell.reason.replace('|', '/')}"


def document(cells: Sequence[Cell]) -> str:
    """The whole of ``docs/matrix.md``."""
    import timm

    counts = {outcome: sum(cell.outcome == outcome for cell in cells) for outcome in ("trained", "refused", "failed")}
    families = len({cell.family for cell in cells})
    return (
        "# Which networks train in which task\n\n"
        f"Written by `python -m benchmarks.matrix` with timm {timm.__version__}: the smallest network of each family, "
        "and our own, in each task, with one training step and one prediction on real scans (BreastMNIST; nuclei of "
        "the Data Science Bowl 2018), batch 2, from scratch, U-Net and RetinaNet. A size means that it trained on "
        "images of that side, the smallest of 64, 96, 128, 224 px and its own that it takes, with a gradient for every "
        "trainable parameter; *unused* counts parameters that the levels taken do not depend on, which are kept "
        "without gradient.\n\n"
        f"{families} families, {len(cells)} cells: {counts['trained']} trained, {counts['refused']} refused at start, "
        f"{counts['failed']} failed.\n\n" + markdown(cells)
    )


def main() -> int:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", help="of timm, or one of our networks; left out: all")
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "matrix.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    chosen = members()
    if arguments.families:
        chosen = chosen[chosen["family"].isin(arguments.families) | chosen["name"].isin(arguments.families)]
    steps, cells = Steps(arguments.data), []
    for row in chosen.to_dict("records"):
        for task in TASKS:
            own = max(int(side) for side in row["size"].split("x"))
            cell = run_cell(row["family"], row["name"], task, steps, own)
            cells.append(cell)
            loss = f"loss {cell.loss:.3f}" if cell.outcome == "trained" else cell.reason
            print(
                f"{cell.name:34s} {task:9s} {cell.outcome:8s} {cell.size:4d} px {cell.seconds:5.1f} s  {loss}",
                file=sys.stderr,
                flush=True,
            )
            gc.collect()
    if arguments.families:
        print(markdown(cells), end="")
    else:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(document(cells), encoding="utf-8")
        columns = ["family", "name", "task", "outcome", "size", "unused", "reason"]
        pd.DataFrame(cells)[columns].to_csv(OUTCOMES, index=False, lineterminator="\n")
        print(f"written to {arguments.output} and {OUTCOMES}")
    return int(any(cell.outcome == "failed" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
