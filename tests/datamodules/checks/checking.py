"""A check of a data module in this process, as a table of findings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datamodules.base import ScanDataModule
from datamodules.checks.page import write_page
from datamodules.checks.run import check
from datamodules.checks.store import FindingStore


def findings(data: ScanDataModule, output: Path, workers: int = 0, seconds: float = 120.0) -> pd.DataFrame:
    """``check.csv`` of a data module; ``check.html`` lies beside it in ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    with (
        FindingStore(output) as store,
        check(data, store, output, workers, lambda done, total: None, seconds) as survey,
    ):
        store.write(output / "check.csv", survey.cases())
        write_page(output / "check.html", survey, store)
    assert not list(output.glob(".*")), "scratch files are left"
    return pd.read_csv(output / "check.csv", keep_default_na=False, dtype="str")


def errors(found: pd.DataFrame) -> set[tuple[str, str]]:
    """(kind, case or path) of the errors."""
    return pairs(found[found["severity"] == "error"])


def pairs(found: pd.DataFrame) -> set[tuple[str, str]]:
    """(kind, case or path) of findings."""
    return {
        (str(kind), str(case or path))
        for kind, case, path in zip(found["kind"], found["case_id"], found["path"], strict=True)
    }
