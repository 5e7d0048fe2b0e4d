"""`fit --compile` as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.tasks.cli.conftest import KINDS, TINY, Run


def fit(run: Run, root: Path, *more: str) -> tuple[int, str, str]:
    words = ("--data", "ImageTable", "--data.root", root, "--run_dir", "run", *KINDS["binary"], *TINY)
    return run("fit", *words, *more)


def plain(forward: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """In the place of ``torch.compile``, which is slow."""
    return forward


def broken(forward: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    def compiled(*inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    return compiled


@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        (plain, "classify with test_resnet compiled (default) in"),
        (broken, "classify with test_resnet cannot be compiled (RuntimeError: no C++ compiler): it trains without"),
    ],
)
def test_it_is_said_what_was_compiled(
    compiler: Any, words: str, run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", compiler)
    status, _, err = fit(run, table_root, "--compile", "default")
    assert status == 0, err
    assert words in err
    assert "Traceback" not in err
    assert yaml.safe_load(Path("run/config.yaml").read_text())["compile"] == "default"
    names = torch.load("run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert not any("_orig_mod" in name for name in names)


def test_by_default_a_cpu_compiles_nothing(run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *args, **options: pytest.fail("compiled"))
    status, _, err = fit(run, table_root)
    assert status == 0, err
    assert "--compile" not in err


def test_an_unknown_mode_is_named_before_anything_is_written(run: Run, table_root: Path) -> None:
    status, _, err = fit(run, table_root, "--compile", "fast")
    assert status == 2
    assert "--compile" in err
    assert "reduce-overhead" in err
    assert "Traceback" not in err
    assert not Path("run").exists()
