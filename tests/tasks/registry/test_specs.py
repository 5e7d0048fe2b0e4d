"""The list of tasks: what it says is there, and is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.flags import init_parameters
from tasks.ensemble import Ensemble
from tasks.registry.specs import SPECS, spec_of, task_names
from tasks.running.evaluator import Evaluator
from tasks.running.inference import Inference

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", SPECS)
def test_what_a_spec_names_is_there(name: str) -> None:
    spec = spec_of(name)
    assert spec.name == spec.task_class().name == name
    assert issubclass(spec.task_class(), Task)
    assert issubclass(spec.evaluator_class(), Evaluator)
    assert issubclass(spec.inference_class(), Inference)
    assert issubclass(spec.ensemble_class(), Ensemble)
    base = spec.data_base_class()
    assert issubclass(base, ScanDataModule)
    assert all(issubclass(cls, base) for cls in spec.data_classes().values())
    assert spec.data_names()[0] == "Phantoms"  # taken without --data: needs no files
    assert spec.program == f"python -m tasks.{name}"


def test_links_follow_flags_of_the_model_to_arguments_of_the_data() -> None:
    for spec in map(spec_of, SPECS):
        for link in spec.task_class().links:
            assert link.model in init_parameters(spec.task_class())
            assert all(link.data in init_parameters(cls) for cls in spec.data_classes().values())


def test_no_task_is_imported_for_the_list() -> None:
    code = (
        "import sys; from tasks.registry.specs import spec_of, task_names; [spec_of(name) for name in task_names()]\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'pytorch_lightning'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_unknown_task_is_named() -> None:
    assert task_names()[:3] == list(SPECS)
    with pytest.raises(SuiteError, match="unknown task 'clasify': did you mean 'classify'"):
        spec_of("clasify")
