"""Runs notebooks, and the examples of a page, each in a process and a namespace of its own.

    python tests/docs/run_examples.py FOLDER FILE [FILE ...]

FOLDER gets a folder for each example, in which it runs and to which its pictures are written. What a cell's last line
evaluates to is printed, as a notebook would show it. The processes are forked from this one, so that the libraries are
imported once.
"""

from __future__ import annotations

import ast
import json
import multiprocessing
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and cells of each example in a file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        yield file.stem, ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    else:
        for number, block in enumerate(_BLOCK.findall(text)):
            yield f"{file.stem}_{number}", [block]


def run(cells: list[str], folder: Path) -> None:
    """Run the cells one after the other, and keep the pictures that are open after each."""
    import matplotlib.pyplot as plt

    folder.mkdir()
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        tree = ast.parse(cell)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        try:
            exec(compile(tree, f"<cell {number}>", "exec"), namespace)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), namespace)
                if value is not None:
                    print(f"[{number}]", repr(value), flush=True)
        except BaseException:
            print(cell, flush=True)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        for figure in plt.get_fignums():
            plt.figure(figure).savefig(f"cell_{number}_{figure}.png", dpi=70)
        plt.close("all")
    sys.stdout.flush()


def main(output: Path, files: list[Path]) -> int:
    """How many examples failed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import pytorch_lightning  # noqa: F401 - imported before the fork
    import timm  # noqa: F401

    import tasks.classify.task
    import tasks.detect.task
    import tasks.segment.task  # noqa: F401

    fork = multiprocessing.get_context("fork")
    failed = 0
    for file in files:
        for name, cells in examples(file):
            process = fork.Process(target=run, args=(cells, output / name))
            process.start()
            process.join()
            failed += process.exitcode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), [Path(name) for name in sys.argv[2:]]))
