"""Export in int8: calibrated on training scans, and let pass by what it does to metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.comparison.differences import HEADLINE, Comparison
from tasks.evaluation.metric_names import label_of
from tasks.export.exporter import Exporter
from tasks.export.exporting import described, opened
from tasks.export.metrics import compared, computed_by, evaluated, lost, table_of_comparison
from tasks.export.quantise import Quantisation, Quantiser
from tasks.export.scans import scans_of_data
from tasks.exported.description import Check, Description
from tasks.exported.images import fed
from tasks.running.evaluator import Evaluator

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)

ALLOWED = 0.01  # of the metric that decides, below which int8 is let pass
CALIBRATION = 64  # scans
# Of the power of the outputs, by which int8 may differ: on few cases a metric may stay by luck, where each score has
# moved. ResNet-18 and ViT-Tiny differ by less than 0.01; EfficientNet-Lite0, all in int8, by 0.08.
NOISE = 0.03


@dataclass(frozen=True)
class Int8:
    """A model in int8 that was let pass.

    Attributes:
        model: with its description.
        description: of it.
        comparison: with the float model, on validation.
        layers: what is said of layers, in words.
        in_float: names of the layers with weights that stay in float.
    """

    model: ModelProto
    description: Description
    comparison: Comparison
    layers: str
    in_float: tuple[str, ...]


def in_int8(
    exporter: Exporter[Any],
    made: ModelProto,
    description: Description,
    data: ScanDataModule,
    new_evaluator: Callable[[], Evaluator[Any, Any]],
    settings: Quantisation,
    allowed: float = ALLOWED,
) -> Int8:
    """A float export in int8, with as few layers in float as keep its metric.

    Args:
        exporter: of the model.
        made: the float export.
        description: of it.
        data: that have adopted the model: training scans to calibrate on, a validation part to compare on.
        new_evaluator: makes one of the task.
        settings: how int8 is made.
        allowed: largest loss of the first headline metric (AUROC, Dice, mAP50) on validation.

    Raises:
        SuiteError: there is no validation part, or the loss is larger whatever is left in float.
    """
    where = exporter.names[0]
    split = next((part for part in ("val", "test") if len(data.rows(part))), None)
    if split is None or not len(data.rows("train")):
        raise SuiteError(
            f"{where}: int8 is calibrated on a training part and let pass on a validation part: name data with --data"
        )
    scans = scans_of_data(exporter.model, data, CALIBRATION, parts=("train",))
    small = replace(description, precision="int8")
    images = [fed(small, image[None].numpy()) for image in scans.images]
    log.info("calibrating on %s", scans)
    before = evaluated(new_evaluator(), exporter.model, data, split, "float")
    names = HEADLINE[description.task]

    def tables(model: ModelProto) -> Any:
        ready = opened(described(model, small), f"{where}, int8")
        with computed_by(exporter, ready):
            return evaluated(new_evaluator(), exporter.model, data, split, "int8")

    with Quantiser(made, images, settings, where) as quantiser:

        def wrong(model: ModelProto) -> str:
            noise = quantiser.noise(model)
            if noise > NOISE:
                return f"{100 * noise:.1f} % of the output is noise (at most {100 * NOISE:g} %)"
            metric, loss = lost(before, tables(model), split, names)
            return f"{label_of(metric)} is worse by {loss:.4f} (at most {allowed:g})" if loss > allowed else ""

        found = quantiser.within(wrong)
    comparison = compared(before, tables(found.model), split)
    deciding = comparison.primary
    count = len(before.part(split).cases)
    checks = () if deciding is None else (Check(deciding.metric, abs(deciding.value.value), allowed, count),)
    done = replace(small, checks=checks)
    left = (
        f"{len(found.in_float)} stay in float: {', '.join(found.in_float[:4])}"
        if found.in_float
        else "none stays in float"
    )
    layers = f"of {number_of(found.nodes, 'layer')} with weights {left}"
    return Int8(described(found.model, done), done, comparison, layers, found.in_float)


def table_of_metrics(found: Int8) -> str:
    """Lines of the metrics before and after, with the paired difference and its 95 % interval, and of the layers."""
    return f"{table_of_comparison(found.comparison, 'float', 'int8')}\n{found.layers}"
