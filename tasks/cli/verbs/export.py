"""``export``: a checkpoint, or an ensemble, as one file that runs without torch, compared with PyTorch on scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from scansuite.errors import SuiteError
from tasks.cli.evaluate import evaluator_of
from tasks.cli.evaluate_checkpoint import parsed
from tasks.cli.flags import given
from tasks.cli.logs import configure_logs
from tasks.cli.runs.ensembles import HELP, build_model
from tasks.cli.runs.run_data import names_data
from tasks.hardware import exact_float32
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule
    from tasks.cli.parser import TaskParser
    from tasks.export.exporter import Exporter
    from tasks.export.exporting import InFormat, OnnxModel
    from tasks.export.scans import Scans
    from tasks.exported.description import Description
    from tasks.loading import Model

log = logging.getLogger(__name__)

PACKAGE = ".scansuite"
# Endings of what --output names, by format; a Triton repository is a folder.
ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml", "package": PACKAGE, "triton": ""}
Format: TypeAlias = Literal["onnx", "torch", "openvino", "triton", "package"]

OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag("checkpoint, the folder of its run (its best one), or best of the newest run", needed=True),
    "ckpt_paths": Flag(HELP, several=True),
    "output": Flag(
        "new file: model.onnx, model.pt2 (torch), model.xml (openvino), model.scansuite (package); triton: the "
        "folder of the repository",
        needed=True,
    ),
    "format": Flag("of what is written; left out: as --output ends", Format | None),
    "input": Flag(
        "files, folders, or a table with paths, to compare the export with PyTorch on; left out: the validation part "
        "of the run's data",
        several=True,
    ),
    "scans": Flag("most images that both are run on", int, 100),
    "metrics": Flag(
        "metrics of PyTorch and of the file on the validation part, compared case by case (takes as long as validate "
        "does, twice)",
        bool,
        False,
    ),
    "opset": Flag("version of ONNX's operators (18 to 23)", int, 20),
    "quantize": Flag(
        "numbers of the file; fp16 takes half the room; int8 is calibrated on training scans, and let pass by metrics "
        "of the validation part; left out: float32",
        Literal["fp16", "int8"] | None,
    ),
    "quantize_method": Flag(
        "how the range of values in int8 is found: from all values, by their distribution, or without one in ten "
        "thousand",
        Literal["minmax", "entropy", "percentile"],
        "minmax",
    ),
    "largest_loss": Flag("most that int8 may lose in AUROC, Dice or mAP50, whichever is the task's", float, 0.01),
    "reduce_range": Flag(
        "7 bits for weights in int8, which CPUs without VNNI need; left out: as this CPU needs it", bool | None
    ),
    "key": "private key (PEM) that signs a package (model.scansuite), see scansuite keys; left out: not signed",
    "example": "image whose values stand in a package as its example; left out: one is drawn, which shows nobody",
    "name": "of the model, for people; left out: the folder of its run",
}


def run(task: str, argv: Sequence[str]) -> int:
    """Export.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0.
    """
    configure_logs()
    takes_data = not given(argv, "--input")
    cli, checkpoints, found = parsed(task, "export", argv, OWN_FLAGS, "export", takes_data=takes_data)
    exporter_class = cli.spec.exporter_class()
    _refuse_useless(argv, cli)
    target = _format(cli.config)
    output = _new_file(cli.config["output"], target)
    if found is not None:
        found.keep_split(cli.config, goes_on=False)
    from tasks.export.describe import describe
    from tasks.export.page import latency_table, table_of
    from tasks.export.verify import latencies, verified

    model = build_model(task, checkpoints).eval()
    exporter = exporter_class(model, [str(path) for path in checkpoints.paths])
    if target in ("torch", "openvino", "triton") and exporter.second_stages():
        raise SuiteError(
            f"--format {target}: {exporter.names[0]} has a second stage, which can be asked for by itself in ONNX "
            "alone: take --format onnx or package, or a RetinaNet or FCOS"
        )
    if not cli.config["input"] and found is None and not names_data(argv):
        raise SuiteError(
            f"{checkpoints.paths[0]}: there is no config.yaml of its run: name scans to compare the export with "
            "PyTorch on with --input, or data with --data CLASS"
        )
    data = None if cli.config["input"] else cli.build_data()
    scans = _scans(cli, model, data)
    log.info("comparing on %s", scans)
    with exact_float32():
        made = _made(cli, exporter, describe(exporter, checkpoints.paths, cli.config["name"]), target)
        checks = verified(exporter, made.ready, scans, made.description.precision)
        times = latencies(exporter, made.ready, scans)
    description = replace(made.description, checks=checks)
    print(table_of(checks), end="\n\n")
    print(latency_table(times, made.size, exporter.weight_bytes), flush=True)
    if cli.config["metrics"] and data is not None:
        from tasks.export.metrics import metrics_of, table_of_comparison

        found_metrics = metrics_of(exporter, made.ready, data, lambda: evaluator_of(task))
        print(f"\n{table_of_comparison(found_metrics, 'PyTorch', 'exported')}", flush=True)
    if cli.config["quantize"] == "int8" and data is not None:
        made = _in_int8(cli, exporter, cast("OnnxModel", made), data)
        description = made.description
        times = latencies(exporter, made.ready, scans)
        print(latency_table(times, made.size, exporter.weight_bytes), flush=True)
    _write(cli, made, description, output, target, checkpoints.paths[0])
    print(f"written to {output}")
    return 0


def _made(cli: TaskParser, exporter: Exporter[Any], description: Description, target: Format) -> InFormat:
    """The model in its format, not written yet."""
    if target == "torch":
        from tasks.export.torch_archive import archived

        return archived(exporter, description)
    from tasks.export.exporting import OnnxModel, described, exported

    model, about = exported(exporter, description, cli.config["opset"])
    half = cli.config["quantize"] == "fp16"
    about = replace(about, precision="fp16" if half else "fp32")
    if target == "openvino":
        from tasks.export.openvino_model import OpenVinoModel

        return OpenVinoModel(model, about, exporter.names[0])
    if half:
        from tasks.export.half import in_half

        model = in_half(model, exporter.names[0])
    return OnnxModel(described(model, about), exporter.names[0])


def _in_int8(cli: TaskParser, exporter: Exporter[Any], made: OnnxModel, data: ScanDataModule) -> OnnxModel:
    """The model in int8; says what it does to metrics."""
    from tasks.export.exporting import OnnxModel
    from tasks.export.int8 import in_int8, table_of_metrics
    from tasks.export.quantise import Quantisation

    settings = Quantisation(cli.config["quantize_method"], cli.config["reduce_range"])
    allowed = cli.config["largest_loss"]
    of_task = cli.task
    found = in_int8(exporter, made.model, made.description, data, lambda: evaluator_of(of_task), settings, allowed)
    print(f"\n{table_of_metrics(found)}\n", flush=True)
    return OnnxModel(found.model, f"{exporter.names[0]}, int8")


def _write(
    cli: TaskParser, made: InFormat, description: Description, output: Path, target: Format, checkpoint: Path
) -> None:
    """Write a file, or a package with what the run's folder has for it, or a repository."""
    if target not in ("package", "triton"):
        made.write(output, description)
        return
    import tempfile

    from tasks.exported.packing import write_package
    from tasks.exported.triton import write_triton

    key, example = (None if cli.config[name] is None else Path(cli.config[name]) for name in ("key", "example"))
    run_dir = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None
    with tempfile.TemporaryDirectory(prefix="scansuite-package-") as folder:
        file = Path(folder) / "model.onnx"
        made.write(file, description)
        if target == "triton":
            write_triton(output, file, description)
            return
        write_package(output, file, run_dir=run_dir, key=key, example=example)


