"""Cases that have several files or rows of a table, and slices of volumes as cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.cases.table import CaseTable, table_of_images
from scansuite.errors import SuiteError


def join_rows(frame: pd.DataFrame, of_case: Sequence[str], where: str) -> CaseTable:
    """Rows with one ``case_id`` become one case with their images, in the table's order.

    Args:
        frame: one row an image: ``path``, perhaps ``case_id``, and any further column. Where the rows of a case differ
            in a further column its cell is empty: it is not of the case.
        of_case: columns in which the rows of a case must agree.
        where: the table's file, for messages.

    Raises:
        SuiteError: the rows of a case differ in such a column, or name an image twice.
    """
    if "case_id" not in frame or frame["case_id"].isna().any():
        return table_of_images(frame, where=Path(where))  # names a row without a name
    frame = frame.reset_index(drop=True)
    by_case = frame.groupby("case_id", sort=False)
    differs = by_case.nunique(dropna=False) > 1
    for column in [name for name in of_case if name in differs]:
        torn = differs.index[differs[column]]
        if len(torn):
            values = frame[column][frame["case_id"] == torn[0]]
            other = values.index[~(values.isna() if pd.isna(values.iloc[0]) else values == values.iloc[0])][0]
            raise SuiteError(
                f"{where}: the rows of case_id {torn[0]!r} differ in column {column!r} ({values.iloc[0]} in row "
                f"{values.index[0] + 1}, {values[other]} in row {other + 1}): give all its rows the same"
            )
    twice = frame.index[frame.duplicated(["case_id", "path"])]
    if len(twice):
        row = frame.loc[twice[0]]
        raise SuiteError(
            f"{where}: {row['path']} is duplicated in case_id {row['case_id']!r} (again in row {twice[0] + 1}): "
            "drop one"
        )
    number = by_case.ngroup().to_numpy()
    cases = frame[~frame["case_id"].duplicated()].reset_index(drop=True)
    further = [name for name in frame.columns if name not in ("path", "case_id") and differs[name].any()]
    cases = cases.assign(**{name: cases[name].mask(differs[name].to_numpy()) for name in further})
    order = np.argsort(number, kind="stable")
    images = pd.DataFrame({"case": number[order], "path": frame["path"].astype("str").to_numpy()[order], "frame": -1})
    return replace(table_of_images(cases), images=images)


def join_files(rows: Sequence[Mapping[str, Any]]) -> CaseTable:
    """Files to cases: those of one folder, or the rows of a table with one ``case_id``.

    Args:
        rows: one a file: ``path``, ``case_id``, and ``group``: what the files of a case have in common and how the case
            is called, or None for a file that is a case by itself.
    """
    members: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        members.setdefault(row["group"] or (row["path"], row["case_id"]), []).append(row["path"])
    shown = pd.Series([name for _, name in members])
    # Two folders with equal names: their paths tell them apart.
    names = shown.mask(shown.duplicated(keep=False), pd.Series([key for key, _ in members]))
    table = table_of_images(pd.DataFrame({"path": [paths[0] for paths in members.values()], "case_id": names}))
    images = [(case, path) for case, paths in enumerate(members.values()) for path in dict.fromkeys(paths)]
    return replace(table, images=pd.DataFrame(images, columns=["case", "path"]).assign(frame=-1))


def with_slices(table: CaseTable, counts: Sequence[int], *, joined: bool) -> CaseTable:
    """Take the slices of volumes for the images.

    Args:
        table: its images are volumes.
        counts: slices of each of them.
        joined: the slices of a case stay together; else each becomes a case, named ``<case_id>/<slice>``.

    Returns:
        A table whose ``images`` have a column ``volume``: row number in the images of the given one.
    """
    volume = np.repeat(np.arange(len(counts)), counts)
    images = pd.DataFrame(
        {
            "case": table.images["case"].to_numpy()[volume],
            "path": table.images["path"].to_numpy()[volume],
            "frame": np.concatenate([np.arange(count) for count in counts]),
            "volume": volume,
        }
    )
    if joined:
        return replace(table, images=images)
    cases = table.cases.iloc[images["case"]].reset_index(drop=True)
    names = [slice_name(case, index) for case, index in zip(cases["case_id"], images["frame"], strict=True)]
    images["case"] = np.arange(len(images))
    return replace(table, cases=cases.assign(case_id=pd.Series(names, dtype="str")), images=images)


def slice_name(case_id: str, index: int) -> str:
    """The case id of a slice that is evaluated for itself."""
    return f"{case_id}/{index:04d}"
