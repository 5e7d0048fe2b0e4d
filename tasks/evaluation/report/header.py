"""The head of a report: what was evaluated, on whom, by what, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scansuite.words import number_of
from tasks.evaluation.report.content import Subject
from tasks.evaluation.run_file import read_config, read_run_file
from tasks.evaluation.tables import counted

PART_NAMES = {"val": "validation", "test": "test"}
TASK_NAMES = {"classify": "classification", "segment": "segmentation", "detect": "detection"}
_CLASSES = 12  # named


def part_name(split: str) -> str:
    """A part in words."""
    return PART_NAMES.get(split, split)


def part_of(subject: Subject) -> str:
    """The reported part in words; of a run of ``--folds`` each case was predicted by the fold that left it out."""
    return "out of fold" if "fold" in subject.tables.predictions else part_name(subject.split)


def header(subject: Subject) -> list[tuple[str, str]]:
    """Names and values for the head of the page, in its order; what is not known is left out.

    No path but its last name stands in it: a report goes to people who have no business with a user's folders.
    """
    run, facts = subject.run, {}
    config: dict[str, Any] = {}
    if run.folder is not None:
        facts, config = read_run_file(run.folder), read_config(run.folder)
    model = facts.get("model", {})
    rows = [
        ("Task", _task(subject)),
        ("Data", _data(config)),
        ("Split", _split(config)),
        ("Evaluated", f"{part_of(subject)}: {counted(subject.tables.cases['case_id'], subject.tables.cases)}"),
        ("Other parts", _others(subject)),
        ("Model", _model(model)),
        ("Run", Path(run.name).name),
        ("Seed", "" if config.get("seed_everything") is None else str(config["seed_everything"])),
        ("Software", _software(facts)),
        ("Hardware", str(facts.get("hardware", ""))),
        ("Made", str(facts.get("finished", "")).replace("T", " ")),
    ]
    return [(name, value) for name, value in rows if value]


def _task(subject: Subject) -> str:
    task = subject.run.task
    name = TASK_NAMES.get(task.task, task.task)
    kind = f", {subject.tables.kind}" if task.task == "classify" else ""
    names = ", ".join(task.class_names[:_CLASSES])
    more = f" and {len(task.class_names) - _CLASSES} more" if len(task.class_names) > _CLASSES else ""
    positive = subject.tables.positive_class
    return f"{name}{kind}: {names}{more}" + (f" (positive: {positive})" if positive is not None else "")


def _data(config: dict[str, Any]) -> str:
    data = config.get("data")
    if not isinstance(data, dict):
        return ""
    name = str(data.get("class_path", "")).rpartition(".")[2]
    root = str((data.get("init_args") or {}).get("root") or "")
    folder = Path(root).name
    return f"{name} ({folder})" if folder else name


def _split(config: dict[str, Any]) -> str:
    data = config.get("data")
    given: dict[str, Any] = data.get("init_args") or {} if isinstance(data, dict) else {}
    if not given:
        return ""
    if given.get("split_file"):
        return f"of the file {Path(str(given['split_file'])).name}"
    seed = given.get("split_seed")
    drawn = f"by patient, stratified, seed {seed}" if seed is not None else "by patient, stratified"
    return f"that of the data where they have one, otherwise {drawn}"


def _others(subject: Subject) -> str:
    run = subject.run
    others = [part for part in run.parts if part != subject.split]
    said = [f"{part_name(part)}: {counted(cases['case_id'], cases)}" for part, cases in _by_part(subject, others)]
    return "; ".join(said)


def _by_part(subject: Subject, parts: list[str]) -> list[tuple[str, Any]]:
    cases = subject.run.cases
    return [(part, cases[cases["split"] == part]) for part in parts]


def _model(model: dict[str, Any]) -> str:
    if not model:
        return ""
    words = [str(model.get("network", ""))]
    words += [f"{name} {model[name]}" for name in ("decoder", "detector") if model.get(name)]
    if model.get("parameters"):
        words.append(f"{model['parameters']:,} parameters")
    weights = model.get("weights")
    words.append("from scratch" if weights is None else f"weights {Path(str(weights)).name}")
    if model.get("folds", 1) > 1:
        words.append(f"{number_of(model['folds'], 'model')}, one a fold")
    if model.get("members", 1) > 1:
        words.append(f"ensemble of {number_of(model['members'], 'model')}")
    return ", ".join(words)


def _software(facts: dict[str, Any]) -> str:
    if not facts:
        return ""
    version = f"scansuite {facts.get('version', '')}"
    if facts.get("commit"):
        version += f" ({facts['commit']})"
    packages = [f"{name} {one}" for name, one in facts.get("packages", {}).items()]
    return ", ".join([version, f"Python {facts.get('python', '')}", *packages])
