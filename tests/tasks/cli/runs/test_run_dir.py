"""One folder for all ranks: the first takes it, the others wait until it has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.cli.runs import run_dir
from tasks.cli.runs.running import claim, release


def test_other_ranks_wait_until_the_first_has_taken_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(run_dir.SHARED, raising=False)
    monkeypatch.setenv("RANK", "1")
    asked = tmp_path / "run"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run_dir.take_run_dir, "classify", str(asked))
        with pytest.raises(TimeoutError):
            other.result(0.3)
        assert not asked.exists()  # a rank that made it would have the first refuse it
        claim(asked, "--run_dir", "run it again", fresh=True)
        try:
            assert other.result(10) == asked
        finally:
            release()


def test_a_first_rank_that_never_takes_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(run_dir.SHARED, raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(run_dir, "_LONGEST", 0)
    with pytest.raises(SuiteError, match="rank 0 did not take it"):
        run_dir.take_run_dir("classify", str(tmp_path / "run"))
