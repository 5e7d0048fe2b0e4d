"""What layers give, channel by channel, and their filters, as files and parts of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from scansuite.files import replacing, safe_name, safe_path
from scansuite.words import number_of
from tasks.base import Task
from tasks.evaluation.tables import write_table
from tasks.explain.channels import ChannelMeter, ChannelRow
from tasks.explain.features import MOST_PLANES, FeatureMaps, feature_maps, features_picture
from tasks.explain.filters import FilterRow, filter_layer, filter_row, filters_picture, weight_histogram, weights_of
from tasks.explain.layers import convolutions, map_layers, resolve_layer, short_name
from tasks.explain.page import ExplainPage, table_rows

ALL = "all"
PICTURED = 4  # cases whose feature maps are drawn; tables are of all
_CHANNELS = {
    "layer": "layer", "kind": "kind", "channels": "channels", "dead": "dead", "constant": "constant",
    "never_above_0": "never above 0", "correlation": "mean |correlation|", "effective_channels": "effective channels",
    "places": "places",
}  # fmt: skip
_FILTERS = {
    "layer": "layer", "filters": "filters", "planes": "planes of each", "kernel": "kernel", "zero": "zero filters",
    "norm_lowest": "lowest norm", "norm_median": "median", "norm_highest": "highest", "zero_weights": "weights of 0",
}  # fmt: skip
_RULE = (
    "Dead is a channel that is constant at all places of all scans, or never above 0 after an activation function. "
    "Effective channels are as many uncorrelated ones as would spread their variance alike (the participation ratio of "
    "the correlation matrix); with fewer places than channels they cannot be many."
)


def named_layers(model: Task, asked: Sequence[str], flag: str) -> list[str]:
    """Names of the layers that are asked for, among the modules of a model.

    Args:
        model: of a task.
        asked: as typed; ``all``: every layer.
        flag: that asks: ``--features`` or ``--filters``.

    Raises:
        SuiteError: there is no such layer, or it has no filters.
    """
    if ALL in asked:
        return map_layers(model) if flag == "--features" else list(convolutions(model))
    names = [resolve_layer(model, name, flag) for name in asked]
    if flag == "--filters":
        names = [filter_layer(model, name) for name in names]
    return list(dict.fromkeys(names))


class FeatureReport:
    """Feature maps of a model's cases: pictures of the first ones, and numbers of the channels of all.

    Args:
        model: of a task, with its weights.
        layers: names among its modules.
        output: of the verb.
        member: name of a member of an ensemble, whose files have a folder of their own; empty: there is one model.
    """

    def __init__(self, model: Task, layers: Sequence[str], output: Path, member: str = "") -> None:
        self.model, self.layers, self.output, self.member = model, list(layers), output, member
        self.meter = ChannelMeter(model, layers)
        self._kept: list[tuple[str, list[FeatureMaps]]] = []

    def add(self, case_id: str, image: Tensor) -> None:
        """Look at one scan (1, C, H, W); the first ones are drawn at the end, when dead channels are known."""
        self.meter.add(image)
        if len(self._kept) < PICTURED:
            self._kept.append((case_id, feature_maps(self.model, image, self.layers)))

    def finish(self, page: ExplainPage) -> list[ChannelRow]:
        """Write pictures and table, and add them to the page."""
        rows = self.meter.rows()
        if not rows:
            return rows
        _write_rows(pd.DataFrame(rows, columns=list(ChannelRow._fields)), self.output / self.member / "channels.csv")
        seen = number_of(self.meter.scans, "scan")
        lines, head = [f"Over {seen}. {_RULE}"], list(_CHANNELS.values())
        place, title = _of_member("channels", "Channels by layer", self.member)
        page.add_part(place, title, lines, head, table_rows(rows, _CHANNELS))
        said = f"First {MOST_PLANES} channels of each layer, each from its lowest value (black) to its highest (white)."
        place, title = _of_member("features", "Feature maps", self.member)
        page.add_part(place, title, [said])
        for case_id, maps in self._kept:
            for one in maps:
                pixels = features_picture(one, self.meter.dead(one.layer))
                file = Path(self.member, "features", safe_path(case_id), f"{safe_name(short_name(one.layer))}.png")
                write_picture(self.output / file, pixels)
                count, height, width = one.planes.shape
                about = f"{one.kind}: {number_of(count, 'channel')} of {height} x {width}"
                page.add_grid(place, pixels, f"{short_name(one.layer)}, {case_id}", about, file.as_posix())
        return rows


def report_filters(
    model: Task, layers: Sequence[str], output: Path, page: ExplainPage, member: str = ""
) -> list[FilterRow]:
    """Write pictures of filters and ``filters.csv``, and add them to the page.

    Args:
        model: of a task, with its weights.
        layers: names of convolutions among its modules.
        output: of the verb.
        page: that they are added to.
        member: see :class:`FeatureReport`.
    """
    weights = {layer: weights_of(model, layer) for layer in layers}
    rows = [filter_row(layer, own) for layer, own in weights.items()]
    _write_rows(pd.DataFrame(rows, columns=list(FilterRow._fields)), output / member / "filters.csv")
    said = (
        "Middle grey is 0; each filter has its own scale, to its largest absolute weight. A norm is the root of the "
        "sum of a filter's squares."
    )
    place, title = _of_member("filters", "Filters", member)
    page.add_part(place, title, [said], list(_FILTERS.values()), table_rows(rows, _FILTERS))
    for layer, own in weights.items():
        pixels, shown = filters_picture(own)
        file = Path(member, "filters", f"{safe_name(short_name(layer))}.png")
        write_picture(output / file, pixels)
        page.add_grid(place, pixels, short_name(layer), shown, file.as_posix())
        page.add_histogram(place, f"weights of {short_name(layer)}", *weight_histogram(own), "weight")
    return rows


def _of_member(place: str, title: str, member: str) -> tuple[str, str]:
    return (f"{place}-{member}", f"{title}, {member.replace('_', ' ')}") if member else (place, title)


def _write_rows(table: pd.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, file)


def write_picture(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB as PNG; folders are made.

    Raises:
        SuiteError: the file cannot be written.
    """
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, durable=False) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
