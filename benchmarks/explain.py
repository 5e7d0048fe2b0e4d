"""Where maps point in phantoms with known lesions, of trained and of random networks: docs/explain_results.md.

    python -m tasks.classify fit --config experiment/phantoms --trainer.max_epochs 12 --run_dir RUN \
        --model.backbone_args '{"output_stride": 8}'
    python -m benchmarks.explain RUN [--methods gradcam,layercam] [--layer layer4] [--cases 60] [--cohort 11]

Takes a run of ``Phantoms`` of any task. Cases are scans of a cohort that no run has seen (``--cohort`` is its seed),
one a patient, each with a malignant lesion, which is the truth. Explained is the class malignant; of a detector its
highest-scoring box of that class, where its centre lies in a lesion; in segmentation what is called malignant and has
some of one. The random network of each case is a draw of its own, so that cases are independent;
it is shown the same target.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from datamodules.phantoms.cohort import cohort
from datamodules.phantoms.draw import PhantomScan, draw
from datamodules.phantoms.plan import CLASS_NAMES, SEGMENTATION_CLASSES
from scansuite.errors import SuiteError
from tasks.evaluation.intervals.share import wilson
from tasks.explain.maps import Map, explain_image
from tasks.explain.methods import METHODS, Method
from tasks.explain.sanity.checks import check_maps
from tasks.explain.sanity.localise import chance, energy, pointing
from tasks.explain.sanity.randomise import randomised, similarity
from tasks.loading import Model, build_from, open_checkpoint, task_of
from tasks.registry.run_files import checkpoint_in

MALIGNANT = CLASS_NAMES[1]
COLUMNS = (
    *("method", "cells of", "pointing", "strict", "energy"),
    *("random: pointing", "random: energy", "correlation", "faithful"),
)


@dataclass
class Measured:
    """What came of one case and method."""

    hit: float
    strict: float
    energy: float
    random_hit: float
    random_energy: float
    same: float
    called: bool
    faithful: bool | None = None


def load(run: str) -> Model:
    """The model of a run folder or checkpoint."""
    path = Path(checkpoint_in(run))
    checkpoint = open_checkpoint(path)
    task = task_of(checkpoint)
    assert task is not None
    return build_from(checkpoint, task, path).eval()


def cases(seed: int, count: int, difficulty: float) -> list[PhantomScan]:
    """The first scan with a malignant lesion of each patient."""
    table = cohort(10 * count, seed, difficulty)
    table = table[table["label"] == 1].drop_duplicates("patient").head(count)
    pairs = zip(table["patient"].tolist(), table["scan"].tolist(), strict=True)
    return [draw(patient, scan, seed=seed, difficulty=difficulty) for patient, scan in pairs]


def measure(
    model: Model, scan: PhantomScan, number: int, methods: Sequence[Method], layer: str | None, curves: int
) -> dict[tuple[Method, str], Measured] | None:
    """All methods on one case; None where the model finds nothing to explain."""
    image = torch.from_numpy(scan.image.astype(np.float32) / 65535)[None, None]
    truth = scan.mask == SEGMENTATION_CLASSES.index(MALIGNANT)
    try:
        maps = explain_image(model, image, [MALIGNANT], methods, layer=layer)[: len(methods)]
    except SuiteError as error:
        if "no box of it" in str(error) or "no pixel of this image" in str(error):
            return None
        raise
    if not _hits(maps[0], truth):
        return None
    other = randomised(model, number)
    theirs = explain_image(other, image, [maps[0].target], methods, layer=layer)
    checked = check_maps(model, image, maps, seed=number) if number < curves else [None] * len(maps)
    found = {}
    for one, random, sanity in zip(maps, theirs, checked, strict=True):
        found[one.method, one.layer] = Measured(
            pointing(one.strength, truth),
            pointing(one.strength, truth, 0),
            _energy(one, truth),
            pointing(random.strength, truth),
            _energy(random, truth),
            similarity(one.strength, random.strength),
            one.score >= 0.5,
            None if sanity is None else sanity.faithful,
        )
    return found


def _hits(one: Map, truth: np.ndarray) -> bool:
    """Whether the box lies on the lesion, or the region called malignant has some of it."""
    if one.target.box is not None:
        x1, y1, x2, y2 = one.target.box
        return bool(truth[min(int((y1 + y2) / 2), len(truth) - 1), min(int((x1 + x2) / 2), len(truth) - 1)])
    return one.target.region is None or bool((one.target.region & truth).any())


def _energy(one: Map, truth: np.ndarray) -> float:
    found = energy(one.strength, truth)
    return float(truth.mean()) if found is None else found


def line(method: str, layer: str, some: Sequence[Measured]) -> str:
    """A row of the table."""
    n = len(some)

    def share(values: Sequence[float]) -> str:
        mean = float(np.mean(values))
        low, high = wilson(mean, n)
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"

    told = [one.faithful for one in some if one.faithful is not None]
    cells = (
        method,
        layer.removeprefix("backbone.") or "pixels",
        share([one.hit for one in some]),
        f"{np.mean([one.strict for one in some]):.2f}",
        f"{np.mean([one.energy for one in some]):.2f}",
        share([one.random_hit for one in some]),
        f"{np.mean([one.random_energy for one in some]):.2f}",
        f"{np.mean([one.same for one in some]):.2f}",
        f"{sum(told)} of {len(told)}" if told else "-",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print a table by method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--methods", default="cam,gradcam,gradcam++,layercam")
    parser.add_argument("--layer", default=None)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--curves", type=int, default=20, help="cases of which deletion is computed")
    parser.add_argument("--cohort", type=int, default=11)
    parser.add_argument("--difficulty", type=float, default=0.5)
    args = parser.parse_args()
    methods: list[Method] = [one for one in METHODS if one in args.methods.split(",")]
    model, scans, began = load(args.run), cases(args.cohort, args.cases, args.difficulty), perf_counter()
    rows: dict[tuple[Method, str], list[Measured]] = {}
    explained = []
    for number, scan in enumerate(scans):
        if (found := measure(model, scan, number, methods, args.layer, args.curves)) is None:
            continue
        explained.append(scan)
        for (method, layer), one in found.items():
            rows.setdefault((method, layer), []).append(one)
    lesions = [scan.mask == SEGMENTATION_CLASSES.index(MALIGNANT) for scan in explained]
    by_chance, strict = (float(np.mean([chance(one, tolerance) for one in lesions])) for tolerance in (0.03, 0.0))
    print(
        f"{len(explained)} of {len(scans)} scans explained; chance {by_chance:.3f}, strict and of energy {strict:.3f}"
    )
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for method in methods:
        layers = {layer: some for (name, layer), some in rows.items() if name == method}
        every = [one for some in layers.values() for one in some]
        print(line(method, ", ".join(sorted(layers)), every))
    print(f"({perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
