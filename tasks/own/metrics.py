"""Metrics of torchmetrics or of the user's, beside those of the suite, in each epoch of validation and of test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from torch import Tensor, nn
from torchmetrics import Metric

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import Part, load_part, make_part, named_by, path_of

_FLAG = "--model.metrics"


def build_own(
    asked: Sequence[Any] | Part | None, offered: Mapping[str, Any], monitor: str | None = None
) -> dict[str, Metric]:
    """Metrics by the name that they are logged under.

    Args:
        asked: of each a dotted path, a class, or ``{class_path, init_args, name}``; the name is left out: that of the
            class in lower case (``MulticlassCohenKappa``: ``multiclass_cohen_kappa``). One path may stand alone.
        offered: arguments that a metric gets where its constructor names them.
        monitor: the name that one of them must have.

    Raises:
        SuiteError: an entry has another form, two have one name, or none that of ``monitor``; or see
            :func:`~scansuite.own_parts.load_part`.
    """
    entries = [asked] if isinstance(asked, (str, type, Mapping)) else asked or ()
    found: dict[str, Metric] = {}
    for entry in entries:
        spec: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"class_path": entry}
        wrong = set(spec) - {"class_path", "init_args", "name"}
        if wrong or "class_path" not in spec:
            raise SuiteError(f"{_FLAG} {entry}: give a dotted path, or class_path, init_args and name")
        cls = load_part(spec["class_path"], Metric, _FLAG)  # type: ignore[type-abstract]
        args = spec.get("init_args") or {}
        given = named_by(cls, offered, args)
        name = str(spec.get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower())
        if name in found:
            raise SuiteError(f"{_FLAG}: two are called {name}: give one of them another name")
        found[name] = make_part(cls, args, _FLAG, given)
        if not isinstance(found[name], Metric):
            raise SuiteError(f"{_FLAG} {path_of(cls)}: makes a {type(found[name]).__name__}, not a metric")
    if monitor is not None and monitor not in found:
        what = nearest(monitor, found) if found else "there are none"
        raise SuiteError(f"--model.monitor {monitor}: is none of {_FLAG}: {what}")
    return found


def direction(metrics: Mapping[str, Metric], name: str) -> Literal["min", "max"]:
    """Whether a metric is better high or low.

    Raises:
        SuiteError: it does not say.
    """
    better = metrics[name].higher_is_better
    if better is None:
        raise SuiteError(f"--model.monitor {name}: the metric does not say whether higher is better (higher_is_better)")
    return "max" if better else "min"


def stage_values(metrics: nn.ModuleDict, stage: str) -> dict[str, Tensor]:
    """What the metrics of a stage are since the last time, those of the suite and those of the user.

    Raises:
        SuiteError: two have one name.
    """
    values: dict[str, Tensor] = {}
    if f"{stage}_metrics" in metrics:
        metric = cast("Metric", metrics[f"{stage}_metrics"])
        values |= metric.compute()
        metric.reset()
    if f"{stage}_own" in metrics:
        own = cast("OwnMetrics", metrics[f"{stage}_own"]).values()
        twice = sorted(own.keys() & {*values, "loss"})
        if twice:
            raise SuiteError(f"{_FLAG} {twice[0]}: the suite has a metric of this name: give it another one (name)")
        values |= own
    return values


class OwnMetrics(nn.Module):
    """The metrics of a stage.

    Args:
        metrics: by name.
        class_names: of a metric that gives a number a class.
    """

    def __init__(self, metrics: Mapping[str, Metric], class_names: Sequence[str]) -> None:
        super().__init__()
        self.metrics = nn.ModuleDict(metrics)
        self.class_names = list(class_names)

    def update(self, prediction: Any, target: Any) -> None:
        """Show a batch with at least one case to each of them.

        Raises:
            SuiteError: one fails.
        """
        for name, metric in self.metrics.items():
            try:
                metric.update(prediction, target)  # type: ignore[operator]
            except (TypeError, ValueError, IndexError, RuntimeError) as error:
                raise SuiteError(f"{_FLAG} {name}: fails: {type(error).__name__}: {_short(error)}") from error

    def values(self) -> dict[str, Tensor]:
        """What they are since the last time, () each; ``<name>/<class>`` where a metric has a number a class.

        Raises:
            SuiteError: one fails, or gives anything else.
        """
        found: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            if not metric.update_called:
                continue
            try:
                value = metric.compute()
            except (TypeError, ValueError, IndexError, RuntimeError) as error:
                raise SuiteError(f"{_FLAG} {name}: fails: {type(error).__name__}: {_short(error)}") from error
            metric.reset()
            if isinstance(value, Mapping):  # the numbers of several; some metrics add lists of classes to them
                found |= {
                    f"{name}_{key}": one for key, one in value.items() if isinstance(one, Tensor) and not one.ndim
                }
            elif isinstance(value, Tensor) and value.ndim == 0:
                found[name] = value
            elif isinstance(value, Tensor) and value.shape == (len(self.class_names),):
                found |= {f"{name}/{label}": one for label, one in zip(self.class_names, value, strict=True)}
            else:
                what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise SuiteError(
                    f"{_FLAG} {name}: gives {what}: a metric is one number, or one a class, or a dict of them"
                )
        return found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
