"""What a person sees on a terminal: `fit` in each task, evaluation, prediction, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import KINDS, TINY, draw_table
from tests.tasks.cli.display.terminal import Terminal, record
from tests.tasks.cli.test_detect import TINY_DETECTOR, draw_squares, write_all
from tests.tasks.cli.test_segment import FLAT, TINY_UNET, draw_cells

TABLE = ["--data", "ImageTable", "--data.root", "table", *KINDS["binary"]]
FLAGS = {
    "classify": [*TABLE, *TINY],
    "segment": [*FLAT, *TINY_UNET, "--data.batch_size", "2"],
    "detect": ["--data", "Voc", "--data.root", "voc", *TINY_DETECTOR],
}
METRIC = {"classify": "val/auroc", "segment": "val/dice", "detect": "val/map"}
EPOCHS = ["--trainer.max_epochs", "3", "--run_dir", "run"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        draw_table(folder / "table")
        draw_cells(Path("scans"))
        write_all(*draw_squares())
    return folder


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Path:
    for folder in ("table", "scans", "voc"):
        (tmp_path / folder).symlink_to(data / folder)
    return tmp_path


def epochs_of(rows: list[str]) -> list[str]:
    """Epochs whose lines stay."""
    return re.findall(r"^epoch (\d+/\d+)  train/loss ", "\n".join(rows), re.MULTILINE)


SESSIONS = [
    pytest.param(task, columns, marks=[] if fast else pytest.mark.slow)
    for task, columns, fast in (
        ("classify", 80, True), ("segment", 160, True), ("detect", 80, True),
        ("classify", 160, False), ("segment", 80, False), ("detect", 160, False),
    )
]  # fmt: skip


@pytest.mark.parametrize(("task", "columns"), SESSIONS)
def test_fit_shows_loss_metric_and_what_is_left(place: Path, task: str, columns: int) -> None:
    seen = record(place, task, ["fit", *FLAGS[task], *EPOCHS], columns)
    assert seen.status == 0, seen.last
    bars = seen.bars("epoch ")
    assert bars
    assert all(len(row) <= columns for frame in seen.frames for row in frame)
    assert re.match(r"epoch 1/3  ", bars[0])
    told = [bar for bar in bars if METRIC[task] in bar]
    assert told  # the metric of the epoch before
    assert all(re.search(r"loss \d+\.\d{4}", bar) for bar in told)
    assert all(re.search(r"\d (s|min|h) left$|^epoch 3/3", bar) for bar in told)
    assert any(" lr " in bar for bar in bars) or columns == 80
    assert epochs_of(seen.last) == ["1/3", "2/3", "3/3"]
    # Of the line that is drawn anew nothing stays, nor does it stand there twice.
    assert not any("validating" in row or re.match(r"epoch \S+  [━╸ ]", row) for row in seen.last)
    assert all(sum("left" in row and "train/loss" not in row for row in frame) <= 1 for frame in seen.frames)
    evaluated = seen.bars("evaluating")
    assert any(re.search(r"\d/\d+ cases", bar) for bar in evaluated), evaluated
    assert seen.cursor


@pytest.mark.slow
def test_a_terminal_that_is_made_narrower(place: Path) -> None:
    narrowed: list[int] = []

    def narrow(terminal: Terminal) -> None:
        if not narrowed and terminal.frames[-1][-1].startswith("epoch 2/4"):
            narrowed.append(len(terminal.frames))
            terminal.resize(50)

    flags = ["fit", *FLAGS["segment"], "--trainer.max_epochs", "4", "--run_dir", "run"]
    seen = record(place, "segment", flags, 120, seen=narrow)
    assert seen.status == 0, seen.last
    after = [frame[-1] for frame in seen.frames[narrowed[0] + 2 :] if frame[-1].startswith("epoch ")]
    assert after
    assert all(re.match(r"epoch \d/4( validating)?  .*loss \d", bar) for bar in after if "train/loss" not in bar)
    assert epochs_of(seen.last)[-2:] == ["3/4", "4/4"]


def test_without_utf8_and_without_colour(place: Path) -> None:
    words = ["fit", *FLAGS["classify"], *EPOCHS]
    seen = record(place, "classify", words, environment={"NO_COLOR": "1"}, encoding="ascii")
    assert seen.status == 0, seen.last
    drawn = seen.raw[seen.raw.index(b"epoch 1/3") : seen.raw.rindex(b"epoch 3/3")]
    assert drawn.isascii()
    assert b"----" in drawn
    assert not re.search(rb"\x1b\[[0-9;]*[3-4][0-9][0-9;]*m", drawn)  # no colour of text or ground


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"TERM": "dumb"}, {}], ids=["dumb", "quiet"])
def test_plain_lines_where_nothing_can_be_drawn_and_none_with_quiet(place: Path, given: dict[str, str]) -> None:
    words = ["fit", *FLAGS["classify"], *EPOCHS, *([] if given else ["--quiet"])]
    seen = record(place, "classify", words, environment=given)
    assert seen.status == 0, seen.last
    assert b"\x1b[2K" not in seen.raw
    assert not seen.bars("epoch 1/3  ━")
    assert len(epochs_of(seen.last)) == (3 if given else 0)
    assert any("written to run" in row for row in seen.last)
    assert any("data: ImageTable" in row for row in seen.last) == bool(given)


def test_ctrl_c_closes_the_line_before_it_says_what_happened(place: Path) -> None:
    typed: list[int] = []

    def interrupt(terminal: Terminal) -> None:
        if not typed and terminal.frames[-1][-1].startswith("epoch 2/"):
            typed.append(1)
            terminal.interrupt()

    flags = ["fit", *FLAGS["segment"], "--trainer.max_epochs", "50", "--run_dir", "run"]
    seen = record(place, "segment", flags, seen=interrupt)
    assert seen.status == 130, seen.last
    said = [row for row in seen.last if row.startswith("interrupted")]
    assert len(said) == 1
    assert not any(row.startswith("epoch ") for row in seen.last[seen.last.index(said[0]) :])
    assert not any(re.match(r"epoch \d+/50  [━╸]", row) for row in seen.last)
    assert seen.cursor


def test_prediction_counts_cases_and_tiles(place: Path) -> None:
    flags = [*FLAGS["segment"], "--run_dir", "run", "--data.patch_size", "32"]
    assert record(place, "segment", ["fit", *flags, "--judge_test", "false"]).status == 0
    words = ["predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "scans/images", "--output", "out"]
    seen = record(place, "segment", [*words, "--data.num_workers", "0", "--data.batch_size", "1"], 100)
    assert seen.status == 0, seen.last
    bars = seen.bars("predicting")
    assert any(re.search(r"\d+/20 cases  \d+/(about )?\d+ tiles", bar) for bar in bars)
    assert not any(row.startswith("predicting") for row in seen.last)


@pytest.mark.slow
def test_folds_draw_on_the_same_terminal(place: Path) -> None:
    words = ["fit", *FLAGS["classify"], "--folds", "2", "--run_dir", "run", "--trainer.max_epochs", "2"]
    seen = record(place, "classify", words, 100)
    assert seen.status == 0, seen.last
    assert any("loss" in bar and "left" in bar for bar in seen.bars("epoch 2/2"))
    assert epochs_of(seen.last) == ["1/2", "2/2", "1/2", "2/2"]
    assert any(re.match(r"fold 0 took .* s, 1 to come: about .* left$", row) for row in seen.last)
    failed = record(place, "classify", [*words[:-1], "3", "--run_dir", "more", "--model.lr", "1e30"], 100)
    assert failed.status == 2
    assert sum(row.startswith("error: ") for row in failed.last) == 1
    assert "error: fold 0: the training loss is" in " ".join(failed.last)
