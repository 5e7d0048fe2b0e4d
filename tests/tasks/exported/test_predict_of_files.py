"""Exported files over real scans: the tables and masks of ``predict`` with the checkpoint. Real exports are slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import scansuite
from datamodules.input_cases import InputCases
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from tasks.classify.task import ClassificationTask
from tasks.detect.faster_rcnn import FasterRcnn
from tasks.detect.task import DetectionTask
from tasks.export.describe import describe
from tasks.export.exporting import exported, write
from tasks.exported.model_file import ExportedModel, open_model
from tasks.exported.predict import predict_files
from tasks.registry.specs import spec_of
from tasks.segment.task import SegmentationTask

SIZE = (64, 96)
pytestmark = pytest.mark.slow


def facts(**more: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    given = {"in_channels": 1, "input_size": SIZE, "class_names": ["a", "b"], "num_classes": 2, **more}
    return {"backbone": "resnet10t", "preprocess": Preprocess(SIZE, 1, percentiles=(1.0, 99.0)).to_dict(), **given}


def exported_file(model: Any, folder: Path) -> ExportedModel:
    checkpoint = folder / "best.ckpt"
    checkpoint.write_bytes(b"whose hash is in the file")
    exporter = spec_of(model.name).exporter_class()(model.eval(), [str(checkpoint)])
    made, _ = exported(exporter, describe(exporter, [checkpoint]), 20)
    write(made, folder / "model.onnx")
    return open_model(folder / "model.onnx", threads=1)


def compare(model: Any, scans: list[Path], folder: Path) -> Any:
    paths = [str(path) for path in scans]
    ours = predict_files(exported_file(model, folder), InputCases(batch_size=8), paths)
    theirs = scansuite.predict(model, paths, accelerator="cpu")
    assert ours.cases == theirs.cases
    assert ours.unreadable == theirs.unreadable
    # Edges in pixels; sizes and parts of masks follow from the masks, which an untrained network leaves in hundreds.
    edges, sizes = ["x1", "y1", "x2", "y2"], ["pixels", "size_mm", "components"]
    first, second = (one.table.drop(columns=[*edges, *sizes], errors="ignore") for one in (ours, theirs))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4, atol=1e-4)
    for name in ours.table.columns.intersection(edges):
        assert (ours.table[name] - theirs.table[name]).abs().max() < 0.01
    return ours, theirs


def test_dicom_of_all_transfer_syntaxes(shared_data: Path, tmp_path: Path) -> None:
    scans = sorted((shared_data / "dicom_syntaxes").glob("*.dcm"))
    ours, _ = compare(ClassificationTask(**facts()), scans, tmp_path)
    assert len(ours.cases) > 10
    assert ours.unreadable


def test_volumes_as_slices_with_their_neighbours(shared_data: Path, tmp_path: Path) -> None:
    scans = sorted((shared_data / "msd_hippocampus" / "imagesTr").glob("[!.]*.nii.gz"))[:5]
    preprocess = Preprocess((64, 64), 3).to_dict()
    slices = SliceSpec(neighbors=1, spacing=(1.2, 1.2)).to_dict()
    model = SegmentationTask(
        **facts(in_channels=3, input_size=(64, 64), preprocess=preprocess, slices=slices), tta="flips", has_sides=False
    )
    ours, theirs = compare(model, scans, tmp_path)
    for case, mask in ours.masks.items():
        assert mask.shape == theirs.masks[case].shape
        assert (mask != theirs.masks[case]).mean() < 1e-4


def test_cells_by_tiles(shared_data: Path, tmp_path: Path) -> None:
    scans = sorted((shared_data / "dsb2018_nuclei" / "images").glob("*.png"))[:6]
    model = SegmentationTask(**facts(preprocess=Preprocess(channels=1, percentiles=(1.0, 99.0)).to_dict()))
    ours, theirs = compare(model, scans, tmp_path)
    differing = sum(int((mask != theirs.masks[case]).sum()) for case, mask in ours.masks.items())
    assert differing < 1e-4 * sum(mask.size for mask in ours.masks.values())


@pytest.mark.parametrize("detector", ["retinanet", "fcos", "faster_rcnn"])
def test_boxes_of_blood_cells(detector: Any, shared_data: Path, tmp_path: Path) -> None:
    scans = sorted((shared_data / "bccd" / "BCCD" / "JPEGImages").glob("*.jpg"))[:6]
    model = DetectionTask(**facts(), detector=detector, channels=32, score_threshold=0.01)
    if isinstance(model.detector, FasterRcnn):  # whose untrained stages give all boxes the same score: no order
        for layer in (model.detector.rpn.head.cls_logits, model.detector.roi_heads.box_predictor.cls_score):
            torch.nn.init.normal_(layer.weight, std=0.3)
    ours, _ = compare(model, scans, tmp_path)
    assert len(ours.table) > 0
