"""Specification of the task ``segment``."""

from __future__ import annotations

from tasks.registry.spec import TaskSpec

SPEC = TaskSpec(
    name="segment",
    help="a class for each pixel of images, or voxel of volumes",
    task="tasks.segment.task.SegmentationTask",
    evaluator="tasks.segment.evaluator.SegmentationEvaluator",
    inference="tasks.segment.inference.SegmentationInference",
    ensemble="tasks.segment.ensemble.SegmentationEnsemble",
    explainer="tasks.segment.explainer.SegmentationExplainer",
    exporter="tasks.segment.exporter.SegmentationExporter",
    metrics="tasks.evaluation.run_tables.segmentation",
    data_base="datamodules.segmentation.base.SegmentationData",
    data=(
        "datamodules.phantoms.masks.Phantoms",
        "datamodules.segmentation.mask_folder.MaskFolder",
        "datamodules.segmentation.volumes.Volumes",
        "datamodules.segmentation.bids.Bids",
        "datamodules.segmentation.bids.BidsImages",
    ),
    examples=(
        "fit                                        train on drawn phantoms, no data needed",
        "fit --data MaskFolder --data.root DIR      images and masks in two folders",
        "fit --data Volumes --data.root DIR         NIfTI, DICOM, NRRD or MetaImage",
        "check --data MaskFolder --data.root DIR --output CHECK",
    ),
    program="python -m tasks.segment",
)
