"""A crafted checkpoint goes in through every public door, and nothing in it runs (CVE-2026-24747, CVE-2026-58659)."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.pyramid import Backbone
from backbones.weights import extract_weights, load_weights, read_state_dict
from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.cli.runs.checkpoints import open_checkpoint
from tasks.parent_checkpoint import read_parent
from tests.tasks.cli.conftest import TINY, Run, one_line

PLAIN: dict[str, Any] = {
    "scansuite": {"task": "classify"},
    "pytorch-lightning_version": "2.6.6",
    "hyper_parameters": {"backbone": "test_resnet", "stem": "standard"},
    "state_dict": {"backbone.conv1.weight": torch.ones(3, 3)},
    "epoch": 1, "global_step": 1,
}  # fmt: skip
# A module beside the user's work, as an attacker may unpack it there; whoever imports it has lost.
MODULE = "from pathlib import Path\nPath('pwned').touch()\ndef run(*args, **kwargs): ...\nclass Thing: ...\n"
HPARAMS: tuple[dict[str, Any], ...] = (
    {"_instantiator": "crafted.run"},
    {"_instantiator": "pytorch_lightning.cli.instantiate_module", "_class_path": "crafted.Thing"},
    {"_class_path": "crafted.Thing"},
)


class Command:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


class Code:
    """Runs Python when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('pwned').touch()",)


def zipped(path: Path) -> None:
    """A zip in a zip, as some loaders unpack it."""
    inner = BytesIO()
    torch.save(PLAIN | {"callbacks": Command()}, inner)
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("best.ckpt", inner.getvalue())


def whole_module(path: Path) -> None:
    net = torch.nn.Linear(2, 2)
    net.__dict__["extra"] = Command()
    torch.save(net, path)


def in_tensor(path: Path) -> None:
    """Behind a tensor's own rebuilding, where the unpickler of old was lenient."""

    class Hidden:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return torch._utils._rebuild_parameter, (Command(), False, {})

    torch.save(PLAIN | {"state_dict": {"backbone.conv1.weight": Hidden()}}, path)


CRAFTED: dict[str, Callable[[Path], object]] = {
    "command": lambda path: torch.save(PLAIN | {"callbacks": Command()}, path),
    "weights": lambda path: torch.save({"state_dict": {"conv1.weight": Command()}}, path),
    "eval": lambda path: torch.save(PLAIN | {"loops": Code()}, path),
    "legacy": lambda path: torch.save(PLAIN | {"loops": Command()}, path, _use_new_zipfile_serialization=False),
    "bare pickle": lambda path: path.write_bytes(pickle.dumps(Command(), protocol=0)),
    "zip in zip": zipped,
    "whole module": whole_module,
    "in a tensor": in_tensor,
}


@pytest.fixture(autouse=True)
def _watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, first on the path as with ``python -m``, that must stay without the mark of a payload."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("crafted.py").write_text(MODULE, encoding="utf-8")
    yield
    assert not Path("pwned").exists()
    assert "crafted" not in sys.modules


def test_the_payloads_do_run_where_nobody_looks() -> None:
    pickle.loads(pickle.dumps(Command()))
    assert Path("pwned").exists()
    Path("pwned").unlink()
    torch.save(PLAIN | {"loops": Code()}, "a.ckpt")
    torch.load("a.ckpt", weights_only=False)
    assert Path("pwned").exists()
    Path("pwned").unlink()


@pytest.mark.parametrize("name", CRAFTED)
def test_no_payload_runs_in_python(name: str, tmp_path: Path) -> None:
    for suffix in (".ckpt", ".pth", ".safetensors"):
        file = tmp_path / f"crafted_file{suffix}"
        CRAFTED[name](file)
        for door in (
            lambda file=file: open_checkpoint(file, "classify"),
            lambda file=file: read_state_dict(file),
            lambda file=file: extract_weights(file, tmp_path / "out.pth"),
            lambda file=file: load_weights(Backbone("test_resnet"), str(file)),
            lambda file=file: ClassificationTask(num_classes=2, backbone="test_resnet", weights=str(file)),
        ):
            with pytest.raises(SuiteError, match=file.name):
                door()
        assert read_parent(str(file)) is None
        # Lightning's own door has its own words.
        with pytest.raises(Exception, match=r"."):
            ClassificationTask.load_from_checkpoint(file)


