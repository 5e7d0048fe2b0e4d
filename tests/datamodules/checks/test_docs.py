"""``docs/check.md`` lists every kind of finding with its severity."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.checks.kinds import KINDS
from datamodules.checks.measures import RECORD

PAGE = Path(__file__).resolve().parents[3] / "docs" / "check.md"


def test_the_page_has_every_kind() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: (severity, meaning) for name, severity, meaning in rows} == {
        name: (kind.severity, kind.meaning) for name, kind in KINDS.items()
    }


def test_the_page_says_how_large_a_record_is() -> None:
    assert f"{RECORD.itemsize} bytes" in PAGE.read_text(encoding="utf-8")
