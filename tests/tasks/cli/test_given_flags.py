"""A command does what it was told: a flag that would do nothing is an error or is named; data are said in a line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from datamodules.cases.layouts import advice, classes_for
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.useless import useless_flags
from tasks.cli.flags import init_parameters
from tasks.registry.specs import SPECS, spec_of
from tests.datamodules.boxes_on_disk import pictures, write_coco, write_voc, write_yolo
from tests.datamodules.scans_on_disk import write_scans
from tests.datamodules.volumes_on_disk import write_nifti
from tests.tasks.cli.conftest import Run, one_line

CLASSIFY, SEGMENT, DETECT = (spec_of(task).data_names() for task in SPECS)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_scans(tmp_path / "scans", ["cat/1.png", "dog/2.png"])
    return tmp_path / "scans"


def test_a_root_without_a_data_class_does_not_train_on_phantoms(run: Run, scans: Path) -> None:
    status, _, err = run("fit", "--data.root", scans)
    assert status == 2
    line = one_line(err)
    for part in (f"--data.root {scans}", "Phantoms", "without --data", "--data ImageFolder", "cat, dog"):
        assert part in line, line
    assert not Path("runs").exists()


def test_a_root_for_phantoms_is_refused_from_yaml_and_where_it_is_the_default(run: Run, scans: Path) -> None:
    content = {"data": {"class_path": "Phantoms", "init_args": {"root": str(scans)}}}
    Path("config.yaml").write_text(yaml.safe_dump(content))
    for flags in (["--config", "config.yaml"], ["--data", "Phantoms", "--data.root", "."]):
        status, _, err = run("check", *flags, "--output", "out")
        assert status == 2
        assert "no use to Phantoms" in one_line(err)
    assert not Path("out").exists()


def test_the_configuration_of_a_run_starts_the_same_run_again(run: Run) -> None:
    content = {"data": {"class_path": "Phantoms", "init_args": {"root": ".", "num_patients": 0}}}
    Path("config.yaml").write_text(yaml.safe_dump(content))
    status, _, err = run("check", "--config", "config.yaml", "--output", "out")
    assert status == 1, err  # its flags are right; there are no patients


@pytest.mark.parametrize(
    ("task", "flags", "said"),
    [
        ("classify", ["--model.topk", "0.3"], "--model.aggregate topk"),
        ("classify", ["--model.hidden", "8"], "--model.head mlp"),
        ("classify", ["--model.focal_gamma", "1"], "--model.loss focal"),
        ("classify", ["--model.distill_alpha", "0.1"], "--model.teacher"),
        ("classify", ["--model.prune_amount", "0.1"], "--model.prune"),
        ("classify", ["--data", "MedMNIST", "--data.name", "breastmnist", "--data.patient_pattern", "x"], "no paths"),
        ("segment", ["--data.classes", "a,b"], "classes of their own"),
        ("segment", ["--model.boundary_weight", "2"], "--model.loss boundary"),
        ("segment", ["--data", "MaskFolder", "--data.table", "t.csv", "--data.images", "i"], "--data.table"),
        ("segment", ["--data", "Volumes", "--data.table", "t.csv", "--data.labels", "l"], "--data.table"),
        ("segment", ["--data", "MaskFolder", "--data.mask_column", "seg"], "give --data.table too"),
        ("segment", ["--data", "Volumes", "--data.path_column", "image"], "give --data.table too"),
        ("segment", ["--data", "Bids", "--data.mask_column", "seg"], "the names of BIDS say it"),
        ("segment", ["--data", "MaskFolder", "--data.foreground_share", "0.5"], "--data.patch_size"),
        ("segment", ["--data.patches", "3"], "--data.patch_size"),
        ("segment", ["--data.include", "a"], "no folder is walked"),
        ("segment", ["--data", "MaskFolder", "--data.table", "t.csv", "--data.exclude", "a"], "--data.table"),
        ("classify", ["--data", "ImageTable", "--data.include", "a"], "no folder is walked"),
        ("classify", ["--data", "Bids", "--data.table", "a.csv"], "the names of BIDS say it"),
        ("detect", ["--data", "Coco", "--data.exclude", "a"], "no folder is walked"),
        ("detect", ["--data.patches", "3"], "--data.patch_size"),
        ("detect", ["--model.detector", "fcos", "--model.anchors", "auto"], "FCOS has none"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(run_task: Run, task: str, flags: list[str], said: str) -> None:
    status, _, err = run_task(task, "fit", *flags)
    assert status == 2
    assert said in one_line(err)


@pytest.mark.parametrize("flag", ["image_size", "gamma", "augment"])
def test_what_a_checkpoint_brings_is_refused_where_it_is_evaluated(run: Run, flag: str) -> None:
    status, _, err = run("test", "--ckpt_path", "some.ckpt", f"--data.{flag}", "32")
    assert status == 2
    assert one_line(err).startswith(f"error: --data.{flag}: ")


def test_declared_flags_exist() -> None:
    specs = [spec_of(task) for task in SPECS]
    for cls in [
        *(cls for spec in specs for cls in spec.data_classes().values()),
        *(spec.task_class() for spec in specs),
    ]:
        known = init_parameters(cls)
        for one in useless_flags(cls):
            assert one.flag in known, (cls, one)
            assert not one.others or known & set(one.others), (cls, one)


# What lies in a folder.


@pytest.mark.parametrize(
    ("files", "known", "fitting"),
    [
        (["cat/a.png", "dog/b.png"], CLASSIFY, ["ImageFolder"]),
        (["train/cat/a.png", "val/cat/b.png"], CLASSIFY, ["ImageFolder"]),
        (["labels.csv", "images/a.png"], CLASSIFY, ["ImageTable", "ImageFolder"]),
        (["breastmnist.npz"], CLASSIFY, ["MedMNIST"]),
        (["images/a.png", "masks/a.png"], SEGMENT, ["MaskFolder"]),
        (["images/a.png", "masks/a.png"], DETECT, ["InstanceMasks"]),
        (["imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "dataset.json"], SEGMENT, ["Volumes"]),
        (["images/a.nii.gz", "labels/a.nii.gz"], SEGMENT, ["Volumes"]),
        (["a.nii.gz", "a_seg.nii.gz"], SEGMENT, ["Volumes"]),
        (["case1/image.nii.gz", "case1/mask.nii.gz"], SEGMENT, ["Volumes"]),
        (["a.png", "a_mask.png"], SEGMENT, ["MaskFolder"]),
        (["sub-01/anat/sub-01_T1w.nii.gz", "participants.tsv"], SEGMENT, ["Bids"]),
        (["sub-01/anat/sub-01_T1w.nii.gz", "participants.tsv"], CLASSIFY, ["Bids"]),
        (["sub-01/micr/sub-01_sample-A_SEM.png", "participants.tsv"], SEGMENT, ["Bids", "BidsImages"]),
        (["notes.txt"], CLASSIFY, []),
    ],
)
def test_classes_that_fit_a_folder(tmp_path: Path, files: list[str], known: Sequence[str], fitting: list[str]) -> None:
    for name in files:
        if name.endswith(".png"):
            write_scans(tmp_path, [name])
        elif name.endswith(".nii.gz"):
            write_nifti(tmp_path / name, np.zeros((3, 3, 3), np.uint8))
        else:
            (tmp_path / name).write_bytes(b"")
    assert [name for name in classes_for(tmp_path) if name in known] == fitting
    said = advice(tmp_path, known)
    assert all(f"--data {name}" in said for name in fitting or known if name != "Phantoms"), said


def test_annotations_that_fit_a_folder(tmp_path: Path) -> None:
    for write, name in ((write_coco, "Coco"), (write_voc, "Voc"), (write_yolo, "Yolo")):
        write(tmp_path / name, pictures())
        assert [one for one in classes_for(tmp_path / name) if one in DETECT] == [name]


# What is not drawn, not cut, not there.


def test_flags_of_a_draw_are_named_where_the_split_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [f"{part}/{name}/{number}.png" for part in ("train", "val", "test") for name in "ab" for number in (1, 2)]
    write_scans(tmp_path / "scans", parts)
    caplog.set_level(logging.INFO)
    _ = ImageFolder(str(tmp_path / "scans"), test_fraction=0.3, fold=2, cache_dir=str(tmp_path / "cache")).table
    assert "--data.test_fraction, --data.fold does nothing: the data bring the parts (train, val, test)" in caplog.text
    assert f"data: ImageFolder, root {tmp_path}/scans: train 4 cases, val 4 cases, test 4 cases" in caplog.text
    caplog.clear()
    _ = ImageFolder(str(tmp_path / "scans"), cache_dir=str(tmp_path / "cache")).table
    assert "does nothing" not in caplog.text


def test_flags_of_volumes_are_named_where_images_are_flat(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{number}.png" for number in range(20)]
    write_scans(tmp_path, names)
    frame = pd.DataFrame({"path": names, "label": [f"class{number % 3}" for number in range(20)]})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    data = ImageTable(str(tmp_path), neighbors=1, positive_class="class1", cache_dir=str(tmp_path / "cache"))
    _ = data.targets
    assert "--data.neighbors does nothing" in caplog.text
    assert "--data.positive_class does nothing: the target is multiclass" in caplog.text


def test_check_says_what_it_looked_at(run: Run, table_root: Path) -> None:
    flags = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "finding"]
    _, _, err = run("check", *flags, "--output", "out")
    assert f"data: ImageTable, root {table_root}: train " in err
