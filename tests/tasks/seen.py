"""What a network is shown of each image by each verb, from the loaders that the verbs themselves use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from datamodules.inputs import InputFiles
from tasks.cli.evaluate import evaluator_of
from tasks.evaluation.segmentation.cleanup import CleanUp
from tasks.registry.specs import spec_of
from tasks.running.evaluator import piece_loader
from tasks.tile import evaluation_tile

Seen: TypeAlias = dict[tuple[str, int], list[NDArray[np.float32]]]  # (name of its file, slice) -> its tiles
Build: TypeAlias = Callable[..., ScanDataModule]


def task_of(data: ScanDataModule) -> str:
    if isinstance(data, ClassificationData):
        return "classify"
    return "detect" if isinstance(data, DetectionData) else "segment"


def model_of(data: Any) -> Any:
    """What verbs ask of a model that was trained on some data."""
    task = task_of(data)
    tile = evaluation_tile(None, data.input_size, data.preprocess) if task != "classify" else None
    slices = data.slices if task != "detect" else None
    model = SimpleNamespace(
        preprocess=data.preprocess, slices=slices, class_names=data.class_names, tile=tile, overlap=0.5,
        calibration=None, operating_points={},
    )  # fmt: skip
    if task == "classify":
        model.bag_limit = data.bag_limit
        model.aggregate = "mean" if data.bags else "none"
        model.target, model.positive_class = data.target, data.positive_class
    elif task == "segment":
        model.overlapping, model.cleanup = data.overlapping, CleanUp()
    else:
        model.decoding, model.max_detections = SimpleNamespace(nms_iou=0.5), 100
    return model


def collected(batches: Iterable[Any]) -> Seen:
    """The arrays of some batches, image by image."""
    seen: Seen = {}
    for batch in batches:
        assert not batch.get("unreadable")
        arrays = batch["image"].numpy()
        if "bags" in batch:
            keys = [(one.path, max(one.slice, 0)) for bag in batch["bags"] for one in bag]
        elif "pieces" in batch:
            keys = [(scan["path"], piece.image) for scan, piece in zip(batch["scan"], batch["pieces"], strict=True)]
        else:
            keys = [(scan["path"], scan.get("slice") or 0) for scan in batch["scan"]]
        for (path, number), array in zip(keys, arrays, strict=True):
            seen.setdefault((Path(path).name, number), []).append(array)
    return seen


def validated(data: ScanDataModule) -> Seen:
    """What ``fit`` validates on after each epoch."""
    return collected(data.val_dataloader())


def evaluated(data: ScanDataModule, model: Any, split: str, *, whole: bool = False) -> Seen:
    """What ``fit``'s last step and ``test`` show the model of a part."""
    if isinstance(data, ClassificationData):
        return collected(data.val_dataloader() if split == "val" else data.test_dataloader())
    trainer: Any = SimpleNamespace(
        global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    model = SimpleNamespace(tile=None, overlap=0) if whole else model
    return collected(piece_loader(trainer, model, data, data.rows(split)))


def tested(data: ScanDataModule, model: Any) -> Seen:
    """What ``test --data.split all_test`` shows a trained model."""
    evaluator_of(task_of(data)).adopt(model, data)
    return evaluated(data, model, "test")


def predicted(task: str, model: Any, inputs: Sequence[Path], output: Path, **settings: Any) -> Seen:
    """What ``predict`` shows it."""
    inference_class = spec_of(task).inference_class()
    files = InputFiles(**{"num_workers": 0, "batch_size": 3, **settings})
    predicting = inference_class(model, files, output, dict.fromkeys(inference_class.flags))
    return collected(predicting.loader(predicting.table([str(path) for path in inputs]), 0, 1))


def middle_patches(data: ScanDataModule, model: Any) -> Seen:
    """The middle patch of each image of validation, cut out of the whole ones that evaluation shows."""
    patch = data.patch
    assert patch is not None
    scans = data.single_images(data.rows("val"))
    contents = {
        (Path(info["path"]).name, info.get("slice") or 0): info.get("content_size")
        for info in (scans.preprocessed(number)[1] for number in range(len(scans)))
    }
    cut: Seen = {}
    for key, (image,) in evaluated(data, model, "val", whole=True).items():
        height, width = contents[key] or image.shape[1:]
        top, left = patch.middle((height, width))
        part = image[:, top : top + patch.size[0], left : left + patch.size[1]]
        missing = [(0, side - there) for side, there in zip(patch.size, part.shape[1:], strict=True)]
        cut[key] = [np.pad(part, [(0, 0), *missing], mode="edge")]
    return cut


def assert_same(some: Seen, others: Seen, what: str) -> None:
    """Bit for bit, image by image; ``others`` may have more images."""
    assert some, f"{what}: nothing is seen"
    assert some.keys() <= others.keys(), f"{what}: {sorted(some.keys() - others.keys())[:3]} are not there"
    for key, arrays in some.items():
        assert len(arrays) == len(others[key]), f"{what}: {key} has {len(arrays)} and {len(others[key])} tiles"
        for one, other in zip(arrays, others[key], strict=True):
            assert one.dtype == other.dtype == np.float32
            assert one.shape == other.shape, f"{what}: {key} is {one.shape} and {other.shape}"
            assert np.array_equal(one, other), f"{what}: {key} differs by up to {np.abs(one - other).max():.3g}"


def check_all_ways(build: Build, inputs: Sequence[Path], folder: Path, **settings: Any) -> Seen:
    """Compare what every verb shows of the same files; what ``predict`` shows is returned.

    Args:
        build: flags that change -> data module.
        inputs: of ``predict``.
        folder: empty, for caches.
        settings: of ``predict``'s inputs.
    """
    data = build(cache_dir=str(folder / "cache"))
    task, model = task_of(data), model_of(data)
    shown = predicted(task, model, inputs, folder / "out", **settings)
    at_the_end = evaluated(data, model, "val")
    assert_same(at_the_end, shown, "fit's evaluation and predict")
    epoch = validated(data)
    if data.patch is None:
        assert_same(epoch, at_the_end, "validation of an epoch and fit's evaluation")
    else:
        assert_same(epoch, middle_patches(data, model), "validation of an epoch and fit's evaluation")
    warm = build(cache_dir=str(folder / "cache"), cache="memory")
    assert_same(epoch, validated(warm), "validation without and with --data.cache memory")
    # Another user's machine: an empty cache, and flags that the checkpoint overrules.
    overruled = {} if task == "classify" else {"patch_size": None, "zoom": 1.0}
    cold = build(cache_dir=str(folder / "other"), split="all_test", image_size=None, **overruled)
    everything = tested(cold, model)
    assert_same(everything, shown, "test and predict")
    assert everything.keys() == shown.keys()
    assert_same(at_the_end, everything, "fit's evaluation and test")
    return shown