def _refuse_useless(argv: Sequence[str], cli: TaskParser) -> None:
    """Refuse flags that say nothing here, and a package that cannot be signed, before anything takes long."""
    config = cli.config
    for name in ("key", "example"):
        if given(argv, f"--{name}") and _format(config) != "package":
            raise SuiteError(f"--{name}: is about a package: name one with --output model{PACKAGE}, or leave it out")
    for name in ("quantize_method", "largest_loss", "reduce_range"):
        if given(argv, f"--{name}") and config["quantize"] != "int8":
            raise SuiteError(f"--{name}: is about --quantize int8: leave it out")
    target = _format(config)
    takes = {"torch": (None,), "openvino": (None, "fp16")}.get(target, (None, "fp16", "int8"))
    if config["quantize"] not in takes:
        raise SuiteError(
            f"--quantize {config['quantize']}: --format {target} is not written so: leave --quantize out, or take "
            "--format onnx"
        )
    if target == "torch" and given(argv, "--opset"):
        raise SuiteError("--opset: is about ONNX, and --format torch has none: leave it out")
    if target == "openvino":
        from tasks.export.openvino_model import runtime

        runtime()
    if config["quantize"] == "int8" and config["input"]:
        raise SuiteError(
            "--input: int8 is let pass by metrics, which need cases with their truth: leave --input out, or name data "
            "with --data"
        )
    if config["metrics"] and config["input"]:
        raise SuiteError("--metrics: needs cases with their truth: leave --input out, or name data with --data")
    if config["metrics"] and config["quantize"] == "int8":
        raise SuiteError("--metrics: int8 is let pass by metrics of the validation part anyhow: leave it out")
    if not 0 < config["largest_loss"] < 1:
        raise SuiteError(f"--largest_loss {config['largest_loss']}: give a number above 0 and below 1")
    if config["key"] is not None:
        from tasks.exported.signature import read_private_key

        read_private_key(Path(config["key"]))


