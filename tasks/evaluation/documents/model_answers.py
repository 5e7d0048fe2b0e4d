"""Answers that a run has on its model: what it is, how it was trained, what it takes and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.charts.learning_curves import own_monitor
from tasks.evaluation.documents.facts import RunFacts
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.report.content import Subject
from tasks.evaluation.report.header import TASK_NAMES
from tasks.evaluation.run_file import read_plan_file
from tasks.evaluation.tables import read_table

_TRAINING = (
    "loss", "optimizer", "lr", "weight_decay", "schedule", "warmup", "freeze", "dropout", "label_smoothing", "ema",
    "swa", "early_stopping", "teacher", "prune",
)  # fmt: skip
# Heads that compare an image with those of training; of kernels the linear one does not need them afterwards.
_KEEPS_IMAGES = {"knn": "holds", "kernel": "holds, where its kernel is Gaussian,"}
_NOTHING: tuple[Any, ...] = (None, "none", "", 0.0, [], {})


def model_answers(subject: Subject, facts: RunFacts) -> dict[str, tuple[str, str, bool]]:
    """Text, source and whether nothing is left to add, by name; an empty text where it is not known."""
    task = subject.run.task
    made = facts.made
    name = TASK_NAMES.get(task.task, task.task)
    return {
        "technology": (f"Deep learning: {name} by a neural network." if facts.made or facts.trained else "",
                       "task.json", True),
        "network": (_network(facts), "run.json, config.yaml", False),
        "weights": (_weights(facts), "run.json, config.yaml", False),
        "training": (_training(facts), "config.yaml, metrics.csv", True),
        "augmentation": (_augmentation(facts), "config.yaml", True),
        "imbalance": (_imbalance(facts), "config.yaml", False),
        "selection": (_selection(subject, facts), "config.yaml, metrics.csv", True),
        "ensemble": (_ensemble(made), "run.json", True),
        "preprocessing": (_preprocessing(task.own.get("preprocess")), "task.json", True),
        "quality": (_quality(facts), "config.yaml", False),
        "predictors": ("The pixel values of the images of a case, and nothing else, predict." if task.own else "",
                       "task.json", True),
        "inputs": (_inputs(task.own), "task.json", False),
        "output": (_output(subject), "task.json", False),
        "thresholds": (_thresholds(task), "task.json", False),
        "calibration": (_calibration(task.own), "task.json", False),
        "predictions": ("The checkpoint predicts new cases by scansuite's predict, as a command and in Python." if made
                        else "", "run.json", False),
        "software": (_software(made), "run.json", False),
        "date": (str(made.get("finished", "")).partition("T")[0], "run.json", True),
        "configuration": (_configuration(subject, facts), "config.yaml, plan.json", False),
        "privacy": (_privacy(facts), "config.yaml", False),
        "unreadable_input": ("predict leaves out files that cannot be read, lists them in errors.csv, and ends with "
                             "status 1." if made else "", "scansuite", False),
    }  # fmt: skip


def _configuration(subject: Subject, facts: RunFacts) -> str:
    if not facts.config:
        return ""
    planned = [] if subject.run.folder is None else read_plan_file(subject.run.folder)
    said = "All settings are in config.yaml of the run."
    if not planned:
        return said
    many = number_of(len(planned), "setting")
    return f"{said} A plan chose {many} from the data, the machine and the time; why is in plan.json."


def _privacy(facts: RunFacts) -> str:
    said = []
    if facts.data("keep_ids") is False:
        said.append(
            "Patient ids of DICOM files are replaced by keyed hashes in what was written, and names are not read."
        )
    kept = _KEEPS_IMAGES.get(str(facts.model("head")))
    if kept is not None:
        said.append(f"The checkpoint {kept} features of the training images: pass it on as you would pass these on.")
    return " ".join(said)


def _network(facts: RunFacts) -> str:
    model = facts.made.get("model", {})
    network = model.get("network") or facts.model("backbone")
    if not network:
        return ""
    said = [f"{network} (timm's name)"]
    said += [f"{part} {model.get(part) or facts.model(part)}" for part in ("decoder", "detector", "head")
             if model.get(part) or facts.model(part)]  # fmt: skip
    if model.get("parameters"):
        said.append(f"{model['parameters']:,} parameters")
    return f"{', '.join(said)}."


def _weights(facts: RunFacts) -> str:
    model = facts.made.get("model", {})
    if not model and not facts.trained:
        return ""
    weights = model.get("weights", facts.model("weights"))
    if weights is None:
        return f"Trained from scratch (initial weights: {facts.model('init') or 'default'})."
    licence = model.get("weights_licence")
    said = f"First weights: {Path(str(weights)).name}"
    return f"{said}, licence: {licence}." if licence else f"{said}; their licence is not known to the run."


def _training(facts: RunFacts) -> str:
    if not facts.trained or not facts.config:
        return ""
    said = [f"{name.replace('_', ' ')} {_plain(value)}" for name in _TRAINING
            if (value := facts.model(name)) not in _NOTHING]  # fmt: skip
    trainer = facts.config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, dict) else None
    said += [f"at most {number_of(epochs, 'epoch')}"] if isinstance(epochs, int) and epochs > 0 else []
    said += [f"batch size {facts.data('batch_size')}"] if facts.data("batch_size") else []
    said += [f"seed {facts.config['seed_everything']}"] if facts.config.get("seed_everything") is not None else []
    return f"{', '.join(said)}."


def _plain(value: Any) -> str:
    text = Path(value).name if isinstance(value, str) and "/" in value else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _augmentation(facts: RunFacts) -> str:
    if not facts.trained or not facts.data("augment"):
        return ""
    return f"Augmentation in training: {_plain(facts.data('augment'))}; normalisation: {facts.data('normalize')}."


def _imbalance(facts: RunFacts) -> str:
    if not facts.trained or not facts.config:
        return ""
    used = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in _against_imbalance(facts)]
    return f"Against class imbalance: {', '.join(used)}." if used else "No method against class imbalance was used."


def _against_imbalance(facts: RunFacts) -> Iterator[tuple[str, Any]]:
    if facts.model("class_weights") not in _NOTHING:
        yield "class_weights", facts.model("class_weights")
    if facts.data("sampler") not in (*_NOTHING, "shuffle"):
        yield "sampler", facts.data("sampler")
    if str(facts.model("loss")).startswith("focal"):
        yield "loss", facts.model("loss")


def _selection(subject: Subject, facts: RunFacts) -> str:
    folder = subject.run.folder
    if not facts.trained or folder is None:
        return ""
    try:
        monitor = own_monitor(read_table(folder / "metrics.csv"))
    except SuiteError:  # damaged: the section of training says so
        return ""
    by = label_of(monitor[0]) if monitor is not None else "loss"
    return f"The checkpoint with the best {by} on validation was kept, and evaluated."


def _ensemble(made: Any) -> str:
    members = made.get("model", {}).get("members")
    if members is None:
        return ""
    return (
        f"{number_of(members, 'model')} predict as one by the mean of their outputs." if members > 1 else "One model."
    )


def _preprocessing(given: Any) -> str:
    if not isinstance(given, dict):
        return ""
    said = []
    size = given.get("size")
    if isinstance(size, list) and len(size) == 2:
        said.append(f"resized to {size[0]} x {size[1]} pixels (height x width; {given.get('fit', 'stretch')})")
    if given.get("channels"):
        said.append(number_of(int(given["channels"]), "channel"))
    for name, words in (("windows", "window"), ("percentiles", "percentiles"), ("value_range", "values")):
        if given.get(name):
            said.append(f"{words} {given[name]} to 0..1")
    if not any(given.get(name) for name in ("windows", "percentiles", "value_range")):
        said.append("the range of the stored type to 0..1")
    return f"Images: {', '.join(said)}."


def _quality(facts: RunFacts) -> str:
    if facts.data("check_files") is True:
        return "Each file was read once before training; damaged files and identical images in two parts are found."
    return "Files were not checked before training." if facts.data("check_files") is False else ""


def _inputs(own: Any) -> str:
    slices, tile = own.get("slices"), own.get("tile")
    said = []
    if isinstance(slices, dict):
        said.append(f"Volumes as slices: {', '.join(f'{name} {value}' for name, value in slices.items())}.")
    if tile:
        said.append(f"Images by tiles of {tile[0]} x {tile[1]} pixels that overlap by {own.get('overlap')}.")
    return " ".join(said)


def _output(subject: Subject) -> str:
    names = ", ".join(subject.run.task.class_names[:12])
    kind = subject.tables.kind
    words = {
        "segment": f"A mask of {names}.",
        "detect": f"Boxes with a class ({names}) and a score of 0 to 1.",
        "regression": f"A number: {names}.",
        "multilabel": f"A score of 0 to 1 for each of {names}.",
    }
    return words.get(kind, f"A score of 0 to 1 for each of {names}; they sum to 1.")


def _thresholds(task: Any) -> str:
    if not task.operating_points:
        return ""
    points = ", ".join(f"{name} {point:.3f}" for name, point in list(task.operating_points.items())[:12])
    rule = task.own.get("operating_point")
    return f"Calls from a score of {points}; chosen on validation" + (f" by the rule {rule}." if rule else ".")


def _calibration(own: Any) -> str:
    method = own.get("calibration")
    if method in (*_NOTHING, "off"):
        return "Scores were not recalibrated." if own else ""
    name = method.get("method", "") if isinstance(method, dict) else method
    return f"Scores were recalibrated on validation ({name})."


def _software(made: Any) -> str:
    if not made.get("version"):
        return ""
    commit = f" (commit {made['commit']})" if made.get("commit") else ""
    packages = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items())
    return f"scansuite {made['version']}{commit}, Apache-2.0; Python {made.get('python', '')}; {packages}."
