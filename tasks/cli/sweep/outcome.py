"""What a sweep leaves: a row a trial, the winner's configuration, and the words on screen."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from scansuite.files import write_text
from scansuite.words import number_of
from tasks.cli.sweep.space import Choices, Space
from tasks.cli.sweep.study import COSTS, ENDS, LIMITS, finished_trials
from tasks.planning.plan import put

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TABLE, BEST = "sweep.csv", "best.yaml"
_STATES = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def values_of(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    """The settings of a trial, by flag."""
    return {
        name: json.loads(str(value)) if isinstance(space.get(name), Choices) else value
        for name, value in trial.params.items()
    }


def table_of(study: Study, space: Space) -> pd.DataFrame:
    """One row a trial: state, value with its interval, last validation, limits it breaks, settings and costs."""
    rows = []
    for one in study.get_trials(deepcopy=False):
        last = one.intermediate_values.get(max(one.intermediate_values, default=-1))
        low, high = one.user_attrs.get(ENDS, (None, None))
        row = {"trial": one.number, "state": _STATES[one.state.name], "value": one.value, "low": low, "high": high}
        row |= {"last_validation": last}
        row |= {"breaks": "; ".join(one.user_attrs.get(LIMITS, []))}
        row |= values_of(one, space) | one.user_attrs.get(COSTS, {})
        rows.append(row)
    table = pd.DataFrame(rows)
    for name, part in space.items():
        if name in table and isinstance(part, Choices):  # as they were chosen: pandas makes null and 0 fractions
            table[name] = pd.Series([row.get(name) for row in rows], dtype=object)
    return table


def write_outcome(study: Study, space: Space, base: Path, folder: Path) -> pd.DataFrame:
    """Write the table, which is handed back, and the configuration of the best trial where there is one."""
    table, text = table_of(study, space), io.StringIO()
    table.to_csv(text, index=False)
    write_text(folder / TABLE, text.getvalue())
    best = finished_trials(study)
    if best:
        config = yaml.safe_load(base.read_text(encoding="utf-8"))
        for name, value in values_of(best[0], space).items():
            put(config, name, value)
        text_of_best = f"# Trial {best[0].number} of the sweep in {folder.name}: fit --config takes it.\n"
        write_text(folder / BEST, text_of_best + yaml.safe_dump(config, sort_keys=False))
    return table


def lines_of(study: Study, space: Space, metric: str, shown: int = 5) -> list[str]:
    """What is said at the end: how many trials ended how, the best ones, and what the first is beside them."""
    every = study.get_trials(deepcopy=False)
    counts = {word: sum(_STATES[one.state.name] == word for one in every) for word in _STATES.values()}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    lines = [f"{number_of(len(every), 'trial')}: {said}"]
    best = finished_trials(study)
    broken = sum(bool(one.user_attrs.get(LIMITS)) for one in every)
    if broken:
        lines.append(f"{number_of(broken, 'trial')} of them beyond the constraints: not counted among the best")
    for one in best[:shown]:
        settings = ", ".join(f"{name} {_short(value)}" for name, value in values_of(one, space).items())
        lines.append(f"  trial {one.number}: val/{metric} {float(one.value or 0):.4f} with {settings}")
    if best:
        lines.append(
            f"the best of {len(best)} was selected on val/{metric}, which is too good; test or --folds say more"
        )
    return lines


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def importance(study: Study) -> Sequence[tuple[str, float]]:
    """Share (0 to 1) of each setting in how the value differs between finished trials (PED-ANOVA).

    Empty: they are too few, or too many of them have one value.
    """
    import optuna

    if len(finished_trials(study)) < 4:
        return []
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Target and region quantiles select the same", UserWarning)
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except UserWarning:
            return []
    return sorted(found.items(), key=lambda one: -one[1])
