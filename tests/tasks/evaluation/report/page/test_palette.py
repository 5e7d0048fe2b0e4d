"""Colours of plots: each stands out from its ground as WCAG asks of graphics."""

from __future__ import annotations

import re
from importlib import resources

import numpy as np
import pytest

from tasks.evaluation.report.content import Line
from tasks.evaluation.report.page.assets import own_text
from tasks.evaluation.report.page.matrix_plots import _DEEPEST
from tasks.evaluation.report.page.palette import CLASSES, COLOURS, INK, style_sheet, styles_of

STYLE = resources.files("datamodules.pictures").joinpath("page.css").read_text(encoding="utf-8")
GROUNDS = re.findall(r"--ground: (#\w{6})", STYLE)


def luminance(colour: str) -> float:
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("number", range(len(COLOURS)))
def test_each_colour_has_a_contrast_of_three(theme: int, number: int) -> None:
    dark, light = sorted([luminance(COLOURS[number][theme]), luminance(GROUNDS[theme])])
    assert (light + 0.05) / (dark + 0.05) >= 3


@pytest.mark.parametrize("theme", [0, 1])
def test_letters_in_the_deepest_cell_of_a_matrix_are_legible(theme: int) -> None:
    fill = re.findall(r"\.cell rect { fill: (#\w{6})", own_text("report.css"))[theme]
    ink = re.findall(r"--ink: (#\w{6})", STYLE)[theme]
    parts = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (fill, GROUNDS[theme])]
    mixed = [round(_DEEPEST * over + (1 - _DEEPEST) * under) for over, under in zip(*parts, strict=True)]
    dark, light = sorted([luminance("#{:02x}{:02x}{:02x}".format(*mixed)), luminance(ink)])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def line(name: str, group: str = "") -> Line:
    return Line(name, np.zeros(1), np.zeros(1), group=group)


def test_a_few_lines_differ_in_grey_too() -> None:
    assert styles_of([line("a"), line("b"), line("point", "a")]) == [(0, 0), (1, 1), (0, 0)]
    many = styles_of([line(str(at)) for at in range(20)])
    assert len(set(many)) == 20


def test_a_class_has_its_colour_and_what_is_none_that_of_letters() -> None:
    styles = styles_of([line("all"), line("b"), line("a")], ["a", "b"])
    assert [colour for colour, _ in styles] == [INK, CLASSES[1], CLASSES[0]]


def test_the_sheet_has_both_themes() -> None:
    sheet = style_sheet()
    assert all(light in sheet and dark in sheet for light, dark in COLOURS)
