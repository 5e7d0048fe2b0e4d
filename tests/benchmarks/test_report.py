from __future__ import annotations

import pytest

from benchmarks import planted, report


@pytest.mark.slow
def test_reports_of_all_tasks_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["--rows", "1000"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["classify", "1000"], ["segment", "1000"], ["detect", "1000"]]
    assert all(float(line.split()[3]) < 2 for line in lines[1:])  # GiB


@pytest.mark.slow
def test_planted_faults_are_flagged_and_fair_runs_are_not() -> None:
    fair = planted.count("fair", 10, 300)
    assert fair["any"] <= 2
    for fault, (_, _, section) in planted.FAULTS.items():
        if section:
            assert planted.count(fault, 3, 300)[section] == 3, fault
    assert planted.compared(0, 300, better=True)
