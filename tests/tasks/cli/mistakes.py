"""Likely mistakes as data: what is typed, what the line says, and the mend that it names, which is applied."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datamodules.boxes_on_disk import pictures, write_box_table, write_coco, write_voc, write_yolo
from tests.tasks.cli.conftest import Run, draw_table, one_line
from tests.tasks.cli.test_segment import draw_cells, draw_volumes

# What says something of Python, and nothing of what was typed or of a file.
PYTHON = (
    r"NoneType", r"\bcodec\b", r"\bunpack\b", r"object has no attribute", r"[Ee]xpected <class", r"Traceback",
    r"\b\w+Error\b", r"Exception", r"(Posix|Windows|Pure)Path", r"<class", r"object at 0x", r"__\w+__", r"\[Errno",
    r"\b(int|str|dict|tuple|bool|bytes|ndarray|dtype|None|True|False)\b", r"invalid literal", r"subscriptable",
    r"positional", r"keyword argument", r"index out of", r"Namespace", r"Parser key", r"subclass", r"jsonargparse",
)  # fmt: skip
LONGEST = 420  # characters of a line, the path of the test's folder aside
TINY = [
    "--model.backbone", "small_cnn", "--data.num_workers", "0", "--data.batch_size", "4", "--data.augment", "none",
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "1",
]  # fmt: skip
DRY = ["--trainer.fast_dev_run", "true"]  # one batch, and nothing is evaluated or written


def classes(root: Path) -> None:
    """A folder of images for each of two classes."""
    rng = np.random.default_rng(0)
    for case in range(12):
        file = root / ("ill", "well")[case % 2] / f"p{case:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32)).astype(np.uint8)).save(file)


DECODER = ["--model.decoder_args", "{decoder_channels: [16, 8, 8, 8, 8]}"]
BOXES = ["--data.image_size", "32", "--model.channels", "16"]

# Data of each class, and the words that name it.
DATA: dict[str, tuple[str, Callable[[Path], object], list[str]]] = {
    "ImageFolder": ("classify", classes, ["--data.image_size", "32"]),
    "ImageTable": (
        "classify", lambda root: draw_table(root, cases=24), ["--data.label_columns", "finding",
        "--data.image_size", "24"],
    ),
    "MaskFolder": ("segment", lambda root: draw_cells(root, count=12), ["--data.image_size", "32", *DECODER]),
    "Volumes": (
        "segment", lambda root: draw_volumes(root, count=6),
        ["--data.classes", "background,organ,core", "--data.image_size", "32", "--data.folds", "4", *DECODER],
    ),
    "Coco": ("detect", lambda root: write_coco(root, pictures()), [*BOXES]),
    "Voc": ("detect", lambda root: write_voc(root, pictures()), [*BOXES]),
    "Yolo": ("detect", lambda root: write_yolo(root, pictures()), [*BOXES]),
    "BoxTable": (
        "detect", lambda root: write_box_table(root, pictures()), ["--data.table", "boxes.csv", "--data.image_size",
        "64"],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """One mistake of a user's.

    Attributes:
        says: what the line names.
        mend: what it tells to do, as it stands in it.
        words: what is typed behind the data's own words.
        mended: what is typed instead, as the line tells; None: the same.
        spoil: makes the mistake in the files of the folder ``data``, or beside it.
        repair: mends it there, as the line tells.
        data: class of the data.
        verb: that is called.
    """

    says: list[str]
    mend: str
    words: list[str] = field(default_factory=list)
    mended: list[str] | None = None
    spoil: Callable[[], object] = lambda: None
    repair: Callable[[], object] = lambda: None
    data: str = "ImageTable"
    verb: str = "fit"


def text(file: str, content: str | bytes) -> Callable[[], object]:
    """Writes a file."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda: Path(file).write_bytes(raw)


def replaced(file: str, old: str, new: str) -> Callable[[], object]:
    """Replaces words of a file, and what they are replaced by where that is done again."""
    return lambda: Path(file).write_text(Path(file).read_text().replace(old, new))


def cut(file: str, size: int) -> Callable[[], object]:
    """Cuts a file off."""
    return lambda: Path(file).write_bytes(Path(file).read_bytes()[:size])


def cell(column: str, value: str | None, row: int = 4, file: str = "data/labels.csv") -> Callable[[], object]:
    """Writes a cell of a table."""

    def write() -> None:
        frame = pd.read_csv(file, dtype=str)
        frame.loc[row, column] = value
        frame.to_csv(file, index=False)

    return write


def flat(file: str, size: tuple[int, int] = (32, 32)) -> Callable[[], object]:
    """Draws a grey image of (width, height)."""

    def draw() -> None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(file)

    return draw


def plain(line: str) -> str:
    """A line, once it has been seen to be short and to speak no Python."""
    assert not [word for word in PYTHON if re.search(word, line)], line
    assert len(line.replace(str(Path.cwd()), "")) <= LONGEST, line
    return line


def check(run_task: Run, one: Mistake) -> None:
    """Make a mistake, look at the line, and do what it says."""
    task, draw, own = DATA[one.data]
    draw(Path("data"))
    one.spoil()
    words = ["--data", one.data, "--data.root", "data", *own, *TINY]
    status, out, err = run_task(task, one.verb, *words, *one.words)
    line = plain(one_line(err))
    assert (status, out) == (2, "")
    for part in (*one.says, one.mend):
        assert part in line, line
    assert not Path("runs").exists()
    one.repair()
    mended = one.words if one.mended is None else one.mended
    status, _, err = run_task(task, one.verb, *words, *mended, *([] if one.verb == "check" else DRY))
    assert status == 0, err


def named(mistakes: dict[str, Mistake], *slow: str) -> pytest.MarkDecorator:
    """Each mistake as a test of its name.

    Args:
        mistakes: by name.
        slow: names of those that are like others, and left to the slow tests.
    """
    assert set(slow) <= mistakes.keys()
    marked = {name: [pytest.mark.slow] if name in slow else [] for name in mistakes}
    return pytest.mark.parametrize(
        "one", [pytest.param(one, id=name, marks=marked[name]) for name, one in mistakes.items()]
    )
