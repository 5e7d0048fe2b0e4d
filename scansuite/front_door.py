"""Trained models in Python: loaded from their files, applied to files or arrays."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from torch import Tensor

from datamodules.array_inputs import InputArrays
from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import allow
from tasks.exported.model_file import ExportedModel, is_exported, open_model
from tasks.exported.predict import predict_files
from tasks.loading import Model, build_model, joined, read_record
from tasks.registry.specs import spec_of

if TYPE_CHECKING:
    from datamodules.arrays.scans import ManyArrays
    from tasks.deployment.predictions import Predictions

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]

# Loggers whose lines about devices and strategies say nothing to somebody who waits for predictions.
_CHATTER = ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric")
_WARNINGS = (r".*does not have many workers.*", r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*")


def load(paths: Paths, *, allow_import: Iterable[str] = ()) -> Model:
    """A trained model in evaluation mode, or an ensemble.

    Nothing in a checkpoint is run: weights and plain values alone are read.

    Args:
        paths: a checkpoint (``best.ckpt``), the folder of a run (its best checkpoint), the folder of a run with
            ``--folds`` (an ensemble of its folds), or several of these: an ensemble of all.
        allow_import: modules of your own that the model needs (its loss, its head), which may be imported.

    Returns:
        The task that was trained, with its weights; or an ensemble of the task.

    Raises:
        SuiteError: a path leads to no checkpoint of the suite, or members differ in what they must agree in.
    """
    for path in _paths("load", paths):
        if is_exported(path):
            raise SuiteError(
                f"load {path}: is an exported model, which is no network of torch: give its path to predict, or load "
                "it with scansuite_runtime.load"
            )
    allow([allow_import] if isinstance(allow_import, str) else allow_import)
    names = [Path(path) for path in _paths("load", paths)]
    model = build_model(joined(names, [found for path in names for found in _checkpoints_at(path)], "load"))
    model.eval()
    return model


def predict(
    model: Model | str | PathLike[str],
    inputs: Paths | ManyArrays,
    *,
    output: str | PathLike[str] | None = None,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
    case_ids: Sequence[str] | None = None,
    channels_first: bool | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    accelerator: str = "auto",
    progress: bool = False,
    options: Mapping[str, str] | None = None,
    **settings: Any,
) -> Predictions:
    """Predictions of a model for files or arrays; the same numbers as those of the command line's ``predict``.

    Args:
        model: from :func:`load`, or one that was just trained; or a path to load it from, also of an exported model
            (``model.onnx``, ``model.scansuite``), which runs on the CPU.
        inputs: files, folders or a table with paths, one or several; or arrays of numpy or torch: (N, H, W),
            (N, H, W, C) or (N, C, H, W), one image (H, W) or (H, W, C), or a list of images of any sizes. Arrays hold
            the values that a file would hold (0..255 in uint8, HU, ...).
        output: new folder to write to what ``predict`` writes on the command line; left out: nothing is written.
        include: shell patterns of the files of a folder to take (``*_T1w.nii.gz``), by name or by the path below it.
        exclude: likewise, files to leave out.
        case_ids: of arrays; left out: 0, 1, 2, ...
        channels_first: whether arrays are (C, H, W); left out: the axis of one to four channels, if only one can be.
        batch_size: cases a batch.
        num_workers: processes that read files; 0 reads them in this one.
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        progress: show a progress bar.
        options: further flags of the task's ``predict`` that go with ``output``: ``mask_format``, ``pictures``.
        settings: how files are read: ``root``, ``path_column``, ``window``, ``percentiles``, ``value_range``,
            ``max_pixels``, ``max_bytes``, ``allow_outside`` (see :class:`~datamodules.inputs.InputFiles`).

    Returns:
        ``table``, and by case: ``scores`` of a classifier, ``masks`` of a segmentation model (on the grid as stored),
        ``boxes`` of a detector (in pixels as stored). Files that cannot be read are named in ``unreadable``.

    Raises:
        SuiteError: a path does not exist, nothing is found, or an array is no image.
    """
    from tasks.running.apply import apply, write

    opened = _opened(model)
    exported = opened if isinstance(opened, ExportedModel) else None
    if exported is not None and accelerator not in ("auto", "cpu"):
        raise SuiteError(f"accelerator {accelerator}: an exported model runs on the CPU: leave it out")
    about: Any = opened if exported is None else exported.description
    known = [name for name in signature(InputFiles).parameters if name not in ("batch_size", "num_workers")]
    for name in settings:
        if name not in known:
            what = nearest(name, [*signature(predict).parameters, *known])
            raise SuiteError(f"{name}: predict has no such argument: {what}")
    reading: dict[str, Any] = {"batch_size": batch_size, **settings}
    arrays = inputs if _are_arrays(inputs) else None
    if case_ids is not None and arrays is None:
        raise SuiteError("case_ids: name arrays; files have names, and a table may have a column case_id")
    if arrays is not None and output is not None:
        raise SuiteError("output: arrays have no file to lie beside: save masks, boxes or table of the result yourself")
    if arrays is not None and (include or exclude):
        raise SuiteError("include, exclude: they are of files, and these are arrays: leave them out")
    files = (
        InputArrays(arrays, case_ids, channels_first, about.in_channels, **reading)
        if arrays is not None
        else InputFiles(num_workers=num_workers, **reading)
    )
    if isinstance(files, InputFiles):
        files.choose(include, exclude, ("include", "exclude"))
    task = about.name if exported is None else about.task
    inference_class = spec_of(task).inference_class()
    for name in options or {}:
        if name not in inference_class.flags:
            what = nearest(name, inference_class.flags) if inference_class.flags else "it has none"
            raise SuiteError(f"options {name}: not of {task}: {what}")
    folder = None if output is None else _new_folder(Path(output))
    paths = [] if arrays is not None else _paths("inputs", inputs)
    if isinstance(opened, ExportedModel):
        found = predict_files(opened, files, paths, folder, options)
        return found if arrays is None else replace(found, table=found.table.drop(columns="path"))
    inference = inference_class(opened, files, folder, dict.fromkeys(inference_class.flags) | dict(options or {}))
    table = inference.table(paths)
    trainer = {"accelerator": accelerator, "devices": 1, "enable_progress_bar": progress}
    training = opened.training
    with _quiet():
        applied = apply(inference, opened, table, trainer)
    opened.train(training)
    if folder is not None:
        write(applied, folder, files.passed_over)
    predictions = applied.predictions.drop(columns="path") if arrays is not None else applied.predictions
    return inference.result(predictions, applied.cases, applied.unreadable)


def _opened(model: Model | str | PathLike[str]) -> Model | ExportedModel:
    """A model, or that of a path.

    Raises:
        SuiteError: it is none of the suite's.
    """
    if isinstance(model, (str, PathLike)):
        return open_model(fspath(model)) if is_exported(fspath(model)) else load(model)
    if not hasattr(model, "operating_points"):
        raise SuiteError(f"model: expected one of the suite, or a path to load it from, not {type(model).__name__}")
    return model


def _checkpoints_at(path: Path) -> list[Path]:
    """A file, the best checkpoint of a run, or those of an ensemble's members."""
    record = read_record(path)
    found = [path] if record is None else record[0]
    if record is None and path.is_dir():
        found = [path / "checkpoints" / "best.ckpt"]
    for file in found:
        if not file.is_file():
            raise SuiteError(f"load {path}: no such file" + ("" if file == path else f": {file}"))
    return found


