"""``explain``: what a model looks at in files, what its layers make of them, and whether the maps may be trusted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.cli.logs import configure_logs
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.runs.run_dir import new_folder
from tasks.cli.verb_parser import VerbParser
from tasks.explain.kernels import Padding, read_kernel
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from tasks.explain.run import Explained

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag("checkpoint, the folder of its run (its best one), or best of the newest run", needed=True),
    "ckpt_paths": Flag(HELP, several=True),
    "input": Flag("files, folders, or a table with paths", several=True, needed=True),
    "include": Flag(
        "shell patterns of the files of --input's folders to take (*_T1w.nii.gz); left out: all", several=True
    ),
    "exclude": Flag("shell patterns of the files of --input's folders to leave out; left out: none", several=True),
    "output": Flag("new folder for explain.html, explain.csv, pictures and maps", needed=True),
    "method": Flag(
        "maps to make: cam, gradcam, gradcam++, layercam, scorecam, integrated_gradients, occlusion, rollout, "
        "attention (docs/explain.md), all of those that the network can do, or none; left out: gradcam, in detection "
        "layercam",
        several=True,
    ),
    "layer": "layer whose cells the maps have, as timm names it (layer3.1); left out: the deepest one whose map is "
    "fine enough",
    "target": Flag(
        "classes to explain; left out: those that are predicted, in detection the five highest boxes", several=True
    ),
    "slice": Flag(
        "index of the slice of each volume, from 0; left out: the one with most of the class, or its highest score",
        int | None,
    ),
    "truth": "masks with the names of the cases (a folder, or one file), or a table of boxes (case_id, label, x1, y1, "
    "x2, y2 in pixels), to draw and to hold maps against; left out: it is not known",
    "sanity": Flag(
        "check every map, some 200 runs of the network each: does it change with random weights, does taking away what "
        "it marks lower the score, does it meet --truth",
        bool,
        False,
    ),
    "features": Flag(
        "layers whose feature maps to draw (conv1 layer2.0), with dead and alike channels; all for every layer; left "
        "out: none",
        several=True,
    ),
    "filters": Flag("convolutions whose filters to draw (conv1), or all; left out: none", several=True),
    "kernel": Flag(
        "kernels to apply to each scan: vertical, horizontal, sobel, laplacian, gaussian, sharpen, numbers "
        "([[1,0,-1],[1,0,-1],[1,0,-1]]), or files with numbers; with them alone no checkpoint is needed; left out: "
        "none",
        several=True,
    ),
    "padding": Flag("what is around a scan for --kernel: valid: nothing; same: zeros", Padding, "valid"),
}
# Cases are explained one after the other, in this process.
WITHOUT = ("data.batch_size", "data.num_workers")
PAGE = "explain.html"
_OF_MODELS = ("layer", "target", "slice", "truth", "features", "filters")


def run(task: str, argv: Sequence[str]) -> int:
    """Explain.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where some files could not be read.
    """
    configure_logs()
    cli = VerbParser(task, "explain", argv, own_flags=OWN_FLAGS, groups={"data": InputFiles}, without=WITHOUT)
    config = cli.parser.instantiate_classes(cli.config)
    if not config.input:
        raise SuiteError("--input: name files, folders or a table to explain")
    kernels = [read_kernel(text) for text in config.kernel]
    config.data.choose(",".join(config.include), ",".join(config.exclude))
    if config.ckpt_path is None and not config.ckpt_paths and kernels:
        from tasks.explain.run import apply_kernels

        useless = next((name for name in (*_OF_MODELS, "method") if config[name]), None)
        if useless is not None:
            raise SuiteError(f"--{useless}: is about a model: give --ckpt_path, or leave it out")
        done = apply_kernels(
            config.data, config.input, kernels, config.padding, lambda: new_folder(config.output, "--output")
        )
        return _told(done, Path(config.output))
    model = build_model(task, find_checkpoints(task, config.ckpt_path, config.ckpt_paths))
    from tasks.explain.run import Asked, Explaining

    asked = Asked(
        methods=config.method,
        layer=config.layer,
        targets=config.target,
        slice=config.slice,
        truth=config.truth,
        sanity=bool(config.sanity),
        features=config.features,
        filters=config.filters,
        kernels=kernels,
        padding=config.padding,
    )
    explaining = Explaining(model, config.data, config.input, asked)
    passed_over = config.data.passed_over
    said = f", {len(passed_over)} passed over as no scans" if passed_over else ""
    log.info("input: %s%s", number_of(len(explaining.cases), "case"), said)
    output = new_folder(config.output, "--output")
    return _told(explaining.run(output), output)


def _told(done: Explained, output: Path) -> int:
    maps = f", {number_of(done.maps, 'map')}" if done.maps else ""
    unread = f", {number_of(len(done.unreadable), 'file')} unreadable" if done.unreadable else ""
    print(f"{number_of(done.cases, 'case')} explained{maps}{unread}: {output / PAGE}")
    return 1 if done.unreadable else 0
