"""A seeded fuzzer of all readers: damaged files must be refused by name, or read, and nothing else.

    python -m tests.datamodules.readers.fuzzing --count 20000 [--seed 0] [--keep DIR]

Each case is a whole file of :mod:`tests.datamodules.readers.fuzz_seeds` that is damaged as the case's number says, and
read in a process of its own kind: limited to 2 GiB above what it starts with, and killed after 10 seconds of
computing (or five minutes by the clock). A fault is a killed or crashed process, an error that is no ``SuiteError``,
or one that does not name the file in one line. Prints a table and exits with 1 where there are faults; ``--keep`` keeps
their files.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist_files import MedMNISTFile
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.readers import formats
from datamodules.readers.raster import write_png
from datamodules.readers.sizes import image_size
from datamodules.readers.volume import read_grid, read_volume
from datamodules.segmentation.masks import read_label_file
from datamodules.segmentation.volume_pairs import read_description
from scansuite.errors import SuiteError
from tests.datamodules.readers.fuzz_damage import damage
from tests.datamodules.readers.fuzz_seeds import HEIGHT, WIDTH, Seed, make_seeds

MEMORY = 2 << 30
SECONDS = 10
_BY_THE_CLOCK = 300
_SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


class Fault(NamedTuple):
    """What must not happen.

    Attributes:
        case: its number.
        seed: format and suffix of the file it was.
        what: the signal or the error.
    """

    case: int
    seed: str
    what: str


class Report(NamedTuple):
    """What a run found: files by format and how they ended (``read``, ``refused``), the faults, and the peak memory."""

    counts: Counter[tuple[str, str]]
    faults: list[Fault]
    peak: int


def damaged(number: int, seed: int, seeds: list[Seed]) -> tuple[Seed, bytes]:
    """The file of a case."""
    rng = np.random.default_rng([seed, number])
    formats_ = sorted({one.format for one in seeds})
    format_ = formats_[number % len(formats_)]
    same = [one for one in seeds if one.format == format_]
    chosen = same[int(rng.integers(len(same)))]
    return chosen, damage(chosen, seeds, rng)


def run(
    count: int,
    seed: int,
    folder: Path,
    *,
    shared: Path | None = None,
    start: int = 0,
    say: Callable[[Fault], None] = lambda fault: None,
) -> Report:
    """Read ``count`` damaged files.

    Args:
        count: how many.
        seed: of all of them.
        folder: to work in.
        shared: folder of real scans, some of which are damaged too.
        start: number of the first case.
        say: called with each fault as it is found.
    """
    seeds = make_seeds(folder, shared)
    fork = multiprocessing.get_context("fork")
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[Fault] = []
    place, end, peak = start, start + count, 0
    while place < end:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(theirs, place, end, seed, seeds, folder))
        process.start()
        theirs.close()
        while True:
            try:
                message = ours.recv()
            except EOFError:
                break
            number, ending, peak_now = message
            peak = max(peak, peak_now)
            chosen, _ = damaged(number, seed, seeds)
            counts[chosen.format, ending if ending in ("read", "refused") else "fault"] += 1
            if ending not in ("read", "refused"):
                faults.append(Fault(number, f"{chosen.format} {chosen.suffix}", ending))
                say(faults[-1])
            place = number + 1
        process.join()
        code = process.exitcode or 0
        if code:
            chosen, _ = damaged(place, seed, seeds)
            died = signal.Signals(-code).name if code < 0 else f"exit {code}"
            faults.append(Fault(place, f"{chosen.format} {chosen.suffix}", died))
            say(faults[-1])
            counts[chosen.format, "fault"] += 1
            place += 1
    return Report(counts, faults, peak)


def _work(pipe: Any, start: int, end: int, seed: int, seeds: list[Seed], folder: Path) -> None:
    """Read the cases of a worker, and say how each ended."""
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    root = Path(tempfile.mkdtemp(dir=folder))
    for number in range(start, end):
        chosen, data = damaged(number, seed, seeds)
        # Both kill the process, wherever it is.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, _BY_THE_CLOCK)
        ending = read_case(chosen, data, root)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) * 1024
        pipe.send((number, ending, peak))
    pipe.close()
    os._exit(0)


def read_case(seed: Seed, data: bytes, root: Path) -> str:
    """Read a damaged file in all the ways its format is read: ``read``, ``refused``, or what went wrong."""
    file = _put(seed, data, root)
    ending = "read"
    for read in _TARGETS[seed.target]:
        try:
            read(file)
        except SuiteError as error:
            ending = "refused"
            text = str(error)
            if "\n" in text or (file.name not in text and str(root) not in text):
                return f"does not name the file in one line: {text!r}"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}"
    return ending


def _put(seed: Seed, data: bytes, root: Path) -> Path:
    """Write a file to where its target looks for it, with what belongs to it."""
    places = {"voc": "Annotations/a.xml", "yolo": "labels/a.txt", "yolo_yaml": "data.yaml"}
    file = root / seed.target / places.get(seed.target, f"damaged{seed.suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if seed.target in ("voc", "yolo", "yolo_yaml", "coco", "table"):
        top = root / seed.target
        images = {"voc": "JPEGImages", "yolo": "images", "yolo_yaml": "images"}.get(seed.target, ".")
        for name in ("a.png", "b.png"):
            if not (top / images / name).exists():
                (top / images).mkdir(exist_ok=True)
                write_png(top / images / name, np.zeros((HEIGHT, WIDTH), np.uint8))
    if seed.target == "yolo":
        (root / "yolo" / "data.yaml").write_text("names: [cell, nucleus]\ntrain: images\n")
    file.write_bytes(data)
    return file


def _medmnist(file: Path) -> None:
    opened = MedMNISTFile(file, file.parent / "cache")
    opened.hashes()
    for frame in range(min(2, len(opened))):
        opened.image(frame)


_TARGETS: dict[str, tuple[Callable[[Path], object], ...]] = {
    "image": (formats.read, formats.count_frames, image_size, read_label_file),
    "volume": (read_grid, read_volume),
    "medmnist": (_medmnist,),
    "table": (lambda file: ImageTable(str(file.parent), table=file.name).build_table(),),
    "coco": (lambda file: Coco(str(file.parent), annotations=file.name).build_table(),),
    "voc": (lambda file: Voc(str(file.parents[1])).build_table(),),
    "yolo": (lambda file: Yolo(str(file.parents[1])).build_table(),),
    "yolo_yaml": (lambda file: Yolo(str(file.parent)).build_table(),),
    "description": (read_description,),
}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the files of the faults")
    arguments = parser.parse_args()
    shared = _SHARED if _SHARED.is_dir() else None
    with tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(Path(folder), shared)

        def say(fault: Fault) -> None:
            print(f"case {fault.case} ({fault.seed}): {fault.what}", flush=True)
            if arguments.keep is not None:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                chosen, data = damaged(fault.case, arguments.seed, seeds)
                name = re.sub(r"\W+", "_", chosen.format)
                (arguments.keep / f"{fault.case}_{name}{chosen.suffix}").write_bytes(data)

        report = run(arguments.count, arguments.seed, Path(folder), shared=shared, start=arguments.start, say=say)
    print(f"{'format':14s} {'files':>7s} {'refused':>8s} {'read':>7s} {'faults':>7s}")
    for name in sorted({name for name, _ in report.counts}):
        refused, read, fault = (report.counts[name, ending] for ending in ("refused", "read", "fault"))
        print(f"{name:14s} {refused + read + fault:7d} {refused:8d} {read:7d} {fault:7d}")
    total = sum(report.counts.values())
    print(f"{total} files, {len(report.faults)} faults, at most {report.peak / 2**20:.0f} MiB above the start")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
