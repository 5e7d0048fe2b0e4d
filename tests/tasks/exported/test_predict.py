"""The runner leaves the files that ``predict`` of torch leaves, from the raw output of the same network."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import scansuite
from datamodules.input_cases import InputCases
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from scansuite.errors import SuiteError
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.task import ClassificationTask
from tasks.detect.ensemble import DetectionEnsemble
from tasks.detect.task import DetectionTask
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import LogitMap, StepMap
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.exported.batches import Unreadable
from tasks.exported.predict import predict_cases, predict_files, predict_scan
from tasks.normalize import Normalize
from tasks.segment.ensemble import SegmentationEnsemble
from tasks.segment.task import SegmentationTask
from tests.datamodules.dicom_on_disk import write
from tests.datamodules.volumes_on_disk import AFFINES, write_nifti
from tests.tasks.exported.by_torch import TorchRunnable

SIZE = (32, 40)
NO_PICTURES = {"pictures": "false"}


def slow(kind: str) -> Any:
    """A kind that the slow tests alone look at."""
    return pytest.param(kind, marks=pytest.mark.slow)


def facts(seed: int, **more: Any) -> dict[str, Any]:
    torch.manual_seed(seed)
    whole = Preprocess(size=SIZE, channels=1, percentiles=(1.0, 99.0)).to_dict()
    return {"backbone": "test_resnet", "in_channels": 1, "input_size": SIZE, "preprocess": whole, **more}


def classifier(seed: int = 0, names: str = "ab", **more: Any) -> Any:
    return ClassificationTask(**facts(seed, class_names=list(names), num_classes=len(names), **more)).eval()


def segmenter(seed: int = 0, names: str = "0ab", **more: Any) -> Any:
    given = {"decoder_args": {"decoder_channels": [8] * 5}, **more}
    return SegmentationTask(**facts(seed, class_names=list(names), num_classes=len(names), **given)).eval()


def detector(seed: int = 0, names: str = "ab", **more: Any) -> Any:
    given = facts(seed, class_names=list(names), num_classes=len(names), channels=16, max_detections=20, **more)
    return DetectionTask(**given).eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat images: 8 and 16 bits, colour, DICOM, one that is broken and one that is no scan."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    (folder / "sub").mkdir()
    Image.fromarray(rng.integers(0, 256, (32, 40), dtype=np.uint8)).save(folder / "a.png")
    Image.fromarray(rng.integers(0, 256, (70, 50, 3), dtype=np.uint8)).save(folder / "sub" / "b.png")
    Image.fromarray(rng.integers(0, 60000, (25, 90), dtype=np.uint16)).save(folder / "c.png")
    write(folder / "d.dcm", rng.integers(0, 4096, (48, 40), dtype=np.uint16))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes of two shapes, one of them oblique, and a file that breaks off."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(1)
    write_nifti(folder / "flat.nii.gz", rng.integers(0, 900, (30, 26, 5)).astype(np.int16))
    write_nifti(folder / "oblique.nii", rng.integers(0, 900, (22, 31, 4)).astype(np.int16), AFFINES["oblique"])
    write_nifti(folder / "cut.nii", rng.integers(0, 900, (22, 31, 4)).astype(np.int16))
    (folder / "cut.nii").write_bytes((folder / "cut.nii").read_bytes()[:1200])
    return folder


def listed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_same_outputs(ours: Path, theirs: Path) -> None:
    """The same files, tables to 1e-4, masks and pictures but for what rounding may turn."""
    assert listed(ours) == listed(theirs)
    for name in listed(ours):
        one, other = ours / name, theirs / name
        if name.endswith(".csv"):
            same_table(one, other)
        elif name == "detections.json":
            same_boxes(json.loads(one.read_text()), json.loads(other.read_text()))
        elif name.endswith(".json"):
            assert one.read_text() == other.read_text()
        elif name.startswith("masks"):
            assert one.read_bytes() == other.read_bytes()
        else:
            assert np.asarray(Image.open(one)).shape == np.asarray(Image.open(other)).shape


def same_table(one: Path, other: Path) -> None:
    with one.open() as first, other.open() as second:
        assert next(csv.reader(first)) == next(csv.reader(second))
    pd.testing.assert_frame_equal(pd.read_csv(one), pd.read_csv(other), rtol=1e-4, atol=1e-4, check_exact=False)


def same_boxes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["images"] == other["images"]
    assert one["categories"] == other["categories"]
    for ours, theirs in zip(one["annotations"], other["annotations"], strict=True):
        assert ours.pop("bbox") == pytest.approx(theirs.pop("bbox"), abs=2e-3)
        assert ours.pop("area") == pytest.approx(theirs.pop("area"), abs=0.1)
        assert ours == pytest.approx(theirs)


def compare(model: Any, inputs: Path | list[str], folder: Path, **options: str) -> Any:
    """Predict with torch and with the runner; the runner's result."""
    paths = [str(inputs)] if isinstance(inputs, Path) else inputs
    theirs = scansuite.predict(model, paths, output=folder / "torch", accelerator="cpu", options=options)
    (folder / "numpy").mkdir()
    ours = predict_files(TorchRunnable(model), InputCases(), paths, folder / "numpy", options)
    assert_same_outputs(folder / "numpy", folder / "torch")
    assert ours.cases == theirs.cases
    assert list(ours.unreadable) == list(theirs.unreadable)
    assert set(ours.cases) <= set(ours.paths)
    return ours


