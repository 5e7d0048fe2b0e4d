"""Benchmark of folds on the NIH chest radiographs: how even the classes are, and what the ensemble gains.

    python -m benchmarks.folds --root ../shared/data/nih_cxr64 [--folds 5] [--epochs 8] [--runs DIR]

Normal or not, 1000 images of 264 patients. Trains all folds with ``fit --folds``, whose ensemble is evaluated on test,
and then evaluates the best checkpoint of each fold on the same test part, for comparison alone: who has one study to
report looks at test once. With ``--runs`` the runs are kept, and an interrupted call goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import pandas as pd

from tasks.cli.main import main as command_line

SETTINGS = [
    "--data", "ImageTable", "--data.label_columns", "shipped_class", "--data.patient_column", "patient_id",
    "--data.batch_size", "64", "--model.backbone", "resnet18", "--model.lr", "0.0005",
]  # fmt: skip


def call(*words: object) -> None:
    """A command of the classification task."""
    if status := command_line("classify", [str(word) for word in words]):
        raise SystemExit(status)


def train(root: Path, runs: Path, folds: int, epochs: int) -> None:
    """All folds and their ensemble, then each fold on test."""
    run_dir = runs / "folds"
    if run_dir.exists():
        call("fit", "--folds", folds, "--run_dir", run_dir, "--ckpt_path", "last")
    else:
        length = ("--trainer.max_epochs", epochs)
        call("fit", "--plan", "none", "--folds", folds, "--run_dir", run_dir, "--data.root", root, *SETTINGS, *length)
    for fold in range(folds):
        if not (runs / f"test_{fold}" / "metrics.json").is_file():
            call("test", "--ckpt_paths", run_dir / f"fold_{fold}", "--run_dir", runs / f"test_{fold}")


def lines(runs: Path, root: Path, folds: int) -> list[str]:
    """What is printed."""
    run_dir = runs / "folds"
    split = pd.read_csv(run_dir / "split.csv", dtype={"patient_id": "str"})
    labels = pd.read_csv(root / "labels.csv")
    abnormal = labels["shipped_class"].eq("1_abnormal").set_axis(labels["path"].str.removesuffix(".png"))
    split["abnormal"] = split["case_id"].map(abnormal)
    held = split.dropna(subset="fold")
    shared = int((held.groupby("patient_id")["fold"].nunique() > 1).sum())
    shares = held.groupby("fold")["abnormal"].mean() * 100
    test = [auroc(runs / f"test_{fold}", "test") for fold in range(folds)]
    ensemble = auroc(run_dir / "ensemble", "test")
    out = auroc(run_dir, "val")
    spread = pd.read_csv(run_dir / "folds.csv").set_index("metric").loc["auroc"]
    return [
        f"cases: {len(held)} in {folds} folds, {len(split) - len(held)} in test",
        f"patients in two folds: {shared}",
        f"abnormal: {held['abnormal'].mean():.1%} of all, {shares.min():.1f} to {shares.max():.1f} % of a fold",
        f"AUROC out of fold {out['value']:.3f} ({out['low']:.3f} to {out['high']:.3f}); "
        f"of a fold {spread['mean']:.3f}, standard deviation {spread['sd']:.3f}",
        f"AUROC on test: mean fold {statistics.mean(one['value'] for one in test):.3f} "
        f"({', '.join(format(one['value'], '.3f') for one in test)}), "
        f"ensemble {ensemble['value']:.3f} ({ensemble['low']:.3f} to {ensemble['high']:.3f})",
    ]


def auroc(folder: Path, stage: str) -> dict[str, float]:
    """One metric of a run folder."""
    metric: dict[str, float] = json.loads((folder / "metrics.json").read_text())[f"{stage}/auroc"]
    return metric


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder with labels.csv")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs, root = arguments.runs or Path(folder), arguments.root.resolve()
        train(root, runs, arguments.folds, arguments.epochs)
        print("\n".join(lines(runs, root, arguments.folds)))


if __name__ == "__main__":
    main()
