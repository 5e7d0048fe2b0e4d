"""What ``import scansuite`` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import scansuite
from scansuite.errors import SuiteError
from tasks.registry.specs import SPECS, spec_of

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pytorch_lightning", "pandas", "numpy", "scansuite.front_door")


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_the_import_brings_nothing_heavy() -> None:
    names = f"import sys, scansuite; dir(scansuite); print(sorted(set({HEAVY}) & set(sys.modules)))"
    assert run(names) == "[]"
    assert run(f"{names[:-1]}, scansuite.__version__, scansuite.SuiteError)").startswith("[] ")
    assert "'torch'" in run(f"import sys, scansuite; scansuite.Volumes; print(sorted(set({HEAVY}) & set(sys.modules)))")


def test_every_name_is_there() -> None:
    assert dir(scansuite) == sorted(scansuite.__all__)
    for name in scansuite.__all__:
        assert getattr(scansuite, name) is getattr(scansuite, name)
    assert scansuite.SuiteError is SuiteError


def test_every_task_and_data_class_of_the_command_line_has_a_name() -> None:
    offered = {getattr(scansuite, name) for name in scansuite.__all__ if name != "__version__"}
    for task in SPECS:
        spec = spec_of(task)
        assert {spec.task_class(), *spec.data_classes().values()} <= offered


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'SegmentationTsk': did you mean 'SegmentationTask'\?"):
        scansuite.SegmentationTsk  # type: ignore[attr-defined]  # noqa: B018