def calibrated(model: Any, method: str = "platt") -> Any:
    maps = {"b": LogitMap(2.0, 2.0, 0.3)}
    model.calibration = Calibration(method, ("a", "b"), True, maps)
    model.operating_points = {"b": 0.6}
    return model


@pytest.mark.parametrize(
    "kind", ["binary", "multilabel", "ordinal", slow("ordinal by softmax"), "regression", "ensemble"]
)
def test_classification(kind: str, images: Path, tmp_path: Path) -> None:
    target = kind.split()[0]
    if kind == "binary":
        model = calibrated(classifier())
    elif kind == "ensemble":
        model = ClassificationEnsemble([calibrated(classifier(seed)) for seed in (1, 2, 3)], ["1", "2", "3"])
    elif kind == "regression":
        model = classifier(names="a", target=target)
    else:
        loss = "cross_entropy" if "softmax" in kind else "auto"
        model = classifier(names="abc", target=target, loss=loss)
        model.operating_points = {"a": 0.5, "c": 0.45} if target == "multilabel" else {}
    found = compare(model, images, tmp_path)
    assert len(found.table) == 4
    assert [Path(path).name for path, _ in found.unreadable] == ["broken.png"]
    assert ("uncertainty" in found.table) == (kind == "ensemble")


@pytest.mark.parametrize("aggregate", [slow("mean"), slow("max"), "topk", "attention", slow("ensemble")])
def test_cases_of_many_images(aggregate: str, images: Path, tmp_path: Path) -> None:
    if aggregate == "ensemble":
        members = [classifier(1, aggregate="topk", topk=0.6), classifier(2, aggregate="attention", bag_limit=None)]
        model: Any = ClassificationEnsemble(members, ["1", "2"])
    else:
        model = calibrated(classifier(aggregate=aggregate, topk=0.6))
    found = compare(model, images, tmp_path)
    assert len(found.table) == 2  # a folder is a case
    assert (found.attention is not None) == (aggregate in ("attention", "ensemble"))


@pytest.mark.parametrize("aggregate", ["none", "max"])
def test_slices_of_volumes(aggregate: str, volumes: Path, tmp_path: Path) -> None:
    preprocess = Preprocess(size=SIZE, channels=3).to_dict()
    model = classifier(
        aggregate=aggregate, in_channels=3, preprocess=preprocess, bag_limit=3, slices=SliceSpec(neighbors=1).to_dict()
    )
    found = compare(model, volumes, tmp_path)
    assert len(found.table) == (9 if aggregate == "none" else 2)
    assert [Path(path).name for path, _ in found.unreadable] == ["cut.nii"]


@pytest.mark.parametrize("kind", ["whole", "regions", "tiles", "resized", slow("ensemble")])
def test_segmentation(kind: str, images: Path, tmp_path: Path) -> None:
    stored = Preprocess(channels=1, percentiles=(1.0, 99.0)).to_dict()
    if kind == "whole":
        model = segmenter()
        model.cleanup = CleanUp(("a",), {"b": 5.0})
    elif kind == "regions":
        model = segmenter(names="ab", overlapping=True)
        model.normalize = Normalize([0.0], [1.0], per_image=True)
    elif kind == "tiles":
        model = segmenter(preprocess=stored, overlap=0.5)
    elif kind == "resized":
        zoomed = Preprocess(channels=1, percentiles=(1.0, 99.0), zoom=0.5).to_dict()
        model = segmenter(preprocess=zoomed, tta="flips", has_sides=False)
    else:
        members = [segmenter(1), segmenter(2, tta="flips", has_sides=False)]
        model = SegmentationEnsemble(members, ["1", "2"])
    found = compare(model, images, tmp_path, **({"mask_format": "png16"} if kind == "whole" else NO_PICTURES))
    assert len(found.table) == 8
    assert found.masks == {}


@pytest.mark.parametrize("kind", ["resized", slow("one spacing")])
def test_segmentation_of_volumes(kind: str, volumes: Path, tmp_path: Path) -> None:
    if kind == "resized":
        given: dict[str, Any] = {"preprocess": Preprocess(size=SIZE, channels=3).to_dict()}
        model = segmenter(in_channels=3, slices=SliceSpec(neighbors=1).to_dict(), **given)
    else:
        slices = SliceSpec(plane="coronal", spacing=(1.2, 1.2)).to_dict()
        model = segmenter(preprocess=Preprocess(size=(64, 64), channels=1).to_dict(), slices=slices)
    found = compare(model, volumes, tmp_path)
    assert found.cases == ["flat", "oblique"]


