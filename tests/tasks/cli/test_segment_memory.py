"""Memory of ``predict`` stays flat, however many volumes there are and however large an image is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datamodules.volumes_on_disk import write_nifti
from tests.tasks.cli.test_segment import TINY_UNET, draw_cells, draw_volumes

ROOT = Path(__file__).resolve().parents[3]
# The highest resident size of the process and of its loader processes, on the last line.
MEASURED = """
import resource, sys
from tasks.cli.main import main
status = main("segment", sys.argv[1:])
print("peak", max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
sys.exit(status)
"""


def peak(folder: Path, *words: object) -> int:
    """MiB that ``python -m tasks.segment`` took at most."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SCANSUITE_CACHE": str(folder / "c")}
    command = [sys.executable, "-c", MEASURED, *(str(word) for word in words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = re.findall(r"^peak (\d+)$", done.stdout, re.MULTILINE)
    return int(found[-1]) // 1024


@pytest.mark.slow
def test_two_hundred_volumes_take_no_more_than_ten(tmp_path: Path) -> None:
    draw_volumes(tmp_path / "volumes")
    volumes = ["--data", "Volumes", "--data.root", "volumes", "--data.image_size", "64"]
    peak(tmp_path, "fit", *volumes, *TINY_UNET, "--run_dir", "run")
    rng = np.random.default_rng(0)
    for case in range(200):
        image = rng.normal(100, 20, (96, 96, 48)).astype(np.int16)
        for folder in ("many", "few")[: 1 + (case < 10)]:
            write_nifti(tmp_path / folder / f"v{case:03d}.nii.gz", image)
    model = ["--ckpt_path", "run/checkpoints/last.ckpt"]
    few = peak(tmp_path, "predict", *model, "--input", "few", "--output", "out_few")
    many = peak(tmp_path, "predict", *model, "--input", "many", "--output", "out_many")
    print(f"10 volumes: {few} MiB; 200 volumes: {many} MiB")
    assert len(list((tmp_path / "out_many/masks").glob("*.nii.gz"))) == 200
    # One image takes 0.9 MiB; the allocator's pools, left to themselves, grow by 70.
    assert many < few + 15


@pytest.mark.slow
def test_a_slide_goes_through_in_tiles(tmp_path: Path) -> None:
    draw_cells(tmp_path / "scans", size=(75, 90))
    flat = ["--data", "MaskFolder", "--data.root", "scans", "--data.patch_size", "64"]
    peak(tmp_path, "fit", *flat, *TINY_UNET, "--run_dir", "run", "--model.overlap", "0.1", "--model.window", "512")
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 256, (1000, 1000), dtype=np.uint8)
    Image.fromarray(tile[:520, :520]).save(tmp_path / "small/one.png")
    Image.fromarray(np.tile(tile, (10, 10))).save(tmp_path / "large/slide.png")
    model = ["--ckpt_path", "run/checkpoints/last.ckpt", "--data.num_workers", "0"]
    small = peak(tmp_path, "predict", *model, "--input", "small", "--output", "out_small")
    large = peak(tmp_path, "predict", *model, "--input", "large", "--output", "out_large")
    print(f"520 x 520: {small} MiB; 10,000 x 10,000: {large} MiB")
    Image.MAX_IMAGE_PIXELS = None
    assert Image.open(tmp_path / "out_large/masks/slide.png").size == (10_000, 10_000)
    assert pd.read_csv(tmp_path / "out_large/predictions.csv")["pixels"].notna().all()
    assert large < small + 2048
