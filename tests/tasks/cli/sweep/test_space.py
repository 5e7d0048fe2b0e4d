"""Spaces of a sweep: what is read, what is refused, and what may be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.cli.sweep.space import Choices, Range, Space, around, as_words, drawn, parameters_of, read_space

KNOWN = {
    "--model.lr",
    "--model.drop_path",
    "--model.optimizer_args",
    "--data.augment",
    "--data.root",
    "--seed_everything",
}


def space_of(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return read_space(file, KNOWN)


def test_ranges_and_choices_are_read_in_groups_or_by_full_names(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """
        model:
          lr: {low: 1e-4, high: 1e-2, log: true}
          drop_path: {low: 0, high: 0.3, step: 0.1}
        data.augment: [light, strong]
        model.optimizer_args.momentum: {low: 1, high: 4}
        """,
    )
    assert space == {
        "model.lr": Range(1e-4, 1e-2, log=True),
        "model.drop_path": Range(0, 0.3, step=0.1),
        "data.augment": Choices(("light", "strong")),
        "model.optimizer_args.momentum": Range(1, 4, whole=True),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no flag"),
        ("- 1", "names no flag"),
        ("model.lrr: {low: 1, high: 2}", "model.lrr: no such flag: did you mean --model.lr"),
        ("model.lr: {low: 2, high: 1}", "low 2 is not below high 1"),
        ("model.lr: {low: 1, high: 1}", "low 1 is not below high 1"),
        ("model.lr: {low: 0, high: 1, log: true}", "log: true takes a low above 0"),
        ("model.lr: {low: a, high: 1}", "low a: a number is needed"),
        ("model.lr: {low: 1}", "high None: a number is needed"),
        ("model.lr: {low: 1, high: .inf}", "high inf: a number is needed"),
        ("model.lr: {low: 1, high: 2, size: 3}", "size: a range has low, high, log and step"),
        ("model.lr: {low: 1, high: 2, log: maybe}", "log maybe: true or false"),
        ("model.lr: {low: 1, high: 2, step: 5}", "step 5: must be above 0 and at most 1"),
        ("model.lr: 0.1", "give a range {low: 1, high: 2} or a list"),
        ("model.lr: [0.1]", "at least two different values"),
        ("model.lr: [0.001, 1e-3]", "at least two different values"),
        ("model.lr: [0.1, 0.1]", "at least two different values"),
        ("seed_everything: [1, 2]", "is no setting of a training"),
        ("data.root: [a, b]", "is no setting of a training"),
    ],
)
def test_what_is_no_space_is_refused_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SuiteError) as error:
        space_of(tmp_path, text)
    assert said in str(error.value)
    assert "space.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.floats(1e-6, 1.0),
    st.floats(1.5, 100),
    st.booleans(),
    st.lists(st.integers() | st.text(), min_size=2, unique=True),
)
def test_what_is_drawn_lies_in_the_space(low: float, factor: float, log: bool, values: list[Any]) -> None:
    space: Space = {"model.lr": Range(low, low * factor, log=log), "data.augment": Choices(tuple(values))}
    found = drawn(space, optuna.create_study().ask())
    assert all(part.holds(found[name]) for name, part in space.items())


def test_lists_are_choices_too() -> None:
    space: Space = {"data.image_size": Choices(([32, 64], 64))}
    value = drawn(space, optuna.create_study().ask())["data.image_size"]
    assert value in ([32, 64], 64)


def test_the_first_trial_is_what_lies_in_the_space() -> None:
    space: Space = {
        "model.lr": Range(1e-4, 1e-2),
        "model.drop_path": Range(0.1, 0.3),
        "data.augment": Choices(("a", [1])),
    }
    parameters, outside = parameters_of(space, {"model.lr": 1e-3, "model.drop_path": 0.0, "data.augment": [1]})
    assert parameters == {"model.lr": 1e-3, "data.augment": "[1]"}
    assert outside == ["model.drop_path"]
    study = optuna.create_study()
    study.enqueue_trial(parameters)
    found = drawn(space, study.ask())
    assert (found["model.lr"], found["data.augment"]) == (1e-3, [1])


@pytest.mark.parametrize(
    ("values", "config", "name"),
    [
        ((0, 0.1, 0.2), 0.0, "0"),
        ((1, 2), 1.0, "1"),
        ((None, 0.2), None, "null"),
        ((False, 2), False, "false"),
        (([32, 64], 64), [32, 64], "[32, 64]"),
    ],
)
def test_a_value_goes_by_the_name_of_its_choice(values: tuple[Any, ...], config: Any, name: str) -> None:
    space: Space = {"model.drop_path": Choices(values)}
    parameters, outside = parameters_of(space, {"model.drop_path": config})
    assert (parameters, outside) == ({"model.drop_path": name}, [])
    study = optuna.create_study()
    study.enqueue_trial(parameters)
    assert drawn(space, study.ask())["model.drop_path"] == config


def test_a_number_is_no_yes_and_one_with_an_exponent_no_text(tmp_path: Path) -> None:
    assert not Choices((1, 2)).holds(True)
    assert space_of(tmp_path, "model.lr: [1e-4, 1e-3, 0]") == {"model.lr": Choices((1e-4, 1e-3, 0))}


def test_the_neighbourhood_holds_its_middle() -> None:
    middle = {"model.lr": 7e-4, "model.weight_decay": 0.05, "model.drop_path": 0.0, "model.warmup": 0.05,
              "data.augment": "xray"}  # fmt: skip
    space = around({**middle, "model.backbone": "resnet18"})
    assert set(space) == set(middle)
    assert set(around({**middle, "model.backbone": "densenet121"})) == set(middle) - {"model.drop_path"}
    assert all(part.holds(middle[name]) for name, part in space.items())
    assert "model.weight_decay" not in around({**middle, "model.backbone": "resnet18", "model.weight_decay": 0.0})


@given(st.dictionaries(st.sampled_from(["model.lr", "data.x"]), st.floats(allow_nan=False, allow_infinity=False)))
def test_values_are_typed_as_they_are_read(values: dict[str, float]) -> None:
    words = as_words(values)
    assert {name[2:]: yaml.safe_load(text) if "e" not in text else float(text)
            for name, text in zip(words[::2], words[1::2], strict=True)} == values  # fmt: skip
