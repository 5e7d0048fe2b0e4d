"""Cases explained one by one: maps, pictures, a row a map, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.readers.volume import is_series, may_be_volume, read_grid, write_volume
from scansuite.files import replacing, safe_name, safe_path
from tasks.explain.cases import ExplainedCases, SeenImage
from tasks.explain.drawing import barred, map_file_picture, map_picture, scan_picture
from tasks.explain.judging import SAID, Judge, check_columns
from tasks.explain.layer_pictures import write_picture
from tasks.explain.maps import Map, explain_image, explainers
from tasks.explain.methods import ABOUT, Method
from tasks.explain.page import DrawnMap, ExplainPage, cell_text
from tasks.explain.sanity.checks import Sanity
from tasks.explain.targets import Target
from tasks.explain.truth import Truth
from tasks.loading import Model

_HALF = 0.5
_EDGES = ("x1", "y1", "x2", "y2")
_NAMED = 10  # images of a bag whose weights stand in the page
_PAGE_CASES = 60  # of which the page has pictures; files and table have all
NUMBERS_SHOWN = ("mprt", "deletion", "deletion_random", "pointing", "energy", "truth_share")
_HEAD = ("what", "map", "layer", "score")
_CHECKED = (
    *("like random weights'", "deletion", "deletion elsewhere", "in the truth", "energy in the truth"),
    *("truth's share of the image", "verdict"),
)


def head(*, checked: bool) -> tuple[str, ...]:
    """Heads of the tables of numbers by case."""
    return (*_HEAD, *_CHECKED) if checked else _HEAD


@dataclass
class MapWriter:
    """Maps of cases: files, rows of ``explain.csv``, and figures of the page.

    Attributes:
        model: with its weights.
        cases: that are explained.
        methods: of the maps.
        output: folder of the verb.
        page: that figures are added to.
        layer: whose cells maps have; None: the usual one.
        truth: masks or boxes; None: unknown.
        judge: that checks maps; None: they are not checked.
        rows: one a map.
        attention: a row for each image of a case whose images are weighed.
    """

    model: Model
    cases: ExplainedCases
    methods: Sequence[Method]
    output: Path
    page: ExplainPage
    layer: str | None = None
    truth: Truth | None = None
    judge: Judge | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    attention: list[dict[str, Any]] = field(default_factory=list)
    _written: set[str] = field(default_factory=set)
    _shown: int = 0

    def add(self, case_id: str, path: str, images: Sequence[SeenImage]) -> None:
        """Explain a case.

        Args:
            case_id: of the case.
            path: of its (first) file.
            images: that the model looks at.

        Raises:
            SuiteError: there is no such class or layer, a true mask does not fit, or a file cannot be written.
        """
        stacked = torch.stack([one.image for one in images])
        wanted = self.cases.wanted or None
        maps = explain_image(self.model, stacked, wanted, self.methods, layer=self.layer)
        on_page = self._shown < _PAGE_CASES
        self._shown += 1
        weights = self._weights(case_id, stacked, images)
        if on_page:
            self.page.add_case(case_id, about(images, weights))
        for number in dict.fromkeys(one.image for one in maps):
            of_image = [one for one in maps if one.image == number]
            for target in list({id(one.target): one.target for one in of_image}.values()):
                some = [one for one in of_image if one.target is target]
                self._add_target(case_id, path, images, number, stacked, target, some, on_page=on_page)

    def _weights(self, case_id: str, stacked: Tensor, images: Sequence[SeenImage]) -> list[float]:
        """The weight of each image of a case, the mean of an ensemble's members; empty where they are not weighed."""
        if not self.cases.joined:
            return []
        members = [one.weights() for one in explainers(self.model, stacked)]
        known = [one for one in members if one is not None]
        weights: list[float] = torch.stack(known).mean(dim=0).tolist() if known else []
        for seen, weight in zip(images, weights, strict=False):
            self.attention.append({"case_id": case_id, "path": seen.path, "slice": seen.slice, "weight": weight})
        return weights

    def _add_target(
        self,
        case_id: str,
        path: str,
        images: Sequence[SeenImage],
        number: int,
        stacked: Tensor,
        target: Target,
        maps: Sequence[Map],
        *,
        on_page: bool,
    ) -> None:
        """One target on one image, by all methods."""
        seen = images[number]
        true = None if self.truth is None else self.truth.mask(case_id, seen, target)
        checked = [None] * len(maps) if self.judge is None else self.judge.check(stacked, maps, true)
        drawn: list[DrawnMap] = []
        scan = scan_picture(seen)
        for one, check in zip(maps, checked, strict=True):
            pixels = map_picture(seen, one, true)
            name = self._name(case_id, images, one)
            about_map = ABOUT[one.method]
            picture = map_file_picture(scan, pixels, f"{case_id}: {said(one, seen)}, {about_map.title}")
            files = self._write(seen, one, name, picture)
            columns = {} if check is None else check_columns(check)
            self.rows.append(_row(case_id, path, seen, one, images) | columns | files)
            lines = [] if check is None else [f"{SAID[check.verdict.trusted]}{_pointed(check)}"]
            drawn.append(DrawnMap(pixels, barred(pixels), about_map.title, lines))
            if on_page:
                numbers = [cell_text(columns.get(name)) for name in NUMBERS_SHOWN]
                words = [] if check is None else [*numbers, check.verdict.text]
                row = (target.name, about_map.title, one.layer, cell_text(one.score), *words)
                self.page.add_row(row)
        if on_page:
            self.page.add_maps(scan, said(maps[0], seen), drawn)

    def _name(self, case_id: str, images: Sequence[SeenImage], one: Map) -> str:
        """A file's name that no other map has."""
        number = f"_image{one.image + 1}" if len(images) > 1 else ""
        target = "_".join(safe_name(one.target.name).replace(",", "").split())
        name = f"{safe_path(case_id)}{number}_{target}_{one.method}"
        unlike, count = name, 1
        while unlike in self._written:
            count += 1
            unlike = f"{name}_{count}"
        self._written.add(unlike)
        return unlike

    def _write(self, seen: SeenImage, one: Map, name: str, drawn: NDArray[np.uint8]) -> dict[str, str]:
        """The picture, and the map as numbers on the scan's own grid."""
        picture = Path("overlays", f"{name}.png")
        write_picture(self.output / picture, drawn)
        values, slices = seen.on_scan(one.values), self.cases.slices
        volume = Path(seen.path)
        if slices is not None and seen.slice is not None and (may_be_volume(volume.name) or is_series(volume)):
            file = Path("maps", f"{name}.nii.gz")
            (self.output / file).parent.mkdir(parents=True, exist_ok=True)
            planes = np.zeros((seen.slices, *values.shape), np.float32)
            planes[seen.slice] = values
            grid = read_grid(volume)
            write_volume(self.output / file, slices.to_grid(planes, grid), grid)
        else:
            file = Path("maps", f"{name}.npy")
            (self.output / file).parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.output / file, durable=False) as temporary, temporary.open("wb") as opened:
                np.save(opened, values, allow_pickle=False)
        return {"overlay": picture.as_posix(), "map": file.as_posix()}

    def table(self) -> pd.DataFrame:
        """A row a map."""
        return pd.DataFrame(self.rows)


