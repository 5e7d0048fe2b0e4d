"""Cases as one HTML page that needs nothing else: as stored, as the model sees them, and as training makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from datamodules.base import ScanDataModule
from datamodules.pictures.html_page import class_legend, html_page, render
from datamodules.pictures.page_figures import PageFigures, PagePicture
from datamodules.preparation import described
from datamodules.remote import as_typed
from datamodules.showing.cases import ShownCase
from datamodules.showing.choice import annotated_names
from datamodules.showing.model_panels import window_name
from datamodules.showing.stored_panels import Panel, stored_names
from scansuite.words import number_of

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST_BYTES = 48 << 20  # of pictures: some 400 of them
_PARTS = {"train": "training", "val": "validation", "test": "test"}

_BODY = """<h1>Samples of {{ root }}</h1>
<p class="small">{{ what }}; {{ when }}</p>
<p class="lead">{{ lead }}</p>
{% for line in warnings %}<p class="warning">{{ line }}</p>
{% endfor %}
<div class="wide"><table>
{% for name, text in facts %}<tr><th scope="row" style="border: 0">{{ name }}</th><td>{{ text }}</td></tr>
{% endfor %}</table></div>
{% for name, legend in legends %}{% if name %}<p class="small">{{ name }}</p>{% endif %}{{ legend }}{% endfor %}
<nav aria-label="cases"><ul>
{% for case in cases %}<li><a href="#case-{{ loop.index }}">{{ case.name }}</a> {{ case.label }}</li>
{% endfor %}</ul></nav>
{% for case in cases %}
<section aria-labelledby="case-{{ loop.index }}">
<h2 id="case-{{ loop.index }}">{{ case.name }}</h2>
<p>{% if case.label %}<b>{{ case.label }}</b>; {% endif %}{{ case.about }}</p>
<div class="cases">
{% for figure in case.figures %}{{ figure }}{% endfor %}
</div>
</section>
{% endfor %}"""


class _Drawn(NamedTuple):
    name: str
    label: str
    about: str
    figures: Sequence[Markup]


@dataclass
class SamplesPage:
    """A page to which cases are added one by one, so that no more than one of them is in memory.

    Attributes:
        data: whose cases they are.
        lead: which cases they are, and how they were chosen.
        warnings: what else the reader should know.
    """

    data: ScanDataModule
    lead: str
    warnings: Sequence[str] = ()
    _figures: PageFigures = field(default_factory=lambda: PageFigures(_MOST_BYTES))
    _cases: list[_Drawn] = field(default_factory=list)

    def add(self, case: ShownCase) -> None:
        """Draw a case."""
        known = [
            f"patient {case.patient}" if case.patient else "",
            f"{_PARTS.get(case.part, case.part)} part" if case.part else "in no part",
            case.path if case.path != case.case_id else "",
            case.notes,
        ]
        figures = [self._figure(case, panel) for panel in (*case.stored, *case.seen)]
        if case.augmented:
            figures.append(self._versions(case))
        self._cases.append(_Drawn(case.case_id, case.label, ", ".join(filter(None, known)), figures))

    @property
    def left_out(self) -> int:
        """Pictures for which there was no room."""
        return self._figures.left_out

    def text(self) -> str:
        """The whole page."""
        data, warnings = self.data, list(self.warnings)
        if self.left_out:
            warnings.append(f"{self.left_out} pictures had no room on this page: show fewer cases")
        root = as_typed(str(data.root)) if str(data.root) != "." else type(data).__name__
        body = render(
            _BODY,
            root=root,
            what=described(data, data.table).removeprefix("data: "),
            when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            lead=self.lead,
            warnings=warnings,
            facts=model_facts(data),
            legends=_legends(data),
            cases=self._cases,
        )
        return html_page(f"Samples of {root}", body)

    def _figure(self, case: ShownCase, panel: Panel) -> Markup:
        lines = [*panel.lines, *_captions(panel)]
        pictures = [_picture(case, panel, panel.title, lines)]
        if panel.bare and any(view.layers is not None for view in panel.views):
            bare = replace(panel, views=[replace(view, layers=None, unknown=None) for view in panel.views])
            pictures.append(_picture(case, bare, f"{panel.title}, without its masks", lines))
        return self._figures.figure(pictures, panel.title, lines, panel.names)

    def _versions(self, case: ShownCase) -> Markup:
        """The augmented versions of a case, in one figure."""
        first = case.augmented[0]
        pictures = [_picture(case, one, one.title, _captions(one)) for one in case.augmented]
        return self._figures.figure(pictures, "augmented, as training sees it", _captions(first), first.names)


def _picture(case: ShownCase, panel: Panel, title: str, lines: Sequence[str]) -> PagePicture:
    said = f"{title}: {case.case_id}" + (f", {case.label}" if case.label else "")
    return PagePicture(panel.views, f"{case.case_id}: {title}", said, lines)


def _captions(panel: Panel) -> list[str]:
    """What the views are, where they are named."""
    captions = [view.caption for view in panel.views if view.caption]
    return [f"from left to right: {', '.join(captions)}"] if len(captions) > 1 else captions


def model_facts(data: ScanDataModule) -> list[tuple[str, str]]:
    """What becomes of stored values before the model sees them, in words: name and text of each fact."""
    spec = data.preprocess
    height, width = data.input_size
    size = f"{height} x {width} pixels, {number_of(spec.channels, 'channel')}"
    if data.patch is not None:
        size = f"patches of {size}" + (f", of images {data.zoom:g} times as large as stored" if data.zoom != 1 else "")
    elif spec.fills:
        size += "; the aspect stays, and what is missing below and on the right is filled with 0"
    return [
        ("the model sees", size),
        ("0 and 1 are", _scale(data)),
        ("then, in the model", _normalised(data)),
        ("training augments", _augmentation(data)),
    ]


def _scale(data: ScanDataModule) -> str:
    spec = data.preprocess
    gamma = f", then the power of {spec.gamma:g}" if spec.gamma != 1 else ""
    if spec.windows:
        return f"the ends of {', '.join(map(window_name, spec.windows))}{gamma}"
    if spec.value_range is not None:
        return f"the stored values {spec.value_range[0]:g} and {spec.value_range[1]:g}{gamma}"
    slices = getattr(data, "slices", None)
    percentiles = spec.percentiles or (None if slices is None else slices.percentiles)
    if percentiles is not None:
        of = "image" if spec.percentiles is not None else "volume, of the voxels above its lowest value"
        return f"the percentiles {percentiles[0]:g} and {percentiles[1]:g} of each {of}{gamma}"
    return f"the ends of the range that the file states, else of its type (0 to 255 for 8 bits){gamma}"


def _normalised(data: ScanDataModule) -> str:
    how = {
        "none": "nothing more",
        "auto": "mean and deviation of the pretrained weights, or of the training images without weights",
        "imagenet": "mean and deviation of the pretrained weights",
        "train": "mean and deviation of the training images",
        "image": "mean and deviation of each image",
    }
    return f"{how[data.normalize]} (--data.normalize {data.normalize})"


def _augmentation(data: ScanDataModule) -> str:
    changes = asdict(data.augment_args)
    listed = changes.pop("transforms") or ()
    changes.pop("color")  # volumes set it by themselves
    said = ["nothing" if data.augment == "none" else f"with the preset {data.augment}"]
    if any(value is not None for value in changes.values()):
        said.append("with the ranges of --data.augment_args")
    if listed:
        said.append(f"with {number_of(len(listed), 'transform')} listed")
    if data.mosaic:
        said.append(f"in mosaics of four cases with a chance of {data.mosaic:g}")
    if data.has_sides:
        said.append("never mirrored, since classes have sides")
    return ", ".join(said[1:] if len(said) > 1 and data.augment == "none" else said)


def _legends(data: ScanDataModule) -> list[tuple[str, Markup]]:
    """The colours of masks and boxes; of stored classes by themselves where the model has others."""
    if data.case_labels(data.rows("train")[:1]) is not None:
        return []
    stored, seen = stored_names(data), annotated_names(data)
    if stored == seen:
        return [("", class_legend(seen))]
    return [("classes as stored", class_legend(stored)), ("as the model knows them", class_legend(seen))]
