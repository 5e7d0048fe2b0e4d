"""Specification of the task ``detect``."""

from __future__ import annotations

from tasks.registry.spec import TaskSpec

SPEC = TaskSpec(
    name="detect",
    help="a box and a class for each object in an image",
    task="tasks.detect.task.DetectionTask",
    evaluator="tasks.detect.evaluator.DetectionEvaluator",
    inference="tasks.detect.inference.DetectionInference",
    ensemble="tasks.detect.ensemble.DetectionEnsemble",
    explainer="tasks.detect.explainer.DetectionExplainer",
    exporter="tasks.detect.exporter.DetectionExporter",
    metrics="tasks.evaluation.run_tables.detection",
    data_base="datamodules.detection.base.DetectionData",
    data=(
        "datamodules.phantoms.boxes.Phantoms",
        "datamodules.detection.coco.Coco",
        "datamodules.detection.voc.Voc",
        "datamodules.detection.yolo.Yolo",
        "datamodules.detection.instance_masks.InstanceMasks",
        "datamodules.detection.box_table.BoxTable",
    ),
    examples=(
        "fit                                        train on drawn phantoms, no data needed",
        "fit --data Coco --data.root DIR            boxes as COCO JSON; likewise Voc, Yolo",
        "fit --data InstanceMasks --data.root DIR   boxes around the objects of masks",
        "fit --data BoxTable --data.root DIR --data.table boxes.csv   boxes from a table",
        "check --data Coco --data.root DIR --output CHECK",
    ),
    program="python -m tasks.detect",
)
