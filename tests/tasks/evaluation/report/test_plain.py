from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import PValue, Section, Table
from tasks.evaluation.report.plain import (
    paper_table,
    report_json,
    table_frame,
    write_csv_tables,
    write_paper_tables,
    write_report_json,
)

AUROC = MetricValue(0.92149, 0.8384, 0.9636, 50, patients=40)
TABLE = Table(
    "main",
    "Results of a_b & <c>",
    ("metric", "value", "n", "p", "meaning"),
    [
        ("AUROC", AUROC, 50, PValue(0.01, 0.04), "chance"),
        ("R²_x | y%", MetricValue(math.nan, math.nan, math.nan, 0), 0, None, ""),
    ],
    note="By patient.",
)
SECTION = Section("results", "Results", ["Good."], flags=["Beware."], parts=[TABLE], figures={"a": AUROC, "b": np.nan})


def test_a_table_file_has_a_column_for_each_end_of_an_interval(tmp_path: Path) -> None:
    (file,) = write_csv_tables(tmp_path / "tables", [SECTION])
    read = pd.read_csv(file)
    assert file.name == "results_main.csv"
    assert list(read.columns) == ["metric", "value", "value_low", "value_high", "n", "p", "p_adjusted", "meaning"]
    assert list(read[["value", "value_low", "value_high"]].iloc[0]) == [AUROC.value, AUROC.low, AUROC.high]
    assert table_frame(TABLE)["p_adjusted"].tolist()[0] == 0.04


def test_json_holds_the_figures_and_has_no_nan(tmp_path: Path) -> None:
    content = report_json([("Task", "x")], ["Good."], [SECTION])
    write_report_json(tmp_path / "report.json", content)
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["flags"] == [{"section": "results", "flag": "Beware."}]
    own = read["sections"]["results"]
    assert own["figures"]["a"]["value"] == AUROC.value
    assert own["figures"]["b"] is None
    assert own["tables"]["main"][0]["value"]["patients"] == 40
    assert own["tables"]["main"][1]["value"]["value"] is None


def test_a_paper_table_reads_like_the_page_and_is_escaped(tmp_path: Path) -> None:
    latex, markdown = paper_table(TABLE, "latex"), paper_table(TABLE, "markdown")
    for text in (latex, markdown):
        assert "0.921 (0.838 to 0.964)" in text
        assert "chance" not in text  # no room for meanings
    assert r"Results of a\_b \& \textless{}c\textgreater{}" in latex
    assert r"R\textsuperscript{2}\_x | y\% & undefined & 0 &  \\" in latex
    assert r"| R²\_x \| y% | undefined | 0 |  |" in markdown
    files = write_paper_tables(tmp_path / "paper", [SECTION], "latex")
    assert [file.name for file in files] == ["results_main.tex"]
