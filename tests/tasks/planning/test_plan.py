from __future__ import annotations

import yaml

from tasks.planning.draft import Planned
from tasks.planning.plan import Plan, read_plan

PLAN = Plan(
    "some.Data",
    (
        Planned("data.augment_args.scale", (0.8, 1.2), "scale of the images", "data"),
        Planned("model.scale", 2, "scale of the model", "machine"),
        Planned("model.weights", None, "none here: " + "long " * 60, "machine"),
        Planned("model.schedule_args", {"min_lr": 0.0}, "ends at 0", "time"),
        Planned("data.root", "a: b # c", "a name with signs", "data"),
        Planned("folds", 5, "an ensemble", "a paper"),
    ),
    ("nothing else is lacking",),
)


def test_a_plan_is_a_config_with_each_reason_above_its_own_key() -> None:
    text = PLAN.to_yaml()
    assert yaml.safe_load(text) == {
        "plan": "none",
        "data": {
            "class_path": "some.Data",
            "init_args": {"augment_args": {"scale": [0.8, 1.2]}, "root": "a: b # c"},
        },
        "model": {"scale": 2, "weights": None, "schedule_args": {"min_lr": 0.0}},
        "folds": 5,
    }
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    for key, reason in (
        ("      scale: [0.8, 1.2]", "      # scale of the images (data)"),
        ("  scale: 2", "  # scale of the model (machine)"),
        ("  schedule_args: {min_lr: 0.0}", "  # ends at 0 (time)"),
        ("folds: 5", "# an ensemble (a paper)"),
    ):
        assert lines[lines.index(key) - 1] == reason
    assert "# nothing else is lacking" in lines


def test_a_plan_is_read_back_as_it_was() -> None:
    again = read_plan(PLAN.to_json())
    assert again.to_yaml() == PLAN.to_yaml()
    assert again.without("folds").to_yaml() == PLAN.to_yaml().replace("# an ensemble (a paper)\nfolds: 5\n", "")


def test_lines_for_a_reader_are_no_wider_than_asked() -> None:
    lines = PLAN.listed(80).splitlines()
    assert "--model.weights null" in lines
    assert "--data.augment_args.scale [0.8, 1.2]" in lines
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "note: nothing else is lacking"
