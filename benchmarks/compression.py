"""Benchmark of distillation and pruning on BreastMNIST.

    python -m benchmarks.compression [--data DIR] [--epochs 40] [--tuning 10] [--seeds 0 1 2] [--amounts 0.3 0.5 0.7]

A teacher (ResNet-18) is trained from scratch with the first seed, and with each seed a student (the course's small CNN)
alone and with the teacher. The teacher is pruned by channels and by magnitude and trained on for ``--tuning`` epochs at
a tenth of the learning rate. All run through the command line with the settings of
``configs/experiment/medmnist.yaml`` on 32 px. Writes ``docs/compression_results.md`` (or ``--output``). Runs are kept
in ``--runs`` and not repeated, so an interrupted call goes on where it was; latencies are those measured when a run was
made, so let the machine do nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.runs import Run, finished, over_seeds, parameters, table

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32
METRICS = ("auroc", "accuracy")
STUDENTS = ("alone", "distilled")
TITLES = {
    "teacher": "ResNet-18, the teacher",
    "alone": "small CNN alone",
    "distilled": "small CNN with the teacher",
}
NETWORKS = {
    "teacher": ("--model.backbone", "resnet18"),
    "alone": ("--model.backbone", "small_cnn", "--model.head", "native", "--model.dropout", "0.5"),
}


class Setting(NamedTuple):
    """What a call of the benchmark was told.

    Attributes:
        data: folder with ``breastmnist.npz``.
        runs: folder of the runs.
        epochs: of teacher and students.
        tuning: epochs after pruning.
        seed: of the teacher, and of what is pruned.
        lr: learning rate after pruning.
    """

    data: Path
    runs: Path
    epochs: int
    tuning: int
    seed: int
    lr: float = 1e-4

    @property
    def teacher(self) -> str:
        """Its checkpoint."""
        return str(self.folder("teacher", self.seed) / "checkpoints" / "best.ckpt")

    def folder(self, name: str, seed: int) -> Path:
        """The run of that name."""
        return self.runs / f"{name}-{self.epochs}-{seed}"


def train(setting: Setting, name: str, seed: int) -> Run:
    """Train a teacher or a student, unless that is done."""
    flags = [
        "--config", "experiment/medmnist", "--data.root", str(setting.data), "--data.image_size", str(SIZE),
        "--data.positive_class", "malignant", "--trainer.max_epochs", str(setting.epochs), "--seed_everything",
        str(seed), *NETWORKS["alone" if name == "distilled" else name],
    ]  # fmt: skip
    if name == "distilled":
        flags += ["--model.teacher", setting.teacher]
    return finished("classify", setting.folder(name, seed), flags)


def prune(setting: Setting, method: str, amount: float) -> None:
    """Prune the teacher and train it on, unless that is done."""
    flags = [
        "--model.weights", setting.teacher, "--model.prune", method, "--model.prune_amount", str(amount), "--model.lr",
        str(setting.lr), "--trainer.max_epochs", str(setting.tuning), "--seed_everything", str(setting.seed),
    ]  # fmt: skip
    folder = setting.folder(f"{method}-{amount}-{setting.tuning}", setting.seed)
    if not (folder / "compression.csv").is_file():
        (folder / "metrics.json").unlink(missing_ok=True)  # evaluated, but broken off before it was timed
    finished("classify", folder, flags)


def distillation_table(runs: dict[str, list[Run]]) -> str:
    """Teacher, student alone and student with the teacher (a run a seed), and what the difference comes to."""
    rows = [
        [title, f"{parameters(own[0].folder):,}", *(over_seeds(own, metric, ends=True) for metric in METRICS)]
        for title, own in ((title, runs[name]) for name, title in TITLES.items())
    ]
    lines = [table(["network", "parameters", "AUROC", "accuracy"], rows)]
    for metric in METRICS:
        gains = [
            taught.metrics[metric].value - alone.metrics[metric].value
            for alone, taught in zip(runs["alone"], runs["distilled"], strict=True)
        ]
        mean, better = statistics.mean(gains), sum(gain > 0 for gain in gains)
        spread = f", standard deviation {statistics.stdev(gains):.3f}" if len(gains) > 1 else ""
        lines.append(
            f"With the teacher the student's {'AUROC' if metric == 'auroc' else metric} is "
            f"{abs(mean):.3f} {'higher' if mean > 0 else 'lower'} in the mean of {len(gains)} seed(s){spread}; it is "
            f"higher in {better} of them."
        )
    return "\n".join(lines) + "\n"


def pruning_table(setting: Setting, methods: Sequence[str], amounts: Sequence[float]) -> str:
    """What each amount of pruning costs and gains."""
    head = ["pruned", "parameters", "not 0", "multiply-adds", "AUROC", "change", "accuracy", "ms, 1 image", "ms, batch"]
    lines: list[list[str]] = []
    for method in methods:
        for amount in amounts:
            name = f"{method}-{amount}-{setting.tuning}"
            one = pd.read_csv(setting.folder(name, setting.seed) / "compression.csv").set_index("quantity")
            batch = next(row for row in one.index if row.startswith("milliseconds") and not row.endswith("_1"))

            if not lines:
                lines.append(_pruned_line("nothing", one, "before", batch))
            lines.append(_pruned_line(f"{method} {amount:.0%}", one, "after", batch))
    return table(head, lines)


def _pruned_line(title: str, measured: pd.DataFrame, column: str, batch: str) -> list[str]:
    """The line of one column of ``compression.csv``, ``before`` or ``after``."""

    def at(row: str, column: str = column) -> float:
        return float(measured.loc[row, column])  # type: ignore[arg-type]

    def interval(row: str) -> str:
        return f"{at(row):.3f} ({at(row, f'{column}_low'):.3f}-{at(row, f'{column}_high'):.3f})"

    after = column == "after"
    change = f"{at('test/auroc') - at('test/auroc', 'before'):+.3f}" if after else ""
    cells = [title, f"{at('parameters'):,.0f}", f"{at('nonzero'):.2f}", f"{at('multiply_adds'):,.0f}"]
    cells += [interval("test/auroc"), change, interval("test/accuracy")]
    for row in ("milliseconds_batch_1", batch):
        cells.append(f"{at(row):.2f}" + (f" (x {at(row, 'before') / at(row):.2f} faster)" if after else ""))
    return cells


def document(
    setting: Setting,
    runs: dict[str, list[Run]],
    methods: Sequence[str],
    amounts: Sequence[float],
    seeds: Sequence[int],
) -> str:
    """The whole page; ``runs`` as for :func:`distillation_table`."""
    return (
        "# What distillation and pruning come to on BreastMNIST\n\n"
        f"Written by `python -m benchmarks.compression --epochs {setting.epochs} --tuning {setting.tuning} --seeds "
        f"{' '.join(map(str, seeds))} --amounts {' '.join(map(str, amounts))} --methods {' '.join(methods)}`: official "
        "split (546 / 78 / 156 cases), 32 px, everything from scratch with the settings of "
        "`configs/experiment/medmnist.yaml`. Metrics are those of the best checkpoint by validation AUROC on the test "
        "part.\n\n## Distillation\n\n"
        f"One teacher; students of {len(seeds)} seed(s): mean [lowest, highest] (95 % interval over the test cases of "
        "the first seed).\n\n" + distillation_table(runs) + "\n## Pruning\n\n"
        f"The teacher, pruned and trained on for {setting.tuning} epochs at a learning rate of {setting.lr:g}. Amounts "
        "are shares of the multiply-adds (channels) or of the weights (magnitude); in brackets the 95 % interval over "
        "the test cases. Milliseconds: the median of both networks in turn on the machine that wrote this page, in "
        "float32, beside the unpruned network at the same time.\n\n"
        + pruning_table(setting, methods, amounts)
        + "\nWith 156 test cases, intervals are about 0.05 to either side: differences within them are not to be told "
        "from chance.\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "medmnist")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--tuning", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--amounts", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--methods", nargs="+", choices=["channels", "magnitude"], default=["channels", "magnitude"])
    parser.add_argument("--runs", type=Path, default=Path("runs") / "compression")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "compression_results.md")
    arguments = parser.parse_args(argv)
    setting = Setting(arguments.data, arguments.runs, arguments.epochs, arguments.tuning, arguments.seeds[0])
    runs = {"teacher": [train(setting, "teacher", setting.seed)]}
    for name in STUDENTS:
        runs[name] = [train(setting, name, seed) for seed in arguments.seeds]
    for method in arguments.methods:
        for amount in arguments.amounts:
            prune(setting, method, amount)
    page = document(setting, runs, arguments.methods, arguments.amounts, arguments.seeds)
    arguments.output.write_text(page, encoding="utf-8")
    print(f"written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
