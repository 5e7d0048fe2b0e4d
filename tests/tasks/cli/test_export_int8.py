"""``export --quantize int8`` from a checkpoint to a signed package that opens, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.cli.verbs import keys, verify
from tasks.exported.model_file import open_model
from tests.tasks.cli.conftest import Run, draw_table, one_line
from tests.tasks.cli.test_explain import saved
from tests.tasks.explain.models import classifier

pytest.importorskip("onnxruntime")
pytest.importorskip("cryptography")


@pytest.mark.slow
def test_int8_in_a_signed_package(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = saved(
        classifier("test_resnet", class_names=["healthy", "ill"], preprocess={"size": [32, 32], "channels": 1}),
        tmp_path,
    )
    draw_table(tmp_path / "data", cases=60)
    keys.run(["make", "lab.pem"])
    words = ["--ckpt_path", model, "--data", "ImageTable", "--data.root", tmp_path / "data", "--data.num_workers", 0,
             "--data.label_columns", "finding", "--quantize", "int8", "--scans", 8]  # fmt: skip
    asked = ("--output", "m.scansuite", "--key", "lab.pem", "--largest_loss", 0.5)
    status, out, err = run("export", *words, *asked)
    assert status == 0, err
    assert "AUROC" in out
    assert "layers with weights none stays in float" in out
    assert out.endswith("written to m.scansuite\n")

    package = open_model("m.scansuite", trust=Path("lab.public.pem"))
    assert package.description.precision == "int8"
    assert [(check.name, check.tolerance) for check in package.description.checks] == [("auroc", 0.5)]
    assert package.run({"image": np.zeros((2, 1, 32, 32), np.float32)})["logits"].shape == (2, 2)
    assert verify.run(["m.scansuite", "--trust", "lab.public.pem"]) == 0
    assert "int8" in capfd.readouterr().out

    status, _, err = run("export", *words, "--output", "m.scansuite")
    assert status == 2
    assert "m.scansuite" in one_line(err)
