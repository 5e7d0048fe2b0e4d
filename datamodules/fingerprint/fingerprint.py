"""The fingerprint of a data set: plain numbers and words, kept as ``fingerprint.json``. Standard library alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["classify", "segment", "detect", "other"]
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
        aspect: height over width of the box.
        area: pixels of the object: of the region, or of the box.
        class_images: for each class the share (0 to 1) of the images that show it, in the order of the classes.
        class_sides: for each class the mean side of its objects, -1 (each left of the image's middle) to 1 (each right
            of it); 0 where it has none.
        class_short_sides: as ``short_side``, of each class; :data:`NOT_MEASURED` where it has none.
        class_areas: as ``area``, of each class.
    """

    total: int
    per_image: Spread
    empty: float
    short_side: Spread
    long_side: Spread
    side_mm: Spread | None = None
    share: Spread | None = None
    aspect: Spread = ONE
    area: Spread = NOT_MEASURED
    class_images: tuple[float, ...] = ()
    class_sides: tuple[float, ...] = ()
    class_short_sides: tuple[Spread, ...] = ()
    class_areas: tuple[Spread, ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """What a data set is like. Shares are 0 to 1; counts are of the training part where nothing else is said.

    Attributes:
        task: that the data class is of; ``other``: none of the three.
        target: kind of target of classification (``binary``, ``multiclass``, ``multilabel``, ``ordinal``,
            ``regression``); empty elsewhere.
        cases: by part (``train``, ``val``, ``test``).
        patients: by part; 0 where they are not known.
        samples: what an epoch shows: images, slices, bags or patches of the training part, before patches are planned.
        images: of the training part as stored: images, or slices.
        images_a_case: of the training part.
        classes: names, background left out.
        class_counts: training cases of each class, or positive ones of each label (classification; none for
            regression), boxes (detection), or the share (0 to 1) of pixels (segmentation).
        class_known: training cases of which each label is known (classification); unknown cells of a multilabel target
            do not count.
        val_counts: validation cases of each class, or positive ones of each label (classification).
        target_values: of a regression target in training; None elsewhere.
        channels: of the images as the model would see them.
        types: of stored values, as numpy names them.
        height: of images as stored, in pixels; of volumes that of a slice.
        width: likewise.
        volumes: the cases are volumes.
        slices: of a volume along the axis it is cut by; None: no volumes.
        spacing: median in mm, rows then columns then slices; empty: unknown.
        spacings: how each of these varies.
        modality: ``ct``, ``mr``, ``xray``, ``ultrasound``, ``pet``, ``microscopy``, ``colour`` or ``unknown``.
        modality_from: what says so, in words.
        colour: share (0 to 1) of the images whose channels are unlike, as red, green and blue.
        intensities: of stored values of training images; None: not measured.
        foreground_range: 0.5th and 99.5th percentile of the stored values of voxels that bear a class; None: not
            measured, as of flat images, or of volumes of several sequences.
        means: of the stored values' mean from image to image; None: not measured.
        dark: share (0 to 1) of an image's pixels that have its lowest value; the mean over images.
        objects: boxes or regions; None: there are none to measure.
        sided: classes tell left from right.
        upright: images have an up and a down (chest films), as far as their rows' means tell; or too few tell.
        up_down: how alike the difference of above and below is from image to image, 0 (chance) to 1 (the same in all).
        left_right: likewise of left and right.
        duplicates: training images (volumes) of which an identical one is in the training part already.
        stated_range: files say which stored values are black and white, or have physical units.
        looked_at: images, or volumes, that were read for this.
        seconds: that the reading took.
        complete: every image of the training part was looked at, not a sample of them.
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
    class_known: tuple[float, ...] = ()
    val_counts: tuple[float, ...] = ()
    target_values: Spread | None = None
    channels: int = 1
    types: tuple[str, ...] = ()
    height: Spread = NOT_MEASURED
    width: Spread = NOT_MEASURED
    volumes: bool = False
    slices: Spread | None = None
    spacing: tuple[float, ...] = ()
    spacings: tuple[Spread, ...] = ()
    modality: str = "unknown"
    modality_from: str = ""
    colour: float = 0.0
    intensities: Spread | None = None
    foreground_range: tuple[float, float] | None = None
    means: Spread | None = None
    dark: float = 0.0
    objects: Objects | None = None
    sided: bool = False
    upright: bool = False
    up_down: float = 0.0
    left_right: float = 0.0
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
                **{name: _read(value) for name, value in values.items()},
                objects=None if objects is None else Objects(**{name: _read(value) for name, value in objects.items()}),
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
    return [_named(value) for value in values] if isinstance(values, (tuple, list)) else values


def _read(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == _ENDS:
        return Spread(**value)
    return tuple(_read(one) for one in value) if isinstance(value, list) else value
