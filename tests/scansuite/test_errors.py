"""Line and kind of an error, also behind processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from datamodules.caching.cache import CacheError
from datamodules.faults import report_fault
from datamodules.preprocess import Preprocess
from datamodules.readers.volume import Grid, check_same_grid
from datamodules.samples.label_values import label_values
from datamodules.segmentation.masks import Palette
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError, from_worker


class Broken(Dataset[int]):
    """A data set whose samples raise what they are given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise self.error


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("kind", ["", "not_finite"])
@pytest.mark.parametrize("made", [SuiteError, CacheError])
def test_a_loader_process_keeps_class_line_and_kind(made: type[SuiteError], kind: str) -> None:
    loader = DataLoader(Broken(made("scans: of kind: x.png: NaN: mend it", kind=kind)), num_workers=1)
    with pytest.raises(SuiteError) as caught:
        next(iter(loader))
    assert type(caught.value) is made
    assert (str(caught.value), caught.value.kind) == ("scans: of kind: x.png: NaN: mend it", kind)


def test_an_error_raised_from_another_keeps_its_own_line() -> None:
    error = SuiteError("outer", kind="grid_mismatch")
    error.__cause__ = SuiteError("inner", kind="not_finite")
    with pytest.raises(SuiteError) as caught:
        next(iter(DataLoader(Broken(error), num_workers=1)))
    assert (str(caught.value), caught.value.kind) == ("outer", "grid_mismatch")


def test_processes_and_pickle_keep_line_and_kind() -> None:
    error = SuiteError("x.png: bad", kind="unknown_value")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.kind) == ("x.png: bad", "unknown_value")
    assert again.__notes__ == ["kind: unknown_value"]
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool, pytest.raises(SuiteError) as caught:
        pool.submit(raised, again).result()
    assert (str(caught.value), caught.value.kind) == ("x.png: bad", "unknown_value")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Caught SuiteError in DataLoader worker process 0.\nTraceback ...\nscansuite.errors.SuiteError: x.png: bad",
         ("x.png: bad", "")),
        ("x.png: bad", ("x.png: bad", "")),
        ("Caught in the act", ("Caught in the act", "")),
    ],
)  # fmt: skip
def test_what_torch_makes_of_an_error(text: str, line: tuple[str, str]) -> None:
    assert from_worker(text) == line
    error = SuiteError(text)
    assert (str(error), error.kind) == line


def test_places_that_raise_name_the_kind() -> None:
    grid = Grid("a.nii", (2, 2, 2), np.eye(4), None)
    other = Grid("b.nii", (2, 2, 3), np.eye(4), None)
    palette = Palette(("background", "vessel"), ((0, 0, 0), (255, 255, 255)))
    values = label_values(["background", "vessel"])
    image = Scan(np.full((2, 2), np.nan, np.float32), ScanInfo(path="x.tif"))
    places: dict[str, list[Callable[[], object]]] = {
        "grid_mismatch": [lambda: check_same_grid(grid, other)],
        "unknown_value": [
            lambda: palette.read(np.full((2, 2), 7, np.uint8), "m.png"),
            lambda: values.read(np.full((2, 2), 7, np.uint8), "m.png"),
            lambda: values.read(np.full((2, 2), 0.5), "m.png"),
        ],
        "not_finite": [lambda: Preprocess(value_range=(0, 1))(image)],
        "split": [lambda: report_fault("split", "no part")],
    }
    for kind, several in places.items():
        for place in several:
            with pytest.raises(SuiteError) as caught:
                place()
            assert caught.value.kind == kind
