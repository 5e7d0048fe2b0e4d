"""Kinds of findings and their severities: one line a kind, as ``docs/check.md`` and the pages show it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from scansuite.errors import SuiteError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: ``error`` stops or spoils training; ``warning`` wants a look; ``note`` is worth knowing.
        meaning: one line.
    """

    severity: Severity
    meaning: str


KINDS: dict[str, Kind] = {
    # Files and the table of cases.
    "table": Kind("error", "the table of cases cannot be built"),
    "missing_file": Kind("error", "a file that the data name is not there"),
    "unreadable": Kind("error", "an image that cannot be read"),
    "crashed": Kind("error", "a file that kills the process that reads it"),
    "too_slow": Kind("error", "a file that is not read within the time allowed"),
    "case_name": Kind("error", "a case without a name of its own"),
    "split": Kind("error", "the split has gaps, strange words or cases of other data"),
    "no_patient": Kind("error", "a case for which no patient is found"),
    # Pixels.
    "not_finite": Kind("error", "NaN or infinite values"),
    "constant": Kind("warning", "every pixel has one value"),
    "nearly_constant": Kind("warning", "more than 99 % of the pixels have one value"),
    "saturated": Kind("warning", "a large part is cut off at the highest value"),
    "faint": Kind("warning", "uses less than 2 % of the range that its type, or its header, has"),
    "narrow": Kind("warning", "a network would see less than a tenth of its range"),
    "no_scale": Kind("error", "values that nothing says the black and white of"),
    "odd_size": Kind("warning", "another size than the others"),
    "odd_spacing": Kind("warning", "another spacing than the others"),
    "odd_channels": Kind("warning", "other channels than the others (RGBA in a grey set)"),
    "odd_type": Kind("warning", "stored in another type than the others"),
    "modality_mix": Kind("warning", "another DICOM modality than the others"),
    "burned_in_text": Kind("warning", "looks like text in the picture: does it name the patient, or the label?"),
    # Labels.
    "labels": Kind("error", "the labels are no target"),
    "unknown_label": Kind("error", "a label that is none of the classes"),
    "empty_label": Kind("error", "a case without a label"),
    "class_missing": Kind("error", "a class without training cases"),
    "class_absent": Kind("warning", "a class that validation or test lacks: its metrics are undefined there"),
    "class_spelling": Kind("warning", "classes whose names differ in capitals or spaces only"),
    "class_rare": Kind("warning", "a class with fewer than ten training cases"),
    "label_conflict": Kind("warning", "identical images with different labels"),
    # What stands in two parts.
    "patient_leak": Kind("error", "a patient in more than one part"),
    "duplicate_leak": Kind("error", "an identical image in more than one part"),
    "near_duplicate": Kind("warning", "two images of different parts that look the same"),
    "duplicate": Kind("note", "identical images in one part"),
    "split_by_image": Kind("warning", "no patients are known: the split is by image"),
    # Boxes.
    "annotation": Kind("error", "an annotation that cannot be read"),
    "bad_box": Kind("error", "a box that is none"),
    "size_mismatch": Kind("error", "an image of another size than its annotation says"),
    "box_empty": Kind("warning", "a box without width or height (is dropped)"),
    "box_outside": Kind("warning", "a box wholly outside its image (is dropped)"),
    "box_clipped": Kind("warning", "a box partly outside its image (is clipped)"),
    "box_twice": Kind("warning", "a duplicate box (is kept once)"),
    "box_overlap": Kind("warning", "two boxes of one class that nearly coincide"),
    "box_tiny": Kind("note", "boxes with a side below three pixels"),
    "no_boxes": Kind("note", "images without a box"),
    # Masks.
    "mask_pair": Kind("error", "an image without its mask, or with two"),
    "mask_unreadable": Kind("error", "a mask that cannot be read"),
    "unknown_value": Kind("error", "a mask with values that stand for no class"),
    "grid_mismatch": Kind("error", "a mask on another grid than its image"),
    "mask_empty": Kind("warning", "a mask without any class"),
    "mask_full": Kind("warning", "a mask that covers nearly everything: is it turned round?"),
    "specks": Kind("note", "a mask with specks of a few pixels beside large regions"),
}  # fmt: skip


def kind_of(name: str) -> Kind:
    """Meaning and severity of a kind; one that a user's data class reports is an error."""
    return KINDS.get(name, Kind("error", "a mistake that the data class names"))


def known_kind(error: SuiteError, otherwise: str) -> str:
    """The kind of an error, where it is one that a check finds."""
    return error.kind if error.kind in KINDS else otherwise
