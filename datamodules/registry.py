"""Data classes that the command line knows by name, by what they give beside images."""

from __future__ import annotations

from datamodules.base import ScanDataModule
from datamodules.classification.base import ClassificationData
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist import MedMNIST
from datamodules.detection.base import DetectionData
from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.phantoms import boxes, labels, masks
from datamodules.segmentation.base import SegmentationData
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes

# The first of each kind is what a task takes where no data are named.
DATA_CLASSES: dict[type[ScanDataModule], tuple[type[ScanDataModule], ...]] = {
    ClassificationData: (labels.Phantoms, MedMNIST, ImageFolder, ImageTable),
    SegmentationData: (masks.Phantoms, MaskFolder, Volumes),
    DetectionData: (boxes.Phantoms, Coco, Voc, Yolo, InstanceMasks),
}


def data_classes(base: type[ScanDataModule]) -> dict[str, type[ScanDataModule]]:
    """The data classes of a kind by name."""
    return {cls.__name__: cls for cls in DATA_CLASSES[base]}
