"""A gallery in the page: cases with scan, truth and prediction, to be sorted, filtered and windowed."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datamodules.pictures.html_page import render
from scansuite.words import number_of
from tasks.evaluation.report.content import Gallery, GalleryBox, GalleryCase
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.words import cell_text

if TYPE_CHECKING:
    from markupsafe import Markup

BUDGET = 4_000_000  # bytes of pictures in a page, as they stand in it
_LABELLED = 12  # boxes of a view that have their scores written beside them
_MOST_OPTIONS = 40  # of a filter
_LETTER = 0.05  # height of letters as a share of the longer side


def gallery_markup(gallery: Gallery, name: str, budget: int = BUDGET) -> Markup:
    """The figures of a gallery in a grid; its tools are shown by the page's script.

    Args:
        gallery: its cases, most telling first.
        name: in the page's address, unique in it.
        budget: bytes of pictures; cases for which there is no room are left out, and that is said.
    """
    shown = _within(gallery.cases, budget)
    paired = any(case.truth or case.prediction or case.boxes for case in shown)
    windows = list(dict.fromkeys(_window(case) for case in shown))
    left = len(gallery.cases) - len(shown)
    left_out = (
        f"{number_of(left, 'further case')} would make this page too large: the pictures are in the folder gallery of "
        "the run."
    )
    units = {case.units for case in shown}
    return render(
        own_text("templates/gallery.html"),
        name=name,
        title=gallery.title,
        kinds=_counts(shown),
        groups=_options(shown),
        values=list(shown[0].values) if shown else [],
        legend=list(gallery.legend),
        windows=[_filter(*window) for window in windows],
        cases=[_case(case, place, windows.index(_window(case)), paired=paired) for place, case in enumerate(shown)],
        paired=paired,
        mapped=any(case.map for case in shown),
        note=gallery.note,
        left_out=left_out if left else "",
        units=" ".join(f"{end:.6g}" for end in one) if len(units) == 1 and (one := units.pop()) is not None else "",
    )


def _within(cases: Sequence[GalleryCase], budget: int) -> list[GalleryCase]:
    """Those of the cases that have pictures and room; smaller ones behind one that has none are taken."""
    shown = []
    for case in cases:
        size = sum(4 * math.ceil(len(data) / 3) for data in (case.scan, case.truth, case.prediction, case.map))
        if case.scan and size <= budget:
            budget -= size
            shown.append(case)
    return shown


def _case(case: GalleryCase, place: int, window: int, *, paired: bool) -> Mapping[str, Any]:
    height, width = case.size
    letter = round(_LETTER * max(height, width), 2)
    views: list[dict[str, Any]] = []
    for kind, layer in (("truth", case.truth), ("prediction", case.prediction)) if paired else (("", b""),):
        boxes = [box for box in case.boxes if box.kind == kind]
        views.append(
            {
                "title": kind,
                "name": kind,
                "said": _said(case, kind, layer, boxes),
                "layer": _data(layer) if layer else "",
                "boxes": [_box(box, case.size, written=len(boxes) <= _LABELLED) for box in boxes],
                "letter": letter,
            }
        )
    if case.map:
        said = f"Grad-CAM of {case.map_of}"
        views.append(
            {
                "title": "map",
                "name": said,
                "said": f"{said} on the scan of {case.case_id}",
                "layer": _data(case.map),
                "boxes": [],
                "letter": letter,
            }
        )
    return {
        "id": case.case_id,
        "place": place,
        "width": width,
        "height": height,
        "scan": _data(case.scan),
        "window": window,
        "views": views,
        "note": case.note,
        "kinds": list(case.kinds),
        "facts": [(fact, cell_text(value) or "undefined") for fact, value in case.facts],
        "kinds_json": json.dumps(list(case.kinds)),
        "groups_json": json.dumps({group: list(values) for group, values in case.groups.items()}),
        "values_json": json.dumps({key: _number(value) for key, value in case.values.items()}),
    }


def _said(case: GalleryCase, kind: str, layer: bytes, boxes: Sequence[GalleryBox]) -> str:
    """What a view shows, for those who do not see it."""
    what = f"scan of {case.case_id}" + (f", {case.note}" if case.note else "")
    if not kind:
        return what
    drawn = ["its mask" if kind == "truth" else "the predicted mask"] if layer else []
    if boxes:
        wrong = sum(box.wrong for box in boxes)
        drawn.append(f"{len(boxes)} boxes, {wrong} of them {'missed' if kind == 'truth' else 'false'}")
    return f"{kind} on the {what}: {' and '.join(drawn) or 'nothing'}"


def _box(box: GalleryBox, size: tuple[int, int], *, written: bool) -> Mapping[str, Any]:
    height, width = size
    x1, y1, x2, y2 = box.edges
    score = "" if box.score is None else f"{box.score:.2f}"
    wrong = ("missed" if box.kind == "truth" else "false call") if box.wrong else ""
    state = "to be ignored" if box.ignored else wrong
    return {
        "x": round(x1 * width, 2),
        "y": round(y1 * height, 2),
        "width": round((x2 - x1) * width, 2),
        "height": round((y2 - y1) * height, 2),
        "colour": box.colour,
        "wrong": box.wrong,
        "ignored": box.ignored,
        "text": score if written else "",
        "said": ", ".join(filter(None, [f"{box.label} {score}".strip(), state])),
    }


def _counts(cases: Sequence[GalleryCase]) -> list[tuple[str, int]]:
    """Kinds and of how many cases they are, in the order in which they come."""
    kinds = dict.fromkeys(kind for case in cases for kind in case.kinds)
    return [(kind, sum(kind in case.kinds for case in cases)) for kind in kinds]


def _options(cases: Sequence[GalleryCase]) -> list[tuple[str, list[str]]]:
    """Names of the groups by which cases are filtered, and their values; of one value alone there is none."""
    found: dict[str, dict[str, None]] = {}
    for case in cases:
        for group, values in case.groups.items():
            found.setdefault(group, {}).update(dict.fromkeys(values))
    return [(group, sorted(values)) for group, values in found.items() if 1 < len(values) <= _MOST_OPTIONS]


def _window(case: GalleryCase) -> tuple[str, str]:
    low, high = case.window
    return f"{low:.4f}", f"{max(high, low + 1e-3):.4f}"


def _filter(low: str, high: str) -> Mapping[str, str]:
    slope = 1 / (float(high) - float(low))
    return {"low": low, "high": high, "slope": f"{slope:.5g}", "intercept": f"{-float(low) * slope:.5g}"}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _data(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"
