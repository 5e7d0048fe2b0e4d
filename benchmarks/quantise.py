"""Benchmark of int8 against float32: metrics on test with paired intervals, size, and latency by batch.

    python -m benchmarks.quantise --trained DIR [--runs DIR] [--only NAME ...] [--latency]

``--trained`` holds run folders named ``<task>_<network>`` (``cls_resnet18``, ``seg_vit``, ...). Each is exported to
ONNX, quantised on 64 of its training scans as ``export --quantize int8`` does (layers that cost accuracy on validation
stay in float), and with all layers in int8 by every method; each file is evaluated on the test part in the network's
place. What was found of a run is kept in ``--runs`` and not found again, so an interrupted call goes on where it was.
With ``--latency`` float and int8 take turns on one thread, whose processor time is taken, not that of the clock: a
machine that does other things too interrupts either for longer than it computes. Writes ``docs/quantise_results.md``
(or ``--output``) of all that is there.
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
SECONDS = 6.0  # of timing, by batch
LOSS, SHARE = 0.01, 0.3  # aims: of the metric, of the size


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
    from scansuite.errors import SuiteError
    from tasks.cli.evaluate import evaluator_of
    from tasks.cli.evaluate_checkpoint import OWN_FLAGS
    from tasks.cli.parser import TaskParser
    from tasks.cli.runs.ensembles import build_model, find_checkpoints
    from tasks.cli.runs.run_data import run_data
    from tasks.export.describe import describe
    from tasks.export.exporting import exported, opened, write
    from tasks.export.int8 import in_int8
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

    def measured(small: Any, kind: str, **more: Any) -> dict[str, Any]:
        file = folder / f"{name}.{kind}.onnx"
        write(small, file)
        with computed_by(exporter, opened(small, f"{name}, int8")):
            after = evaluated(evaluator_of(task), model, data, "test", "int8")
        primary = compared(before, after, "test").primary
        assert primary is not None
        value = primary.value
        result = {
            "metric": primary.metric,
            "float": primary.reference.value,
            "int8": primary.other.value,
            "difference": value.value,
            "low": value.low,
            "high": value.high,
            "bytes": file.stat().st_size,
            **more,
        }
        print(name, kind, result, flush=True)
        return result

    for method in METHODS:
        start = time.monotonic()
        with Quantiser(made, images, Quantisation(method), name) as quantiser:
            small, layers = quantiser.quantised(), len(quantiser.nodes)
            took, noise = time.monotonic() - start, quantiser.noise(small)
        found["methods"][method] = measured(small, method, layers=layers, seconds=took, noise=noise)
    try:
        done = in_int8(exporter, made, description, data, lambda: evaluator_of(task), Quantisation())
    except SuiteError as error:
        found["refused"] = str(error)
        print(name, found["refused"], flush=True)
    else:
        found["export"] = measured(done.model, "export", in_float=list(done.in_float), layers=layers)
    return found


def timed(name: str, folder: Path) -> dict[str, Any]:
    """Processor time of float and int8 in turns, in ms by batch: medians, and that of the ratios of neighbours."""
    from tasks.exported.description import IMAGE
    from tasks.exported.model_file import open_model

    images = np.load(folder / f"{name}.npy")
    made = folder / f"{name}.export.onnx"
    files = {"float": folder / f"{name}.onnx", "int8": made if made.is_file() else folder / f"{name}.minmax.onnx"}
    models = {kind: open_model(file, threads=1) for kind, file in files.items()}
    found: dict[str, Any] = {"image": list(images.shape[1:])}
    for batch in BATCHES:
        image = np.ascontiguousarray(np.resize(images, (batch, *images.shape[1:])))
        taken: dict[str, list[float]] = {kind: [] for kind in models}
        end = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < end or turn < 10:
            for kind in list(models)[:: 1 if turn % 2 else -1]:  # whoever comes second finds a warm or a cold cache
                start = time.thread_time()
                models[kind].run({IMAGE: image})
                taken[kind].append(1000 * (time.thread_time() - start))
            turn += 1
        ratios = [a / b for a, b in zip(taken["float"][2:], taken["int8"][2:], strict=True)]
        quarters = statistics.quantiles(ratios, n=4)
        found[str(batch)] = {
            **{kind: statistics.median(times[2:]) for kind, times in taken.items()},
            "ratio": statistics.median(ratios),
            "quarters": [quarters[0], quarters[2]],
            "turns": len(ratios),
        }
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
        "Made by `python -m benchmarks.quantise`. Trained networks (BreastMNIST 64 px, hippocampus, BCCD 192 x 256),",
        "exported to ONNX and quantised as `export --quantize int8` does: by onnxruntime on 64 training scans, let",
        "pass on validation. Metrics here are of the test part, which nothing was chosen on; the difference is int8",
        "less float32 on the same cases, with its paired 95 % interval. Aims: at most 0.01 lost, under 0.3 of the",
        "size.",
        "",
        "| network | task | metric | float32 | int8 | difference | 95 % interval | layers in float | size, of float32 "
        "| aims |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in read.items():
        one = found.get("export", found["methods"]["minmax"])
        in_float = f"{len(one['in_float'])} of {one['layers']}" if "in_float" in one else f"0 of {one['layers']} *"
        lines.append(
            f"| {_of(name)} | {METRICS[name.partition('_')[0]]} | {one['float']:.4f} | {one['int8']:.4f} | "
            f"{one['difference']:+.4f} | {_interval(one)} | {in_float} | {one['bytes'] / found['bytes']:.3f} | "
            f"{'missed: refused' if 'refused' in found else _aims(one, found['bytes'])} |"
        )
    lines += ["", "\\* all layers in int8, not as the export leaves them: it was refused, or not asked."]
    for name, found in read.items():
        if "refused" in found:
            lines += ["", f"Refused by the export: {_network(name)}, {found['refused'].rpartition('/')[2]}."]
    lines += [
        "",
        "## Methods of calibration",
        "",
        "All layers in int8, none left in float. Difference of the metric on test, and noise: power of the difference",
        "of the outputs, as a share of theirs, on training scans.",
        "",
    ]
    lines += ["| network | task | " + " | ".join(METHODS) + " | size, of float32 |", "|---" * (3 + len(METHODS)) + "|"]
    for name, found in read.items():
        methods = found["methods"]
        values = [_method(methods.get(method)) for method in METHODS]
        share = methods["minmax"]["bytes"] / found["bytes"]
        lines.append(f"| {_of(name)} | " + " | ".join(values) + f" | {share:.3f} |")
    times = {
        file.name.removesuffix(".latency.json"): json.loads(file.read_text())
        for file in sorted(folder.glob("*.latency.json"))
    }
    if times:
        lines += [
            "",
            "## Latency",
            "",
            "The graph on onnxruntime with one thread, float32 and int8 in turns. Milliseconds are processor time, not",
            "the clock's (medians): other programs were at work on the machine, and interrupted a run for longer than",
            "it took. How many times as fast is the median of the ratios of neighbouring turns, with its quartiles.",
            "It is of a CPU with VNNI (AVX512); with all layers in int8 where the export was refused or not asked.",
            "",
            "| network | task | image | batch | float32 | int8 | times as fast | quartiles | turns |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, found in times.items():
            for batch in map(str, BATCHES):
                one = found[batch]
                size = " x ".join(map(str, found["image"][1:]))
                lines.append(
                    f"| {_of(name)} | {size} | {batch} | {one['float']:.1f} | {one['int8']:.1f} | {one['ratio']:.2f} | "
                    f"{one['quarters'][0]:.2f} to {one['quarters'][1]:.2f} | {one['turns']} |"
                )
    return "\n".join([*lines, ""])


def _of(name: str) -> str:
    return f"{_network(name)} | {TASKS[name.partition('_')[0]]}"


def _method(one: dict[str, Any] | None) -> str:
    if one is None:
        return "not measured"
    noise = f"{100 * one['noise']:.2f} %" if "noise" in one else "not taken"
    return f"{one['difference']:+.4f}, noise {noise}"


def _aims(one: dict[str, Any], size: int) -> str:
    """Which aims are missed, and by how much."""
    missed = []
    if one["difference"] < -LOSS:
        missed.append(f"metric by {-one['difference'] - LOSS:.4f}")
    if one["bytes"] / size >= SHARE:
        missed.append(f"size by {one['bytes'] / size - SHARE:.3f}")
    return f"missed: {', '.join(missed)}" if missed else "met"


def _network(name: str) -> str:
    return NETWORKS.get(name.partition("_")[2], name)


def _interval(one: dict[str, Any]) -> str:
    return f"{one['low']:+.4f} to {one['high']:+.4f}" if one["low"] == one["low"] else "withheld"


if __name__ == "__main__":
    sys.exit(main())
