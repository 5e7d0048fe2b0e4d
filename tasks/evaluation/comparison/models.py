"""The models of a comparison: each one run, or several that differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import numpy as np

from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.run_file import read_config

# Of a run's configuration, what is another one in each training with another seed.
_OF_ONE_TRAINING = ("seed_everything", "run_dir", "ckpt_path")


@dataclass(frozen=True, eq=False)
class Model:
    """A model of a comparison.

    Attributes:
        name: by which it is shown.
        parts: the part of each of its runs, aligned with those of the other models.
        run_names: of the runs.
        resamples: most times that a patient is left out.
    """

    name: str
    parts: Sequence[PartTables]
    run_names: Sequence[str]
    resamples: int = 1000

    @cached_property
    def run_metrics(self) -> list[dict[str, MetricValue]]:
        """Metrics of each run."""
        return [part.metrics(self.resamples) for part in self.parts]

    @cached_property
    def metrics(self) -> dict[str, MetricValue]:
        """Metrics of the model; of several runs their mean, without an interval."""
        if len(self.parts) == 1:
            return self.run_metrics[0]
        names = [name for name in self.run_metrics[0] if all(name in run for run in self.run_metrics)]
        found = {}
        for name in names:
            first = self.run_metrics[0][name]
            value = float(np.mean([run[name].value for run in self.run_metrics]))
            found[name] = MetricValue(value, np.nan, np.nan, first.n, first.classes, None, first.patients)
        return found


def short_names(names: Sequence[str]) -> list[str]:
    """The shortest ends of paths that tell them apart, ``run 3`` where that is a number; equal ones are numbered."""
    parts = [PurePath(name).parts or (name,) for name in names]
    for length in range(1, max(map(len, parts)) + 1):
        short = ["/".join(each[-length:]) for each in parts]
        if len(set(short)) == len(short):
            return [f"run {name}" if name.isdecimal() else name for name in short]
    return [f"{PurePath(name).name} ({number})" for number, name in enumerate(names, 1)]


def seed_groups(runs: Sequence[EvaluatedRun]) -> list[list[int]]:
    """Numbers of the runs by model, in the order of their first ones.

    Runs whose configurations differ in the seed alone are one model. Where all of them are, each is its own: the seeds
    are what is compared.
    """
    keys = []
    for number, run in enumerate(runs):
        config = {} if run.folder is None else read_config(run.folder)
        kept = {name: value for name, value in config.items() if name not in _OF_ONE_TRAINING}
        keys.append(json.dumps(kept, sort_keys=True, default=str) if kept else f"run {number}")
    groups = [[number for number, own in enumerate(keys) if own == key] for key in dict.fromkeys(keys)]
    return groups if len(groups) > 1 else [[number] for number in range(len(runs))]


def models_of(runs: Sequence[EvaluatedRun], parts: Sequence[PartTables], resamples: int = 1000) -> list[Model]:
    """The models that runs are of.

    Args:
        runs: two or more.
        parts: of each, aligned.
        resamples: most times that a patient is left out.
    """
    names = short_names([run.name for run in runs])
    models = []
    for group in seed_groups(runs):
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        models.append(
            Model(f"{names[group[0]]}{more}", [parts[n] for n in group], [names[n] for n in group], resamples)
        )
    return models
