"""Classes that have a side: a mirrored left kidney is a right one, so their images are not mirrored."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from datamodules.transforms.names import PRESET_CONFIGS, AugmentArgs
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

# Left and right as people write them in full, in the languages that class lists come in.
_WORDS = {
    "left": "left", "right": "right", "links": "left", "rechts": "right", "linke": "left", "rechte": "right",
    "linker": "left", "rechter": "right", "linkes": "left", "rechtes": "right", "gauche": "left", "droite": "right",
    "izquierda": "left", "derecha": "right", "izquierdo": "left", "derecho": "right", "sinistra": "left",
    "dextra": "right", "sinister": "left", "dexter": "right", "destra": "right", "esquerda": "left",
    "direita": "right", "esquerdo": "left", "direito": "right",
}  # fmt: skip
_SHORT = {"l": "left", "r": "right", "lt": "left", "rt": "right", "lh": "left", "rh": "right"}
# Behind left or right these make another word of it: left-over, right angle, left shift (of white blood cells).
_OTHER_WORDS = frozenset({"over", "overs", "angle", "angled", "angles", "shift", "shifted", "away", "out"})
# Beside a single letter these say that it numbers something: type L, grade R.
_KINDS = frozenset(
    {"type", "subtype", "class", "grade", "stage", "group", "label", "category", "cluster", "variant", "phase"}
)
_PARTS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[^\W\d_]?[a-z]+|[^\W\d_]+(?![a-z])|\d+")
# Albumentations' transforms that mirror.
_MIRRORS = frozenset({"HorizontalFlip", "VerticalFlip", "Flip", "Transpose", "D4", "SquareSymmetry"})


class _Side(NamedTuple):
    """What a name says of its side.

    Attributes:
        side: left or right.
        rest: the words beside it, in their order.
        sure: the name alone will do; else another class must be its other side.
    """

    side: str
    rest: tuple[str, ...]
    sure: bool


def have_sides(class_names: Sequence[str], sided: bool | None, preset: str) -> bool:
    """Whether a mirrored image may show another class; what a preset leaves out for it is said.

    Args:
        class_names: in any order.
        sided: as the user says; None: by the names.
        preset: of the training augmentation.
    """
    names = sided_names(class_names) if sided is None else []
    found = bool(names) if sided is None else sided
    config = PRESET_CONFIGS.get(preset)
    if found and config is not None and (config.horizontal_flip or config.vertical_flip):
        why = f"classes have sides ({', '.join(names[:4])})" if names else "--data.sided true"
        log.info("no image is mirrored in training: %s; --data.sided false allows it", why)
    return found


def refuse_mirrors(augment_args: AugmentArgs) -> None:
    """Refuse what the user asks for and classes with sides do not bear.

    Raises:
        SuiteError: names the first flag that mirrors images.
    """
    asked = mirror_flags(augment_args)
    if asked:
        raise SuiteError(
            f"{asked[0]} mirrors images, but classes have sides: leave it out, or give --data.sided false if a "
            "mirror image shows the same class"
        )


def sided_names(names: Iterable[str]) -> list[str]:
    """The classes whose names tell left from right.

    ``left`` and ``right`` count wherever they are words of their own (``hippocampus_left``, ``LeftKidney``), so not in
    upright, bright or cleft. Short forms (``L_femur``, ``kidney (r)``, ``lt kidney``) count at the start, single
    letters at the end too, where a word stands beside them; and wherever the list has the other side (``lh``, ``rh``).
    """
    found = {name: _sides_of(name) for name in names}
    named = {word.casefold() for name in found for word in _PARTS.findall(name)}
    if "wrong" in named and not any(side.side == "left" for sides in found.values() for side in sides):
        return []  # right and wrong
    there = {(side.side, side.rest) for sides in found.values() for side in sides}

    def counts(side: _Side) -> bool:
        return side.sure or ("right" if side.side == "left" else "left", side.rest) in there

    return [name for name, sides in found.items() if any(map(counts, sides))]


def _sides_of(name: str) -> list[_Side]:
    parts = [part.casefold() for part in _PARTS.findall(name)]
    words = [word.casefold() for part in _PARTS.findall(name) for word in _CAMEL.findall(part)]
    sides = []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        rest = (*words[:place], *words[place + 1 :])
        if word in _WORDS and following not in _OTHER_WORDS:
            sides.append(_Side(_WORDS[word], rest, sure=True))
        elif word in _SHORT:
            sides.append(_Side(_SHORT[word], rest, sure=_stands_for_a_side(word, parts)))
    return sides


def _stands_for_a_side(word: str, parts: Sequence[str]) -> bool:
    """Whether a short form is set off from a word beside it, at the end where people put sides."""
    if word not in parts or word in ("lh", "rh"):
        return False
    at_an_end = parts[0] == word or (parts[-1] == word and len(word) == 1)
    beside = {part for part in parts if part != word}
    return at_an_end and any(len(part) > 2 and part.isalpha() for part in beside) and not _KINDS & beside


def mirror_flags(args: AugmentArgs) -> list[str]:
    """The flags by which a user asks for mirror images."""
    flags = [name for name in ("horizontal_flip", "vertical_flip") if getattr(args, name)]
    flags += [f"transforms ({name})" for name in _classes_in(args.transforms) if name in _MIRRORS]
    return [f"--data.augment_args.{flag}" for flag in flags]


def _classes_in(steps: Any) -> list[str]:
    """Class names in a list of transforms, in lists within it too."""
    if isinstance(steps, dict):
        own = [str(steps["class_path"]).rsplit(".", 1)[-1]] if "class_path" in steps else []
        return own + [name for value in steps.values() if isinstance(value, dict | list) for name in _classes_in(value)]
    if isinstance(steps, list):
        return [name for step in steps for name in ([step] if isinstance(step, str) else _classes_in(step))]
    return []
