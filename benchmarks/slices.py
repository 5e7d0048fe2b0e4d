"""Benchmark of reading a slice of a volume: straight from nibabel, from the suite's cache, and as a whole sample.

    python -m benchmarks.slices [--shape 160 160 120]

A compressed NIfTI volume, axial slices at random. From nibabel each slice is a read of its part of the file
(``dataobj[..., k]``), which has to decompress what lies before it, as in a data set that opens its files anew each
time; the cache is memory-mapped. Medians over ``--reads`` reads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from datamodules.caching.cache import VolumeCache
from datamodules.segmentation.volumes import Volumes


def median_ms(read: Callable[[int], object], slices: int, reads: int) -> float:
    """Median milliseconds of reading a slice."""
    rng = np.random.default_rng(0)
    times = []
    for index in rng.integers(0, slices, reads):
        start = time.perf_counter()
        read(int(index))
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(160, 160, 120), help="voxels of the volume")
    parser.add_argument("--reads", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        files = []
        for case in range(8):
            image = rng.normal(100, 30, arguments.shape).astype(np.int16)
            for name, array in (("imagesTr", image), ("labelsTr", (image > 120).astype(np.uint8))):
                file = root / name / f"v{case}.nii.gz"
                file.parent.mkdir(exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), file)
            files.append(root / "imagesTr" / f"v{case}.nii.gz")
        data = Volumes(folder, cache_dir=str(root / "cache"), window="0:400", image_size=list(arguments.shape[:2]))
        dataset = data.dataset(data.rows("train"))
        cache = VolumeCache(root / "plain")
        mapped = cache.get(files[0], {}, lambda: np.moveaxis(np.asarray(nibabel.load(files[0]).dataobj), 2, 0))
        rows = {
            "nibabel, file opened anew": lambda index: np.asarray(nibabel.load(files[0]).dataobj[..., index]),
            "cache: memory-mapped slice": lambda index: np.array(mapped[index]),
            "data class: scan as stored": data.read,
            "data set: image and mask, ready": lambda index: dataset[index],
        }
        print(f"volume {' x '.join(map(str, arguments.shape))} int16, median of {arguments.reads} reads")
        for name, read in rows.items():
            print(f"{name:36s} {median_ms(read, arguments.shape[2], arguments.reads):8.4f} ms")


if __name__ == "__main__":
    main()
