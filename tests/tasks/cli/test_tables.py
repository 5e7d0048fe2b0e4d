"""Tables: plain and whole in a pipe, folded but whole on a terminal."""

from __future__ import annotations

import re
import sys

import pytest

from tasks.cli.tables import columns, print_table

LONG = "a_network_with_a_name_of_many_words." * 3
HEAD = ("family", "network", "parameters", "trains in")
ROWS = [("resnet", LONG, "11.69 M", "classify segment detect"), ("[red]vgg[/red]", "vgg11", "9 M", "")]


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "NO_COLOR", "TERM"])
def test_a_pipe_gets_plain_lines_as_wide_as_they_need_to_be(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("COLUMNS", "40")
    print_table(HEAD, ROWS, names=2, right=["parameters"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert LONG in lines[1]
    assert lines[2].startswith("[red]vgg[/red]  vgg11 ")
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)
    ends = [line.index(word) + len(word) for line, word in zip(lines, ("parameters", "11.69 M", "9 M"), strict=True)]
    assert len(set(ends)) == 1


def test_a_terminal_gets_no_name_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(HEAD, [("resnet", "resnet18", "11.69 M", "classify segment detect and much more than fits")])
    shown = capsys.readouterr().out
    codes, out = re.findall(r"\x1b\[([0-9;]*)m", shown), re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert set(codes) <= {"", "0", "1"}  # bold, no colour
    assert max(map(len, out.splitlines())) <= 60
    assert "…" not in out
    assert {"resnet", "resnet18", "classify", "detect", "more"} <= set(out.split())


def test_meanings_go_on_below_themselves() -> None:
    text = columns([("--flag", "word " * 40), ("--" + "long" * 10, "short")], first=10, width=80)
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith(" " * 12)
    assert f"{'--' + 'long' * 10}  short" in text
