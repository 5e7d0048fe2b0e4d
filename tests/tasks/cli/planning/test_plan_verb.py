"""``plan`` and ``fit`` by a plan, as a user types them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from scansuite.errors import SuiteError
from tasks.cli.flags import in_full, with_negatives
from tests.datamodules.volumes_on_disk import write_nifti
from tests.tasks.cli.conftest import TINY, Run, one_line

# No augmentation, batch or length: those are left to the plan, or would take minutes.
TINY_RUN = [*TINY, "--data.num_patients", "20", "--judge_test", "false", "--data.image_size", "32"]


@pytest.mark.parametrize("value", ["-100,300", "-600:1500", "-1e3, 3e3", "-.5,0.5"])
def test_a_value_of_several_numbers_may_begin_with_a_negative_one(value: str) -> None:
    words = ["fit", "--data.window", value, "--data", "Coco"]
    assert with_negatives(words) == ["fit", f"--data.window={value}", "--data", "Coco"]
    for left in ("-1", "-lr", "--quick", "-600", "300"):  # a single number a parser knows
        assert with_negatives(["--data.x", left]) == ["--data.x", left]
    assert with_negatives(["--data.x=1", value]) == ["--data.x=1", value]


def test_a_shorthand_is_what_it_stands_for() -> None:
    assert in_full(["--quick", "--data", "Coco"]) == ["--quality", "quick", "--data", "Coco"]
    with pytest.raises(SuiteError, match="leave one of the two out"):
        in_full(["--quick", "--quality", "best"])


def test_a_plan_is_printed_and_written_once(run: Run) -> None:
    words = ["plan", "--data.num_patients", "20", "--output", "plan.yaml"]
    status, out, err = run(*words)
    assert status == 0, err
    assert "--data.batch_size " in out
    assert out.splitlines()[-1] == "written to plan.yaml"
    text = Path("plan.yaml").read_text()
    values = yaml.safe_load(text)
    assert values["plan"] == "none"
    assert values["data"]["init_args"]["batch_size"] > 0
    status, _, err = run(*words)
    assert (status, Path("plan.yaml").read_text()) == (2, text)
    assert "--output plan.yaml: exists already" in one_line(err)
    for name, said in (("plan.txt", "the plan is YAML"), ("no/plan.yaml", "there is no folder no")):
        status, _, err = run("plan", "--output", name)
        assert status == 2
        assert said in one_line(err)


def weights(folder: str) -> dict[str, torch.Tensor]:
    state: Any = torch.load(Path(folder, "checkpoints", "last.ckpt"), weights_only=True)
    return dict(state["state_dict"])


def test_a_plan_trains_the_same_weights_again_and_an_edited_line_counts(run: Run) -> None:
    status, _, err = run("fit", *TINY_RUN, "--plan", "auto", "--run_dir", "a")
    assert status == 0, err
    assert "plan: model.lr " in err
    assert {"plan.yaml", "plan.json", "fingerprint.json"} <= {file.name for file in Path("a").iterdir()}
    kept: Any = torch.load(Path("a/checkpoints/best.ckpt"), weights_only=True)
    assert kept["scansuite"]["plan"] == Path("a/plan.json").read_text()
    status, _, err = run("fit", *TINY_RUN, "--config", "a/plan.yaml", "--run_dir", "b")
    assert status == 0, err
    assert "plan: " not in err
    first, second = weights("a"), weights("b")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert Path("a/config.yaml").read_text() == Path("b/config.yaml").read_text()

    plan = yaml.safe_load(Path("a/plan.yaml").read_text())
    plan["model"]["lr"] = 0.0123
    Path("edited.yaml").write_text(yaml.safe_dump(plan))
    status, _, err = run("fit", *TINY_RUN, "--config", "edited.yaml", "--run_dir", "c")
    assert status == 0, err
    assert yaml.safe_load(Path("c/config.yaml").read_text())["model"]["lr"] == 0.0123


def test_other_verbs_take_a_plan(run: Run) -> None:
    plan = {"plan": "none", "folds": 5, "data": {"class_path": "Phantoms", "init_args": {"num_patients": 20}}}
    Path("plan.yaml").write_text(yaml.safe_dump({**plan, "model": {"lr": 0.01}, "trainer": {"max_epochs": 3}}))
    status, _, err = run("check", "--config", "plan.yaml", "--output", "checked")
    assert (status, "no such flag" in err) == (0, False), err


def ct_volumes(root: Path) -> Path:
    """Ten volumes of air, a body, metal, and an organ of -20 to 140 HU."""
    shape = (24, 20, 6)
    for number in range(10):
        array = np.full(shape, -1000, np.int16)
        array[2:22, 2:18], array[0] = -90, 500 * number
        mask = np.zeros(shape, np.uint8)
        mask[6:14, 6:14, 2:4] = 1
        array[mask > 0] = np.linspace(-20, 140, 128)
        write_nifti(root / "imagesTr" / f"v{number}.nii.gz", array)
        write_nifti(root / "labelsTr" / f"v{number}.nii.gz", mask)
    return root


def test_a_plan_for_ct_volumes_scales_all_of_them_alike(run_task: Run, tmp_path: Path) -> None:
    words = ["plan", "--data", "Volumes", "--data.root", ct_volumes(tmp_path / "ct"), "--data.num_workers", "0"]
    status, out, err = run_task("segment", *words)
    assert status == 0, err
    assert "--data.value_range [-20.0, 140.0]" in out.splitlines()
    assert "annotated voxels have values from -20 to 140" in " ".join(out.split())
    for flags in (["--data.window", "liver"], ["--data.percentiles", "1,99"], ["--data.value_range=-100,300"]):
        status, out, err = run_task("segment", *words, *flags)
        assert status == 0, err
        assert not any(f"--data.{name} " in out for name in ("value_range", "percentiles", "window"))
