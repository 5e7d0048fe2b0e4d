"""The fingerprint of a data set: plain numbers and words, kept as ``fingerprint.json``. Standard library alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["classify", "segment", "detect"]
FILE = "fingerprint.json"


class Spread(NamedTuple):
    """How a number varies: least, 5th percentile, median, 95th percentile, most."""

    least: float
    low: float
    median: float
    high: float
    most: float


NOT_MEASURED = Spread(0, 0, 0, 0, 0)
ONE = Spread(1, 1, 1, 1, 1)


@dataclass(frozen=True)
class Objects:
    """Objects of training images: boxes, or connected regions of a mask's classes other than background.

    Attributes:
        total: that were measured.
        per_image: how many an image (or slice) has.
        empty: share (0 to 1) of the images that have none.
        short_side: of the box around an object, in stored pixels.
        long_side: likewise.
        side_mm: square root of the area of that box in mm; None without spacing.
        share: area of the box over the area of its image, 0 to 1.
    """

    total: int
    per_image: Spread
    empty: float
    short_side: Spread
    long_side: Spread
    side_mm: Spread | None = None
    share: Spread | None = None


@dataclass(frozen=True)
class Fingerprint:
    """What a data set is like. Shares are 0 to 1; counts are of the training part where nothing else is said.

    Attributes:
        task: that the data class is of.
        target: kind of target of classification (``binary``, ``multiclass``, ``multilabel``, ``ordinal``,
            ``regression``); empty elsewhere.
        cases: by part (``train``, ``val``, ``test``).
        patients: by part.
        samples: what an epoch shows: images, slices or patches of the training part, before patches are planned.
        images: of the training part as stored: images, or slices.
        images_a_case: of the training part.
        classes: names, background left out.
        class_counts: training cases of each class (classification), boxes (detection), or the share of pixels
            (segmentation).
        channels: of the images as the model would see them.
        types: of stored values, as numpy names them.
        height: of images as stored, in pixels; of volumes that of a slice.
        width: likewise.
        volumes: the cases are volumes.
        slices: of a volume along the axis it is cut by; None: no volumes.
        spacing: median in mm, rows then columns then slices; empty: unknown.
        modality: ``ct``, ``mr``, ``xray``, ``ultrasound``, ``microscopy``, ``colour`` or ``unknown``.
        modality_from: what says so, in words.
        intensities: of stored values of training images; None: not measured.
        dark: share of pixels of the lowest stored value.
        objects: boxes or regions; None: there are none to measure.
        sided: classes tell left from right.
        upright: images have an up and a down (chest films), as far as their rows' means tell.
        duplicates: identical images that were found.
        stated_range: files say which stored values are black and white, or have physical units.
        looked_at: images that were read for this.
        seconds: that the reading took.
        complete: everything was looked at, not a sample.
    """

    task: Kind
    target: str = ""
    cases: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    images: int = 0
    images_a_case: Spread = ONE
    classes: tuple[str, ...] = ()
    class_counts: tuple[float, ...] = ()
    channels: int = 1
    types: tuple[str, ...] = ()
    height: Spread = NOT_MEASURED
    width: Spread = NOT_MEASURED
    volumes: bool = False
    slices: Spread | None = None
    spacing: tuple[float, ...] = ()
    modality: str = "unknown"
    modality_from: str = ""
    intensities: Spread | None = None
    dark: float = 0.0
    objects: Objects | None = None
    sided: bool = False
    upright: bool = False
    duplicates: int = 0
    stated_range: bool = False
    looked_at: int = 0
    seconds: float = 0.0
    complete: bool = False

    def to_json(self) -> str:
        """As a file holds it."""
        return json.dumps(_named(asdict(self)), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Read back what :meth:`to_json` wrote.

        Raises:
            ValueError: it is no fingerprint.
        """
        values = json.loads(text)
        try:
            objects = values.pop("objects", None)
            return cls(
                **{name: _read(name, value) for name, value in values.items()},
                objects=None
                if objects is None
                else Objects(**{name: _read(name, value) for name, value in objects.items()}),
            )
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no fingerprint: {error}") from None


_ENDS = set(Spread._fields)


def _named(values: Any) -> Any:
    """Spreads by the names of their numbers."""
    if isinstance(values, Spread):
        return values._asdict()
    if isinstance(values, dict):
        return {name: _named(value) for name, value in values.items()}
    return values


def _read(name: str, value: Any) -> Any:
    if isinstance(value, dict) and set(value) == _ENDS:
        return Spread(**value)
    return tuple(value) if isinstance(value, list) else value
