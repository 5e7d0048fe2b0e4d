"""What an epoch says of detection against what is evaluated of the same boxes."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer

from datamodules.detection.base import DetectionData
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.types import Batch, ScanInfo
from tasks.detect.evaluator import DetectionEvaluator
from tasks.detect.interface import Detections, Raw
from tasks.detect.metrics import DetectionMetrics
from tasks.evaluation.detection.metrics import evaluate_boxes
from tests.datamodules.boxes_on_disk import CLASSES, pictures, write_coco, write_voc
from tests.tasks.detect.test_task import small_task

COMPARED = ("map", "map50", "map75", "mar", "map50/cyst", "sensitivity@op", "precision@op", "f1@op")


def test_boxes_of_an_epoch_end_where_the_scan_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below row 40 the image is filled up; evaluated, the first box ends there, and the second is none."""
    task = small_task()
    found = Detections(
        torch.tensor([[10.0, 20.0, 30.0, 62.0], [10.0, 44.0, 30.0, 62.0]]), torch.tensor([0.6, 0.9]).double(),
        torch.tensor([1, 1]),
    )  # fmt: skip
    monkeypatch.setattr(task, "decode", lambda _: [found])
    scan = ScanInfo(case_id="c", path="c.png", original_size=(80, 160), content_size=(40, 80))
    batch = Batch(image=torch.zeros(1, 1, 64, 80), scan=[scan], labels=[torch.tensor([1])])
    batch["boxes"] = [torch.tensor([[10.0, 20.0, 30.0, 40.0]])]
    metric: Any = task.metrics["val_metrics"]
    task.update_metrics(metric, Raw((64, 80), ()), batch)
    values = metric.compute()
    assert values["map"] == pytest.approx(1.0)
    assert values["precision@op"] == 1


def test_boxes_on_ignored_ones_are_not_false() -> None:
    found = Detections(
        torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 40.0, 40.0], [52.0, 52.0, 60.0, 60.0]]),
        torch.tensor([0.5, 0.9, 0.8]).double(), torch.tensor([0, 0, 0]),
    )  # fmt: skip
    boxes, labels = [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], [torch.tensor([0])]
    crowd = torch.tensor([[20.0, 20.0, 40.0, 41.0, 0.0, 0.0], [50.0, 50.0, 80.0, 80.0, 0.0, 0.0]])
    difficult = crowd.clone()
    difficult[:, 5] = 1
    expected = {"none": 1 / 3, "crowd": 1.0, "difficult": 1 / 2}
    for name, ignored in (("none", None), ("crowd", [crowd]), ("difficult", [difficult])):
        metric = DetectionMetrics(["cell"], 100)
        metric.update([found], boxes, labels, ignored)
        assert float(metric.compute()["map50"]) == pytest.approx(expected[name]), name


def data_of(form: str, root: Path, **settings: Any) -> DetectionData:
    """All ten images as a test part."""
    kind: type[DetectionData]
    kind, write = (Voc, write_voc) if form == "voc" else (Coco, write_coco)
    given: dict[str, Any] = {"num_workers": 0, "batch_size": 1, "split": "all_test", **settings}
    return kind(str(write(root / form, pictures(ignored=True))), **given)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


def findings(data: DetectionData) -> list[Detections]:
    """For each image all boxes, ignored ones too, as a model might find them: shaken, into the filling, and a part."""
    rng = np.random.default_rng(0)
    found = []
    for one in sorted(pictures(ignored=True)):
        height, width = data.preprocess.content_size(one.size)
        true = np.array([box.corners for box in one.boxes]).reshape(-1, 4)
        true = true * np.array([width / one.size[1], height / one.size[0]] * 2)
        middle = (true[:, :2] + true[:, 2:]) / 2
        parts = np.concatenate([middle - 1, middle + 1], axis=1)
        beyond = np.where(true[:, 2:] > [width - 6, height - 6], 64.0, true[:, 2:])
        boxes = np.concatenate([true, parts, np.c_[true[:, :2], beyond], [[0, 0, 1, 1], [width, height, 64, 64]]])
        # Moved a little, so that no overlap is one of the thresholds to the last digit.
        boxes = (boxes + rng.normal(0, 0.7, boxes.shape)).clip(0, 64)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1)
        labels = [CLASSES.index(box.label) for box in one.boxes]
        found.append(
            Detections(
                torch.from_numpy(boxes).float(), torch.from_numpy(rng.random(len(boxes))),
                torch.tensor([*labels, *labels, *labels, 0, 1]),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_an_epoch_says_what_is_evaluated(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are filled up, and some boxes are ignored: as difficult, or as crowds."""
    data = data_of(form, tmp_path, image_size=64)
    task = small_task(input_size=(64, 64), class_names=CLASSES, preprocess=data.preprocess.to_dict())
    said = cycle(findings(data))  # images come one by one, in order
    monkeypatch.setattr(task, "decode", lambda _: [next(said)])
    evaluation = DetectionEvaluator()
    quiet: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(callbacks=[evaluation.callback], enable_model_summary=False, enable_checkpointing=False, **quiet)
    (logged,) = trainer.test(task, dataloaders=data.test_dataloader(), verbose=False)
    evaluated = evaluation.run(trainer, task, data, "test", choose=True)
    assert evaluated.targets is not None
    assert evaluated.targets["ignore"].any()
    assert evaluated.targets["difficult"].any() == (form == "voc")
    metrics = evaluate_boxes(
        evaluated.scans, evaluated.targets, evaluated.predictions, CLASSES, task.operating_points, resamples=0
    ).metrics
    assert 0.1 < metrics["map50"].value < 0.9
    for name in COMPARED:
        assert logged[f"test/{name}"] == pytest.approx(metrics[name].value, abs=1e-6), name


@pytest.mark.parametrize("patch", [None, 24])
def test_ignored_boxes_lie_on_what_is_shown(patch: int | None, tmp_path: Path) -> None:
    data = data_of("voc", tmp_path, **({"patch_size": patch} if patch else {"image_size": 64}))
    batches = {batch["scan"][0]["case_id"]: batch for batch in data.test_dataloader()}
    seen = 0
    for one in pictures(ignored=True):
        (height, width), batch = one.size, batches[one.name]
        shown = batch["scan"][0]["content_size"]
        if patch is None:
            scale, start = np.array([shown[1] / width, shown[0] / height] * 2), np.zeros(4)
        else:
            scale, start = np.ones(4), np.array([max(0, (width - patch) // 2), max(0, (height - patch) // 2)] * 2)
        expected = []
        for box in one.boxes:
            whole = np.array(box.corners) * scale - start
            part = np.clip(whole, 0, [shown[1], shown[0]] * 2)
            if box.ignore and (part[2:] - part[:2]).prod() >= 0.1 * (whole[2:] - whole[:2]).prod():
                expected.append([*part, CLASSES.index(box.label), 1])
        np.testing.assert_allclose(batch["ignored"][0], np.reshape(expected, (-1, 6)), atol=1e-4)
        seen += len(expected)
    assert seen > 2


def test_training_knows_no_ignored_boxes(tmp_path: Path) -> None:
    data = data_of("voc", tmp_path, image_size=64, split="auto")
    assert "ignored" not in next(iter(data.train_dataloader()))
    assert "ignored" in next(iter(data.val_dataloader()))
