"""The list of Albumentations of docs/augmentation.md, from a YAML file: it trains, and its run is taken up again."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import albumentations
import pytest
import yaml

from tests.tasks.cli.conftest import Run

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "augmentation.md").read_text(encoding="utf-8")
SMALL = [
    "--data.num_patients", "10", "--data.image_size", "32", "--data.num_workers", "0", "--data.batch_size", "4",
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "1",
    "--model.backbone", "test_resnet",
]  # fmt: skip
TINY = {
    "classify": [],
    "segment": ["--model.decoder_args", '{"decoder_channels": [16, 16, 8, 8, 8]}'],
    "detect": ["--model.channels", "16"],
}


@pytest.mark.parametrize(
    "task",
    [pytest.param("classify", marks=pytest.mark.slow), "segment", pytest.param("detect", marks=pytest.mark.slow)],
)
def test_the_list_of_the_page_trains(run_task: Run, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"^```yaml\n(data:\n  augment:.*?)^```", PAGE, re.M | re.S)
    Path("augment.yaml").write_text(text)
    seen: list[Any] = []
    turned = albumentations.Affine.apply

    def apply(self: albumentations.Affine, image: Any, *args: Any, **settings: Any) -> Any:
        seen.append((image.dtype.name, image.shape, self.rotate))
        return turned(self, image, *args, **settings)

    monkeypatch.setattr(albumentations.Affine, "apply", apply)
    run = partial(run_task, task)
    status, _, err = run("fit", "--config", "augment.yaml", *SMALL, *TINY[task], "--run_dir", "run")
    assert status == 0, err
    assert len(seen) > 5  # 80 % of the training images, and of those of augmented.png
    assert {(dtype, shape[:2], rotate) for dtype, shape, rotate in seen} == {("float32", (32, 32), (-15.0, 15.0))}
    assert Path("run/augmented.png").is_file()
    kept = yaml.safe_load(Path("run/config.yaml").read_text())["data"]["init_args"]["augment"]
    assert kept == yaml.safe_load(text)["data"]["augment"]
    status, _, err = run("test", "--ckpt_path", "run", "--trainer.accelerator", "cpu", "--run_dir", "tested")
    assert status == 0, err


def test_the_line_of_the_page_is_taken(run_task: Run) -> None:
    (flag,) = re.findall(r"`--data\.augment '(\[.*?\])'`", PAGE, re.S)
    status, out, err = run_task("classify", "fit", "--data.augment", flag, "--print_config=skip_default")
    assert status == 0, err
    assert yaml.safe_load(out)["data"]["init_args"]["augment"] == yaml.safe_load(flag)