@pytest.mark.parametrize("hparams", HPARAMS)
def test_hyperparameters_that_name_code_are_not_followed(hparams: dict[str, Any], run: Run) -> None:
    good = {"hyper_parameters": {"num_classes": 2, "backbone": "test_resnet", **hparams}}
    torch.save(PLAIN | good, "a.ckpt")
    with pytest.raises(Exception, match=r"."):
        ClassificationTask.load_from_checkpoint("a.ckpt")
    status, _, err = run("predict", "--ckpt_path", "a.ckpt", "--input", ".", "--output", "out")
    assert status == 2
    assert "a.ckpt" in one_line(err)


DOORS: dict[str, list[str]] = {
    "test": ["test", "--ckpt_path", "a.ckpt"],
    "validate": ["validate", "--ckpt_path", "a.ckpt"],
    "ensemble": ["test", "--ckpt_paths", "a.ckpt", "b.ckpt"],
    "predict": ["predict", "--ckpt_path", "a.ckpt", "--input", ".", "--output", "out"],
    "weights": ["fit", "--model.weights", "a.ckpt"],
    "weights of a run": ["fit", "--model.weights", "run/checkpoints/last.ckpt"],
    "teacher": ["fit", *TINY, "--data.num_patients", "20", "--model.teacher", "a.ckpt"],
    "prune": ["fit", "--model.prune", "channels", "--model.weights", "a.ckpt"],
    "resume": ["fit", *TINY, "--data.num_patients", "20", "--run_dir", "run", "--ckpt_path", "last"],
}


@pytest.mark.parametrize("door", DOORS)
def test_no_payload_runs_on_the_command_line(door: str, run: Run) -> None:
    for file in ("a.ckpt", "b.ckpt", "run/checkpoints/last.ckpt"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        CRAFTED["command"](Path(file))
    status, _, err = run(*DOORS[door])
    assert status == 2
    assert ".ckpt" in one_line(err)
    assert "code" in one_line(err)


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_a_config_beside_a_checkpoint_imports_nothing(verb: str, run: Run) -> None:
    Path("run/checkpoints").mkdir(parents=True)
    torch.save(PLAIN, "run/checkpoints/best.ckpt")
    for data in ("{class_path: crafted.Thing}", "{class_path: crafted.Thing, init_args: {root: .}}"):
        Path("run/config.yaml").write_text(f"data: {data}\n", encoding="utf-8")
        status, _, err = run(verb, "--ckpt_path", "run/checkpoints/best.ckpt")
        assert status == 2
        assert "crafted.Thing" in one_line(err)


def test_a_summary_of_a_crafted_checkpoint_runs_nothing(run: Run) -> None:
    CRAFTED["command"](Path("a.ckpt"))
    run("summary", "--model.backbone", "test_resnet", "--model.weights", "a.ckpt")


def test_arrays_of_objects_are_refused(run: Run) -> None:
    """MedMNIST's files are arrays in a zip; an array of objects is a pickle."""
    parts = {f"{part}_{kind}": np.zeros((4, 1)) for part in ("train", "val", "test") for kind in ("images", "labels")}
    np.savez("breastmnist.npz", **(parts | {"train_images": np.array([Command()] * 4, dtype=object)}))
    status, _, err = run("fit", "--data", "MedMNIST", "--data.root", ".", "--data.name", "breastmnist")
    assert status == 2
    assert "breastmnist.npz" in one_line(err)


def test_nothing_of_torch_ao_is_used() -> None:
    """It is being removed from torch; what quantises here stands on its own."""
    root = Path(__file__).resolve().parents[4]
    for package in ("backbones", "datamodules", "tasks", "benchmarks"):
        for file in (root / package).rglob("*.py"):
            assert "torch.ao" not in file.read_text(encoding="utf-8"), file
