"""Time and memory of a report from tables of many rows; prints a line for each.

    python -m benchmarks.report [--tasks classify segment detect] [--rows 100000 1000000] [--keep FOLDER]

Rows are predictions: cases of two classes, cases and classes of segmentation, found boxes. Two scans a patient; a fifth
of the rows more are validation. Each report is written by a process of its own, as `scansuite TASK report` does it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.evaluation.segmentation.overlap import Overlap, overlap_metrics
from tasks.evaluation.tables import write_table
from tasks.evaluation.task_file import RunTask, write_task

_PARTS = ("val", "test")
_BOXES = 20  # found in an image; 3 are there
_SIDE = 512  # px

Tables = dict[str, pd.DataFrame]


def _cases(split: str, count: int, rng: np.random.Generator) -> pd.DataFrame:
    ids = [f"{split}{number:07d}" for number in range(count)]
    patients = [f"{split}p{number // 2:07d}" for number in range(count)]
    return pd.DataFrame(
        {
            "case_id": ids, "patient_id": patients, "path": [f"{name}.png" for name in ids], "split": split,
            "width": _SIDE, "height": _SIDE, "spacing": "0.5 0.5",
            "sex": rng.choice(["F", "M"], count), "age": rng.integers(20, 90, count),
            "scanner": rng.choice(["A", "B", "C"], count),
        }
    )  # fmt: skip


def classification(rows: int, split: str, rng: np.random.Generator) -> Tables:
    """Two classes, a third of the cases ill."""
    cases = _cases(split, rows, rng)
    ill = rng.random(rows) < 1 / 3
    score = 1 / (1 + np.exp(-rng.normal(1.5 * ill - 1.2, 1)))
    names = np.array(["healthy", "ill"])
    called = names[(score >= 0.5).astype(int)]
    predictions = pd.DataFrame(
        {
            "case_id": cases["case_id"], "split": split, "target": names[ill.astype(int)], "prediction": called,
            "score_healthy": 1 - score, "score_ill": score, "prediction_op": called,
        }
    )  # fmt: skip
    return {"cases": cases, "predictions": predictions}


def segmentation(rows: int, split: str, rng: np.random.Generator) -> Tables:
    """Two classes a case, of very different sizes."""
    cases = _cases(split, max(1, rows // 2), rng)
    count = 2 * len(cases)
    truth = np.exp(rng.normal(7, 1.2, count)).astype(int) + 1
    found = (truth * rng.beta(8, 2, count)).astype(int)
    wrong = (truth * rng.beta(2, 8, count)).astype(int)
    counts = np.stack([found, wrong, truth - found, np.full(count, _SIDE * _SIDE) - truth - wrong], axis=1)
    overlap = pd.DataFrame([overlap_metrics(Overlap(*row)) for row in counts.tolist()])
    rest = {"hd95": rng.gamma(2, 3, count), "assd": rng.gamma(2, 1, count), "nsd": rng.beta(8, 2, count)}
    predictions = pd.DataFrame(
        {
            "case_id": np.repeat(cases["case_id"].to_numpy(), 2), "split": split,
            "class": np.tile(["organ", "lesion"], len(cases)),
            **{name: counts[:, k] for k, name in enumerate(("tp", "fp", "fn", "tn"))}, **overlap, **rest,
        }
    )  # fmt: skip
    return {"cases": cases, "predictions": predictions}


def detection(rows: int, split: str, rng: np.random.Generator) -> Tables:
    """Three boxes of two classes an image, four fifths of them found."""
    cases = _cases(split, max(1, rows // _BOXES), rng)
    ids = cases["case_id"].to_numpy()

    def boxes(images: np.ndarray) -> pd.DataFrame:
        x, y = rng.uniform(0, _SIDE - 70, (2, len(images)))
        width = rng.uniform(8, 70, len(images))
        label = rng.choice(["mass", "nodule"], len(images))
        return pd.DataFrame(
            {"case_id": ids[images], "split": split, "label": label, "x1": x, "y1": y, "x2": x + width, "y2": y + width}
        )

    targets = boxes(np.repeat(np.arange(len(cases)), 3))
    hits = targets[rng.random(len(targets)) < 0.8].copy()
    hits[["x1", "x2"]] += rng.normal(0, 1, (len(hits), 1))
    hits["score"] = rng.beta(5, 2, len(hits))
    others = boxes(rng.integers(0, len(cases), max(0, rows - len(hits))))
    others["score"] = rng.beta(1, 4, len(others))
    return {"cases": cases, "predictions": pd.concat([hits, others]), "targets": targets}


Make = Callable[[int, str, np.random.Generator], Tables]
TASKS: dict[str, tuple[Make, RunTask]] = {
    "classify": (
        classification,
        RunTask(
            "classify",
            ["healthy", "ill"],
            {"ill": 0.5},
            {"target": "binary", "positive_class": "ill", "operating_point": "youden"},
        ),
    ),
    "segment": (segmentation, RunTask("segment", ["background", "organ", "lesion"], {})),
    "detect": (
        detection,
        RunTask(
            "detect",
            ["mass", "nodule"],
            {"mass": 0.5, "nodule": 0.5},
            {"max_detections": 100, "froc_iou": 0.5, "operating_point": "f1"},
        ),
    ),
}


def write_run(folder: Path, task: str, rows: int, seed: int = 0) -> Path:
    """A run folder with so many predictions in its test part.

    Args:
        folder: made where it is absent.
        task: name of the task.
        rows: of the test part; validation has a fifth of them.
        seed: of the draws.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    make, about = TASKS[task]
    parts = [make(rows if split == "test" else max(100, rows // 5), split, rng) for split in _PARTS]
    for name in parts[0]:
        write_table(pd.concat([part[name] for part in parts], ignore_index=True), folder / f"{name}.csv")
    write_task(folder, about)
    return folder


def measure(folder: Path, task: str) -> tuple[float, float, int]:
    """Seconds, GiB at most, and bytes of the page, of a report written by a process of its own."""
    begun = time.perf_counter()
    program = (
        "import resource, sys\nfrom tasks.cli.main import main\n"
        f"status = main({task!r}, ['report', '--run_dir', {str(folder)!r}], ends=False)\n"
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if not done.stdout.strip() or done.stdout.split()[-2] != "0":
        raise RuntimeError(f"{folder}: {done.stderr.strip()[-500:]}")
    return seconds, int(done.stdout.split()[-1]) / 2**20, (folder / "report.html").stat().st_size


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="folder to leave tables and reports in")
    given = parser.parse_args(argv)
    print(f"{'task':10}{'rows':>10}{'seconds':>9}{'GiB':>7}{'page MB':>9}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for task in given.tasks:
            for rows in given.rows:
                folder = write_run((given.keep or Path(temporary)) / f"{task}_{rows}", task, rows)
                seconds, memory, size = measure(folder, task)
                print(f"{task:10}{rows:>10}{seconds:>9.1f}{memory:>7.2f}{size / 1e6:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
