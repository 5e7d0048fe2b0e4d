"""Benchmark of pooling: one label a volume, large hippocampi told from small ones.

    python -m benchmarks.bags --root ../shared/data/msd_hippocampus [--aggregates mean attention] [--epochs 4]

The label of a volume is whether its mask has more voxels than the median of all 200; the network sees the MR alone, as
sagittal slices of 1 mm. The last 40 volumes by name are test. Each rule is trained once, with the same seed and
settings, and its AUROC on test is printed with the bootstrap interval of the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from tasks.cli.main import main as command_line

SETTINGS = [
    "--model.backbone", "resnet18", "--model.weights", "null", "--model.lr", "0.0005", "--data.axis", "sagittal",
    "--data.spacing", "1", "--data.image_size", "64", "--data.batch_size", "8", "--data.bag_size", "8",
    "--data.bag_limit", "16", "--data.augment", "mri", "--data.split_file", "splits/hippocampus",
]  # fmt: skip


def label_table(root: Path, file: Path) -> None:
    """Write ``path,label`` of all volumes: ``large`` above the median number of labelled voxels."""
    names = sorted(path.name for path in (root / "labelsTr").iterdir() if path.name.endswith(".nii.gz"))
    voxels = [int((np.asarray(nibabel.load(root / "labelsTr" / name).dataobj) > 0).sum()) for name in names]
    labels = np.where(np.array(voxels) > np.median(voxels), "large", "small")
    pd.DataFrame({"path": names, "label": labels}).to_csv(file, index=False)


def main() -> None:
    """Train each rule and print its metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder with imagesTr and labelsTr")
    parser.add_argument("--aggregates", nargs="+", default=["mean", "attention"])
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "sizes.csv"
        label_table(root, table)
        lines = []
        for aggregate in arguments.aggregates:
            run_dir, start = Path(folder) / aggregate, time.perf_counter()
            words = [
                "fit", "--plan", "none", "--data", "ImageTable", "--data.root", str(root / "imagesTr"),
                "--data.table", str(table),
                *SETTINGS, "--data.positive_class", "large", "--model.aggregate", aggregate,
                "--trainer.max_epochs", str(arguments.epochs), "--run_dir", str(run_dir),
            ]  # fmt: skip
            if status := command_line("classify", words):
                raise SystemExit(status)
            metric = json.loads((run_dir / "metrics.json").read_text())["test/auroc"]
            seconds = time.perf_counter() - start
            lines.append(
                f"{aggregate:10s} AUROC {metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f}), "
                f"{metric['n']} volumes, {seconds:.0f} s"
            )
        print("\n".join(lines))


if __name__ == "__main__":
    main()