def _scans(cli: TaskParser, model: Model, data: ScanDataModule | None) -> Scans:
    """What the export is compared with PyTorch on."""
    from tasks.export.scans import scans_of_data, scans_of_loader

    most = int(cli.config["scans"])
    if most < 1:
        raise SuiteError(f"--scans {most}: give a number of at least 1")
    if data is None:
        from datamodules.inputs import InputFiles

        inference_class = cli.spec.inference_class()
        options: dict[str, Any] = dict.fromkeys(inference_class.flags)
        inference = inference_class(model, InputFiles(num_workers=0), None, options)
        table = inference.table(cli.config["input"])
        return scans_of_loader(inference.loader(table, 0, 1), len(table), "--input", most)
    evaluator_of(cli.task).adopt(model, data)
    return scans_of_data(model, data, most)


def _format(config: Any) -> Format:
    """What is written.

    Raises:
        SuiteError: no file is named, or its ending is none, or that of another format.
    """
    output, chosen = config["output"], config["format"]
    known = ", ".join(f"{ending} ({name})" for name, ending in ENDINGS.items() if ending)
    if output is None:
        raise SuiteError(f"--output: name the file to write, such as model.onnx, or model{PACKAGE} for a package")
    ending = Path(output).suffix
    if chosen is None:
        found = next((name for name, one in ENDINGS.items() if one and one == ending), None)
        if found is None:
            raise SuiteError(
                f"--output {output}: give a name that ends in one of {known}, or a folder with --format triton"
            )
        return cast("Format", found)
    if chosen == "triton" and ending in ENDINGS.values() and ending:
        raise SuiteError(f"--output {output}: --format triton writes a folder: name one")
    if chosen != "triton" and ending != ENDINGS[chosen]:
        raise SuiteError(f"--output {output}: --format {chosen} ends in {ENDINGS[chosen]}: give such a name")
    return cast("Format", chosen)


def _new_file(asked: str, target: Format) -> Path:
    """The file or folder to write.

    Raises:
        SuiteError: it is there already, or its folder cannot be made.
    """
    file = Path(asked)
    beside = [file.with_suffix(".bin")] if target == "openvino" else []
    for one in (file, *beside):
        if one.exists() and not (target == "triton" and one.is_dir()):
            raise SuiteError(f"--output {asked}: {one} is there already: name a new file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"--output {asked}: {file.parent} cannot be made ({error.strerror})") from None
    return file
