"""What makes a small network learn most from 624 small images: recipes on folds of BreastMNIST's train and validation.

    python -m benchmarks.breastmnist_recipes --data DIR [--recipes scratch frozen-levels ...] [--folds 0 1] [--runs DIR]
    python -m benchmarks.breastmnist_recipes --data DIR --test RECIPE [RECIPE ...] [--seeds 0 1 2 3 4]

The first call deals the official train and validation parts into four folds, stratified by class; each fold is held
out once and trained on the three others. Test is left out of the data altogether. The held-out cases choose nothing:
what counts is the AUROC of the last epoch (its averaged weights, where a recipe averages). The best epoch stands beside
it, to show how much choosing among so many flatters. The second call trains recipes on the official parts and
evaluates the last and the best epoch of each on test, and of several the ensemble of their best. Runs are kept and not
repeated; both calls print a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.runs import finished, table
from tasks.cli.main import main as command_line

ROOT = Path(__file__).resolve().parents[1]
FOLDS = 4
_SCRATCH = ("--model.backbone", "resnet18", "--data.batch_size", "64", "--trainer.max_epochs", "40")
_WEIGHTS = (
    "--model.backbone", "tf_efficientnet_lite0", "--model.weights", "imagenet", "--data.batch_size", "32",
    "--data.image_size", "128",
)  # fmt: skip
_TUNED = (*_WEIGHTS, "--trainer.max_epochs", "28", "--model.ema", "0.9832")
_FROZEN = (*_WEIGHTS, "--model.freeze", "backbone", "--data.cache", "features")
_LEVELS = ("--model.head", "levels")
_KERNEL_OF_VIEWS = ("--model.head", "kernel", "--model.tta", "auto")
_LIGHT = ("--data.augment", "light", "--data.augment_args.horizontal_flip", "false")
_MEDIUM = ("--data.augment", "medium", "--data.augment_args.horizontal_flip", "false")
_COPIES = ("--data.feature_copies", "8")
_STILL = ("--data.augment", "none")

# The flags by which a recipe differs from the fixed values.
RECIPES: dict[str, tuple[str, ...]] = {
    "scratch": (*_LIGHT, *_SCRATCH),
    "tuned": (*_LIGHT, *_TUNED),
    "tuned-medium": (*_MEDIUM, *_TUNED),
    "tuned-levels": (*_LIGHT, *_TUNED, *_LEVELS),
    "tuned-gentle": (*_LIGHT, *_TUNED, "--model.lr", "0.0003"),
    "tuned-layers": (*_LIGHT, *_TUNED, "--model.layer_decay", "0.7"),
    "tuned-smooth": (*_LIGHT, *_TUNED, "--model.label_smoothing", "0.1"),
    "tuned-224": (*_LIGHT, *_TUNED, "--data.image_size", "224"),
    "frozen": (*_STILL, *_FROZEN),
    "frozen-levels": (*_STILL, *_FROZEN, *_LEVELS),
    "frozen-levels-copies": (*_LIGHT, *_FROZEN, *_LEVELS, *_COPIES),
    "frozen-levels-medium": (*_MEDIUM, *_FROZEN, *_LEVELS, *_COPIES),
    "frozen-levels-lite2": (*_STILL, *_FROZEN, *_LEVELS, "--model.backbone", "tf_efficientnet_lite2"),
    "frozen-kernel": (*_STILL, *_FROZEN, "--model.head", "kernel"),
    "frozen-kernel-lite2": (*_STILL, *_FROZEN, "--model.head", "kernel", "--model.backbone", "tf_efficientnet_lite2"),
    "frozen-kernel-views": (*_STILL, *_FROZEN, *_KERNEL_OF_VIEWS),
    "frozen-kernel-views-lite2": (*_STILL, *_FROZEN, *_KERNEL_OF_VIEWS, "--model.backbone", "tf_efficientnet_lite2"),
    "frozen-levels-192": (*_STILL, *_FROZEN, *_LEVELS, "--data.image_size", "192"),
    "frozen-levels-224": (*_STILL, *_FROZEN, *_LEVELS, "--data.image_size", "224"),
}


def deal(data: Path, folder: Path) -> None:
    """Write a split file a fold, of the official train and validation parts, once."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.load(data / "breastmnist.npz")
    cases = [(f"{part}/{index:05d}", int(label)) for part in ("train", "val")
             for index, label in enumerate(stored[f"{part}_labels"].ravel())]  # fmt: skip
    frame = pd.DataFrame(cases, columns=["case_id", "label"])
    order = np.random.default_rng(0).permutation(len(frame))
    frame = frame.iloc[order].sort_values("label", kind="stable")
    frame["fold"] = np.arange(len(frame)) % FOLDS
    for fold in range(FOLDS):
        parts = frame.assign(split=np.where(frame["fold"] == fold, "val", "train")).sort_values("case_id")
        parts[["case_id", "split"]].to_csv(folder / f"fold_{fold}.csv", index=False)