def about(images: Sequence[SeenImage], weights: Sequence[float] = ()) -> str:
    """What of a case is shown, in words.

    Args:
        images: of the case.
        weights: of each of them, where the model weighs them.
    """
    first = images[0]
    height, width = first.original
    if len(images) > 1:
        order = sorted(range(len(weights)), key=lambda one: -weights[one])[:_NAMED]
        heaviest = ", ".join(f"{_image_name(images[one])} {weights[one]:.2g}" for one in order)
        weighed = f"; their attention: {heaviest}" + (", ..." if len(weights) > len(order) else "") if weights else ""
        return f"{len(images)} images, of which those that count most are shown{weighed}"
    told = [f"{height} x {width} pixels"]
    if first.slice is not None:
        told.append(f"slice {first.slice + 1} of {first.slices}")
    if first.image.shape[-2:] != first.content and (
        first.content[0] > first.image.shape[-2] or first.content[1] > first.image.shape[-1]
    ):
        told.append("one tile of what the model sees")
    return ", ".join(told)


def _image_name(seen: SeenImage) -> str:
    name = Path(seen.path).name
    return name if seen.slice is None else f"slice {seen.slice + 1}"


def said(one: Map, seen: SeenImage) -> str:
    """What a map explains: target and score, and of a bag the image and its weight."""
    text = f"{one.target.name}, {one.score:.3g}"
    if one.weight is not None:
        text += f", weight {one.weight:.2g}"
    if seen.slice is not None:
        text += f", slice {seen.slice + 1} of {seen.slices}"
    return text


def _pointed(check: Sanity) -> str:
    if check.pointing is None:
        return ""
    return ", points into the truth" if check.pointing >= _HALF else ", points elsewhere than the truth"


def _row(case_id: str, path: str, seen: SeenImage, one: Map, images: Sequence[SeenImage]) -> dict[str, Any]:
    box = (None,) * 4 if one.target.box is None else seen.box_on_scan(one.target.box)
    return {
        "case_id": case_id,
        "path": seen.path if len(images) > 1 else path,
        "slice": seen.slice,
        "target": one.target.label,
        "score": one.score,
        **dict(zip(_EDGES, box, strict=True)),
        "weight": one.weight,
        "method": one.method,
        "layer": one.layer,
    }
