"""Data classes that the command line knows by name."""

from __future__ import annotations

from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist import MedMNIST
from datamodules.phantoms.module import Phantoms

DATA_CLASSES: dict[str, type[ScanDataModule]] = {
    cls.__name__: cls for cls in (Phantoms, MedMNIST, ImageFolder, ImageTable)
}
