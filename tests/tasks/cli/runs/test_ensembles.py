"""`--ckpt_paths`: one checkpoint is as with `--ckpt_path`, several speak as one, and what is wrong with a list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tasks.cli.folds import train as folds
from tasks.cli.main import main
from tasks.cli.runs.checkpoints import open_checkpoint
from tasks.loading import build_from
from tasks.segment.assemble import resize_probabilities
from tasks.segment.task import SegmentationTask
from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line
from tests.tasks.cli.folds import test_folds
from tests.tasks.cli.test_segment import TINY_UNET, draw_cells

BEST = "checkpoints/best.ckpt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers of one table, and copies of the first: one that takes larger images, one of another split."""
    folder = tmp_path_factory.mktemp("trained")
    draw_table(folder / "data", cases=60)
    data = ["--data", "ImageTable", "--data.root", str(folder / "data"), *KINDS["binary"]]
    other = ["--model.backbone", "test_efficientnet", "--data.normalize", "none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, more in (("a", []), ("b", other)):
            assert main("classify", ["fit", *data, *TINY, "--run_dir", name, *more]) == 0
    checkpoint = torch.load(folder / "a" / BEST, weights_only=True)
    checkpoint["hyper_parameters"]["preprocess"]["size"] = [40, 40]
    (folder / "large" / BEST).parent.mkdir(parents=True)
    torch.save(checkpoint, folder / "large" / BEST)
    shutil.copytree(folder / "a", folder / "other")
    split = pd.read_csv(folder / "a" / "split.csv", dtype="str")
    # Its record of what it was trained on would say what the first one's does: this one is from before there were any.
    del (old := torch.load(folder / "other" / BEST, weights_only=True))["scansuite"]["provenance"]
    torch.save(old, folder / "other" / BEST)
    turned = split["split"].replace({"train": "test", "test": "train"})
    split.assign(split=turned.replace({"val": "train"})).to_csv(folder / "other" / "split.csv", index=False)
    return folder


def predictions(folder: str) -> pd.DataFrame:
    return pd.read_csv(Path(folder) / "predictions.csv")


def of_part(table: pd.DataFrame, part: str) -> pd.DataFrame:
    return table[table["split"] == part].set_index("case_id")


def test_one_checkpoint_is_as_with_ckpt_path(run: Run, trained: Path) -> None:
    for verb in ("test", "validate"):
        for flag in ("--ckpt_path", "--ckpt_paths"):
            status, _, err = run(verb, flag, trained / "a" / BEST, "--run_dir", f"{verb}{flag}")
            assert status == 0, err
        for name in ("predictions.csv", "metrics.json", "cases.csv", "split.csv", "config.yaml"):
            assert Path(f"{verb}--ckpt_path", name).read_text() == Path(f"{verb}--ckpt_paths", name).read_text()
        assert not Path(f"{verb}--ckpt_paths", "ensemble.json").exists()


def test_networks_and_normalisation_may_differ(run: Run, trained: Path) -> None:
    members = [trained / "a", trained / "b"]
    for part, verb in (("val", "validate"), ("test", "test")):
        status, out, err = run(verb, "--ckpt_paths", *members, "--run_dir", part)
        assert status == 0, err
        own = [of_part(predictions(str(folder)), part) for folder in members]
        together = predictions(part).set_index("case_id")
        assert list(together.index) == list(own[0].index)
        for name in ("score_ill", "score_healthy"):
            np.testing.assert_allclose(together[name], (own[0][name] + own[1][name]) / 2, atol=1e-6)
        assert "the ensemble's predictions of the validation part" in out
    # Chosen on validation in both, never on what is tested; a folder of tables stands for its ensemble.
    points = [json.loads(Path(part, "ensemble.json").read_text())["operating_points"] for part in ("val", "test")]
    assert points[0] == points[1]
    status, _, err = run("test", "--ckpt_paths", "val", "--run_dir", "again")
    assert status == 0, err
    assert Path("again/predictions.csv").read_text() == Path("test/predictions.csv").read_text()
    assert Path("again/metrics.json").read_text() == Path("test/metrics.json").read_text()

    pattern = trained / "[ab]" / BEST
    inputs = ["--input", trained / "data" / "images", "--data.num_workers", "0"]
    for name, paths in (("one", [pattern]), ("two", ["val"])):
        status, _, err = run("predict", "--ckpt_paths", *paths, *inputs, "--output", name)
        assert status == 0, err
    table = predictions("one").set_index("case_id")
    columns = ["split", "path", "prediction", "score_healthy", "score_ill", "uncertainty", "prediction_op"]
    assert list(table.columns) == columns
    assert (table["uncertainty"] > 0).all()  # networks of two kinds
    evaluated = predictions("test").assign(name=lambda frame: frame["case_id"].str.removeprefix("images/"))
    np.testing.assert_allclose(table.loc[evaluated["name"], "score_ill"], evaluated["score_ill"], atol=1e-6)
    # Without a validation part at hand the point is the mean of the members' own.
    saved = [open_checkpoint(folder / BEST, "classify")["scansuite"]["operating_points"] for folder in members]
    point = np.mean([own["ill"] for own in saved])
    assert ((table["prediction_op"] == "ill") == (table["score_ill"] >= point)).all()
    named = predictions("two").set_index("case_id")
    assert ((named["prediction_op"] == "ill") == (named["score_ill"] >= points[0]["ill"])).all()


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_what_is_wrong_with_a_list(run: Run, trained: Path, verb: str) -> None:
    more = ["--input", "x.png", "--output", "out"] if verb == "predict" else []
    Path("x.png").touch()
    a, b = trained / "a" / BEST, trained / "b" / BEST
    for flags, said in (
        (
            ["--ckpt_paths", a, trained / "large"],
            ["a/checkpoints", "large/checkpoints", "image size (24, 24 and"],
        ),
        (["--ckpt_path", a, "--ckpt_paths", a, b], ["--ckpt_path ", "--ckpt_paths", "one of the two"]),
        (["--ckpt_paths", a, b, a], ["is duplicated"]),
        (["--ckpt_paths", a, "nothing.ckpt"], ["nothing.ckpt", "no such file"]),
        (["--ckpt_paths", "nothing*.ckpt"], ["nothing*.ckpt"]),
        (["--ckpt_paths", trained / "data"], ["best.ckpt", "is no run folder"]),
    ):
        status, _, err = run(verb, *flags, *more)
        assert status == 2, flags
        line = one_line(err)
        for part in said:
            assert part in line, line
    assert not Path("runs").exists()
    assert not Path("out").exists()


def test_cases_that_a_member_has_seen(run: Run, trained: Path) -> None:
    members = ["--ckpt_paths", trained / "a", trained / "other"]
    for verb, how in (("test", "trained or chosen on"), ("validate", "trained on")):
        status, _, err = run(verb, *members, "--run_dir", "no")
        assert status == 2
        line = one_line(err)
        assert line.startswith(f"error: --ckpt_paths {trained / 'other' / BEST}: ")
        assert f"are among those it was {how} (" in line
    assert not Path("no").exists()
    status, _, err = run("test", *members, "--run_dir", "yes", "--data.allow_leakage", "true")
    assert status == 0, err
    assert "are among those it was trained or chosen on" in err
    assert "averaged" in json.loads(Path("yes/ensemble.json").read_text())["chosen_on"]


def test_masks_are_those_of_the_mean_probabilities(run_task: Run) -> None:
    draw_cells(Path("scans"), count=12)
    data = ["--data", "MaskFolder", "--data.root", "scans", "--data.classes", "background,cell"]
    more = ["--data.image_size", "32", "--trainer.max_epochs", "3", "--model.lr", "0.01"]
    for seed in ("0", "1"):
        flags = [*data, *TINY_UNET, *more, "--seed_everything", seed, "--run_dir", f"run{seed}"]
        status, _, err = run_task("segment", "fit", *flags)
        assert status == 0, err
    files = [Path(f"run{seed}") / BEST for seed in ("0", "1")]
    ensemble = ["--ckpt_paths", *files]
    status, _, err = run_task("segment", "predict", *ensemble, "--input", "scans/images", "--output", "out")
    assert status == 0, err
    status, _, err = run_task("segment", "test", *ensemble, "--run_dir", "test")
    assert status == 0, err
    evaluated = pd.read_csv("test/predictions.csv").set_index("case_id")

    models = [build_from(open_checkpoint(file, "segment"), "segment", file).eval() for file in files]
    preprocess = models[0].preprocess
    alone = 0
    for case in range(12):
        stored = np.array(Image.open(f"scans/images/c{case:02d}.png"))
        image = torch.from_numpy(preprocess.image(stored, "")).permute(2, 0, 1)[None]
        maps = []
        for model in models:
            assert isinstance(model, SegmentationTask)
            with torch.no_grad():
                maps.append(resize_probabilities(model.scores(model(image)), (40, 48)))
        mean = ((maps[0] + maps[1]) / 2)[0].numpy()
        mask = np.array(Image.open(f"out/masks/c{case:02d}.png"))
        clear = np.abs(mean[1] - 0.5) > 1e-5
        np.testing.assert_array_equal(mask[clear], mean.argmax(axis=0)[clear])
        alone += int((mask != maps[0][0].numpy().argmax(axis=0)).sum())
        if f"c{case:02d}" in evaluated.index:
            row = evaluated.loc[f"c{case:02d}"]
            assert row["tp"] + row["fp"] == (mask == 1).sum()
    assert alone > 0, "the test is about masks that no member alone would give"


def test_folds_of_a_segmentation(run_task: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "run_command", test_folds.in_process)
    flags = ["--data.num_patients", "8", "--data.image_size", "32", "--model.cleanup", "auto"]
    status, _, err = run_task("segment", "fit", "--folds", "2", "--run_dir", "f", *TINY_UNET, *flags)
    assert status == 0, err
    found = test_folds.out_of_fold(Path("f"))
    assert not found.duplicated(["case_id", "class"]).any()
    assert {"val/dice", "val/selected_on"} <= test_folds.metrics(Path("f")).keys()
    assert "test/dice" in test_folds.metrics(Path("f/ensemble"))
    assert set(json.loads(Path("f/ensemble.json").read_text())) == {
        "checkpoints", "chosen_on", "operating_points", "cleanup",
    }  # fmt: skip
