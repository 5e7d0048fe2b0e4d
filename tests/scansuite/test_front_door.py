"""Models loaded and applied in Python: the same metrics as on the command line, from files and from arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

import scansuite
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.cli.main import main
from tasks.deployment.classified import ClassificationPredictions
from tasks.deployment.detected import DetectionPredictions
from tasks.deployment.segmented import SegmentationPredictions
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import LogitMap, StepMap
from tasks.exported.description import Description
from tests.tasks.serving.models import CLASSIFIER, SEGMENTER, write_model

SIZE = (32, 32)
FLAT = Preprocess(size=SIZE, channels=1).to_dict()


def small(task: str, seed: int = 0, **more: Any) -> Task:
    """An untrained model of a task."""
    torch.manual_seed(seed)
    facts: dict[str, Any] = {"in_channels": 1, "input_size": SIZE, "preprocess": FLAT, **more}
    if task == "classify":
        return scansuite.ClassificationTask("test_resnet", class_names=["benign", "malignant"], **facts)
    if task == "segment":
        names = ["background", "organ", "lesion"]
        return scansuite.SegmentationTask("test_resnet", class_names=names, num_classes=3, **facts)
    return scansuite.DetectionTask("test_resnet", channels=16, class_names=["cell"], max_detections=5, **facts)


CALIBRATIONS = {
    "classify": Calibration("platt", ("benign", "malignant"), True, {"malignant": LogitMap(2.0, 2.0, 0.3)}),
    "detect": Calibration("isotonic", ("cell",), False, {"cell": StepMap((0.0, 1.0), (0.1, 0.9))}),
}


def saved(model: Task, path: Path) -> Path:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of three sizes, and one that is none."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name, side in (("a", 32), ("b", 40), ("c", 24)):
        Image.fromarray(rng.integers(0, 256, (side, side + 8), dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "d.png").write_bytes(b"no image")
    return folder


def arrays_of(files: Path) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(Image.open(files / f"{name}.png")) for name in "abc"]


def on_the_command_line(task: str, checkpoint: Path, files: Path, output: Path) -> pd.DataFrame:
    words = ["predict", "--ckpt_path", checkpoint, "--input", files, "--output", output, "--data.num_workers", "0"]
    assert main(task, [str(word) for word in (*words, "--trainer.accelerator", "cpu")]) == 1  # one is unreadable
    return pd.read_csv(output / "predictions.csv", dtype={"case_id": "str"})


@pytest.mark.parametrize("task", ["classify", "segment", "detect"])
def test_the_same_figures_as_on_the_command_line(task: str, files: Path, tmp_path: Path) -> None:
    made = small(task)
    made.operating_points = {"classify": {"malignant": 0.3}, "segment": {}, "detect": {"cell": 0.01}}[task]
    made.calibration = CALIBRATIONS.get(task)
    checkpoint = saved(made, tmp_path / "run" / "checkpoints" / "best.ckpt")
    table = on_the_command_line(task, checkpoint, files, tmp_path / "out").drop(columns="split")
    model = scansuite.load(tmp_path / "run")
    assert type(model) is type(made)
    assert model.calibration == made.calibration
    assert not model.training
    found = scansuite.predict(model, files, accelerator="cpu")
    assert found.cases == ["a", "b", "c"]
    assert len(found) == 3
    ((path, reason),) = found.unreadable
    assert path == str(files / "d.png")
    assert reason
    pd.testing.assert_frame_equal(found.table, table, check_dtype=False, rtol=1e-6)
    from_arrays = scansuite.predict(model, arrays_of(files), case_ids=["a", "b", "c"], accelerator="cpu")
    pd.testing.assert_frame_equal(from_arrays.table, found.table.drop(columns="path"), rtol=1e-5, atol=1e-6)
    if isinstance(found, ClassificationPredictions):
        assert found.scores.columns.tolist() == ["benign", "malignant"]
        np.testing.assert_allclose(found.scores.sum(axis=1), 1)
        assert "prediction_op" in table
        raw = table[["uncalibrated_benign", "uncalibrated_malignant"]]
        np.testing.assert_allclose(found.scores, CALIBRATIONS[task].apply(raw))
        assert (found.table["prediction"] == found.scores.idxmax(axis=1).to_numpy()).all()
    elif isinstance(found, SegmentationPredictions):
        for case, mask in found.masks.items():
            written = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{case}.png"))
            np.testing.assert_array_equal(mask, written)
    else:
        assert isinstance(found, DetectionPredictions)
        assert list(found.boxes) == ["a", "b", "c"]
        corners = ["x1", "y1", "x2", "y2"]
        columns = ["label", "score", "uncalibrated_score", *corners, "prediction_op"]
        assert found.boxes["b"].columns.tolist() == columns
        np.testing.assert_allclose(table["score"], 0.1 + 0.8 * table["uncalibrated_score"])
        assert sum(map(len, found.boxes.values())) == len(table) > 0


def test_nothing_is_written_unless_asked(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = small("detect")
    scansuite.predict(model, files / "a.png")
    assert not list(tmp_path.iterdir())
    scansuite.predict(model, [files / "a.png", files / "d.png"], output="out", options={"pictures": "false"})
    written = {path.name for path in Path("out").iterdir()}
    assert written == {"predictions.csv", "detections.json", "errors.csv"}
    with pytest.raises(SuiteError, match="output out: is there already: choose a new folder"):
        scansuite.predict(model, files / "a.png", output="out")
    with pytest.raises(SuiteError, match="options picture: not of detect: did you mean 'pictures'"):
        scansuite.predict(model, files / "a.png", options={"picture": "true"})


def test_volumes_give_masks_on_their_own_grid(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 900, (20, 24, 5)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "scan.nii.gz")
    model = small("segment", slices=SliceSpec().to_dict())
    found = scansuite.predict(model, tmp_path / "scan.nii.gz")
    assert isinstance(found, SegmentationPredictions)
    assert found.masks["scan"].shape == volume.shape
    assert found.table["size_mm"].sum() == 12 * np.count_nonzero(found.masks["scan"]) > 0
    with pytest.raises(SuiteError, match="takes volumes: give it files or folders"):
        scansuite.predict(model, volume)


@pytest.mark.parametrize(
    ("images", "cases"),
    [
        (np.zeros((4, 20, 30), np.uint8), 4),
        (np.zeros((4, 20, 30, 3), np.uint8), 4),
        (np.zeros((20, 30), np.uint16), 1),
        (np.zeros((20, 30, 3), np.uint8), 1),
        (torch.zeros(2, 20, 30), 2),
        (torch.zeros(2, 3, 20, 30), 2),
        ([torch.zeros(20, 30), np.zeros((9, 9), np.uint8)], 2),
    ],
)
def test_arrays_of_all_shapes(images: Any, cases: int) -> None:
    found = scansuite.predict(small("classify"), images)
    assert found.cases == [str(number) for number in range(cases)]
    assert "path" not in found.table


@pytest.mark.parametrize(
    ("images", "more", "line"),
    [
        (np.zeros(5, np.uint8), {}, r"image 0 has shape \(\)"),
        (np.zeros((0, 8, 8), np.uint8), {}, "there are none"),
        ([np.zeros((8, 8)), np.zeros((2, 2, 8, 8))], {}, r"image 1 has shape \(2, 2, 8, 8\)"),
        (np.zeros((2, 8, 8), np.uint8), {"case_ids": ["a"]}, "1 names for 2 images"),
        (np.zeros((2, 8, 8), np.uint8), {"case_ids": ["a", "a"]}, "a is there twice"),
        (np.zeros((2, 8, 8), np.uint8), {"output": "out"}, "output: arrays have no file"),
        (np.zeros((2, 8, 8), np.uint8), {"batch_size": 0}, "batch_size 0: must be at least 1"),
        (np.zeros((2, 8, 8), np.uint8), {"options": {"pictures": "true"}}, "options pictures: not of classify: it has"),
        (np.zeros((2, 8, 8), np.uint8), {"windw": "bone"}, "windw: predict has no such argument: .*'window'"),
        ([], {}, "inputs: is empty"),
        (None, {}, "inputs: NoneType is no path"),
        ([[0, 1], [1, 0]], {}, "inputs: list is no path, nor an array"),
        (["a.png", np.zeros((8, 8))], {}, "inputs: ndarray is no path"),
        (pd.DataFrame({"path": ["a.png"]}), {}, "inputs: DataFrame is no path"),
        ("nowhere.png", {}, "nowhere.png: no such file"),
        ("nowhere.png", {"case_ids": ["a"]}, "case_ids: name arrays"),
    ],
)
def test_what_is_no_input_is_said_in_one_line(
    images: Any, more: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=line) as caught:
        scansuite.predict(small("classify"), images, **more)
    assert "\n" not in str(caught.value)


def test_one_image_with_channels_first_is_no_three_images() -> None:
    model = small("classify", in_channels=3, preprocess=Preprocess(size=SIZE, channels=3).to_dict())
    image = torch.rand(3, 32, 40)
    with pytest.raises(SuiteError, match=r"may be one image of 3 channels, or 3 grey ones: say channels_first"):
        scansuite.predict(model, image)
    assert len(scansuite.predict(model, image, channels_first=True)) == 1
    assert len(scansuite.predict(model, image, channels_first=False)) == 3
    assert len(scansuite.predict(small("classify"), image)) == 3


@pytest.mark.parametrize("model", [None, torch.nn.Linear(2, 2)])
def test_only_models_of_the_suite_predict(model: Any) -> None:
    with pytest.raises(SuiteError, match="model: expected one of the suite"):
        scansuite.predict(model, np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    ("paths", "line"), [([], "load: is empty"), (None, "load: NoneType is no path"), ("", "no path")]
)
def test_load_takes_paths(paths: Any, line: str) -> None:
    with pytest.raises(SuiteError, match=line):
        scansuite.load(paths)


@pytest.mark.parametrize("content", [b"hello", b"", b"fit:\n- a"])
def test_a_file_that_is_no_checkpoint_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    file.write_bytes(content)
    with pytest.raises(SuiteError, match=r"best\.ckpt: (cannot be read as a checkpoint: it is|holds more than)"):
        scansuite.load(file)


def test_an_array_without_a_scale_is_named_and_the_rest_goes_on() -> None:
    found = scansuite.predict(small("classify"), [np.full((8, 8), 3.5), np.zeros((8, 8))])
    assert found.cases == ["1"]
    assert found.unreadable[0][0] == "0"
    assert "outside [0, 1]" in found.unreadable[0][1]
    scaled = scansuite.predict(small("classify"), [np.full((8, 8), 3.5), np.zeros((8, 8))], value_range=[0, 7])
    assert len(scaled) == 2


@pytest.mark.parametrize("description", [CLASSIFIER, SEGMENTER])
def test_an_exported_model_predicts_files_and_arrays(description: Description, files: Path, tmp_path: Path) -> None:
    file = write_model(tmp_path / "model.onnx", description)
    found = scansuite.predict(file, files, output=tmp_path / "out")
    assert found.cases == ["a", "b", "c"]
    assert [Path(path).name for path, _ in found.unreadable] == ["d.png"]
    assert (tmp_path / "out" / "predictions.csv").is_file()
    of_arrays = scansuite.predict(str(file), arrays_of(files), case_ids=["a", "b", "c"])
    pd.testing.assert_frame_equal(of_arrays.table, found.table.drop(columns="path"))
    assert type(of_arrays) is type(found)
    with pytest.raises(SuiteError, match=r"^accelerator gpu: an exported model runs on the CPU"):
        scansuite.predict(file, files, accelerator="gpu")
    with pytest.raises(SuiteError, match=r"model\.onnx: is an exported model, which is no network of torch"):
        scansuite.load(file)


def test_several_checkpoints_are_an_ensemble(tmp_path: Path) -> None:
    paths = [saved(small("classify", seed), tmp_path / f"{seed}.ckpt") for seed in (0, 1)]
    both = scansuite.load(paths)
    assert isinstance(both, ClassificationEnsemble)
    images = np.random.default_rng(0).random((3, 32, 32))
    each = [scansuite.predict(str(path), images) for path in paths]
    found = scansuite.predict(both, images)
    assert isinstance(found, ClassificationPredictions)
    mean = sum(one.table["score_malignant"] for one in each) / 2
    np.testing.assert_allclose(found.scores["malignant"], mean, rtol=1e-6)
    for wrong, line in (([paths[0], paths[0]], "duplicated"), ([tmp_path / "x.ckpt"], "no such file"), ([], "name a")):
        with pytest.raises(SuiteError, match=line):
            scansuite.load(wrong)
    detector = saved(small("detect"), tmp_path / "d.ckpt")
    with pytest.raises(SuiteError, match="a checkpoint of the task 'detect', not of 'classify'"):
        scansuite.load([paths[0], detector])


def test_results_can_be_read(files: Path) -> None:
    found = scansuite.predict(small("segment"), files)
    lines = repr(found).splitlines()
    assert lines[0].startswith("3 cases, masks of organ, lesion, 1 file unreadable (")
    assert lines[1].split() == ["case_id", "path", "class", "pixels", "size_mm", "components", "uncertainty"]
    assert len(lines) < 15
    many = repr(scansuite.predict(small("detect"), np.random.default_rng(0).random((9, 32, 32))))
    assert len(many.splitlines()) < 15
    assert "<table" in found._repr_html_()
