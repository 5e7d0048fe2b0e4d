"""Augmentation as tensor code: the presets on whole batches, where the network is; without albumentations."""
