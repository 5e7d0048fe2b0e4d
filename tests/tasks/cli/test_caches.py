"""`--data.cache` and `--data.scratch` on the command line: the same run, other places that images come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.caching import image_cache
from datamodules.loading import caches
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line


def words(root: Path, cache: Path, run_dir: str, *more: str) -> list[str]:
    data = ["--data", "ImageTable", "--data.root", str(root), *KINDS["binary"], "--data.cache_dir", str(cache)]
    return ["fit", *data, "--run_dir", run_dir, *TINY, "--model.schedule", "constant", *more]


def result(run_dir: str) -> tuple[dict[str, Any], Any]:
    """Weights and metrics."""
    checkpoint = torch.load(Path(run_dir) / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"], json.loads((Path(run_dir) / "metrics.json").read_text())


def test_the_run_is_the_same_from_disk_and_scratch_and_goes_on_and_is_evaluated(
    run: Run, table_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST", str(tmp_path / "fast"))
    cache = tmp_path / "cache"
    flags = {"plain": [], "disk": ["--data.cache", "disk"]}
    flags["scratch"] = [*flags["disk"], "--data.scratch", "$FAST", "--data.keep_scratch", "true"]
    results = {}
    for name, more in flags.items():
        status, _, err = run(*words(table_root, cache, name, *more))
        assert status == 0, err
        results[name] = result(name)
        told = [line for line in err.splitlines() if "--data.cache disk" in line]
        assert any("written to" in line for line in told) == (name == "disk")
        assert any("ready in" in line for line in told) == (name == "scratch")
    for weights, metrics in results.values():
        assert metrics == results["plain"][1]
        assert all(torch.equal(value, results["plain"][0][key]) for key, value in weights.items())
    files = sorted(file.name for file in (cache / "images").rglob("*.arrow"))
    assert files
    assert {file.name for file in (tmp_path / "fast").rglob("*.arrow")} <= set(files)

    monkeypatch.delenv("FAST")
    status, _, err = run("test", "--ckpt_path", "scratch/checkpoints/best.ckpt", "--run_dir", "again")
    assert status == 0, err
    assert err.count("$FAST is not set here") == 1
    again = json.loads(Path("again/metrics.json").read_text())
    assert {name: again[name] for name in again if name.startswith("test/")} == {
        name: value for name, value in results["plain"][1].items() if name.startswith("test/")
    }
    longer = ["--ckpt_path", "last", "--trainer.max_epochs", "2"]
    status, _, err = run(*words(table_root, cache, "disk", *flags["disk"], *longer))
    assert status == 0, err
    assert sorted(file.name for file in (cache / "images").rglob("*.arrow")) == files


def test_a_full_disk_is_one_line(run: Run, table_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache.ImageCache, "room", lambda self: 1000)
    status, _, err = run(*words(table_root, tmp_path / "cache", "run", "--data.cache", "disk"))
    assert status == 2
    line = one_line(err)
    assert str(tmp_path / "cache" / "images") in line
    assert "the disk is full" in line
    assert "--data.cache_dir" in line
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_auto_says_what_it_takes_and_another_word_is_refused(
    run: Run, table_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "_NOTHING", 0.0)
    status, _, err = run(*words(table_root, tmp_path / "cache", "run", "--data.cache", "auto"))
    assert status == 0, err
    assert "--data.cache auto: memory for the " in err
    status, _, err = run(*words(table_root, tmp_path / "cache", "other", "--data.cache", "tape"))
    assert status == 2
    assert "--data.cache" in one_line(err)