@pytest.mark.parametrize(
    "kind", ["retinanet", slow("fcos"), "faster_rcnn", slow("soft"), slow("tiles"), slow("ensemble"), "nothing"]
)
def test_detection(kind: str, images: Path, tmp_path: Path) -> None:
    stored = Preprocess(channels=1, percentiles=(1.0, 99.0)).to_dict()
    if kind in ("retinanet", "fcos", "faster_rcnn"):
        model = detector(detector=kind)
        model.operating_points = {"a": 0.01}
        model.calibration = Calibration("isotonic", ("a", "b"), False, {"b": StepMap((0.0, 1.0), (0.1, 0.9))})
    elif kind == "soft":
        model = detector(nms="soft")
    elif kind == "tiles":
        model = detector(preprocess=stored, overlap=0.25)
    elif kind == "ensemble":
        model = DetectionEnsemble(
            [detector(1), detector(2, detector="fcos"), detector(3, nms_iou=0.3)], ["1", "2", "3"]
        )
    else:
        model = detector(score_threshold=0.9)
    found = compare(model, images, tmp_path, **({} if kind == "retinanet" else NO_PICTURES))
    assert len(found.cases) == 4
    assert (len(found.table) == 0) == (kind == "nothing")


def test_cases_come_one_by_one_with_plain_rows(images: Path, volumes: Path) -> None:
    model = TorchRunnable(calibrated(classifier()))
    cases = list(predict_cases(model, InputCases(batch_size=2), [str(images)]))
    broken = [case for case in cases if isinstance(case, Unreadable)]
    assert [Path(case.path).name for case in broken] == ["broken.png"]
    table = predict_files(model, InputCases(), [str(images)]).table.drop(columns="path")
    rows = [row for case in cases if not isinstance(case, Unreadable) for row in case.rows]
    assert sorted(json.loads(json.dumps(rows)), key=lambda row: row["case_id"]) == table.to_dict("records")
    sliced = segmenter(preprocess=Preprocess(size=SIZE, channels=1).to_dict(), slices=SliceSpec().to_dict())
    found = list(predict_cases(TorchRunnable(sliced), InputCases(), [str(volumes)]))
    assert [getattr(case, "mask", np.zeros(0)).shape for case in found] == [(0,), (30, 26, 5), (22, 31, 4)]


def test_one_file_and_one_array(images: Path) -> None:
    made: list[Any] = [classifier(), segmenter(), detector()]
    for model in map(TorchRunnable, made):
        array = np.asarray(Image.open(images / "a.png"))
        (of_file,) = predict_scan(model, images / "a.png")
        (of_array,) = predict_scan(model, array)
        assert (of_file.scan["case_id"], of_array.scan["case_id"]) == ("a", "image")
        rows = [{**row, "case_id": "image"} for row in of_file.rows]
        assert str(rows) == str(of_array.rows)  # nan is not itself
        assert rows
        with pytest.raises(SuiteError, match=r"broken\.png"):
            predict_scan(model, images / "broken.png")
        with pytest.raises(SuiteError, match="is no image: expected"):
            predict_scan(model, np.zeros((2, 3, 4, 5), np.uint8))


@pytest.mark.parametrize("task", ["classify", "segment", "detect"])
def test_an_image_that_the_graph_does_not_take_stops_nothing(task: str, images: Path) -> None:
    stored = Preprocess(channels=1, percentiles=(1.0, 99.0)).to_dict()
    made = {"classify": classifier, "segment": segmenter, "detect": detector}[task](preprocess=stored)
    model = TorchRunnable(made)
    size = SIZE if task == "classify" else (32, 64)
    model.description = dataclasses.replace(model.description, sizes=(size,), tile=None)
    found = predict_files(model, InputCases(), [str(images)])
    assert found.cases == ["a"]
    reasons = {Path(path).name: reason for path, reason in found.unreadable}
    assert set(reasons) == {"b.png", "c.png", "d.dcm", "broken.png"}
    assert f"takes images of {size[0]} x {size[1]} px alone" in reasons["d.dcm"]


def test_batches_are_no_larger_than_asked(images: Path) -> None:
    runnable = TorchRunnable(classifier())
    predict_files(runnable, InputCases(batch_size=3), [str(images)])
    assert [shape[0] for shape in runnable.shapes] == [3, 1]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"mask_format": "tiff"}, "--mask_format tiff: "),
        ({"pictures": "maybe"}, "--pictures maybe: true or false"),
        ({"colour": "red"}, "--colour: segment has no such flag"),
    ],
)
def test_options_that_are_none(options: dict[str, str], line: str, images: Path) -> None:
    with pytest.raises(SuiteError, match=line):
        predict_files(TorchRunnable(segmenter()), InputCases(), [str(images)], None, options)
