"""A flag given by hand is never overridden, however it is given; what a plan chooses takes no flag's use away."""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentError
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch_lightning import Trainer

from scansuite.errors import SuiteError
from tasks.cli.help_lines import known_of
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.planning.planned_run import PlannedRun, planned
from tasks.cli.useless_flags import default_of
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.registry.specs import SPECS, spec_of

WAYS = ("typed", "=", "init_args", "config", "group as JSON", "group as a file")
# They say where the training runs, or need a file.
PASSED_OVER = {
    "num_nodes",
    "devices",
    "accelerator",
    "inference_mode",
    "weights",
    "prune",
    "prune_amount",
    "num_patients",
}


def parse(task: str, run: PlannedRun) -> dict[str, Any]:
    """What a training gets."""
    cli = TaskParser(
        task, "fit", run.argv, own_flags=OWN_FLAGS, builds_model=True, defaults=run.defaults, planned=run.names
    )
    return flat(cli.config.as_dict())


def values_of_kind(kind: Any) -> list[Any]:
    """A few values of a flag's type; none where they would have to be files or names."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_args(kind):
        return [value for part in get_args(kind) for value in values_of_kind(part)]
    known: dict[Any, list[Any]] = {bool: [True, False], int: [1, 2, 8], float: [0.05, 0.5], type(None): [None]}
    return known.get(kind, [])


def flags(task: str) -> dict[str, list[Any]]:
    spec = spec_of(task)
    cls, data = spec.task_class(), spec.data_classes()[spec.data_names()[0]]
    skipped = {*cls.facts, *PASSED_OVER, *(link.data for link in cls.links)}
    found = {}
    for group, of in (("model", cls), ("data", data), ("trainer", Trainer)):
        for name, known in known_of(of).items():
            if name not in skipped and (some := values_of_kind(known.kind)):
                found[f"{group}.{name}"] = some
    return found


def words_for(task: str, given: Mapping[str, Any], way: str, folder: Path) -> list[str]:
    """The same flags, given in some way."""
    word = {name: "null" if value is None else json.dumps(value).strip('"') for name, value in given.items()}
    if way == "typed":
        return [part for name, text in word.items() for part in (f"--{name}", text)]
    if way == "=":
        return [f"--{name}={text}" for name, text in word.items()]
    if way == "init_args":
        return [f"--{name.replace('data.', 'data.init_args.', 1)}={text}" for name, text in word.items()]
    groups: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        groups.setdefault(name.partition(".")[0], {})[name.partition(".")[2]] = value
    if "data" in groups:
        groups["data"] = {"class_path": spec_of(task).data[0], "init_args": groups["data"]}
    if way == "config":
        (folder / "own.yaml").write_text(yaml.safe_dump(groups))
        return ["--config", str(folder / "own.yaml")]
    words = []
    for group, inner in groups.items():
        file = folder / f"{group}.yaml"
        file.write_text(yaml.safe_dump(inner))
        words += [f"--{group}", json.dumps(inner) if way == "group as JSON" else str(file)]
    return words


@pytest.mark.parametrize("task", SPECS)
@pytest.mark.usefixtures("fixed_data")
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_flag_given_by_hand_is_never_overridden(task: str, data: st.DataObject) -> None:
    known = flags(task)
    names = data.draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True))
    own = {name: data.draw(st.sampled_from(known[name])) for name in names}
    way = data.draw(st.sampled_from(WAYS))
    with tempfile.TemporaryDirectory() as folder:
        words = words_for(task, own, way, Path(folder))
        try:
            alone = parse(task, PlannedRun(words))
        except (SuiteError, ArgumentError):
            return  # the user's own mistake
        with planned(task, words, OWN_FLAGS) as run:
            merged = parse(task, run)
            plan = {one.flag: one.value for one in run.plan.planned} if run.plan is not None else {}
    assert plan
    for name in own:
        assert merged[name] == alone[name], (words, name)
        assert name not in plan
    for name, value in plan.items():
        assert json.dumps(merged[name]) == json.dumps(value), (words, name)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("detect", ["--model.detector", "fcos"]),
        ("detect", ["--model.box_loss", "giou"]),
        ("classify", ["--model.head", "flatten"]),
        ("classify", ["--data.total_batch_size", "8"]),
        ("classify", ["--model.focal_gamma", "3", "--model.loss", "focal"]),
        ("classify", ["--model.optimizer", "sgd"]),
        ("classify", ["--model.schedule", "step", "--model.schedule_args.step_size", "5"]),
        ("classify", ["--data.augment_args.rotation", "15"]),
        ("classify", ["--data.augment", "none"]),
        ("classify", ["--model.freeze", "backbone", "--model.unfreeze", "2"]),
        ("classify", ["--trainer.max_steps", "10"]),
        ("segment", ["--model.tta", "none"]),
        ("segment", ["--data.patch_size", "64"]),
        ("segment", ["--model.window", "128"]),
    ],
)
@pytest.mark.usefixtures("fixed_data")
def test_flags_keep_their_use_beside_a_plan(task: str, words: list[str]) -> None:
    alone = parse(task, PlannedRun(words))
    with planned(task, words, OWN_FLAGS) as run:
        merged = parse(task, run)
    for word in words[::2]:
        assert merged[word.removeprefix("--")] == alone[word.removeprefix("--")]


@pytest.mark.parametrize(
    ("task", "words", "said"),
    [
        ("classify", ["--model.lr", "fast"], "model.lr"),
        ("classify", ["--model.focal_gama", "3"], "unknown flag --model.focal_gama"),
        ("classify", ["--data.root", "/nowhere"], "--data.root /nowhere: no use to Phantoms"),
        ("detect", ["--model.detector", "fcos", "--model.anchors", "[4, 8]"], "--model.anchors"),
    ],
)
@pytest.mark.usefixtures("fixed_data")
def test_a_mistake_is_told_of_the_users_flag_and_of_no_file_of_ours(task: str, words: list[str], said: str) -> None:
    with pytest.raises((SuiteError, ArgumentError)) as error, planned(task, words, OWN_FLAGS) as run:
        parse(task, run)
    assert said in str(error.value)
    assert "plan.yaml" not in str(error.value)
    assert "/tmp" not in str(error.value)


def test_the_default_of_an_argument_is_that_of_its_class() -> None:
    cls = spec_of("classify").task_class()
    assert default_of(cls, "optimizer") == "adamw"
