"""``report``: a page on how good a model is, from tables alone; neither torch nor the model is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scansuite.errors import SuiteError
from tasks.cli.flags import given
from tasks.cli.logs import configure_logs
from tasks.cli.new_page import new_page
from tasks.cli.verb_parser import VerbParser
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from tasks.evaluation.evaluated import EvaluatedRun
    from tasks.evaluation.report.content import ReportSettings
    from tasks.evaluation.report.write import Extras

OWN_FLAGS: OwnFlags = {
    "run_dir": "folder of a run whose report to write",
    "predictions": "table of another tool: case_id and, by task, scores, metrics or boxes (docs/report.md)",
    "cases": "table of the cases to --predictions: case_id, patient_id, split and columns for subgroups; left out: "
    "they are taken from --predictions",
    "targets": "table of the true boxes to --predictions, in detection",
    "compare": Flag(
        "folders of two or more runs on the same cases; the first is what the others are compared with", several=True
    ),
    "runs": "folder of many runs, to compare on one page with the flags in which they differ",
    "output": "HTML file for the page; its figures come beside it as JSON, its tables into a folder of its name; left "
    "out: report.html in --run_dir",
    "split": "part to report; left out: test where there is one",
    "class_names": Flag("classes of --predictions in order; left out: as its columns have them", several=True),
    "positive_class": "positive of two classes of --predictions; left out: the last",
    "target": Flag(
        "kind of target of --predictions; left out: as its columns look",
        Literal["binary", "multiclass", "multilabel", "ordinal", "regression"] | None,
    ),
    "subgroups": Flag("columns of the cases to make subgroups of; left out: those found fit for it", several=True),
    "prevalence": Flag(
        "shares of cases with the finding (0.01 0.1) at which to give predictive values; left out: that of the data",
        several=True,
    ),
    "coverage": Flag("share of cases whose true class a conformal set holds", float, 0.9),
    "margin": Flag(
        "by how much a model of --compare may be worse and still count as not inferior, in units of the metric; left "
        "out: that is not asked",
        float | None,
    ),
    "common_cases": Flag("leave cases out of --compare that not all runs have", bool, False),
    "operating_point": "rule by which thresholds are chosen anew on validation (sensitivity>=0.95), see "
    "docs/operating_point.md; left out: those of the run",
    "calibration": Flag(
        "method fitted anew on validation; left out: what the run has",
        Literal["temperature", "platt", "isotonic", "dirichlet"] | None,
    ),
    "plots": Flag("write every plot as SVG and PDF too, for a paper", bool, False),
    "paper": Flag("write tables as text for a paper too; left out: not", Literal["latex", "markdown"] | None),
}
_SOURCES = ("run_dir", "predictions", "compare", "runs")
_OF_PREDICTIONS = ("cases", "targets", "class_names", "positive_class", "target")


def run(task: str, argv: Sequence[str]) -> int:
    """Write the report.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0.
    """
    configure_logs()
    config = VerbParser(task, "report", argv, own_flags=OWN_FLAGS, builds=False).config
    source = _source(argv)
    _refuse_useless(argv, source)
    output = _output(config["output"], config["run_dir"])
    settings = _settings(task, config)
    from tasks.evaluation.report.write import Extras

    extras = Extras(plots=bool(config["plots"]), paper=config["paper"])
    if source == "runs":
        from tasks.evaluation.report.all_runs import write_overview

        files = write_overview(task, Path(config["runs"]), output, extras)
    elif source == "compare":
        files = _compare(task, config["compare"], output, config["split"], settings, extras)
    else:
        files = _one(task, config, output, settings, extras)
    print(f"written to {files[0]}; its figures: {files[1]}")
    return 0


def _one(task: str, config: Any, output: Path, settings: ReportSettings, extras: Extras) -> list[Path]:
    from tasks.evaluation.evaluated import read_evaluated
    from tasks.evaluation.other_tables import TableFiles, read_other_tables
    from tasks.evaluation.report.write import write_report

    if config["run_dir"] is not None:
        run = _of_task(read_evaluated(_run_folder("--run_dir", config["run_dir"])), task, "--run_dir")
    else:
        files = TableFiles(
            Path(config["predictions"]),
            None if config["cases"] is None else Path(config["cases"]),
            None if config["targets"] is None else Path(config["targets"]),
            class_names=config["class_names"],
            positive_class=config["positive_class"],
            target=config["target"],
        )
        run = read_other_tables(task, files)
    return write_report(run, output, config["split"], settings, extras)


def _compare(
    task: str, names: Sequence[str], output: Path, split: str | None, settings: ReportSettings, extras: Extras
) -> list[Path]:
    from tasks.evaluation.evaluated import read_evaluated
    from tasks.evaluation.report.write import write_comparison

    if len(names) < 2:
        raise SuiteError("--compare: name the folders of two runs at least")
    runs = [_of_task(read_evaluated(_run_folder("--compare", name)), task, "--compare") for name in names]
    return write_comparison(runs, output, split, settings, extras)


def _of_task(run: EvaluatedRun, task: str, flag: str) -> EvaluatedRun:
    if run.task.task != task:
        raise SuiteError(
            f"{flag} {run.name}: is a run of {run.task.task}: write it with scansuite {run.task.task} report"
        )
    return run


def _run_folder(flag: str, name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise SuiteError(f"{flag} {name}: no such folder")
    return folder


def _source(argv: Sequence[str]) -> str:
    """What the report is about: the one flag of four that is given."""
    named = [name for name in _SOURCES if given(argv, f"--{name}")]
    if len(named) != 1:
        flags = [f"--{name}" for name in named]
        what = f"{' and '.join(flags)} together" if named else "nothing to report"
        raise SuiteError(f"{what}: give one of --run_dir RUN, --predictions FILE, --compare RUN RUN, --runs FOLDER")
    return named[0]


def _refuse_useless(argv: Sequence[str], source: str) -> None:
    for name in _OF_PREDICTIONS:
        if source != "predictions" and given(argv, f"--{name}"):
            raise SuiteError(f"--{name}: is about --predictions, and this is --{source}: leave it out")
    for name in ("margin", "common_cases"):
        if source != "compare" and given(argv, f"--{name}"):
            raise SuiteError(f"--{name}: is about --compare: leave it out")


def _output(asked: str | None, run_dir: str | None) -> Path:
    """The file of the page.

    Raises:
        SuiteError: none is named, it is no HTML file by its name, it is there already, or what comes beside it would
            come into what is no report's.
    """
    from tasks.evaluation.report.write import PAGE, refuse_files_of_others

    if asked is None and run_dir is not None:
        return Path(run_dir) / PAGE
    file = new_page(asked, PAGE)
    refuse_files_of_others(file)
    return file


def _settings(task: str, config: Any) -> ReportSettings:
    """The settings of a report.

    Raises:
        SuiteError: a number is none, or out of its range.
    """
    from tasks.evaluation.operating_rules import read_rule
    from tasks.evaluation.report.content import ReportSettings

    if not 0 < config["coverage"] < 1:
        raise SuiteError(f"--coverage {config['coverage']:g}: is a share: give a number above 0 and below 1")
    if config["margin"] is not None and not config["margin"] > 0:
        raise SuiteError(f"--margin {config['margin']:g}: give a number above 0")
    if config["operating_point"] is not None:
        read_rule(config["operating_point"], "boxes" if task == "detect" else "cases", "--operating_point")
    return ReportSettings(
        subgroups=config["subgroups"],
        prevalence=[_share("--prevalence", text) for text in config["prevalence"]],
        coverage=config["coverage"],
        margin=config["margin"],
        common_cases=bool(config["common_cases"]),
        operating_point=config["operating_point"] or "",
        calibration=config["calibration"] or "",
    )


def _share(flag: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = float("nan")
    if not 0 < share < 1:
        raise SuiteError(f"{flag} {text}: is a share: give a number above 0 and below 1, such as 0.05")
    return share
