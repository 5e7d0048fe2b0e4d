"""The verb ``explain``: maps, layers and kernels of files, with untrained models of each task."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning import Trainer

from datamodules.readers.volume import read_volume
from datamodules.samples.slices import SliceSpec
from tasks.base import Task
from tests.tasks.cli.conftest import Run
from tests.tasks.explain.models import classifier, detector, segmenter

COURSE = np.tile(np.array([10, 10, 10, 0, 0, 0], np.uint8), (6, 1))


def saved(model: Task, folder: Path, name: str = "model.ckpt") -> Path:
    """A checkpoint without training."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / name)
    return folder / name


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans of unequal sides, one of them with a name that must be escaped, and one that is broken."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.png", "<b>three.png"):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    return folder


def facts(**more: Any) -> dict[str, Any]:
    return {"preprocess": {"size": [64, 64], "channels": 1}, **more}


def test_maps_layers_and_kernels_of_a_classifier(run: Run, tmp_path: Path, scans: Path) -> None:
    model = saved(classifier(class_names=["healthy", "ill"], **facts()), tmp_path)
    status, out, err = run(
        "explain", "--ckpt_path", model, "--input", scans, "--output", "out", "--method", "gradcam", "occlusion",
        "--features", "conv1", "--filters", "conv1", "layer1.0", "--kernel", "vertical", "--target", "ill", "healthy",
    )  # fmt: skip
    assert status == 1, err
    assert out == "3 cases explained, 12 maps, 1 file unreadable: out/explain.html\n"
    rows = rows_of(tmp_path / "out" / "explain.csv")
    assert [(row["case_id"], row["target"], row["method"]) for row in rows[:3]] == [
        ("<b>three", "ill", "gradcam"),
        ("<b>three", "ill", "occlusion"),
        ("<b>three", "healthy", "gradcam"),
    ]
    assert float(rows[0]["score"]) + float(rows[2]["score"]) == pytest.approx(1)
    for row in rows:
        values = np.load(tmp_path / "out" / row["map"])
        assert values.shape == (40, 60)  # as stored
        assert 0 <= values.min() <= values.max() <= 1 + 1e-6
        assert Image.open(tmp_path / "out" / row["overlay"]).size[0] > 2 * 384
    assert "broken.png" in rows_of(tmp_path / "out" / "errors.csv")[0]["path"]
    (channels,) = rows_of(tmp_path / "out" / "channels.csv")
    assert (channels["layer"], channels["channels"]) == ("conv1", "64")
    assert [row["layer"] for row in rows_of(tmp_path / "out" / "filters.csv")] == ["conv1.0", "layer1.0.conv1"]
    assert np.load(tmp_path / "out" / "kernels" / "one" / "vertical.npy").shape == (38, 58)
    page = (tmp_path / "out" / "explain.html").read_text()
    assert page.index("Not checked") < page.index("&lt;b&gt;three")
    assert "<b>three" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "script-src" not in page  # none at all


def test_the_hand_worked_case_needs_no_model(run: Run, tmp_path: Path) -> None:
    Image.fromarray(COURSE).save(tmp_path / "six.png")
    status, out, _ = run("explain", "--kernel", "[[1,0,-1],[1,0,-1],[1,0,-1]]", "--input", "six.png", "--output", "out")
    assert (status, out) == (0, "1 case explained: out/explain.html\n")
    assert np.load(tmp_path / "out" / "kernels" / "six" / "kernel.npy").tolist() == [[0, 30, 30, 0]] * 4
    assert "[0, 30, 30, 0]" in (tmp_path / "out" / "explain.html").read_text()


def test_maps_are_checked(run: Run, tmp_path: Path, scans: Path) -> None:
    """Of a network with random weights maps are like those of others with random weights, or told to be unlike them."""
    model = saved(
        classifier(size=32, class_names=["healthy", "ill"], preprocess={"size": [32, 32], "channels": 1}), tmp_path
    )
    truth = tmp_path / "truth"
    truth.mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save(truth / "one.png")
    status, _, err = run(
        "explain", "--ckpt_path", model, "--input", scans / "one.png", scans / "two.png", "--output", "out",
        "--sanity", "true", "--truth", truth,
    )  # fmt: skip
    assert status == 0, err
    one, two = rows_of(tmp_path / "out" / "explain.csv")
    assert one["method"] == "gradcam"  # where none is asked for
    assert one["verdict"] in ("trusted", "not trusted", "unknown")
    assert float(one["truth_share"]) == pytest.approx(200 / 2400, abs=0.02)
    assert two["truth_share"] == two["pointing"] == ""
    assert -1 <= float(one["mprt"]) <= 1
    page = (tmp_path / "out" / "explain.html").read_text()
    assert "Not checked" not in page
    assert page.index('class="verdicts') < page.index("<section")


def test_boxes_and_their_truth(run_task: Run, tmp_path: Path, scans: Path) -> None:
    model = saved(detector(class_names=["cell", "clot"], **facts()), tmp_path)
    truth = tmp_path / "boxes.csv"
    truth.write_text("case_id,label,x1,y1,x2,y2\none,cell,5,5,30,20\n")
    status, _, err = run_task(
        "detect", "explain", "--ckpt_path", model, "--input", scans / "one.png", "--output", "out", "--truth", truth
    )
    assert status == 0, err
    rows = rows_of(tmp_path / "out" / "explain.csv")
    assert 1 <= len(rows) <= 5
    assert {row["method"] for row in rows} == {"layercam"}  # of boxes, where none is asked for
    for row in rows:
        x1, y1, x2, y2 = (float(row[edge]) for edge in ("x1", "y1", "x2", "y2"))
        assert 0 <= x1 < x2 <= 60.001
        assert 0 <= y1 < y2 <= 40.001


