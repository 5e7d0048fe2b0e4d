"""``predict``: apply a checkpoint, or an ensemble, to files, folders or a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pytorch_lightning import Trainer

from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.cli.dicom import dicom_writer, finish_dicom
from tasks.cli.display.training import show_progress
from tasks.cli.drift import compare_predicted
from tasks.cli.evaluate import evaluator_of
from tasks.cli.limits import refuse_no_batches
from tasks.cli.logs import configure_logs
from tasks.cli.parser import COMMON
from tasks.cli.predict_exported import open_for, predict_exported, refuse_exported
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.runs.run_dir import new_folder
from tasks.cli.verb_parser import VerbParser
from tasks.deployment.dicom.asking import DicomFolder
from tasks.exported.model_file import is_exported
from tasks.hardware import keep_memory_flat
from tasks.registry.dicom_flags import DICOM_FLAGS
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.specs import spec_of
from tasks.running.apply import apply, write
from tasks.running.drifting import known_profile

log = logging.getLogger(__name__)


OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag(
        "checkpoint, the folder of its run (its best one), or best of the newest run; or an exported model (.onnx, or "
        "a package)",
        needed=True,
    ),
    "ckpt_paths": Flag(HELP, several=True),
    "trust": Flag("public key (PEM) that must have signed the package; left out: whose signature it bears is said"),
    "input": Flag("files, folders, or a table with paths", several=True, needed=True),
    "include": Flag(
        "shell patterns of the files of --input's folders to take (*_T1w.nii.gz); left out: all", several=True
    ),
    "exclude": Flag("shell patterns of the files of --input's folders to leave out; left out: none", several=True),
    "output": Flag("new folder for predictions and errors.csv", needed=True),
    **DICOM_FLAGS,
    **COMMON,
}


def parse(task: str, argv: Sequence[str]) -> VerbParser:
    """The flags of this verb, those of the task's own among them."""
    own = {**OWN_FLAGS, **spec_of(task).inference_class().flags}
    groups = {"data": InputFiles, "trainer": Trainer}
    return VerbParser(task, "predict", argv, own_flags=own, groups=groups)


def run(task: str, argv: Sequence[str]) -> int:
    """Predict.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where some files could not be read.
    """
    configure_logs()
    cli = parse(task, argv)
    config = cli.parser.instantiate_classes(cli.config)
    if not config.input:
        raise SuiteError("--input: name files, folders or a table to predict")
    refuse_no_batches(config.trainer, "predict")
    if is_exported(config.ckpt_path):
        exported = open_for(task, config.ckpt_path, config.ckpt_paths, config.trust)
        config.data.choose(",".join(config.include), ",".join(config.exclude))
        options = {name: config[name] for name in cli.spec.inference_class().flags}
        dicom_options = {name: config[name] for name in DICOM_FLAGS}
        return predict_exported(exported, config.data, config.input, config.output, options, dicom_options)
    if config.trust is not None:
        raise SuiteError(f"--trust {config.trust}: is of model packages, and --ckpt_path names none")
    refuse_exported("an ensemble", None, config.ckpt_paths)
    keep_memory_flat()
    checkpoints = find_checkpoints(task, config.ckpt_path, config.ckpt_paths)
    model = build_model(task, checkpoints)
    writer = dicom_writer({name: config[name] for name in DICOM_FLAGS}, model, checkpoints.paths)
    output = new_folder(config.output, "--output")
    inference_class = cli.spec.inference_class()
    options = {name: config[name] for name in inference_class.flags}
    predicting = inference_class(model, config.data, output, options)
    config.data.choose(",".join(config.include), ",".join(config.exclude))
    table = predicting.table(config.input)
    dicom = None
    if writer is not None:
        dicom = DicomFolder(writer, output)
        dicom.refuse_others(table.images["path"])
        predicting.send_to(dicom.take)
    passed_over = config.data.passed_over
    said = f", {len(passed_over)} passed over as no scans (passed_over.csv)" if passed_over else ""
    log.info("input: %d cases of %d files%s", len(table), len(table.images), said)

    settings = dict(config.trainer)
    show_progress(settings, "predicting")
    applied = apply(predicting, model, table, settings, config.memory_format)
    refused = finish_dicom(dicom, output, applied.trainer.is_global_zero)
    if applied.trainer.is_global_zero:
        write(applied, output, passed_over)
        profile = known_profile(model, checkpoints.paths)
        if profile is not None:
            task_of_run = evaluator_of(task).run_task(model)
            preprocess = config.data.prepared(model.preprocess, model.slices)
            source = config.data.source(table, preprocess, model.slices)
            compare_predicted(profile, task_of_run, source, preprocess, table, applied.cases, applied.predictions)
        print(f"{len(applied.cases)} cases predicted, {len(applied.unreadable)} files unreadable: {output}")
        if refused:
            log.warning("%d DICOM objects could not be made: %s", refused, output / "dicom" / "errors.csv")
    return 1 if applied.unreadable or refused else 0
