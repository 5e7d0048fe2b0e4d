"""Facts of every network that can be a backbone, for the verb ``list``.

    python -m benchmarks.networks

Builds each network of the installed timm on the meta device (no weights, no download; some ten minutes) and writes
``configs/networks.csv``. Run it after an upgrade of timm, and ``python -m benchmarks.matrix`` after it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import timm

from backbones.catalogue import Facts, facts_of, families

OUTPUT = Path(__file__).resolve().parents[1] / "configs" / "networks.csv"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Facts._fields, "timm"])
        for family, names in families().items():
            print(family, len(names), file=sys.stderr, flush=True)
            for name in names:
                try:
                    facts = facts_of(family, name)
                except Exception as error:  # a thousand networks raise all there is
                    print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                    continue
                height, width = facts.size
                row = facts._replace(strides=" ".join(map(str, facts.strides)), size=f"{height}x{width}")  # type: ignore[arg-type]
                writer.writerow([*row, timm.__version__])
            file.flush()


if __name__ == "__main__":
    main()
