"""Benchmark of feature extraction against fine-tuning against training from scratch, with one budget.

    python -m benchmarks.finetuning [--data DIR] [--epochs 20] [--seeds 0 1 2] [--sets breastmnist nih]

One network (``tf_efficientnet_lite0`` with the ImageNet weights of the extra ``weights``) on two sets of scans, the
same epochs, batches, augmentation and schedule for each way; the learning rate of each way is the better of two on the
validation part with the first seed. The checkpoint of the best validation AUROC is evaluated on the test part. Writes
``docs/finetuning_results.md`` when all was asked for, and prints the table otherwise. Runs are kept in ``--runs`` and
not repeated, so an interrupted call goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.runs import Run, finished, over_seeds, table

ROOT = Path(__file__).resolve().parents[1]
BACKBONE = "tf_efficientnet_lite0"
METRICS = ("auroc", "accuracy", "sensitivity", "f1")
RATES = ("0.001", "0.0003")


class Way(NamedTuple):
    """A way of training: its name in the table, and its flags."""

    title: str
    flags: tuple[str, ...]


WAYS = {
    "scratch": Way("from scratch", ("--model.weights", "null")),
    "extraction": Way("feature extraction", ("--model.weights", "imagenet", "--model.freeze", "backbone")),
    "finetuning": Way("fine-tuning", ("--model.weights", "imagenet")),
}

SETS = {
    "breastmnist": (
        "BreastMNIST, official split",
        ("medmnist",),
        ("--data", "MedMNIST", "--data.name", "breastmnist", "--data.positive_class", "malignant"),
    ),
    "nih": (
        "NIH chest X-rays, normal or not, 264 patients",
        ("nih_cxr64",),
        (
            "--data", "ImageTable", "--data.table", "labels.csv", "--data.label_columns", "shipped_class",
            "--data.patient_column", "patient_id",
        ),
    ),
}  # fmt: skip


def train(way: str, name: str, rate: str, seed: int, epochs: int, size: int, data: Path, runs: Path) -> Run:
    """Train and evaluate one way on one set, unless its run is there."""
    _, folders, flags = SETS[name]
    return finished(
        "classify",
        runs / f"{name}-{way}-{rate}-{epochs}-{size}-{seed}",
        [
            *flags, "--data.root", str(data.joinpath(*folders)), "--data.image_size", str(size),
            "--data.batch_size", "32", "--data.augment", "light", "--data.augment_args.horizontal_flip", "false",
            "--data.cache", "memory", "--model.backbone", BACKBONE, "--model.lr", rate,
            "--trainer.max_epochs", str(epochs), "--seed_everything", str(seed), *WAYS[way].flags,
        ],
    )  # fmt: skip


def chosen_on(run: Run) -> float:
    """Validation AUROC of the checkpoint that was evaluated."""
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    return float(metrics["val/auroc"]["value"])


def rows(results: dict[str, dict[str, tuple[str, list[Run]]]]) -> str:
    """One row a set and a way: the mean over seeds, its spread, and the 95 % interval of the first seed."""
    head = ["scans", "way", "rate", "s / epoch", "AUROC", "spread", "accuracy", "sensitivity", "F1"]
    lines = []
    for name, ways in results.items():
        for way, (rate, runs) in ways.items():
            values = [run.metrics["auroc"].value for run in runs]
            lines.append(
                [
                    SETS[name][0], WAYS[way].title, rate, f"{statistics.median(run.seconds for run in runs):.1f}",
                    over_seeds(runs, "auroc"), f"{max(values) - min(values):.3f}",
                    *(over_seeds(runs, metric) for metric in METRICS[1:]),
                ]
            )  # fmt: skip
    return table(head, lines)


def document(results: dict[str, dict[str, tuple[str, list[Run]]]], epochs: int, size: int, seeds: Sequence[int]) -> str:
    """The whole of ``docs/finetuning_results.md``."""
    call = f"python -m benchmarks.finetuning --epochs {epochs} --size {size} --seeds {' '.join(map(str, seeds))}"
    return (
        "# Feature extraction, fine-tuning, or from scratch\n\n"
        f"The table is written by `{call}`: `{BACKBONE}`, {size} px, {epochs} epochs of batches of 32, light "
        "augmentation without mirroring, AdamW, cosine schedule. The learning rate of each way is the better of "
        f"{' and '.join(RATES)} by validation AUROC with the first seed. Metrics are those of the best checkpoint by "
        f"validation AUROC on the test part (patients apart), the mean of {len(seeds)} seed(s); in brackets the 95 % "
        "interval of the first seed; spread is the largest AUROC of a seed less the smallest.\n\n" + rows(results)
    )


def main() -> int:
    """Train what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--runs", type=Path, default=Path("runs") / "finetuning")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "finetuning_results.md")
    given = parser.parse_args()
    results: dict[str, dict[str, tuple[str, list[Run]]]] = {}
    for name in given.sets:
        results[name] = {}
        for way in given.ways:

            def one(rate: str, seed: int, name: str = name, way: str = way) -> Run:
                return train(way, name, rate, seed, given.epochs, given.size, given.data, given.runs)

            rate = max(RATES, key=lambda rate: chosen_on(one(rate, given.seeds[0])))
            results[name][way] = (rate, [one(rate, seed) for seed in given.seeds])
    if set(given.sets) == set(SETS) and set(given.ways) == set(WAYS):
        given.output.write_text(document(results, given.epochs, given.size, given.seeds), encoding="utf-8")
        print(f"written to {given.output}")
    else:
        print(rows(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
