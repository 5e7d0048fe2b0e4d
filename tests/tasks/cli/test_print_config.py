"""``--print_config`` says what each flag means, and ``--config`` takes what it printed."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.cli.commented import commented
from tests.tasks.cli.conftest import Run, one_line

TASKS = ("classify", "segment", "detect")
# Given flags of each verb, and where their values stand.
GIVEN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "fit": (
        ["--data", "Phantoms", "--data.num_patients", "12", "--data.image_size", "32", "--model.lr", "0.02"],
        {"data.init_args.num_patients": 12, "data.init_args.image_size": 32, "model.lr": 0.02},
    ),
    "predict": (
        ["--ckpt_path", "some.ckpt", "--input", "a b", "c", "--output", "out", "--data.batch_size", "3"],
        {"ckpt_path": "some.ckpt", "input": ["a b", "c"], "output": "out", "data.batch_size": 3},
    ),
}
_KEY = re.compile(r"( *)(\w+):")


def value_at(content: dict[str, Any], name: str) -> Any:
    for key in name.split("."):
        content = content[key]
    return content


def without_a_word(text: str) -> list[str]:
    """Keys that no comment stands above."""
    lines, found = text.splitlines(), []
    for above, line in pairwise(lines):
        key = _KEY.match(line)
        if key is not None and not above.strip().startswith("#"):
            found.append(key[2])
    return found


@pytest.mark.parametrize("verb", list(GIVEN))
@pytest.mark.parametrize("task", TASKS)
def test_what_is_printed_is_read_and_printed_again(run_task: Run, task: str, verb: str) -> None:
    flags, values = GIVEN[verb]
    status, text, err = run_task(task, verb, *flags, "--print_config")
    assert status == 0, err
    content = yaml.safe_load(text)
    assert {name: value_at(content, name) for name in values} == values
    # Each flag has its line; `data`, `model` and `trainer` are headings, and a class's arguments stand below it.
    assert set(without_a_word(text)) <= {"data", "model", "trainer", "init_args", "seed_everything"}
    assert max(map(len, text.splitlines())) <= 120
    assert not re.search(r"^\s*# .*\b(None|True|False|Union|Optional)\b", text, re.M)
    Path("printed.yaml").write_text(text)
    status, again, err = run_task(task, verb, "--config", "printed.yaml", "--print_config")
    assert status == 0, err
    assert again == text


@pytest.mark.slow
def test_what_is_printed_trains(run: Run) -> None:
    flags = ["--data", "Phantoms", "--data.num_patients", "12", "--data.image_size", "32", "--model.lr", "0.02"]
    small = ["--model.backbone", "small_cnn", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    status, text, err = run("fit", *flags, *small, "--data.num_workers", "0", "--run_dir", "run", "--print_config")
    assert status == 0, err
    assert not Path("run").exists()
    Path("printed.yaml").write_text(text)
    status, _, err = run("fit", "--config", "printed.yaml")
    assert status == 0, err
    printed, kept = (yaml.safe_load(one) for one in (text, Path("run/config.yaml").read_text()))
    assert kept["model"] == printed["model"]
    assert kept["data"] == printed["data"] | {"init_args": printed["data"]["init_args"] | {"augment_on": "cpu"}}


def test_only_what_differs_is_printed(run: Run) -> None:
    status, text, err = run("fit", *GIVEN["fit"][0], "--print_config=skip_default")
    assert status == 0, err
    content = yaml.safe_load(text)
    assert content["model"] == {"lr": 0.02}
    assert content["data"]["init_args"] == {"num_patients": 12, "image_size": 32}
    assert "# learning rate" in text
    status, same, err = run("fit", *GIVEN["fit"][0], "--print_config=comments,skip_default")
    assert (status, same) == (0, text), err


def test_a_word_that_print_config_does_not_know(run: Run) -> None:
    status, _, err = run("fit", "--print_config=everything")
    assert status == 2
    assert "everything" in one_line(err)


def test_words_stand_above_their_keys_and_texts_of_the_users_are_left_alone() -> None:
    text = "lr: 0.1\nmodel:\n  name: 'a: # b'\n  notes: |\n    lr: 3\ndata:\n  init_args:\n    size: 3\n"
    lines = {"--lr": "how fast", "--model.name": "of it", "--data.size": "in pixels"}
    found = commented(text, lines, "head")
    assert yaml.safe_load(found) == yaml.safe_load(text)
    assert found.splitlines()[:4] == ["# head", "", "# how fast", "lr: 0.1"]
    assert "  # of it\n  name: 'a: # b'" in found
    assert "    # in pixels\n    size: 3" in found
