"""How often 95 % intervals hold the truth, by simulation; prints the table of docs/coverage_results.md.

    python -m benchmarks.coverage [--simulations 1000] [--patients 30 60 150] [--populations binary masks ...]

Each simulation is a test set of patients with correlated scans (``benchmarks.simulated``), evaluated as a run's tables
are. The truth is the value in a test set of very many patients. Beside the suite's intervals stand the percentile
bootstrap by patient and the suite's own method when each scan counts as a patient.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.simulated import POPULATIONS, Draw, Metrics, Population

RESAMPLES = 500  # of the percentile bootstrap


@dataclass
class Count:
    """Intervals of one figure at one number of patients."""

    held: int = 0
    given: int = 0
    no_width: int = 0
    outside: int = 0
    widths: list[float] = field(default_factory=list)

    def add(self, value: float, low: float, high: float, truth: float) -> None:
        """Count an interval; one that is withheld is not given."""
        if math.isnan(low):
            return
        self.given += 1
        self.held += low <= truth <= high
        self.no_width += not high > low
        self.outside += not low <= value <= high
        self.widths.append(high - low)

    @property
    def share(self) -> float:
        """Of the given intervals that hold the truth; NaN without any."""
        return self.held / self.given if self.given else math.nan


METHODS = ("interval", "percentile", "by image")
Counts = dict[tuple[str, str], Count]  # by figure and method


def truth_of(population: Population, icc: float, seed: int = 0) -> dict[str, float]:
    """Metrics of very many patients.

    Args:
        population: where they come from.
        icc: intra-class correlation of a patient's scans.
        seed: of the draw.
    """
    draw = Draw(np.random.default_rng([seed, 1]), population.large, icc, scans=4)
    return {name: metric.value for name, metric in population.draw(draw)(draw.names, resamples=0).items()}


def simulate(
    population: Population,
    truth: dict[str, float],
    patients: int,
    simulations: int,
    icc: float = 0.5,
    seed: int = 0,
    methods: Sequence[str] = METHODS,
) -> Counts:
    """Draw test sets and count the intervals that hold the truth.

    Args:
        population: where they come from.
        truth: by figure.
        patients: of a test set.
        simulations: test sets.
        icc: intra-class correlation of a patient's scans.
        seed: of the draws.
        methods: of :data:`METHODS`.
    """
    counts: Counts = {}
    for number in range(simulations):
        draw = Draw(np.random.default_rng([seed, 2, patients, number]), patients, icc)
        evaluate = population.draw(draw)
        for method in methods:
            for name, metric in _metrics(evaluate, draw, method).items():
                # At a truth of exactly 0 the estimate is at the end of its range.
                counts.setdefault((name, method), Count()).add(
                    metric.value, metric.low, metric.high, max(0.0, truth[name]) if "ece" in name else truth[name]
                )
    return counts


def _metrics(evaluate: object, draw: Draw, method: str) -> Metrics:
    assert callable(evaluate)
    if method == "percentile":
        found: Metrics = evaluate(draw.names, resamples=RESAMPLES, percentile=True)
    else:
        found = evaluate(None if method == "by image" else draw.names)
    return found


def rows(population: Population, truth: dict[str, float], counted: dict[int, Counts], simulations: int) -> list[str]:
    """Rows of the table, one a figure of the whole.

    Args:
        population: whose figures they are.
        truth: by figure.
        counted: by number of patients.
        simulations: test sets of each number.
    """
    names = [name for name in truth if "/" not in name or name.endswith("/rare")]
    lines = []
    for name in names:
        unwanted = population.figures and name not in population.figures
        if unwanted or name == "ece" or math.isnan(truth[name]):
            continue
        cells = [name, f"{truth[name]:.3f}" if abs(truth[name]) >= 0.01 else f"{truth[name]:.4f}"]
        for counts in counted.values():
            own = counts.get((name, METHODS[0]), Count())
            note = f" ({own.given})" if own.given < simulations else ""
            # With each scan a patient of its own, a figure by patient is another figure.
            methods = METHODS[:2] if name.startswith("patient_") else METHODS
            cells.append(" / ".join(_share(counts.get((name, method), Count())) for method in methods) + note)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _share(count: Count) -> str:
    return "-" if math.isnan(count.share) else f"{count.share:.3f}"


def faults(counted: dict[int, Counts]) -> list[str]:
    """How many intervals of each method have no width, and how many do not hold their own value, in words."""
    said = []
    for method in METHODS[:2]:
        every = [count for counts in counted.values() for (name, own), count in counts.items() if own == method]
        given = sum(count.given for count in every)
        said.append(
            f"{method}: {sum(count.no_width for count in every)} of {given} without a width, "
            f"{sum(count.outside for count in every)} with the value outside"
        )
    return said


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000, help="test sets of each number of patients")
    parser.add_argument("--patients", type=int, nargs="+", default=[30, 60, 150])
    parser.add_argument("--icc", type=float, default=0.5, help="intra-class correlation of a patient's scans")
    parser.add_argument("--populations", nargs="+", default=list(POPULATIONS), choices=list(POPULATIONS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    for name in arguments.populations:
        population = POPULATIONS[name]
        start = time.monotonic()
        truth = truth_of(population, arguments.icc, arguments.seed)
        counted = {}
        for patients in arguments.patients:
            counted[patients] = simulate(
                population, truth, patients, arguments.simulations, arguments.icc, arguments.seed
            )
            print(f"{name}, {patients} patients: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        print(f"\n### {population.about[0].upper()}{population.about[1:]} ({arguments.simulations} simulations)\n")
        print(f"| figure | truth | {' | '.join(f'{patients} patients' for patients in arguments.patients)} |")
        print("|---|---|" + "---|" * len(arguments.patients))
        print("\n".join(rows(population, truth, counted, arguments.simulations)))
        print("\n" + "; ".join(faults(counted)) + ".", flush=True)


if __name__ == "__main__":
    main()
