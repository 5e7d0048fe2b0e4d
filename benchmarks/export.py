"""ONNX against PyTorch: ten families of networks in three tasks, on 100 real scans, at sizes that tracing never saw.

    python -m benchmarks.export --root DIR --output FOLDER [--only resnet10t:segment ...]
    python -m benchmarks.export --output FOLDER --page docs/export_results.md

``DIR`` holds ``medmnist`` (BreastMNIST, 64 x 64 px), ``dsb2018_nuclei`` (64 x 96 px) and ``bccd/BCCD`` (96 x 128 px).
Each pair of network and task is trained for a few steps from a fixed seed, so that norms have statistics and scores
spread, exported, and compared as ``export`` does it. It leaves a line of JSON in a file of its own: what is there is
not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.matrix import TASKS
from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.base import Task
from tasks.export.describe import describe
from tasks.export.exporting import exported, opened
from tasks.export.scans import scans_of_cases
from tasks.export.verify import compared
from tasks.registry.specs import spec_of

# The smallest network of each family that timm has, and the suite's own default.
FAMILIES = {
    "ResNet": "resnet10t",
    "EfficientNet": "efficientnet_lite0",
    "EfficientNet (TensorFlow's padding)": "tf_efficientnet_lite0",
    "ConvNeXt": "convnext_zepto_rms",
    "MobileNet": "mobilenetv3_small_050",
    "DenseNet": "densenet121",
    "RegNet": "regnetx_002",
    "Swin": "swin_tiny_patch4_window7_224",
    "ViT": "vit_tiny_patch16_224",
    "MaxViT": "maxvit_pico_rw_256",
    "HRNet": "hrnet_w18_small",
}
STEPS, BATCH, SEED, SCANS = 12, 8, 0, 100
FLAGS: dict[str, dict[str, Any]] = {
    "classify": {},
    "segment": {},
    "detect": {"detector": "retinanet", "channels": 64},
    "detect fcos": {"detector": "fcos", "channels": 64},
    "detect faster_rcnn": {"detector": "faster_rcnn", "channels": 64},
}


_HEAD = """\
# ONNX against PyTorch

Made by `python -m benchmarks.export`: networks trained for 12 steps on BreastMNIST (64 x 64 px), nuclei (64 x 96) and
BCCD (96 x 128), exported, and run beside PyTorch on 100 scans of each, alone and in batches of 8; twelve of them again
at four other sizes, square, tall and wide, that tracing never saw, where the network takes them. Largest differences:
of logits relative to those above 1 (at most 1e-4), of masks the share of pixels (1e-4), of decoded boxes in pixels
(0.01), of scores (1e-4); `found` is the share of boxes after suppression without a counterpart (0.01). RetinaNet where
the task says no other detector."""


def pairs() -> Iterator[tuple[str, str, str]]:
    """Family, network and task of each row; the other detectors on two networks alone."""
    for family, network in FAMILIES.items():
        for task in FLAGS:
            if task in spec_names() or network in ("resnet10t", "vit_tiny_patch16_224"):
                yield family, network, task


def spec_names() -> tuple[str, ...]:
    """Names of the tasks."""
    return tuple(TASKS)


def data_of(task: str, root: Path) -> ScanDataModule:
    """Real scans of a task, not square but in classification."""
    from datamodules.classification.medmnist import MedMNIST
    from datamodules.detection.voc import Voc
    from datamodules.segmentation.mask_folder import MaskFolder

    common: dict[str, Any] = {"batch_size": BATCH, "num_workers": 0, "augment": "none"}
    data: ScanDataModule
    if task == "classify":
        data = MedMNIST(str(root / "medmnist"), name="breastmnist", image_size=64, **common)
    elif task == "segment":
        data = MaskFolder(str(root / "dsb2018_nuclei"), masks="labels", image_size=[64, 96], **common)
    else:
        data = Voc(str(root / "bccd" / "BCCD"), image_size=[96, 128], **common)
    data.setup("fit")
    return data


def trained(name: str, task: str, data: ScanDataModule) -> Task:
    """A model after a few steps of training."""
    torch.manual_seed(SEED)
    cls = TASKS[task.split()[0]]
    facts = {fact: getattr(data, fact) for fact in cls.facts if fact not in ("preprocess", "slices")}
    model = cls(name, **FLAGS[task], **facts, preprocess=data.preprocess.to_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    model.train()
    done = 0
    while done < STEPS:
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            torch.autograd.backward(model.loss(model(batch["image"]), batch))
            optimizer.step()
            done += 1
            if done == STEPS:
                break
    return model.eval()


def row_of(family: str, network: str, task: str, root: Path) -> dict[str, Any]:
    """What came of one network in one task."""
    begun = time.monotonic()
    row: dict[str, Any] = {"family": family, "network": network, "task": task}
    try:
        data = data_of(task.split()[0], root)
        model = trained(network, task, data)
        row["parameters"] = sum(one.numel() for one in model.parameters())
        exporter = spec_of(task.split()[0]).exporter_class()(model, [network])
        made, description = exported(exporter, describe(exporter, [], network), 20)
        scans = scans_of_cases(model, data, np.arange(len(data.table)), "all parts", SCANS)
        batches = [one for one in scans.batches(resized=not description.sizes) if exporter.takes(one.shape[-2:])]
        checks = compared(exporter, opened(made, network), scans, "fp32")
    except SuiteError as error:
        return {**row, "refused": str(error), "seconds": round(time.monotonic() - begun)}
    return {
        **row,
        "sizes": [list(size) for size in description.sizes],
        "most_images": description.most_images,
        "seen": sorted({f"{batch.shape[-2]} x {batch.shape[-1]}" for batch in batches}),
        "batches": sorted({len(batch) for batch in batches}),
        "scans": len(scans.images),
        "checks": {check.name: [check.value, check.tolerance] for check in checks},
        "seconds": round(time.monotonic() - begun),
    }


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for ``docs/``."""
    lines = [
        *_HEAD.splitlines(),
        "",
        "| family | network | task | graph takes | logits | masks | boxes (px) | scores | found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row['family']} | {row['network']} | {row['task']} |"
        if "refused" in row:
            lines.append(f"{head} refused: {row['refused']} | | | | | |")
            continue
        sizes = ", ".join(f"{height} x {width} px" for height, width in row["sizes"]) or "any size"
        cells = []
        for name in ("logits", "masks", "boxes", "scores", "found"):
            value = row["checks"].get(name)
            cells.append("" if value is None else f"{value[0]:.1e}" + ("" if value[0] <= value[1] else " **above**"))
        lines.append(f"{head} {sizes} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    done = []
    for family, network, task in pairs():
        file = arguments.output / f"{network}_{task.replace(' ', '_')}.json"
        if arguments.page is None and not file.exists():
            if arguments.only and f"{network}:{task}" not in arguments.only:
                continue
            row = row_of(family, network, task, arguments.root)
            write_text(file, json.dumps(row) + "\n")
            print(json.dumps(row), file=sys.stderr, flush=True)
        if file.exists():
            done.append(json.loads(file.read_text(encoding="utf-8")))
    if arguments.page is not None:
        write_text(arguments.page, page(done))


if __name__ == "__main__":
    main()
