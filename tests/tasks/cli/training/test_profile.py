"""``fit --profile true`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line


def test_the_profile_is_printed_and_written(run: Run, table_root: Path) -> None:
    flags = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], *TINY, "--data.batch_size", "8"]
    status, out, err = run("fit", *flags, "--run_dir", "run", "--profile", "true", "--model.ema", "0.9")
    assert status == 0, err
    written = Path("run/profile.txt").read_text()
    assert written in out
    assert "data wait" in written
    assert "advice: " in written
    assert json.loads(Path("run/profile.json").read_text())["settings"]["batch_size"] == 8
    assert "profile" not in yaml.safe_load(Path("run/config.yaml").read_text())
    status, out, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", "--trainer.max_steps", "-1")
    assert status == 0, err
    assert "advice" not in out


def test_a_profile_is_asked_for_with_true(run: Run) -> None:
    status, _, err = run("fit", *TINY, "--profile", "perhaps")
    assert status == 2
    assert "--profile perhaps: expected true or false" in one_line(err)
    assert not Path("runs").exists()


def test_one_profiler_at_a_time(run: Run) -> None:
    status, _, err = run("fit", *TINY, "--profile", "true", "--trainer.profiler", "simple")
    assert status == 2
    assert "--profile true with --trainer.profiler: give one of the two" in one_line(err)
    assert not Path("runs").exists()
