"""The look that all charts share: letters, colours, sizes; and how they get into files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from datamodules.pictures.panels import CLASS_COLOURS
from scansuite.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rgb = tuple[float, float, float]
T = TypeVar("T")

WIDTH = 5.6  # inches; with letters of 11 points they are legible on 400 px
DPI = 160
INK, FAINT = "#141414", "#767676"
# Of training and validation: the blue and the vermilion of M. Okabe and K. Ito, Color universal design, 2008.
TRAIN, VAL = "#0072b2", "#d55e00"
COLOURS: tuple[Rgb, ...] = tuple((red / 255, green / 255, blue / 255) for red, green, blue in CLASS_COLOURS)
# So that lines can be told apart in grey as well, and where colours come round again.
LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
MOST_NAMED = 8  # lines with a colour and a name each; of more the four best and the four worst
OTHERS: dict[str, Any] = {"color": "#bdbdbd", "linewidth": 0.8}  # lines that have neither
PART_NAMES = {"val": "validation", "test": "test"}

# Fonts with the letters that DejaVu lacks, as they are called on Linux, Windows and macOS.
_FONTS = (
    "DejaVu Sans", "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "NanumGothic", "Malgun Gothic",
    "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "PingFang SC", "Arial Unicode MS",
)  # fmt: skip
_STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e3e3e3",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called a$b$
    "text.usetex": False,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def chart(file: Path, title: str, height: float) -> Iterator[Figure]:
    """Give a figure, and write it as a PNG when the block ends well.

    Args:
        file: to be written; its folder exists.
        title: one line at the top.
        height: in inches.

    Raises:
        SuiteError: the file cannot be written.
    """
    # No pyplot: it would look for a display, and keep figures.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(shortened(title, 68), x=0.012, ha="left", fontsize=11, fontweight="bold")
        yield figure
        with replacing(file, durable=False) as temporary:
            figure.savefig(temporary, format="png")


@contextmanager
def look(**differing: Any) -> Iterator[None]:
    """The look of all charts, whatever a user's own style (``matplotlibrc``) says.

    Args:
        differing: rcParams of a chart that is not for a run folder, with ``__`` for the point.
    """
    from matplotlib import style
    from matplotlib.font_manager import fontManager

    known = set(fontManager.get_font_names())
    fonts = [name for name in _FONTS if name in known]
    own = {name.replace("__", "."): value for name, value in differing.items()}
    with (
        style.context(["default", {**_STYLE, "font.family": fonts or ["sans-serif"], **own}]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def shortened(text: str, longest: int) -> str:
    """A name for a chart: in one line, without its middle where it is longer; what does not print becomes a space."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    if len(text) > longest:
        text = text[: longest // 2] + "…" + text[len(text) - (longest - longest // 2 - 1) :]
    # matplotlib keeps labels that begin with an underscore out of its legends.
    return " " + text if text.startswith("_") else text


def best_and_worst(ranked: Sequence[T]) -> list[T]:
    """Of more than :data:`MOST_NAMED` the first and the last half of so many."""
    return list(ranked) if len(ranked) <= MOST_NAMED else [*ranked[: MOST_NAMED // 2], *ranked[-(MOST_NAMED // 2) :]]


def colour_of(number: int) -> Rgb:
    """Colour of a class, the same as in the pictures of cases."""
    return COLOURS[number % len(COLOURS)]


def line_of(number: int) -> Any:
    """Line style of a class: solid for the first eight, then others."""
    return LINES[number // len(COLOURS) % len(LINES)]
