"""docs/plan.md has a row for each rule, with what its docstring says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.planning.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plan.md"


def rows() -> list[str]:
    """The rows that the page should have, in the order of the rules."""
    tasks: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    for task, rules in RULES.items():
        for rule in rules:
            name = f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"
            tasks.setdefault(name, []).append(task)
            said[name] = " ".join(str(rule.__doc__).strip().split("\n\n")[0].split()).replace("``", "`")
    return [
        f"| `{name}` | {'all' if len(of) == len(RULES) else ', '.join(of)} | {said[name]} |"
        for name, of in tasks.items()
    ]


@pytest.mark.parametrize("row", rows())
def test_each_rule_stands_on_the_page(row: str) -> None:
    assert row in PAGE.read_text(encoding="utf-8").splitlines(), f"docs/plan.md lacks the row\n{row}"


def test_no_rule_stands_there_that_is_gone() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| rule | tasks | what it settles |")[2].partition("\n\n")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows()
