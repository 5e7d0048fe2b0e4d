"""A large table costs few bytes a row, and loader processes share what it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.scale import SIDE, in_process, make_set

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read where Linux says it")


def test_the_images_are_images(tmp_path: Path) -> None:
    make_set(tmp_path, 1003)
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 1003
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "table.parquet"), check_dtype=False)
    image = np.asarray(Image.open(tmp_path / table["path"].iloc[-1]))
    assert image.shape == (SIDE, SIDE)
    assert len(np.unique(image)) > SIDE


@pytest.mark.slow
@linux
def test_rows_take_few_bytes_and_loader_processes_share_them(tmp_path: Path) -> None:
    used = {}
    for rows in (5_000, 50_000):
        root = tmp_path / str(rows)
        root.mkdir()
        make_set(root, rows)
        in_process(root, "table.csv", 2, check_files=True)
        used[rows] = in_process(root, "table.csv", 4, check_files=True)
    small, large = used[5_000], used[50_000]
    # Of a million rows this would be 1.5 GiB, beside what the imports take.
    assert (large["peak"] - small["peak"]) * 2**20 / 45_000 < 1600
    assert large["worker"] < 0.1 * large["before"]
    assert large["worker"] - small["worker"] < 5
