"""What runs beside an exported model imports nothing that trains or evaluates one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suite_files import Closure, closure_of, entries_of, modules_in

ROOT = Path(__file__).resolve().parents[2]
# What finds, reads, preprocesses and cuts inputs, whether the runner uses it already or not.
INPUTS = (
    "datamodules.input_cases",
    "datamodules.classification.bag_images",
    "datamodules.loading.case_pieces",
    "datamodules.samples.picture",
    "datamodules.segmentation.volume_inputs",
)
HEAVY = (
    *("torch", "torchvision", "pytorch_lightning", "lightning", "timm", "segmentation_models_pytorch"),
    *("albumentations", "torchmetrics", "tensorboard", "jsonargparse"),
)
CHARTS = ("matplotlib", "sklearn", "jinja2", "rich")  # what a report and the terminal need


@pytest.fixture(scope="module")
def closure() -> Closure:
    return closure_of(ROOT, (*entries_of(), *INPUTS))


def test_nothing_that_trains_or_draws_charts_comes_along(closure: Closure) -> None:
    """Nor by an import that waits inside a function."""
    assert {name: who for name, who in closure.outside.items() if name in (*HEAVY, *CHARTS)} == {}


@pytest.mark.parametrize("package", ["tasks.exported", "tasks.deployment"])
def test_what_ships_needs_nothing_that_trains(package: str) -> None:
    found = closure_of(ROOT, modules_in(ROOT, package))
    assert {name: who for name, who in found.outside.items() if name in HEAVY} == {}


def test_every_reader_comes_along(closure: Closure) -> None:
    """They are named in strings, and imported when a file asks for them."""
    assert {f"datamodules.readers.{name}" for name in ("raster", "tiff", "nifti", "itk", "dicom.image")} <= set(
        closure.modules
    )


def test_the_closure_sees_imports_inside_functions_and_not_those_for_types(tmp_path: Path) -> None:
    for name, text in {
        "scansuite/__init__.py": "",
        "tasks/__init__.py": "",
        "tasks/one.py": """from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import torch
    import tasks.three
else:
    import numpy

def late():
    from tasks import two
""",
        "tasks/two.py": "import scipy.ndimage\nimport sys\n",
        "tasks/three.py": "import pandas\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    found = closure_of(tmp_path, ("tasks.one",))
    assert list(found.modules) == ["tasks", "tasks.one", "tasks.two"]
    outside = {name: who for name, who in found.outside.items() if name not in sys.stdlib_module_names}
    assert outside == {"numpy": ["tasks.one"], "scipy": ["tasks.two"]}
