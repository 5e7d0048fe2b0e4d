"""Colours and line styles of a report's plots: legible on white and on black, and to the colour-blind."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluation.report.content import Line

# Hues of M. Okabe and K. Ito, Color universal design, 2008, and of P. Tol, Colour schemes, SRON technical note, 2021,
# darkened for white paper and lightened for a dark screen until each has a contrast of 3:1 there (WCAG 2.2, 1.4.11).
COLOURS: tuple[tuple[str, str], ...] = (
    ("#0072b2", "#56a9e0"), ("#d55e00", "#f08a4b"), ("#008f68", "#2fc49a"), ("#b8628f", "#e59bc4"),
    ("#b07800", "#e6b13a"), ("#882255", "#c2608f"), ("#77771f", "#bdbd52"), ("#332288", "#9a8cf0"),
    ("#94822f", "#ddcc77"),
)  # fmt: skip
GENERAL = 8  # colours that lines take in turn; the last one is of a class alone
# Which of them are the classes' own, in the order of `datamodules.pictures.panels.CLASS_COLOURS`, which masks have.
CLASSES = (2, 3, 4, 0, 8, 5, 6, 7)
INK = -1  # the colour of letters: of what is no class, between classes
# Lengths of strokes and gaps: solid, dashed, dotted, both.
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.5), (1.5, 2), (7, 2, 1.5, 2))
_FEW = len(DASHES)


def styles_of(lines: Sequence[Line], class_names: Sequence[str] = ()) -> list[tuple[int, int]]:
    """Number of the colour and of the dashes of each line; lines of a group share both.

    A few lines differ in their dashes too, so that they can be told apart in grey.

    Args:
        lines: of a plot; those of kind ``reference`` have a look of their own, whatever stands here.
        class_names: of the task: a line or group that bears such a name has the colour that the class has in pictures.
    """
    groups = list(dict.fromkeys(group_of(line) for line in lines if line.kind != "reference"))
    numbers = {name: number for number, name in enumerate(class_names)}
    of_classes = len(class_names) > 1 and any(group in numbers for group in groups)
    styles: dict[str, tuple[int, int]] = {}
    others = 0
    for place, group in enumerate(groups):
        if of_classes and group in numbers:
            number = numbers[group]
            colour, turn = CLASSES[number % len(CLASSES)], number // len(CLASSES)
        elif of_classes:
            colour, turn, others = INK, others, others + 1
        else:
            colour, turn = place % GENERAL, place // GENERAL
        styles[group] = colour, (place if len(groups) <= _FEW else turn) % len(DASHES)
    return [styles.get(group_of(line), (INK, 0)) for line in lines]


def group_of(line: Line) -> str:
    """What a line is chosen with."""
    return line.group or line.name


def style_sheet() -> str:
    """The colours and dashes as CSS: classes ``c0``, ``c1``, ... and ``d1``, ..."""
    light, dark = (" ".join(f"--c{number}: {pair[theme]};" for number, pair in enumerate(COLOURS)) for theme in (0, 1))
    rules = [
        f":root {{ {light} }}",
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
        *(f".c{number} {{ --c: var(--c{number}); }}" for number in range(len(COLOURS))),
        ".ink { --c: var(--ink); }",
        *(
            f".d{number} .stroke {{ stroke-dasharray: {' '.join(map(str, dash))}; }}"
            for number, dash in enumerate(DASHES)
            if dash
        ),
    ]
    return "\n".join(rules) + "\n"


def css_class(style: tuple[int, int]) -> str:
    """Names of a style in the sheet."""
    colour, dash = style
    return f"{'ink' if colour == INK else f'c{colour}'} d{dash}"
