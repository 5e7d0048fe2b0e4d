"""Measure the fingerprint of a data set: facts of its table, and a look at some of its training images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.sides import sided_names
from datamodules.cases.table import SPLITS
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from datamodules.fingerprint.directions import LEAST_IMAGES, UPRIGHT, strength
from datamodules.fingerprint.fingerprint import Fingerprint, Kind, Objects
from datamodules.fingerprint.foreground import range_of
from datamodules.fingerprint.kept_looks import KeptLook, Seen
from datamodules.fingerprint.look import SECONDS, Look, TrainingUnits, look_at, training_units
from datamodules.fingerprint.modality import Evidence, modality_of
from datamodules.fingerprint.regions import ObjectTable
from datamodules.fingerprint.spreads import spread, spread_or_none
from datamodules.loading.patch_counts import count_patches
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.volume_pairs import read_description
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

UNKEPT = 64  # images that are looked at, where they are no files and each run looks anew: phantoms are drawn
# What comes from a look at images alone, and is kept in the cache.
_SEEN = (
    "class_counts", "types", "height", "width", "volumes", "slices", "spacing", "spacings", "colour", "intensities",
    "foreground_range", "means", "dark", "objects", "upright", "up_down", "left_right", "looked_at", "seconds",
    "complete",
)  # fmt: skip


def measure_fingerprint(data: ScanDataModule, *, seconds: float = SECONDS) -> Fingerprint:
    """The fingerprint of a data module, whose table and split are made on the way.

    Training images alone are looked at, evenly spaced over the training part; of the other parts cases and patients are
    counted, and of validation the labels. What was seen is kept in ``data.cache_dir``, by the state of the files and by
    how they are read.

    Args:
        data: of any task.
        seconds: after which no further image is read, once eight have been; what the table says is not bounded.

    Raises:
        SuiteError: the data cannot be trained on as they are, or none of the training images can be read.
    """
    _refuse_no_training(data)
    units = training_units(data)
    known, images = _of_table(data, units), units.chosen()
    kept = KeptLook(data, images)
    seen = kept.look_up()
    if seen is None:
        some = images if kept.lasts else images[:UNKEPT]
        look = look_at(data, some, seconds=seconds)
        seen = _seen(known, replace(look, complete=look.complete and len(some) == len(units.images)))
        kept.keep(seen)
    values = {name: getattr(seen.found, name) for name in _SEEN if name != "class_counts" or known.task == "segment"}
    found = replace(known, **values)
    found = found if known.task != "detect" else _with_boxes(data, found)
    found = _with_modality(data, found, seen)
    _refuse_no_objects(data, found)
    return found


def _refuse_no_training(data: ScanDataModule) -> None:
    """Refuse data of which no case is to be trained on.

    Raises:
        SuiteError: there is none.
    """
    if len(data.rows("train")):
        return
    evaluated = data.split == "all_test"
    mend = "leave --data.split all_test out" if evaluated else "give it one, or leave the split out, and one is drawn"
    raise SuiteError(f"{data.root}: the data have no train part: {mend}")


def _refuse_no_objects(data: ScanDataModule, found: Fingerprint) -> None:
    """Refuse boxes and masks that show nothing at all.

    Raises:
        SuiteError: no training image has a box; or all training masks were looked at, and none shows a class.
    """
    if found.objects is None or found.objects.total:
        return
    if found.task == "detect":
        raise SuiteError(
            f"{data.root}: none of the {found.images} training images has a box: there is nothing to learn: add "
            "annotations, or give another split"
        )
    if found.complete:
        raise SuiteError(
            f"{data.root}: none of the {found.images} training masks shows a class: there is nothing to learn: add "
            "masks, or say what their values mean (--data.classes)"
        )
    log.warning("%s: none of the %d masks that were looked at shows a class", data.root, found.looked_at)


def _of_table(data: ScanDataModule, units: TrainingUnits) -> Fingerprint:
    """What the table says, and the annotations that are no pictures."""
    table, train = data.table, data.rows("train")
    patients = table.cases["patient_id"]
    names = list(getattr(data, "class_names", ()))
    masks_have_background = isinstance(data, SegmentationData) and not data.overlapping
    in_batch = data.total_batch_size or data.batch_size
    counts = count_patches(data, in_batch)
    sided = data.sided if data.sided is not None else bool(sided_names(names))
    of_labels: dict[str, Any] = _of_labels(data) if isinstance(data, ClassificationData) else {}
    return Fingerprint(
        task=_kind(data),
        cases={part: len(data.rows(part)) for part in SPLITS},
        patients={part: int(patients.iloc[data.rows(part)].nunique()) for part in SPLITS},
        samples=len(data.dataset(train)) if counts is None else int(counts.sum()),
        images=len(table.images_by_case.together(train)[0]),
        images_a_case=spread([len(table.images_by_case[int(row)]) for row in train]),
        classes=tuple(names[1:] if masks_have_background else names),
        channels=data.preprocess.channels,
        sided=sided,
        duplicates=_duplicates(data, units.images),
        **of_labels,
    )


def _kind(data: ScanDataModule) -> Kind:
    if isinstance(data, ClassificationData):
        return "classify"
    if isinstance(data, DetectionData):
        return "detect"
    return "segment" if isinstance(data, SegmentationData) else "other"


def _of_labels(data: ClassificationData) -> dict[str, Any]:
    """Kind and balance of the targets of training and validation."""
    targets = data.targets
    if targets.kind == "regression":
        return {"target": targets.kind, "target_values": spread_or_none(targets.values[data.rows("train")])}
    validation = (data.table.cases["split"] == "val").to_numpy()
    return {
        "target": targets.kind,
        "class_counts": tuple(data.class_counts),
        "class_known": tuple(data.known_counts),
        "val_counts": tuple(targets.counts(validation)),
    }


def _duplicates(data: ScanDataModule, units: NDArray[np.int64]) -> int:
    """Training images, or volumes, of which an identical one came before; 0 where contents are not known."""
    contents = data.contents
    return len(units) - len({contents[int(image)] for image in units}) if len(contents) else 0


def _seen(known: Fingerprint, look: Look) -> Seen:
    """What a look has shown, put into the fields of a fingerprint."""
    values = np.concatenate([np.zeros(0), *look.values])
    height, width = (spread([size[axis] for size in look.sizes]) for axis in (0, 1))
    # Of images of which some have no spacing, or no third one, nothing is known of all.
    every = len(look.spacings) == look.looked and len({len(one) for one in look.spacings}) == 1
    spacings = tuple(spread(axis) for axis in zip(*look.spacings, strict=True)) if every else ()
    up_down, left_right = strength(look.rows), strength(look.columns)
    found = replace(
        known,
        class_counts=tuple((look.pixels / max(1.0, look.all_pixels)).tolist()),
        types=tuple(sorted(look.types)),
        height=height,
        width=width,
        volumes=bool(look.slices),
        slices=spread_or_none(look.slices),
        spacing=tuple(one.median for one in spacings),
        spacings=spacings,
        colour=float(np.mean(look.colours)) if look.colours else 0.0,
        intensities=spread_or_none(values),
        foreground_range=range_of(look.foreground),
        means=spread_or_none(look.means),
        dark=float(np.mean(look.dark)) if look.dark else 0.0,
        objects=look.objects.objects(),
        upright=up_down >= UPRIGHT or len(look.rows) < LEAST_IMAGES,
        up_down=up_down,
        left_right=left_right,
        looked_at=look.looked,
        seconds=look.seconds,
        complete=look.complete,
    )
    return Seen(found, look.dicom, look.stated)


def _with_modality(data: ScanDataModule, found: Fingerprint, seen: Seen) -> Fingerprint:
    """With the modality, by what images have shown and by what annotations and descriptions say of them today."""
    described: Sequence[str] = read_description(data.root / "dataset.json").sequences if found.volumes else ()
    many = 0.0 if found.objects is None else found.objects.per_image.median
    evidence = Evidence(
        seen.dicom, described, found.volumes, found.types, found.intensities, found.spacing, found.colour, many,
        found.upright,
    )  # fmt: skip
    modality, words = modality_of(evidence)
    stated = modality == "ct" or seen.stated > found.looked_at / 2
    return replace(found, modality=modality, modality_from=words, stated_range=stated)


def _with_boxes(data: ScanDataModule, found: Fingerprint) -> Fingerprint:
    """With the boxes of all training images, counted by class and measured."""
    assert isinstance(data, DetectionData)  # of whom it is asked
    spacing = (found.spacing[0], found.spacing[1]) if len(found.spacing) > 1 else None
    table = _boxes(data, spacing)
    numbers = np.concatenate([np.zeros(0), *(rows[:, 0] for rows in table.rows)]).astype(np.int64)
    counts = np.bincount(numbers, minlength=data.num_classes).astype(float)
    objects: Objects | None = table.objects()
    return replace(found, class_counts=tuple(counts.tolist()), objects=objects)


def _boxes(data: DetectionData, spacing: tuple[float, float] | None = None) -> ObjectTable:
    """Boxes of training images that are not ignored, by image."""
    table = ObjectTable(data.num_classes)
    for case in data.rows("train"):
        corners, labels = data.boxes_of(int(case))
        sides = corners[:, 2:] - corners[:, :2]
        rows = np.column_stack([labels, corners, sides.prod(axis=1)]).astype(np.float64)
        table.add(rows, data.stored_size(int(case)), spacing)
    return table
