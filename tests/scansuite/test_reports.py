from __future__ import annotations

from pathlib import Path

import pytest

import scansuite
from scansuite import SuiteError
from tests.tasks.evaluation.run_folders import write_binary_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_binary_run(tmp_path_factory.mktemp("runs") / "mine", patients=20)


def test_a_report_from_python(folder: Path, tmp_path: Path) -> None:
    run = scansuite.read_run(folder)
    assert run.parts == ["val", "test"]
    files = scansuite.report(run, tmp_path / "mine.html", split="val", paper="latex")
    assert files[0] == tmp_path / "mine.html"
    assert (tmp_path / "mine" / "results_main.tex").is_file()
    assert all(file.is_file() for file in files)


def test_several_runs_are_compared(folder: Path, tmp_path: Path) -> None:
    scansuite.report([folder, scansuite.read_run(folder)], tmp_path / "both.html", margin=0.1)
    assert "Comparison" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_mistakes_are_one_line(folder: Path, tmp_path: Path) -> None:
    for runs, output, settings, line in (
        (folder, "a.html", {"subgroup": ["sex"]}, "did you mean 'subgroups'"),
        (folder, "a.pdf", {}, "the page is HTML"),
        ([], "a.html", {}, "name the folder of a run"),
        (tmp_path / "nowhere", "a.html", {}, "no such file"),
    ):
        with pytest.raises(SuiteError, match=line):
            scansuite.report(runs, tmp_path / output, **settings)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
