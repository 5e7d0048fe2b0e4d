"""Names of cases and patients as one text each, however they were typed, saved or copied.

Two spellings of one patient would be two patients to a split, and a model would be evaluated on whom it was trained on.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pandas as pd

# What has no width on any screen: soft hyphen, zero-width space, word joiner, byte order mark, and the marks of writing
# direction that word processors and spreadsheets leave around numbers.
_INVISIBLE = dict.fromkeys(
    [0x00AD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0")


def clean_text(text: str) -> str:
    """A name without what nobody sees.

    Unicode's canonical composition (NFC, UAX 15: macOS saves names decomposed), no white space of any kind (also
    non-breaking) at the ends, a single plain space for each run of it within, and no characters without width. Upper
    and lower case stay: they may tell two names apart.
    """
    if text.isascii() and text.isprintable():
        return text if "  " not in text and text[:1] != " " and text[-1:] != " " else " ".join(text.split())
    return " ".join(unicodedata.normalize("NFC", text.translate(_INVISIBLE)).split())


def clean_id(text: str) -> str:
    """A case, a patient or a class by its name: :func:`clean_text`, and ``1.0`` is ``1``.

    A column of whole numbers becomes fractions as soon as one of its cells is empty, so the same patient is ``1`` in
    one table and ``1.0`` in another. ``007`` and ``1.10`` stay as they are. The rule looks at one name alone, so that a
    name means the same in every table.
    """
    name = clean_text(text)
    whole = _WHOLE_FLOAT.fullmatch(name)
    return name if whole is None else whole[1]


def clean_ids(values: pd.Series[Any]) -> pd.Series[str]:
    """:func:`clean_id` for each value of a column of any type; empty and blank cells are NA."""
    names = values.astype("str").map(clean_id, na_action="ignore").astype("str")
    return names.mask(names == "")
