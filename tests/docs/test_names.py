"""What the documents name is there: files, functions in files, and every room of the house."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Files that a page tells its reader to write.
TO_BE_WRITTEN = ("tasks/cli/verbs/weigh.py",)
_FILE = re.compile(
    r"(?<![\w/.<])((?:scansuite|backbones|datamodules|tasks|configs|docs|benchmarks)(?:/[\w.]+)+\.(?:py|md|yaml|csv|ipynb))"
    r"(?:::([\w.]+))?"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    missing = []
    for name, member in _FILE.findall(page.read_text(encoding="utf-8")):
        if name in TO_BE_WRITTEN:
            continue
        file = ROOT / name
        if not file.is_file():
            missing.append(name)
        elif member:
            text = file.read_text(encoding="utf-8")
            missing += [
                f"{name}::{member}"
                for word in member.split(".")
                if not re.search(rf"^\s*(?:class|def|async def) {word}\b", text, re.MULTILINE)
            ]
    assert not missing


def test_the_drawing_of_the_house_has_every_room() -> None:
    """A folder of modules that the drawing leaves out is a room that no newcomer finds."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawing = text[text.index("## The house") : text.index("### The way of one scan")]
    rooms = {
        folder.relative_to(ROOT).parts[-1]
        for package in ("scansuite", "backbones", "datamodules", "tasks")
        for folder in (ROOT / package).rglob("*")
        if folder.is_dir() and any(folder.glob("*.py"))
    }
    assert {room for room in rooms if f"{room}/" not in drawing} == set()


def test_the_table_of_changes_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("### Where a change goes") : text.index("## Rules")]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 10
    for row in rows:
        paths = re.findall(r"`((?:tasks|datamodules|backbones|runtime)/[\w/.]+)`", row)
        assert paths, row
        assert all((ROOT / path).exists() for path in paths), row
