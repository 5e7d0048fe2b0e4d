"""The gallery of several runs together, such as folds, of the pictures that each of them left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.evaluation.evaluated import read_evaluated
from tasks.evaluation.gallery.choice import choose_cases
from tasks.evaluation.gallery.measures import case_measures
from tasks.evaluation.gallery.store import CasePicture, read_gallery, write_gallery


def pool_galleries(run_dir: Path, folders: Sequence[Path], split: str) -> None:
    """Choose among the cases of several runs, by their tables together, and copy their pictures.

    The worst of all is the worst of its own run, and so are best and most uncertain: they have their pictures. Typical
    is the nearest to the common median of those that have one.

    Args:
        run_dir: with the tables of all together.
        folders: run folders with a gallery of the part; none = there will be none here.
        split: the part.

    Raises:
        SuiteError: a table is damaged, or the folder cannot be written to.
    """
    pictures: dict[str, CasePicture] = {one.case_id: one for folder in folders for one in read_gallery(folder, split)}
    if not pictures:
        return
    tables = read_evaluated(run_dir).part(split)
    there = tables.cases["case_id"].isin(pictures).to_numpy(dtype=bool)
    chosen = choose_cases(case_measures(tables), tables.patients, there)
    ids = [str(case) for case in tables.cases["case_id"]]
    write_gallery(run_dir, split, [replace(pictures[ids[one.row]], kinds=one.kinds) for one in chosen])
