"""``predict`` with an exported model in the place of a checkpoint: the same flags and files, on onnxruntime."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.cli.dicom import finish_dicom, send_exported
from tasks.cli.drift import compare_predicted
from tasks.cli.runs.run_dir import new_folder
from tasks.evaluation.drift.profile import Profile
from tasks.evaluation.task_file import RunTask
from tasks.exported.description import Description
from tasks.exported.model_file import ExportedModel, is_exported, open_model
from tasks.exported.predict import FileRun

log = logging.getLogger(__name__)


def refuse_exported(verb: str, one: str | None, several: Sequence[str]) -> None:
    """Refuse exported models where the model itself is needed.

    Args:
        verb: what is done.
        one: value of ``--ckpt_path``.
        several: values of ``--ckpt_paths``.

    Raises:
        SuiteError: one of them is one.
    """
    for flag, path in [("--ckpt_path", one), *(("--ckpt_paths", name) for name in several)]:
        if is_exported(path):
            raise SuiteError(
                f"{flag} {path}: {verb} takes checkpoints, and this is an exported model: name the one that it was "
                "made of"
            )


def open_for(task: str, path: str, several: Sequence[str], trust: str | None) -> ExportedModel:
    """The exported model that ``--ckpt_path`` names.

    Raises:
        SuiteError: it is none of the suite's, of another task, or not signed by whom it must be.
    """
    if several:
        raise SuiteError(f"--ckpt_path {path} and --ckpt_paths {several[0]}: give one of the two flags")
    model = open_model(path, trust=None if trust is None else Path(trust))
    own = model.description.task
    if own != task:
        raise SuiteError(f"--ckpt_path {path}: its task is {own}: predict with scansuite {own} predict")
    return model


def predict_exported(
    model: ExportedModel,
    inputs: InputFiles,
    paths: Sequence[str],
    folder: str | None,
    options: Mapping[str, Any],
    dicom_options: Mapping[str, Any],
) -> int:
    """Predict.

    Args:
        model: that runs.
        inputs: how files are read.
        paths: files, folders and tables.
        folder: value of ``--output``.
        options: own flags of the task.
        dicom_options: flags of results as DICOM.

    Returns:
        0, or 1 where some files could not be read, or DICOM objects not be made.
    """
    output = new_folder(folder, "--output")
    run = FileRun(model, inputs, output, options)
    table = run.table(paths)
    passed_over = inputs.passed_over
    said = f", {len(passed_over)} passed over as no scans (passed_over.csv)" if passed_over else ""
    log.info("input: %d cases of %d files%s", len(table), len(table.images), said)
    dicom = send_exported(run, table, model.description, dicom_options, output)
    found = run.predict(table)
    refused = finish_dicom(dicom, output, is_first=True)
    profile = _profile_in(model)
    if profile is not None:
        compare_predicted(
            profile, _run_task(model.description), inputs.source(table, run.runner.preprocess, run.runner.slices),
            run.runner.preprocess, table, found.cases, found.table,
        )  # fmt: skip
    print(f"{len(found.cases)} cases predicted, {len(found.unreadable)} files unreadable: {output}")
    if refused:
        log.warning("%d DICOM objects could not be made: %s", refused, output / "dicom" / "errors.csv")
    return 1 if found.unreadable or refused else 0


def _profile_in(model: ExportedModel) -> Profile | None:
    text = model.description.profile
    try:
        return None if text is None else Profile.from_plain(json.loads(text))
    except (SuiteError, ValueError) as error:
        log.warning("%s: whether the cases are like those of training cannot be told: %s", model.where, error)
        return None


def _run_task(about: Description) -> RunTask:
    """The model as tables of a run know it."""
    facts = {
        "target": about.target,
        "positive_class": about.positive_class,
        "aggregate": about.aggregate,
        "overlapping": about.overlapping,
    }
    return RunTask(about.task, list(about.class_names), dict(about.operating_points), facts)
