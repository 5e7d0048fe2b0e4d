"""Benchmark of every network of the course, trained on BreastMNIST under one protocol.

    python -m benchmarks.textbook [--data DIR] [--epochs 40] [--seeds 0 1 2] [--networks lenet5 vgg11_bn ...]

Each is trained from scratch through the command line with the settings of ``configs/experiment/medmnist.yaml`` on
32 px (under 64 px first layers lose their stride: ``--model.stem auto``), with its own classifier (but VGG) and the
dropout of its paper; the checkpoint of the best validation AUROC is evaluated on the official test part. Writes
``docs/textbook.md`` when all networks were asked for, and prints the table otherwise. Runs are kept in ``--runs`` and
not repeated, so an interrupted call goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.runs import Run, finished, over_seeds, parameters, table

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32
TIMED_EPOCHS = 5
METRICS = ("auroc", "accuracy", "sensitivity", "f1")


class Network(NamedTuple):
    """A row of the table.

    Attributes:
        backbone: its name.
        title: network and paper.
        flags: beside ``--model.head native``.
    """

    backbone: str
    title: str
    flags: tuple[str, ...] = ()


def _dropout(rate: float) -> tuple[str, ...]:
    return ("--model.dropout", str(rate))


NETWORKS = (
    Network("small_cnn", "small CNN (the course's)", _dropout(0.5)),
    Network("lenet5", "LeNet-5 (LeCun et al. 1998)"),
    Network("alexnet", "AlexNet (Krizhevsky et al. 2012, 2014)", _dropout(0.5)),
    # Its own three layers have 119 of 129 million parameters, for 546 images.
    Network(
        "vgg11_bn",
        "VGG-11 with batch norm (Simonyan and Zisserman 2015), one linear layer",
        ("--model.head", "pool", *_dropout(0.5)),
    ),
    Network("googlenet", "GoogLeNet with batch norm (Szegedy et al. 2015)", _dropout(0.2)),
    Network("resnet18", "ResNet-18 (He et al. 2016)"),
    Network("densenet121", "DenseNet-121 (Huang et al. 2017)"),
    Network("mobilenetv1_100", "MobileNet (Howard et al. 2017)"),
    Network("seresnet18", "SE-ResNet-18 (Hu et al. 2018)"),
    Network("cbam_resnet18", "CBAM ResNet-18 (Woo et al. 2018)"),
)


class Result(NamedTuple):
    """Trainings of one network.

    Attributes:
        runs: one a seed.
        seconds: of an epoch, validation included.
    """

    runs: list[Run]
    seconds: float


def train(network: Network, seed: int, epochs: int, data: Path, runs: Path) -> Run:
    """Train and evaluate one network, unless its run is there."""
    return finished(
        "classify",
        runs / f"{network.backbone}-{epochs}-{seed}",
        [
            "--config", "experiment/medmnist", "--data.root", str(data), "--data.image_size", str(SIZE),
            "--data.positive_class", "malignant", "--model.backbone", network.backbone, "--model.head", "native",
            "--trainer.max_epochs", str(epochs), "--seed_everything", str(seed), *network.flags,
        ],
    )  # fmt: skip


def rows(results: dict[Network, Result]) -> str:
    """One row a network: the mean over seeds, and the 95 % interval on the test cases of the first seed."""
    head = ["network", "`--model.backbone`", "parameters", "s / epoch", "AUROC", "accuracy", "sensitivity", "F1"]
    return table(
        head,
        [
            [
                network.title, f"`{network.backbone}`", f"{parameters(result.runs[0].folder):,}",
                f"{result.seconds:.1f}",
                *(over_seeds(result.runs, metric) for metric in METRICS),
            ]
            for network, result in results.items()
        ],
    )  # fmt: skip


def document(results: dict[Network, Result], epochs: int, seeds: Sequence[int]) -> str:
    """The whole of ``docs/textbook.md``."""
    return (
        "# The networks of the course on one data set\n\n"
        f"Written by `python -m benchmarks.textbook --epochs {epochs} --seeds {' '.join(map(str, seeds))}`: "
        "BreastMNIST, official split (546 / 78 / 156 cases), each network from scratch with its own classifier (but "
        "VGG), 32 px, optimiser, schedule and augmentation of `configs/experiment/medmnist.yaml`, tuned for none of "
        f"them. Metrics are those of the best checkpoint by validation AUROC on the test part, {_seeds(seeds)}; in "
        "brackets the 95 % interval over the test cases. "
        "Sensitivity and F1 are those of the malignant class. Seconds are the median of "
        f"{TIMED_EPOCHS} epochs with their validation, trained for this alone on the machine that wrote this page.\n\n"
        + rows(results)
        + "\nWith 156 test cases, intervals are about 0.05 to either side: most of these differences are not to be "
        "told from chance.\n"
    )


def _seeds(seeds: Sequence[int]) -> str:
    return "one seed" if len(seeds) == 1 else f"the mean of {len(seeds)} seeds, the interval that of the first"


def main() -> int:
    """Train what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "medmnist")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--networks", nargs="+", choices=[network.backbone for network in NETWORKS])
    parser.add_argument("--runs", type=Path, default=Path("runs") / "textbook")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "textbook.md")
    arguments = parser.parse_args()
    results: dict[Network, Result] = {}
    for network in NETWORKS:
        if arguments.networks is None or network.backbone in arguments.networks:
            data, runs = arguments.data, arguments.runs
            trained = [train(network, seed, arguments.epochs, data, runs) for seed in arguments.seeds]
            # Apart, since long trainings often share the machine with something else.
            results[network] = Result(trained, train(network, 0, TIMED_EPOCHS, data, runs / "timed").seconds)
    if arguments.networks is None:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(document(results, arguments.epochs, arguments.seeds), encoding="utf-8")
        print(f"written to {arguments.output}")
    else:
        print(rows(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
