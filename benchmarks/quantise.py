"""Benchmark of int8 against float32: metrics on test with paired intervals, size, and latency by batch.

    python -m benchmarks.quantise --trained DIR [--runs DIR] [--only NAME ...] [--latency]

``--trained`` holds run folders named ``<task>_<network>`` (``cls_resnet18``, ``seg_vit``, ...). Each is exported to
ONNX, quantised by every method on 64 of its training scans, and evaluated on its test part, the network's place taken
by the file. What was found of a run is kept in ``--runs`` and not found again, so an interrupted call goes on where it
was. With ``--latency`` the files are timed alone (let the machine do nothing else). Writes
``docs/quantise_results.md`` (or ``--output``) of all that is there.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TASKS = {"cls": "classify", "seg": "segment", "det": "detect"}
METRICS = {"cls": "AUROC", "seg": "Dice", "det": "mAP50"}
NETWORKS = {"resnet18": "ResNet-18", "lite0": "EfficientNet-Lite0", "vit": "ViT-Tiny"}
METHODS: tuple[Literal["minmax", "entropy", "percentile"], ...] = ("minmax", "entropy", "percentile")
BATCHES = (1, 8)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "quantise")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quantise_results.md")
    args = parser.parse_args(argv)
    args.runs.mkdir(parents=True, exist_ok=True)
    names = args.only or [f"{task}_{network}" for task in TASKS for network in NETWORKS]
    for name in names:
        if not (args.trained / name / "metrics.json").is_file():
            print(f"{name}: no finished run in {args.trained}", file=sys.stderr)
            continue
        metrics, latency = args.runs / f"{name}.json", args.runs / f"{name}.latency.json"
        if not metrics.is_file():
            metrics.write_text(json.dumps(evaluated_run(name, args.trained / name, args.runs), indent=1))
        if args.latency and not latency.is_file():
            latency.write_text(json.dumps(timed(name, args.runs), indent=1))
    args.output.write_text(page(args.runs), encoding="utf-8")
    print(args.output)
    return 0


def evaluated_run(name: str, run: Path, folder: Path) -> dict[str, Any]:
    """Metrics and sizes of a run in float and int8."""
    from tasks.cli.evaluate import evaluator_of
    from tasks.cli.evaluate_checkpoint import OWN_FLAGS
    from tasks.cli.parser import TaskParser
    from tasks.cli.runs.ensembles import build_model, find_checkpoints
    from tasks.cli.runs.run_data import run_data
    from tasks.export.describe import describe
    from tasks.export.exporting import exported, opened, write
    from tasks.export.metrics import compared, computed_by, evaluated
    from tasks.export.quantise import Quantisation, Quantiser, has_wide_sums
    from tasks.export.scans import scans_of_data
    from tasks.exported.images import fed
    from tasks.registry.specs import spec_of

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    task = TASKS[name.partition("_")[0]]
    flags = ["--ckpt_path", str(run)]
    checkpoints = find_checkpoints(task, str(run), [])
    kept = run_data(flags, run)
    assert kept is not None
    cli = TaskParser(task, "test", flags, own_flags=OWN_FLAGS, builds_model=False, defaults={"data": kept.section})
    kept.keep_split(cli.config, goes_on=False)
    model = build_model(task, checkpoints).eval()
    data = cli.build_data()
    data.num_workers = 0
    evaluator_of(task).adopt(model, data)
    exporter = spec_of(task).exporter_class()(model, [str(run)])
    made, description = exported(exporter, describe(exporter, checkpoints.paths, name), 20)
    write(made, folder / f"{name}.onnx")
    scans = scans_of_data(model, data, 64, parts=("train",))
    images = [fed(description, image[None].numpy()) for image in scans.images]
    test = scans_of_data(model, data, 8, parts=("test",))
    np.save(folder / f"{name}.npy", np.concatenate([fed(description, image[None].numpy()) for image in test.images]))
    with computed_by(exporter, opened(made, name)):
        before = evaluated(evaluator_of(task), model, data, "test", "float")
    found: dict[str, Any] = {
        "cases": len(before.part("test").cases),
        "bytes": (folder / f"{name}.onnx").stat().st_size,
        "checkpoint_bytes": exporter.weight_bytes,
        "wide_sums": has_wide_sums(),
        "methods": {},
    }
    for method in METHODS:
        start = time.monotonic()
        with Quantiser(made, images, Quantisation(method), name) as quantiser:
            small, layers = quantiser.quantised(), len(quantiser.nodes)
        took = time.monotonic() - start
        file = folder / f"{name}.{method}.onnx"
        write(small, file)
        with computed_by(exporter, opened(small, f"{name}, int8")):
            after = evaluated(evaluator_of(task), model, data, "test", "int8")
        primary = compared(before, after, "test").primary
        assert primary is not None
        value = primary.value
        found["methods"][method] = {
            "metric": primary.metric,
            "float": primary.reference.value,
            "int8": primary.other.value,
            "difference": value.value,
            "low": value.low,
            "high": value.high,
            "bytes": file.stat().st_size,
            "layers": layers,
            "seconds": took,
        }
        print(name, method, found["methods"][method], flush=True)
    return found


def timed(name: str, folder: Path) -> dict[str, Any]:
    """Median milliseconds of float and int8 by batch, in turns."""
    from tasks.exported.description import IMAGE
    from tasks.exported.model_file import open_model

    images = np.load(folder / f"{name}.npy")
    files = {"float": folder / f"{name}.onnx", "int8": folder / f"{name}.minmax.onnx"}
    models = {kind: open_model(file) for kind, file in files.items()}
    found: dict[str, Any] = {}
    for batch in BATCHES:
        image = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        taken: dict[str, list[float]] = {kind: [] for kind in models}
        end = time.monotonic() + 6
        while time.monotonic() < end or len(taken["float"]) < 8:
            for kind, model in models.items():
                start = time.perf_counter()
                model.run({IMAGE: image})
                taken[kind].append(1000 * (time.perf_counter() - start))
        found[str(batch)] = {kind: statistics.median(times[2:]) for kind, times in taken.items()}
        found["image"] = list(images.shape[1:])
    print(name, found, flush=True)
    return found


def page(folder: Path) -> str:
    """The page of results."""
    read = {
        file.stem: json.loads(file.read_text())
        for file in sorted(folder.glob("*.json"))
        if not file.stem.endswith(".latency")
    }
    lines = [
        "# int8 against float32, measured",
        "",
        "Made by `python -m benchmarks.quantise`. Trained networks of three tasks (BreastMNIST 64 px, hippocampus,",
        "BCCD 192 x 256), exported to ONNX and quantised by onnxruntime on 64 training scans, all layers in int8.",
        "Metrics are of the test part, by the same evaluation; the difference is int8 less float32 on the same",
        "cases, with its paired 95 % interval.",
        "",
        "| network | task | metric | float32 | int8 | difference | 95 % interval | size, share of float32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in read.items():
        one = found["methods"]["minmax"]
        lines.append(
            f"| {_network(name)} | {TASKS[name.partition('_')[0]]} | {METRICS[name.partition('_')[0]]} | "
            f"{one['float']:.4f} | {one['int8']:.4f} | {one['difference']:+.4f} | {_interval(one)} | "
            f"{one['bytes'] / found['bytes']:.3f} |"
        )
    lines += ["", "## Methods of calibration", "", "Difference of the metric by method:", ""]
    lines += ["| network | task | " + " | ".join(METHODS) + " |", "|---" * (2 + len(METHODS)) + "|"]
    for name, found in read.items():
        values = [f"{found['methods'][method]['difference']:+.4f}" for method in METHODS]
        lines.append(f"| {_network(name)} | {TASKS[name.partition('_')[0]]} | " + " | ".join(values) + " |")
    times = {
        file.name.removesuffix(".latency.json"): json.loads(file.read_text())
        for file in sorted(folder.glob("*.latency.json"))
    }
    if times:
        lines += [
            "",
            "## Latency",
            "",
            "Median milliseconds of the graph on onnxruntime, float32 and int8 in turns:",
            "",
        ]
        lines += [
            "| network | task | image | batch | float32 | int8 | times as fast |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, found in times.items():
            for batch in map(str, BATCHES):
                a, b = found[batch]["float"], found[batch]["int8"]
                size = " x ".join(map(str, found["image"][1:]))
                lines.append(
                    f"| {_network(name)} | {TASKS[name.partition('_')[0]]} | {size} | {batch} | {a:.1f} | {b:.1f} | "
                    f"{a / b:.1f} |"
                )
    return "\n".join([*lines, ""])


def _network(name: str) -> str:
    return NETWORKS.get(name.partition("_")[2], name)


def _interval(one: dict[str, Any]) -> str:
    return f"{one['low']:+.4f} to {one['high']:+.4f}" if one["low"] == one["low"] else "withheld"


if __name__ == "__main__":
    sys.exit(main())