def flags(recipe: str, data: Path, seed: int) -> list[str]:
    """Of ``fit``, without its run folder."""
    return [
        "--plan", "none", "--data", "MedMNIST", "--data.root", str(data), "--data.name", "breastmnist",
        "--data.cache", "memory", "--data.num_workers", "0", "--seed_everything", str(seed), *RECIPES[recipe],
    ]  # fmt: skip


def on_folds(recipes: Sequence[str], folds: Sequence[int], data: Path, runs: Path) -> str:
    """Train the recipes on the folds, and put the AUROC of the held-out cases into a table."""
    deal(data, runs / "splits")
    rows = []
    for recipe in recipes:
        last, best, right = [], [], []
        for fold in folds:
            folder = runs / f"{recipe}-{fold}"
            split = ("--data.split_file", str(runs / "splits" / f"fold_{fold}.csv"), "--data.new_cases", "leave_out")
            finished("classify", folder, [*flags(recipe, data, 0), *split, "--judge_test", "false"])
            auroc, accuracy = by_epoch(folder)
            last.append(auroc[-1])
            best.append(max(auroc))
            right.append(accuracy[-1])
        rows.append([
            recipe, f"{statistics.mean(last):.3f}", " ".join(f"{value:.3f}" for value in last),
            f"{statistics.mean(best):.3f}", f"{statistics.mean(right):.3f}",
        ])  # fmt: skip
    return table(["recipe", "AUROC of the last epoch", "folds", "of the best epoch", "accuracy, last"], rows)


def by_epoch(folder: Path) -> tuple[list[float], list[float]]:
    """AUROC and accuracy of validation in each epoch of a run; of a head that is fitted at once there is one."""
    names = ("val/auroc", "val/accuracy")
    if (folder / "metrics.csv").is_file():
        epochs = pd.read_csv(folder / "metrics.csv")
        auroc, accuracy = ([float(value) for value in epochs[name]] for name in names)
    else:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        auroc, accuracy = ([float(metrics[name]["value"])] for name in names)
    return auroc, accuracy


def on_test(recipes: Sequence[str], seeds: Sequence[int], data: Path, runs: Path) -> str:
    """Train recipes on the official parts, and put what they have on test, and their ensemble, into a table."""
    rows = []
    for seed in seeds:
        members = []
        for recipe in recipes:
            folder = runs / f"{recipe}-test-{seed}"
            finished("classify", folder, flags(recipe, data, seed))
            rows.append([recipe, str(seed), "best", *_judged(folder)])
            last, checkpoint = folder / "last", folder / "checkpoints" / "last.ckpt"
            if checkpoint.is_file():
                finished_test([checkpoint], last)
                rows.append([recipe, str(seed), "last", *_judged(last)])
            members.append(folder / "checkpoints" / "best.ckpt")
        if len(members) > 1:
            folder = runs / f"{'+'.join(recipes)}-test-{seed}"
            finished_test(members, folder)
            rows.append([" + ".join(recipes), str(seed), "best", *_judged(folder)])
    return table(["recipe", "seed", "epoch", "AUROC", "accuracy"], rows)


def _judged(folder: Path) -> list[str]:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return [f"{metrics[f'test/{metric}']['value']:.3f}" for metric in ("auroc", "accuracy")]


def finished_test(checkpoints: Sequence[Path], folder: Path) -> None:
    """Evaluate a checkpoint, or the ensemble of several, on test, unless it has been.

    Raises:
        RuntimeError: the command line did not end well.
    """
    if (folder / "metrics.json").is_file():
        return
    which = [f"--ckpt_path{'s' if len(checkpoints) > 1 else ''}", *map(str, checkpoints)]
    if status := command_line("classify", ["test", *which, "--run_dir", str(folder)]):
        raise RuntimeError(f"{folder}: exit status {status}")


def main() -> int:
    """Train what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "medmnist")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)))
    parser.add_argument("--test", nargs="+", choices=list(RECIPES), help="train these on the official parts instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--runs", type=Path, default=Path("runs") / "breastmnist_recipes")
    given = parser.parse_args()
    if given.test:
        print(on_test(given.test, given.seeds, given.data, given.runs), end="")
    else:
        print(on_folds(given.recipes, given.folds, given.data, given.runs), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
