"""Benchmark of the plan: `fit` with nothing but the data, against configs made by hand and against fixed 20 epochs.

    python -m benchmarks.plan --data DIR [--sets bccd nuclei ...] [--shares 0.1 0.3 1] [--seeds 0 1 2] [--runs DIR]

- ``--against hand`` (the default): the whole training part, beside the config of ``configs/experiment`` for these data;
  where there is none, beside the fixed values that ``--plan none`` takes. Aimed at: its metric less 0.005, in 1.5 times
  its time.
- ``--against fixed``: shares of the training part, drawn by patient, beside 20 epochs of fixed values
  (``--plan none``). Aimed at: better at each share, as a mean of the seeds.

Every training is a process of its own, one after another, whose seconds are those from its start to its end. Runs are
kept in ``--runs`` and not repeated, so an interrupted call goes on where it was. Prints the table; with ``--output`` it
is written as a page too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.runs import table
from tasks.cli.flags import shipped_configs
from tasks.cli.parser import TaskParser
from tasks.cli.verbs.fit import OWN_FLAGS

ROOT = Path(__file__).resolve().parents[1]
FINDINGS = ("Infiltration", "Effusion", "Atelectasis")
NIH = ("--data", "ImageTable", "--data.root", "{data}/nih_cxr64", "--data.patient_column", "patient_id")


class Set(NamedTuple):
    """A data set as a user would name it.

    Attributes:
        name: of the row.
        task: that is trained.
        metric: that is compared, of the test part.
        flags: of the data, with ``{data}`` for the folder of all.
        hand: config of ``configs/experiment`` that was made by hand for it; empty: there is none.
    """

    name: str
    task: str
    metric: str
    flags: tuple[str, ...]
    hand: str = ""


SETS = (
    Set(
        "breastmnist",
        "classify",
        "auroc",
        ("--data", "MedMNIST", "--data.root", "{data}/medmnist", "--data.name", "breastmnist"),
        "medmnist",
    ),
    Set("nih-binary", "classify", "auroc", (*NIH, "--data.label_columns", "shipped_class")),
    Set("nih-multilabel", "classify", "auroc", (*NIH, "--data.label_columns", json.dumps(FINDINGS))),
    Set(
        "hippocampus",
        "segment",
        "dice",
        ("--data", "Volumes", "--data.root", "{data}/msd_hippocampus", "--data.split_file", "splits/hippocampus"),
        "hippocampus",
    ),
    Set(
        "nuclei",
        "segment",
        "iou",
        (
            *("--data", "MaskFolder", "--data.root", "{data}/dsb2018_nuclei", "--data.masks", "labels"),
            *("--data.split_file", "splits/nuclei"),
        ),
        "nuclei",
    ),
    Set(
        "nuclei-boxes",
        "detect",
        "map50",
        (*("--data", "Coco", "--data.root", "{data}/dsb2018_nuclei", "--data.annotations", "instances.json"),),
    ),
    Set("bccd", "detect", "map50", ("--data", "Voc", "--data.root", "{data}/bccd/BCCD"), "bccd"),
    Set("phantoms-classify", "classify", "auroc", ("--data", "Phantoms", "--data.num_patients", "300"), "phantoms"),
    Set("phantoms-segment", "segment", "dice", ("--data", "Phantoms", "--data.num_patients", "100")),
    Set("phantoms-detect", "detect", "map50", ("--data", "Phantoms", "--data.num_patients", "100")),
)


class Trained(NamedTuple):
    """A training that has ended.

    Attributes:
        value: of the metric, on the test part.
        low: of its 95 % interval; NaN where it is withheld.
        high: likewise.
        seconds: of the whole command.
    """

    value: float
    low: float
    high: float
    seconds: float


def trained(one: Set, folder: Path, flags: Sequence[str]) -> Trained:
    """Train and evaluate in a process of its own, or take the run that is there.

    Raises:
        RuntimeError: the command did not end well.
    """
    timing = folder.with_name(f"{folder.name}.json")
    if not timing.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "tasks.cli", one.task, "fit", *flags, "--run_dir", str(folder)]
        log = folder.with_name(f"{folder.name}.log")
        began = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            status = subprocess.run(words, cwd=ROOT, stdout=file, stderr=file, check=False).returncode
        if status:
            raise RuntimeError(f"{folder}: exit status {status}, see {log}")
        timing.write_text(json.dumps({"seconds": time.monotonic() - began}), encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    stored = metrics[f"test/{one.metric}"]
    low, high = (float("nan") if stored[end] is None else stored[end] for end in ("low", "high"))
    return Trained(stored["value"], low, high, json.loads(timing.read_text(encoding="utf-8"))["seconds"])


def data_flags(one: Set, data: Path) -> list[str]:
    """Flags of the data alone: what a user has to say."""
    return [word.format(data=data) for word in one.flags]


def share_file(one: Set, data: Path, share: float, seed: int, runs: Path) -> list[str]:
    """Flags of a share of the training part, whole patients; validation and test stay as they are."""
    if share == 1:
        return []
    file = runs / "shares" / f"{one.name}-{share:g}-{seed}.csv"
    if not file.is_file():
        cli = TaskParser(one.task, "fit", data_flags(one, data), own_flags=OWN_FLAGS, builds_model=False)
        cases = cli.build_data().table.cases[["case_id", "patient_id", "split"]]
        train = cases["split"] == "train"
        whose = cases["patient_id"].where(cases["patient_id"].fillna("") != "", cases["case_id"])
        patients = np.random.default_rng(seed).permutation(whose[train].unique())
        kept = set(patients[: max(2, round(share * len(patients)))])
        file.parent.mkdir(parents=True, exist_ok=True)
        cases[~train | whose.isin(kept)][["case_id", "split"]].to_csv(file, index=False)
    return ["--data.split_file", str(file), "--data.new_cases", "leave_out"]


def against_hand(sets: Sequence[Set], data: Path, seeds: Sequence[int], runs: Path) -> str:
    """One row a set: the plan beside the config made by hand."""
    rows = []
    for one in sets:
        flags = data_flags(one, data)
        by_hand = ["--config", str(shipped_configs()[f"experiment/{one.hand}"])] if one.hand else ["--plan", "none"]
        plan, hand = (
            [
                trained(one, runs / f"{one.name}-{what}-{seed}", [*first, *flags, "--seed_everything", str(seed)])
                for seed in seeds
            ]
            for what, first in (("plan", ["--plan", "auto"]), ("hand", by_hand))
        )
        rows.append(
            [
                one.name, one.metric, _mean(plan), _mean(hand) + ("" if one.hand else " (fixed)"),
                f"{_value(plan) - _value(hand):+.3f}", f"{_minutes(plan):.1f}", f"{_minutes(hand):.1f}",
                f"{_minutes(plan) / _minutes(hand):.2f}",
            ]
        )  # fmt: skip
    head = ["data", "metric", "plan", "by hand", "difference", "minutes", "by hand", "ratio"]
    return table(head, rows)


def against_fixed(sets: Sequence[Set], data: Path, shares: Sequence[float], seeds: Sequence[int], runs: Path) -> str:
    """One row a set and share: the plan beside fixed 20 epochs."""
    rows = []
    for one in sets:
        for share in shares:
            found: dict[str, list[Trained]] = {"auto": [], "none": []}
            for seed in seeds:
                flags = [*data_flags(one, data), *share_file(one, data, share, seed, runs)]
                for word, done in found.items():
                    folder = runs / f"{one.name}-{word}-{share:g}-{seed}"
                    words = [*flags, "--plan", word, "--seed_everything", str(seed)]
                    done.append(trained(one, folder, words))
            plan, fixed = found["auto"], found["none"]
            rows.append(
                [
                    one.name, f"{share:.0%}", one.metric, _mean(plan), _mean(fixed),
                    f"{_value(plan) - _value(fixed):+.3f}", f"{_minutes(plan):.1f}", f"{_minutes(fixed):.1f}",
                ]
            )  # fmt: skip
    head = ["data", "training part", "metric", "plan", "20 epochs", "difference", "minutes", "20 epochs"]
    return table(head, rows)


def _value(runs: Sequence[Trained]) -> float:
    return statistics.mean(run.value for run in runs)


def _minutes(runs: Sequence[Trained]) -> float:
    return statistics.mean(run.seconds for run in runs) / 60


def _mean(runs: Sequence[Trained]) -> str:
    """The mean over seeds, the ends of several, and the interval of the first."""
    values = [run.value for run in runs]
    ends = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
    first = runs[0]
    interval = "" if np.isnan(first.low) else f" ({first.low:.3f}-{first.high:.3f})"
    return f"{_value(runs):.3f}{ends}{interval}"


def main() -> int:
    """Train what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=[one.name for one in SETS])
    parser.add_argument("--against", choices=["hand", "fixed"], default="hand")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs") / "plan")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ.pop("SCANSUITE_PLAN", None)
    sets = [one for one in SETS if arguments.sets is None or one.name in arguments.sets]
    runs = arguments.runs.resolve()
    if arguments.against == "hand":
        text = against_hand(sets, arguments.data, arguments.seeds, runs)
    else:
        text = against_fixed(sets, arguments.data, arguments.shares, arguments.seeds, runs)
    print(text, end="")
    if arguments.output is not None:
        said = f"python -m benchmarks.plan --against {arguments.against} --seeds {' '.join(map(str, arguments.seeds))}"
        head = f"# The plan in figures\n\nWritten by `{said}`; metrics of the test part, with the mean over seeds"
        arguments.output.write_text(
            f"{head}, the ends of several in square brackets, and the 95 % interval of the first.\n\n{text}",
            encoding="utf-8",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
