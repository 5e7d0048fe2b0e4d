"""How often bands and figures of a decision hold the truth, by simulation; prints the table of docs/decisions.md.

    python -m benchmarks.decisions [--simulations 1000] [--patients 30 60 150]

Scans come in patients (1 to 4 each, correlation 0.5); with the finding their score is higher by as much as makes an
AUROC of 0.80, 0.90 or 0.96. All truths are those of the normal distributions themselves.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm

from tasks.evaluation.decisions.bands import height_at, precision_recall, roc
from tasks.evaluation.decisions.called import Called
from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.decisions.levels import levels_of
from tasks.evaluation.decisions.net_benefit import benefit_at
from tasks.evaluation.intervals.ratios import patient_sums

SHIFTS = {0.80: 1.19, 0.90: 1.81, 0.96: 2.48}
SHARE = 0.4  # of the patients with the finding
CALLED = 0.2  # false positive rate at the threshold
RESAMPLES = 300


def draw(generator: np.random.Generator, patients: int, shift: float) -> Finding:
    """Scans of patients; the finding is the patient's."""
    groups = np.repeat(np.arange(patients), generator.integers(1, 5, patients)).astype(np.intp)
    truth = (generator.random(patients) < SHARE)[groups]
    noise = (generator.standard_normal(patients)[groups] + generator.standard_normal(len(groups))) / math.sqrt(2)
    return Finding("ill", norm.cdf(noise + shift * truth), truth, groups)


def figures(own: Finding, shift: float) -> Iterator[tuple[str, float, float, float]]:
    """Name, truth, low and high of each figure."""
    levels = levels_of(own)
    curve, precision = roc(levels, RESAMPLES), precision_recall(levels, RESAMPLES)
    if curve is None or precision is None:
        return
    for rate in (0.02, 0.05, 0.1, 0.2, 0.4):
        low, high = height_at(curve, rate)[1:]
        yield f"sensitivity at a false positive rate of {rate}", float(norm.cdf(shift + norm.ppf(rate))), low, high
    for recall in (0.3, 0.5, 0.7, 0.9):
        place = int(np.searchsorted(precision.x, recall, side="right")) - 1
        rate = float(norm.sf(shift - norm.ppf(recall)))
        there = SHARE * recall
        if precision.low is not None and precision.high is not None:
            ends = float(precision.low[place]), float(precision.high[place])
            yield f"precision at a recall of {recall}", there / (there + (1 - SHARE) * rate), *ends
    # At a threshold that is given.
    threshold, found = 1 - CALLED, float(norm.cdf(shift + norm.ppf(CALLED)))
    called, truth = own.score >= threshold, own.truth
    cells = np.stack([truth & called, ~truth & called, truth & ~called, ~truth & ~called, np.ones_like(truth)], axis=1)
    at = Called("ill", threshold, *patient_sums(cells, own.groups).T)
    ratio, without = found / CALLED, (1 - found) / (1 - CALLED)
    for name, expected, value in (
        ("likelihood ratio of a call", ratio, at.likelihood_ratio("+")),
        ("likelihood ratio of no call", without, at.likelihood_ratio("-")),
        ("predictive value at a prevalence of 0.05", ratio / (ratio + 19), at.predictive_value("+", 0.05)),
    ):
        yield name, expected, value.low, value.high
    benefit = benefit_at(own, threshold, odds=0.25)
    worth = SHARE * found - (1 - SHARE) * CALLED * 0.25
    yield "net benefit", worth, benefit.model.low, benefit.model.high
    gain = worth - max(0.0, SHARE - (1 - SHARE) * 0.25)
    yield "net benefit beyond calling all", gain, benefit.gain.low, benefit.gain.high


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table: in each cell the shares at the AUROCs of :data:`SHIFTS`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[30, 60, 150])
    given = parser.parse_args(argv)
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for patients in given.patients:
        shares: list[dict[str, str]] = []
        for shift in SHIFTS.values():
            held: dict[str, list[bool]] = defaultdict(list)
            for seed in range(given.simulations):
                own = draw(np.random.default_rng([seed, patients]), patients, shift)
                for name, truth, low, high in figures(own, shift):
                    if not math.isnan(low):
                        held[name].append(low <= truth and not truth > high)
            shares.append({name: f"{np.mean(each):.3f}" for name, each in held.items()})
        for name in shares[0]:
            rows[name].append([each.get(name, "") for each in shares])
    print("| figure |", " | ".join(f"{patients} patients" for patients in given.patients), "|")
    print("|---|", "---|" * len(given.patients), sep="")
    for name, columns in rows.items():
        print(f"| {name} | {' | '.join(' / '.join(each) for each in columns)} |")


if __name__ == "__main__":
    main()