def volume(folder: Path) -> Path:
    import nibabel

    values = np.random.default_rng(0).integers(0, 200, (20, 24, 6)).astype(np.int16)
    file = folder / "case.nii.gz"
    nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 3, 1])).to_filename(file)
    return file


def test_a_slice_of_a_volume_goes_back_onto_its_grid(run_task: Run, tmp_path: Path) -> None:
    file = volume(tmp_path)
    model = saved(segmenter(slices=SliceSpec().to_dict(), **facts()), tmp_path)
    status, _, err = run_task(
        "segment", "explain", "--ckpt_path", model, "--input", file, "--output", "out", "--slice", "4",
        "--target", "organ",
    )  # fmt: skip
    assert status == 0, err
    (row,) = rows_of(tmp_path / "out" / "explain.csv")
    assert (row["target"], row["slice"]) == ("organ", "4")
    made = read_volume(tmp_path / "out" / row["map"])
    assert np.allclose(made.affine, read_volume(file).affine)
    assert set(np.flatnonzero(made.array.any(axis=(0, 1)))) <= {4}
    status, _, _ = run_task("segment", "explain", "--ckpt_path", model, "--input", file, "--output", "all")
    assert status == 0
    status, _, _ = run_task(
        "segment", "explain", "--ckpt_path", model, "--input", file, "--output", "none", "--slice", "6"
    )
    assert status == 1
    assert "none of number 6" in rows_of(tmp_path / "none" / "errors.csv")[0]["error"]


def test_attention_of_a_bag_and_an_ensemble(run: Run, tmp_path: Path, scans: Path) -> None:
    (scans / "broken.png").unlink()
    names = [
        saved(classifier(aggregate="attention", bag_limit=8, **facts()), tmp_path, f"{number}.ckpt")
        for number in (1, 2)
    ]
    status, _, err = run(
        "explain", "--ckpt_paths", *names, "--input", scans, "--output", "out", "--features", "conv1",
    )  # fmt: skip
    assert status == 0, err
    weights = [float(row["weight"]) for row in rows_of(tmp_path / "out" / "attention.csv")]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    rows = rows_of(tmp_path / "out" / "explain.csv")
    assert {Path(row["path"]).name for row in rows} == {"one.png", "two.png", "<b>three.png"}
    assert (tmp_path / "out" / "member_2" / "channels.csv").is_file()
    assert "their attention" in (tmp_path / "out" / "explain.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "il"], "--target 'il': is no class of the model: did you mean 'ill'?"),
        (["--layer", "layer9"], "--layer layer9: the network has no such layer: there are "),
        (["--features", "conv9"], "--features conv9: the network has no such layer"),
        (["--filters", "head"], "--filters head: is no convolution"),
        (["--method", "gradcamm"], "--method 'gradcamm' is unknown: did you mean 'gradcam'?"),
        (["--method", "rollout"], "--method rollout: "),
        (["--method", "none", "gradcam"], "--method none: stands alone"),
        (["--method", "none", "--sanity", "true"], "--sanity true: checks maps, and --method none makes none"),
        (["--slice", "3"], "--slice 3: the model is for flat images"),
        (["--truth", "nowhere"], "--truth nowhere: no such file or folder"),
        (["--kernel", "vertikal"], "--kernel vertikal: is no file and no known kernel: did you mean 'vertical'?"),
        (["--methods", "gradcam"], "unknown flag --methods"),
        (["--data.num_workers", "2"], "unknown flag --data.num_workers"),
        (["--data.batch_size", "2"], "unknown flag --data.batch_size"),
    ],
)
def test_mistakes_are_one_line(run: Run, tmp_path: Path, scans: Path, words: list[str], said: str) -> None:
    model = saved(classifier(class_names=["healthy", "ill"], **facts()), tmp_path)
    status, out, err = run("explain", "--ckpt_path", model, "--input", scans, "--output", "out", *words)
    assert status == 2
    assert out == ""
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_what_needs_a_model_says_so(run: Run, scans: Path) -> None:
    status, _, err = run("explain", "--kernel", "sobel", "--input", scans, "--output", "out", "--target", "ill")
    assert status == 2
    assert "--target: is about a model: give --ckpt_path" in err
    status, _, err = run("explain", "--input", scans, "--output", "out")
    assert status == 2
    assert "--ckpt_path" in err


def test_several_kernels_stand_in_the_page(run: Run, tmp_path: Path) -> None:
    Image.fromarray(COURSE).save(tmp_path / "six.png")
    rows = json.dumps([[0.5, 0.5]])
    run("explain", "--kernel", rows, "gaussian", "--padding", "same", "--input", "six.png", "--output", "out")
    assert np.load(tmp_path / "out" / "kernels" / "six" / "gaussian.npy").shape == (6, 6)
    page = (tmp_path / "out" / "explain.html").read_text()
    assert page.count("<figure>") == page.count("</figure>") == 2
    assert page.count("<section") == page.count("</section>")
