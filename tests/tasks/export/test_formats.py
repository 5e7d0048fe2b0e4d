"""Archives of torch.export and OpenVINO's files say what PyTorch says, and what they are."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scansuite.errors import SuiteError
from tasks.classify.exporter import ClassificationExporter
from tasks.classify.task import ClassificationTask
from tasks.export.describe import describe
from tasks.export.exporting import exported
from tasks.export.openvino_model import EXACT, OpenVinoModel
from tasks.export.scans import Scans
from tasks.export.torch_archive import DESCRIPTION, archived
from tasks.export.verify import verified
from tasks.exported.description import KEY, Check, Description

NAMES = ["Größe <b>", 'a & "b"\n\'']
CHECKS = (Check("logits", 0.0, 1e-4, 4),)


@pytest.fixture(scope="module")
def exporter() -> ClassificationExporter:
    torch.manual_seed(0)
    task = ClassificationTask("test_resnet", class_names=NAMES, in_channels=1, input_size=(48, 64)).eval()
    return ClassificationExporter(task, ["best.ckpt"])


@pytest.fixture(scope="module")
def description(exporter: ClassificationExporter) -> Description:
    return describe(exporter, [], "mine")


def scans() -> Scans:
    return Scans("drawn ones", [torch.rand(1, 48, 64) for _ in range(4)])


def test_an_archive(exporter: ClassificationExporter, description: Description, tmp_path: Path) -> None:
    archive = archived(exporter, description)
    assert archive.description.sizes == ()
    (check,) = verified(exporter, archive, scans(), "fp32")
    assert check.value < check.tolerance
    archive.write(tmp_path / "m.pt2", dataclasses.replace(archive.description, checks=CHECKS))
    content = (tmp_path / "m.pt2").read_bytes()
    for place in ("site-packages", str(Path(__file__).resolve().parents[3])):
        assert place.encode() not in content
    extra = {DESCRIPTION: ""}
    program = torch.export.load(io.BytesIO(content), extra_files=extra)
    said = Description.from_json(extra[DESCRIPTION], "m")
    assert (said.class_names, said.checks, said.opset) == (tuple(NAMES), CHECKS, None)
    image = torch.rand(3, 1, 71, 33)
    found = program.module()(image)
    assert set(found) == {"logits", "cam"}
    torch.testing.assert_close(found["logits"], exporter.model(image))


@pytest.mark.slow  # OpenVINO stays in a process that loads it
@pytest.mark.parametrize(("precision", "room"), [("fp32", 1.0), ("fp16", 0.6)])
def test_openvino(
    exporter: ClassificationExporter, description: Description, tmp_path: Path, precision: str, room: float
) -> None:
    openvino = pytest.importorskip("openvino")
    made = _onnx(exporter, description)
    about = dataclasses.replace(made[1], precision=precision)  # type: ignore[arg-type]
    model = OpenVinoModel(made[0], about, "best.ckpt")
    (check,) = verified(exporter, model, scans(), about.precision)
    assert check.value < check.tolerance
    model.write(tmp_path / "m.xml", dataclasses.replace(about, checks=CHECKS))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    assert (tmp_path / "m.bin").stat().st_size < room * 1.05 * exporter.weight_bytes
    core = openvino.Core()
    again = core.read_model(tmp_path / "m.xml")
    said = Description.from_json(again.get_rt_info([KEY]).astype(str), "m")
    assert (said.class_names, said.checks, said.precision) == (tuple(NAMES), CHECKS, precision)
    image = np.random.default_rng(0).random((2, 1, 70, 33), np.float32)
    found = core.compile_model(again, "CPU", EXACT)({"image": image})["logits"]
    wanted = exporter.model(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4 if precision == "fp32" else 0.02)


_MADE: dict[str, object] = {}


def _onnx(exporter: ClassificationExporter, description: Description) -> tuple[object, Description]:
    if "made" not in _MADE:
        _MADE["made"] = exported(exporter, description, 20)
    return _MADE["made"]  # type: ignore[return-value]


def test_a_missing_package_is_one_line(description: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SuiteError, match=r"openvino is missing: pip install 'scansuite\[openvino\]'"):
        OpenVinoModel(object(), description, "m")
