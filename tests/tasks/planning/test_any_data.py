"""Whatever data, machine and time: a plan that can be trained, with reasons that can be read; or one line."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.fingerprint.fingerprint import NOT_MEASURED, Fingerprint, Kind, Objects, Spread
from scansuite.errors import SuiteError
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.planning.budget import Budget, Quality, Timing
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import Plan, make_plan
from tasks.planning.settle.network import WITH_WEIGHTS

LAYOUTS: tuple[tuple[Kind, str], ...] = (
    ("classify", "ImageFolder"), ("segment", "MaskFolder"), ("segment", "Volumes"), ("detect", "Coco"),
)  # fmt: skip
UNREADABLE = re.compile(r"\b(nan|inf|None)\b|\de[+-]\d|\b1 (?:image|case|step|slice|epoch|validation|channel)s\b")


@cache
def defaults_of(task: str, layout: str) -> dict[str, Any]:
    cli = TaskParser(task, "fit", ["--data", layout, "--data.root", "scans"], own_flags=OWN_FLAGS, builds_model=False)
    values = flat(cli.config.as_dict())
    for link in cli.task_class.links:
        values.pop(f"data.{link.data}", None)
    return values


def spreads(least: float, most: float) -> st.SearchStrategy[Spread]:
    """Medians evenly by their logarithm, with values that are alike or far apart."""

    def around(median: float, wide: float) -> Spread:
        return Spread(median / wide**2, median / wide, median, median * wide, median * wide**2)

    medians = st.floats(math.log(least), math.log(most)).map(math.exp)
    return st.builds(around, medians, st.sampled_from([1.0, 1.2, 3.0]))


def pixels(least: float = 16, most: float = 6000) -> st.SearchStrategy[Spread]:
    return spreads(least, most).map(lambda sides: Spread(*(float(max(1, round(side))) for side in sides)))


def shares(classes: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[st.floats(0, 1)] * classes)


@st.composite
def found_objects(draw: st.DrawFn, classes: int) -> Objects:
    short = draw(spreads(1, 500))
    return Objects(
        draw(st.sampled_from([0, 1, 300, 100_000])),
        draw(st.one_of(st.just(Spread(0, 0, 0, 1, 3)), pixels(1, 300))),
        draw(st.floats(0, 1)),
        short,
        Spread(*(2 * side for side in short)),
        share=draw(st.one_of(st.none(), spreads(1e-6, 0.5))),
        aspect=draw(spreads(0.3, 3)),
        area=Spread(*(side**2 for side in short)),
        class_images=draw(shares(classes)),
        class_sides=draw(st.tuples(*[st.floats(-1, 1)] * classes)),
        class_short_sides=draw(st.tuples(*[st.one_of(st.just(NOT_MEASURED), spreads(1, 200))] * classes)),
    )


@st.composite
def fingerprints(draw: st.DrawFn, task: Kind, layout: str) -> Fingerprint:
    volumes = layout == "Volumes"
    cases = draw(st.sampled_from([1, 2, 20, 300, 5000, 60_000]))
    classes = draw(st.integers(2 if task == "classify" else 1, 12))
    slices = draw(st.integers(1, 300)) if volumes else 1
    known = draw(st.booleans())
    target = draw(st.sampled_from(["multiclass", "multilabel", "ordinal", "regression"])) if task == "classify" else ""
    spacing = tuple(draw(st.floats(0.1, 6)) for _ in range(3 if volumes else 2)) if known else ()
    shares_or_cases = st.floats(1e-9, 0.5) if task == "segment" else st.integers(0, cases).map(float)
    return Fingerprint(
        task,
        target,
        {"train": cases, "val": draw(st.sampled_from([0, 1, cases // 5])), "test": cases // 5},
        samples=cases * slices,
        images=cases * slices,
        classes=tuple(str(number) for number in range(classes)),
        class_counts=tuple(draw(shares_or_cases) for _ in range(classes)),
        class_known=(float(cases),) * classes,
        target_values=draw(spreads(0.1, 100)) if target == "regression" else None,
        channels=draw(st.sampled_from([1, 3, 4, 12])),
        types=draw(st.sampled_from([("uint8",), ("int16",), ("float32",)])),
        height=draw(pixels()),
        width=draw(pixels()),
        volumes=volumes,
        slices=Spread(*[float(slices)] * 5) if volumes else None,
        spacing=spacing,
        spacings=tuple(Spread(*[side] * 5) for side in spacing),
        modality=draw(st.sampled_from(["ct", "mr", "xray", "microscopy", "colour", "unknown"])),
        colour=draw(st.sampled_from([0.0, 1.0])),
        intensities=draw(st.one_of(st.none(), st.just(Spread(-1024, -900, 0, 400, 3071)))),
        foreground_range=draw(st.one_of(st.none(), st.just((-20.0, 200.0)))),
        objects=None if task == "classify" else draw(st.one_of(st.none(), found_objects(classes))),
        sided=draw(st.booleans()),
        upright=draw(st.booleans()),
    )


@st.composite
def drafts(draw: st.DrawFn, task: Kind, layout: str) -> Draft:
    weights = draw(st.sampled_from([(), (*WITH_WEIGHTS, "convnext_tiny")]))
    machine = Machine(draw(st.sampled_from(["cpu", "cuda"])), draw(st.sampled_from([2**30, 2**36])), weights=weights)
    timing = Timing(*(draw(st.floats(0.001, longest)) for longest in (10, 2, 60)))
    seconds = draw(st.one_of(st.none(), st.floats(60, 200_000)))
    held = draw(st.sampled_from([0, -1]))  # of the batches that the memory of a GPU may hold
    holds = (lambda _, sizes: sizes[held]) if machine.device == "cuda" else None
    budget = Budget(draw(st.sampled_from(get_args(Quality))), seconds, trial=lambda _: timing, holds=holds)
    return Draft(draw(fingerprints(task, layout)), machine, budget, {}, defaults_of(task, layout))


def check(draft: Draft, plan: Plan) -> None:
    value = draft.value
    for one in plan.planned:
        assert not UNREADABLE.search(one.reason), one
    for note in plan.notes:
        assert not UNREADABLE.search(note)
    epochs, every = value("trainer.max_epochs"), value("trainer.check_val_every_n_epoch")
    assert 1 <= every <= epochs
    assert 1 <= value("data.batch_size") <= max(1, draft.fingerprint.samples)
    assert 1e-5 <= value("model.lr") <= 0.1
    assert value("model.early_stopping") is None or value("model.early_stopping") < epochs // every
    assert value("model.ema") is None or 0 < value("model.ema") < 1
    assert value("model.overlap") is None or 0 <= value("model.overlap") < 1
    assert not {"data.image_size", "data.patch_size"} <= set(draft.planned)
    for flag in {"data.image_size", "data.patch_size"} & set(draft.planned):
        sides = value(flag) if isinstance(value(flag), list) else [value(flag)]
        assert all(isinstance(side, int) and 8 <= side <= 6000 for side in sides)


@pytest.mark.parametrize(("task", "layout"), LAYOUTS)
@settings(max_examples=150)
@given(data=st.data())
def test_there_is_a_plan_or_one_line_that_says_what_is_lacking(task: Kind, layout: str, data: st.DataObject) -> None:
    draft = data.draw(drafts(task, layout))
    try:
        plan = make_plan(draft, layout)
    except SuiteError as error:
        refused = str(error)
    else:
        assert plan.planned
        check(draft, plan)
        return
    assert refused.startswith(("--time", "--quick"))
    assert not UNREADABLE.search(refused)
