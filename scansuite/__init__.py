"""Classification, segmentation and detection on medical scans, for notebooks and scripts.

``import scansuite`` is cheap: torch, Lightning and pandas come with the first name that needs them. docs/python.md has
an example of each task in ten lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datamodules.arrays.choose import Arrays
    from datamodules.classification.bids import Bids as ClassificationBids
    from datamodules.classification.image_folder import ImageFolder
    from datamodules.classification.image_table import ImageTable
    from datamodules.classification.medmnist import MedMNIST
    from datamodules.detection.box_table import BoxTable
    from datamodules.detection.coco import Coco
    from datamodules.detection.instance_masks import InstanceMasks
    from datamodules.detection.voc import Voc
    from datamodules.detection.yolo import Yolo
    from datamodules.phantoms.boxes import Phantoms as DetectionPhantoms
    from datamodules.phantoms.labels import Phantoms as ClassificationPhantoms
    from datamodules.phantoms.masks import Phantoms as SegmentationPhantoms
    from datamodules.segmentation.bids import Bids as SegmentationBids
    from datamodules.segmentation.bids import BidsImages
    from datamodules.segmentation.mask_folder import MaskFolder
    from datamodules.segmentation.volumes import Volumes
    from scansuite.errors import SuiteError
    from scansuite.front_door import load, predict
    from scansuite.reports import report
    from tasks.classify.task import ClassificationTask
    from tasks.detect.task import DetectionTask
    from tasks.evaluation.evaluated import read_evaluated as read_run
    from tasks.segment.task import SegmentationTask

    __version__: str

# Name -> module, with the name that it bears there where that is another one.
_HOMES = {
    "ClassificationTask": "tasks.classify.task",
    "SegmentationTask": "tasks.segment.task",
    "DetectionTask": "tasks.detect.task",
    "ClassificationPhantoms": "datamodules.phantoms.labels:Phantoms",
    "ClassificationBids": "datamodules.classification.bids:Bids",
    "ImageFolder": "datamodules.classification.image_folder",
    "ImageTable": "datamodules.classification.image_table",
    "MedMNIST": "datamodules.classification.medmnist",
    "SegmentationPhantoms": "datamodules.phantoms.masks:Phantoms",
    "SegmentationBids": "datamodules.segmentation.bids:Bids",
    "BidsImages": "datamodules.segmentation.bids",
    "MaskFolder": "datamodules.segmentation.mask_folder",
    "Volumes": "datamodules.segmentation.volumes",
    "DetectionPhantoms": "datamodules.phantoms.boxes:Phantoms",
    "BoxTable": "datamodules.detection.box_table",
    "Coco": "datamodules.detection.coco",
    "Voc": "datamodules.detection.voc",
    "Yolo": "datamodules.detection.yolo",
    "InstanceMasks": "datamodules.detection.instance_masks",
    "Arrays": "datamodules.arrays.choose",
    "load": "scansuite.front_door",
    "predict": "scansuite.front_door",
    "read_run": "tasks.evaluation.evaluated:read_evaluated",
    "report": "scansuite.reports",
    "SuiteError": "scansuite.errors",
    "__version__": "scansuite.version",
}

__all__ = [
    "Arrays", "BidsImages", "BoxTable", "ClassificationBids", "ClassificationPhantoms", "ClassificationTask", "Coco",
    "DetectionPhantoms", "DetectionTask", "ImageFolder", "ImageTable", "InstanceMasks", "MaskFolder", "MedMNIST",
    "SegmentationBids", "SegmentationPhantoms", "SegmentationTask", "SuiteError", "Voc", "Volumes", "Yolo",
    "__version__", "load", "predict", "read_run", "report",
]  # fmt: skip

if not TYPE_CHECKING:  # where it would let every mistyped name pass

    def __getattr__(name: str) -> object:
        """Import a name when it is first asked for (PEP 562)."""
        from importlib import import_module

        if name not in _HOMES:
            from scansuite.errors import nearest

            raise AttributeError(f"module 'scansuite' has no attribute {name!r}: {nearest(name, _HOMES)}")
        module, _, own_name = _HOMES[name].partition(":")
        value = getattr(import_module(module), own_name or name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The names on offer, for completion in editors."""
        return sorted(__all__)