def _paths(name: str, given: Any) -> list[str]:
    """One path or several as texts.

    Raises:
        SuiteError: there are none, or something is no path.
    """
    one_thing = isinstance(given, (str, PathLike)) or not isinstance(given, Iterable) or hasattr(given, "columns")
    listed = [given] if one_thing else list(given)
    for one in listed:
        if not isinstance(one, (str, PathLike)) or not str(one).strip():
            what = repr(one) if isinstance(one, str) else type(one).__name__
            others = "" if name == "load" else ", nor an array of numpy or torch"
            raise SuiteError(f"{name}: {what} is no path{others}")
    if not listed:
        what = "a checkpoint, or the folder of a run" if name == "load" else "files or folders, or give arrays"
        raise SuiteError(f"{name}: is empty: name {what}")
    return [fspath(one) for one in listed]


def _are_arrays(inputs: Paths | ManyArrays) -> TypeGuard[ManyArrays]:
    first = next(iter(inputs), None) if isinstance(inputs, (list, tuple)) else inputs
    return isinstance(first, (np.ndarray, Tensor))


def _new_folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SuiteError(f"output {path}: is there already: choose a new folder")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's lines about devices."""
    loggers = [logging.getLogger(name) for name in _CHATTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for pattern in _WARNINGS:
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
