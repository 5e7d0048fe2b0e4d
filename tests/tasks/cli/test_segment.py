"""Segmentation on the command line: every verb on flat images and on volumes, and what users get wrong."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK
import torch
from numpy.typing import NDArray
from PIL import Image

from datamodules.segmentation.mask_folder import MaskFolder
from tasks.evaluation.gallery.store import read_gallery
from tests.datamodules.volumes_on_disk import AFFINES, write_nifti
from tests.tasks.cli.conftest import TINY, Run, draw_table, one_line

TINY_UNET = [*TINY, "--model.decoder_args", '{"decoder_channels": [16, 16, 8, 8, 8]}']
FLAT = ["--data", "MaskFolder", "--data.root", "scans", "--data.classes", "background,cell"]
VOLUMES = ["--data", "Volumes", "--data.root", "volumes", "--data.classes", "background,organ,core"]


@pytest.fixture
def segment(run_task: Run) -> Run:
    return partial(run_task, "segment")


def draw_cells(root: Path, count: int = 20, size: tuple[int, int] = (40, 48)) -> None:
    """Bright discs on a dark ground, and their masks."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rows, columns = np.indices(size)
    for case in range(count):
        y, x = rng.uniform(10, 30, 2)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 9) ** 2
        image = np.clip(rng.normal(60 + 120 * mask, 12), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"c{case:02d}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / f"c{case:02d}.png")


def draw_volumes(root: Path, count: int = 10) -> None:
    """Bright blocks in volumes of unlike size and direction, in the layout of the MSD."""
    rng = np.random.default_rng(1)
    affines = list(AFFINES.values())
    for case in range(count):
        shape = tuple(rng.integers(12, 20, 3))
        mask = np.zeros(shape, np.uint8)
        mask[3:9, 4:10, 2:9] = 1
        mask[4:7, 5:8, 3:7] = 2
        image = rng.normal(100 + 200 * mask, 20).astype(np.int16)
        affine = affines[case % len(affines)]
        write_nifti(root / "imagesTr" / f"v{case:02d}.nii.gz", image, affine)
        write_nifti(root / "labelsTr" / f"v{case:02d}.nii.gz", mask, affine)


@pytest.mark.usefixtures("charts")
def test_every_verb_on_flat_images(segment: Run) -> None:
    draw_cells(Path("scans"))
    status, out, err = segment("fit", *FLAT, *TINY_UNET, "--run_dir", "run", "--model.cleanup", "auto")
    assert status == 0, err
    assert re.search(r"^epoch 1/1  train/loss \S+  val/loss \S+  val/dice \S+  ", err, re.MULTILINE)
    assert "dice" in out
    made = {file.name for file in Path("run").iterdir()}
    assert {"config.yaml", "split.csv", "metrics.csv", "metrics.json", "cases.csv", "predictions.csv"} <= made
    assert {"learning_curves.png", "dice_val.png", "dice_test.png"} <= made
    assert {f"{part}_{rank}" for part in ("val", "test") for rank in ("best", "median", "worst")} == {
        "_".join(file.name.split("_")[:2]) for file in Path("run/overlays").iterdir()
    }
    predictions = pd.read_csv("run/predictions.csv")
    for part in ("val", "test"):
        here = predictions[predictions["split"] == part].set_index("case_id")
        first = read_gallery(Path("run"), part)[0]
        assert (first.case_id, first.kinds[0], first.image_size) == (here["dice"].idxmin(), "worst", (40, 48))
        for layer, counts in ((first.truth, ["tp", "fn"]), (first.prediction, ["tp", "fp"])):
            drawn = np.array(Image.open(BytesIO(layer)).convert("RGBA"))[..., 3] > 0 if layer else np.zeros(1)
            assert drawn.mean() == pytest.approx(here.loc[first.case_id, counts].sum() / (40 * 48))
    assert (predictions[["tp", "fp", "fn", "tn"]].sum(axis=1) == 40 * 48).all()
    assert predictions["uncertainty"].between(0, 1).all()
    assert predictions["uncertainty"].nunique() > 1
    report = json.loads(Path("run/report.json").read_text())
    assert "entropy of the masks" in report["sections"]["uncertainty"]["figures"]["measures"]
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert {"test/dice", "test/hd95", "test/nsd", "test/volume_difference", "val/iou"} <= metrics.keys()

    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    for verb, part in (("test", "test"), ("validate", "val")):
        status, _, err = segment(verb, *checkpoint, "--run_dir", f"again_{verb}")
        assert status == 0, err
        again = json.loads(Path(f"again_{verb}/metrics.json").read_text())
        assert again[f"{part}/dice"] == pytest.approx(metrics[f"{part}/dice"])

    status, out, err = segment("predict", *checkpoint, "--input", "scans/images", "--output", "out")
    assert status == 0, err
    rows = pd.read_csv("out/predictions.csv").set_index("case_id")
    assert len(rows) == 20
    evaluated = predictions.set_index("case_id")
    for case in evaluated.index:
        mask = np.array(Image.open(f"out/masks/{case}.png"))
        assert mask.shape == (40, 48)
        assert rows.loc[case, "uncertainty"] == pytest.approx(evaluated.loc[case, "uncertainty"], abs=1e-4)
        assert (mask == 1).sum() == rows.loc[case, "pixels"] == evaluated.loc[case, "tp"] + evaluated.loc[case, "fp"]
        assert Image.open(f"out/overlays/{case}.png").width > 384
    assert len(list(Path("out/overlays").iterdir())) == 20
    assert json.loads(Path("out/masks/classes.json").read_text())["classes"] == {"background": 0, "cell": 1}
    check_masks_as_data()

    numbered = ["--output", "numbered", "--mask_format", "png16", "--pictures", "false"]
    status, _, err = segment("predict", *checkpoint, "--input", "scans/images", *numbered)
    assert status == 0, err
    assert not Path("numbered/overlays").exists()
    status, _, err = segment("predict", *checkpoint, "--input", "scans/images", "--output", "o", "--pictures", "some")
    assert (status, one_line(err)) == (2, "error: --pictures some: expected true or false")
    assert np.array(Image.open("numbered/masks/c00.png")).dtype == np.uint16


def check_masks_as_data() -> None:
    """Predicted masks are read as the truth of a training: their palette changes no class number."""
    shutil.copytree("scans/images", "mended/images")
    shutil.copytree("out/masks", "mended/masks", ignore=shutil.ignore_patterns("*.json"))
    data = MaskFolder("mended", classes="background,cell", num_workers=0)
    for row, case in enumerate(data.table.cases["case_id"]):
        with Image.open(f"out/masks/{case}.png") as image:
            assert image.mode == "P"
            assert np.array_equal(data.true_mask(row), np.array(image))


@pytest.mark.parametrize("patch", [None, pytest.param(16, marks=pytest.mark.slow)], ids=["whole", "patches"])
def test_every_verb_on_volumes(segment: Run, patch: int | None) -> None:
    """Patches of slices of one spacing: smaller slices differed between test and predict, larger ones were refused."""
    draw_volumes(Path("volumes"))
    flags = [*VOLUMES, *TINY_UNET, "--data.neighbors", "1", "--data.axis", "coronal", "--data.spacing", "1"]
    flags += [] if patch is None else ["--data.patch_size", str(patch)]
    status, _, err = segment("fit", *flags, "--run_dir", "run", "--model.tta", "flips")
    assert status == 0, err
    predictions = pd.read_csv("run/predictions.csv")
    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    status, _, err = segment("test", *checkpoint, "--run_dir", "again")
    assert status == 0, err
    again = pd.read_csv("again/predictions.csv")
    pd.testing.assert_frame_equal(again, predictions[predictions["split"] == "test"].reset_index(drop=True))

    status, _, err = segment("predict", *checkpoint, "--input", "volumes/imagesTr", "--output", "out")
    assert status == 0, err
    sizes = pd.read_csv("out/predictions.csv").set_index(["case_id", "class"])
    assert len(list(Path("out/overlays").glob("v*.png"))) == len(sizes.groupby("case_id"))
    for case in predictions["case_id"].unique():
        source, mask = (nibabel.load(Path(folder) / f"{case}.nii.gz") for folder in ("volumes/imagesTr", "out/masks"))
        assert mask.shape == source.shape
        np.testing.assert_array_equal(mask.affine, source.affine)
        assert b"Doe" not in mask.header["descrip"].tobytes()
        values = np.asarray(mask.dataobj)
        for number, name in enumerate(("organ", "core"), start=1):
            voxels = int((values == number).sum())
            evaluated = predictions[(predictions["case_id"] == case) & (predictions["class"] == name)].iloc[0]
            assert voxels == sizes.loc[(case, name), "pixels"] == evaluated["tp"] + evaluated["fp"]
            volume = voxels * abs(np.linalg.det(source.affine[:3, :3]))
            assert sizes.loc[(case, name), "size_mm"] == pytest.approx(volume, rel=1e-5)
    check_other_formats(segment, str(predictions["case_id"].iloc[0]))


def check_other_formats(segment: Run, case: str) -> None:
    """The same volume as NRRD and as MHA in a zip gives the same mask on the same grid."""
    source = nibabel.load(f"volumes/imagesTr/{case}.nii.gz")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ source.affine  # ITK's axes run to the left and back
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(np.asarray(source.dataobj).T))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    Path("others").mkdir()
    SimpleITK.WriteImage(image, f"others/{case}_a.nrrd", useCompression=True)
    SimpleITK.WriteImage(image, "b.mha")
    with zipfile.ZipFile(f"others/{case}_b.zip", "w") as archive:
        archive.write("b.mha")
    status, _, err = segment(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "others", "--output", "o"
    )
    assert status == 0, err
    want = nibabel.load(f"out/masks/{case}.nii.gz")
    for name in ("a", "b"):
        mask = nibabel.load(f"o/masks/{case}_{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(want.dataobj))
        np.testing.assert_allclose(mask.affine, want.affine, atol=1e-5)


@pytest.mark.parametrize("zoom", [pytest.param("1", marks=pytest.mark.slow), "1.5"])
def test_patches_are_evaluated_by_tiles(zoom: str, segment: Run) -> None:
    draw_cells(Path("scans"), size=(75, 90))
    Image.fromarray(np.full((33, 41), 90, np.uint8)).save("scans/images/c03.png")
    Image.fromarray(np.zeros((33, 41), np.uint8)).save("scans/masks/c03.png")
    flags = [*FLAT, *TINY_UNET, "--data.patch_size", "32", "--data.foreground_share", "0.5", "--data.zoom", zoom]
    status, _, err = segment("fit", *flags, "--run_dir", "run")
    assert status == 0, err
    status, _, err = segment(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "scans/images", "--output", "out"
    )
    assert status == 0, err
    assert Image.open("out/masks/c00.png").size == (90, 75)
    assert Image.open("out/masks/c03.png").size == (41, 33)
    status, _, err = segment("fit", *FLAT, *TINY_UNET, "--model.window", "64")
    assert status == 2
    assert "--model.window" in one_line(err)


def test_kinds_of_images_are_in_every_part(segment: Run) -> None:
    draw_cells(Path("scans"))
    kinds = pd.DataFrame({"case_id": [f"c{case:02d}" for case in range(20)], "kind": ["a", "b", "b", "b"] * 5})
    kinds.to_csv("kinds.csv", index=False)
    flags = [*FLAT, *TINY_UNET, "--data.gamma", "0.5", "--data.cases", "kinds.csv", "--data.folds", "4"]
    status, _, err = segment("fit", *flags, "--data.stratify", "kind", "--run_dir", "run")
    assert status == 0, err
    split = pd.read_csv("run/split.csv").merge(kinds, on="case_id")
    assert split[split["split"] != "train"].groupby("split")["kind"].value_counts().to_dict() == {
        ("test", "a"): 1, ("test", "b"): 3, ("val", "a"): 1, ("val", "b"): 3
    }  # fmt: skip
    assert set(pd.read_csv("run/cases.csv")["kind"]) == {"a", "b"}  # for subgroups
    spec = torch.load("run/checkpoints/best.ckpt", weights_only=True)["hyper_parameters"]["preprocess"]
    assert spec["gamma"] == 0.5
    status, _, err = segment("fit", *flags, "--data.stratify", "kind,scanner", "--run_dir", "other")
    assert status == 2
    assert "--data.stratify scanner: no such column in the case table (its columns are mask, kind)" in one_line(err)


def test_the_backbone_moves_between_tasks(run_task: Run) -> None:
    """Without a key left behind, in both directions."""
    draw_cells(Path("scans"))
    draw_table(Path("table"), cases=40)
    classify = ["--data", "ImageTable", "--data.root", "table", "--data.label_columns", "finding", *TINY]
    stem = ["--model.stem", "standard"]
    tasks = {"classify": classify, "segment": [*FLAT, *TINY_UNET]}
    for first, second in (("classify", "segment"), ("segment", "classify")):
        status, _, err = run_task(first, "fit", *tasks[first], *stem, "--run_dir", first)
        assert status == 0, err
        parent = f"{first}/checkpoints/last.ckpt"
        status, _, err = run_task(
            second, "fit", *tasks[second], "--model.weights", parent, "--model.freeze", "backbone",
            "--run_dir", f"{first}_{second}",
        )  # fmt: skip
        assert status == 0, err
        states = [
            torch.load(file, weights_only=True)["state_dict"]
            for file in (parent, f"{first}_{second}/checkpoints/last.ckpt")
        ]
        names = [[name for name in state if name.startswith("backbone.")] for state in states]
        assert set(names[0]) == set(names[1])
        for name in names[0]:
            assert torch.equal(states[0][name], states[1][name]), name


def _image(name: str, size: tuple[int, int]) -> None:
    Image.fromarray(np.zeros(size, np.uint8)).save(name)


def _cut(name: str) -> None:
    file = Path(name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


FLAT_MISTAKES: dict[str, tuple[Callable[[], None], list[str]]] = {
    "size": (lambda: _image("scans/masks/c04.png", (40, 40)), ["c04.png", "40 x 40", "40 x 48"]),
    "missing": (lambda: Path("scans/masks/c04.png").unlink(), ["c04"]),
    "truncated image": (lambda: _cut("scans/images/c04.png"), ["c04.png"]),
    "truncated mask": (lambda: _cut("scans/masks/c04.png"), ["c04.png"]),
    "unknown value": (
        lambda: Image.fromarray(np.full((40, 48), 7, np.uint8)).save("scans/masks/c04.png"), ["c04.png", "7"],
    ),
    "classes or objects": (
        lambda: Image.fromarray(np.full((40, 48), 2, np.uint16)).save("scans/masks/c04.png"),
        ["0, 1, 2 (2 in scans/masks/c04.png)", "--data.mask_kind index", "--data.mask_kind instances"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", FLAT_MISTAKES)
def test_what_is_wrong_with_flat_images(segment: Run, mistake: str) -> None:
    draw_cells(Path("scans"))
    break_it, said = FLAT_MISTAKES[mistake]
    break_it()
    status, _, err = segment("fit", *FLAT, *TINY_UNET, "--run_dir", "run")
    assert status == 2
    line = one_line(err)
    for part in said:
        assert part in line, line
    assert not Path("run/metrics.json").exists()


def _volume(
    folder: str, change: Callable[[NDArray[Any]], NDArray[Any]], dtype: type = np.float32, case: str = "v04"
) -> None:
    file = Path(f"volumes/{folder}/{case}.nii.gz")
    volume = nibabel.load(file)
    write_nifti(file, change(np.asarray(volume.dataobj).astype(dtype)), volume.affine)


def _with(value: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[3, 3, 3] = value
        return array

    return change


VOLUME_MISTAKES: dict[str, tuple[Callable[[], None], list[str]]] = {
    "nan": (lambda: _volume("imagesTr", _with(np.nan)), ["imagesTr/v04.nii.gz", "NaN"]),
    "infinite": (lambda: _volume("imagesTr", _with(np.inf)), ["imagesTr/v04.nii.gz", "infinite"]),
    "no slices": (lambda: _volume("imagesTr", lambda array: array[:, :, :0]), ["imagesTr/v04.nii.gz"]),
    "truncated": (lambda: _cut("volumes/imagesTr/v04.nii.gz"), ["imagesTr/v04.nii.gz"]),
    "truncated mask": (lambda: _cut("volumes/labelsTr/v04.nii.gz"), ["labelsTr/v04.nii.gz"]),
    "missing": (lambda: Path("volumes/labelsTr/v04.nii.gz").unlink(), ["v04"]),
    "size": (
        lambda: _volume("labelsTr", lambda array: array[:-1], np.uint8), ["labelsTr/v04.nii.gz", "imagesTr/v04.nii.gz"],
    ),
    "unknown value": (lambda: _volume("labelsTr", _with(9), np.uint8), ["labelsTr/v04.nii.gz", "9"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", VOLUME_MISTAKES)
def test_what_is_wrong_with_volumes(segment: Run, mistake: str) -> None:
    draw_volumes(Path("volumes"))
    break_it, said = VOLUME_MISTAKES[mistake]
    break_it()
    status, _, err = segment("fit", *VOLUMES, *TINY_UNET, "--run_dir", "run")
    assert status == 2
    line = one_line(err)
    for part in said:
        assert part in line, line
    assert not Path("run/metrics.json").exists()


def test_predict_passes_over_unreadable_volumes(segment: Run) -> None:
    draw_volumes(Path("volumes"))
    status, _, err = segment("fit", *VOLUMES, *TINY_UNET, "--run_dir", "run")
    assert status == 0, err
    _cut("volumes/imagesTr/v04.nii.gz")
    _volume("imagesTr", _with(np.nan), case="v05")
    status, out, err = segment(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "volumes/imagesTr", "--output", "out"
    )
    assert status == 1, err
    assert "8 cases predicted, 2 files unreadable" in out
    errors = pd.read_csv("out/errors.csv")
    assert [Path(path).name for path in errors["path"]] == ["v04.nii.gz", "v05.nii.gz"]
    assert len(list(Path("out/masks").glob("*.nii.gz"))) == 8
