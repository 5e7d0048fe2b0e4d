"""Augmentation: the only package that imports albumentations."""

import os

# On import albumentations asks the network for its newest version unless this says no; set here, because this runs
# before any module of the package, also when a spawned worker unpickles a pipeline.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
