"""Sizes, patches, detector and augmentation for boxes, from fingerprints made by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from datamodules.fingerprint.fingerprint import Fingerprint, Objects, Spread
from datamodules.preprocess import Preprocess
from datamodules.samples.patches import patch_place
from datamodules.transforms.presets import resolved_ranges
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.detect.task import DetectionTask
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import make_plan
from tasks.planning.settle import detect
from tasks.planning.settle.sizes import numbers

Device = Literal["cpu", "cuda"]


def evenly(least: float, most: float | None = None) -> Spread:
    most = least if most is None else most
    return Spread(least, least, (least + most) / 2, most, most)


def boxes_of(short: Spread, image: tuple[float, float], per_image: float = 3, share: Spread | None = None) -> Objects:
    area = Spread(*(side**2 for side in short))
    return Objects(
        total=300, per_image=evenly(per_image), empty=0.0, short_side=short, long_side=short, area=area,
        share=share or Spread(*(one / (image[0] * image[1]) for one in area)), class_short_sides=(short,),
    )  # fmt: skip


def print_of(objects: Objects | None, height: Spread, width: Spread | None = None, **more: Any) -> Fingerprint:
    own = {"cases": {"train": 100, "val": 20, "test": 20}, "samples": 100, "images": 100, "channels": 3, **more}
    return Fingerprint("detect", height=height, width=width or height, objects=objects, types=("uint8",), **own)


@cache
def defaults() -> dict[str, Any]:
    cli = TaskParser("detect", "fit", ["--data", "Phantoms"], own_flags=OWN_FLAGS, builds_model=False)
    return {**flat(cli.config.as_dict()), "data.class_path": cli.config["data"]["class_path"]}


def draft_of(
    known: Fingerprint,
    given: dict[str, Any] | None = None,
    device: Device = "cpu",
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
) -> Draft:
    return Draft(known, Machine(device), budget, given or {}, defaults())


def settled(
    known: Fingerprint,
    given: dict[str, Any] | None = None,
    device: Device = "cpu",
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
) -> dict[str, Any]:
    draft = draft_of(known, given, device, budget)
    for rule in (detect.images, detect.patches, detect.detector, detect.overlaps, detect.augmentation):
        rule(draft)
    return {flag: one.value for flag, one in draft.planned.items()}


@pytest.mark.parametrize(("budget", "size"), [(Budget(), [384, 512]), (Budget("quick", 120.0), [288, 384])])
def test_blood_cells_get_what_was_chosen_for_them_by_hand(budget: Budget, size: list[int]) -> None:
    """The model of ``experiment/bccd``, and its images where time is short, from numbers like those of its data."""
    objects = boxes_of(Spread(8, 39, 90, 200, 390), (480, 640), per_image=14)
    objects = replace(objects, class_short_sides=(Spread(8, 25, 37, 60, 90), objects.short_side))
    values = settled(print_of(objects, evenly(480), evenly(640), modality="microscopy"), budget=budget)
    by_hand = {
        "data.image_size": size, "data.augment": "microscopy", "data.augment_args.scale": 0.2,
        "data.augment_args.shift": 0.1, "model.detector": "fcos", "model.channels": 96, "model.nms": "soft",
    }  # fmt: skip
    assert values == {**by_hand, "data.augment_args.horizontal_flip": True, "data.augment_args.vertical_flip": True}


def test_large_objects_let_images_be_made_smaller() -> None:
    known = [print_of(boxes_of(evenly(side), (480, 640)), evenly(480), evenly(640)) for side in (40, 80)]
    assert settled(known[0])["data.image_size"] == [352, 480]  # 30 of 40 px are left
    assert settled(known[1])["data.image_size"] == [192, 256]
    short = Budget(seconds=detect.SHORT)
    assert settled(known[0], budget=short)["data.image_size"] == [256, 352]  # 22 of them
    assert settled(known[1], budget=short)["data.image_size"] == [128, 192]
    assert settled(known[0], budget=Budget(seconds=detect.SHORT + 1))["data.image_size"] == [352, 480]
    many = replace(known[0], samples=detect.HEAVY + 1)
    assert settled(many)["data.image_size"] == [256, 352]
    assert settled(many, device="cuda")["data.image_size"] == [480, 640]  # which has the time


def test_a_gpu_makes_images_no_smaller_than_it_has_time_for() -> None:
    radiographs = print_of(boxes_of(Spread(60, 110, 200, 400, 600), (1024, 1024)), evenly(1024))
    assert settled(radiographs)["data.image_size"] == 160
    assert settled(radiographs, device="cuda")["data.image_size"] == 640


def test_no_image_becomes_so_small_that_its_deepest_level_is_one_cell() -> None:
    assert settled(print_of(boxes_of(evenly(900), (1000, 1000)), evenly(1000)))["data.image_size"] == 64


def test_small_objects_in_small_images_are_enlarged() -> None:
    values = settled(print_of(boxes_of(evenly(8), (96, 96)), evenly(96)))
    assert values["data.image_size"] == 192  # and no more than twice
    assert "model.small_lesions" not in values


def test_tiny_objects_in_large_images_are_seen_by_parts_and_from_stride_4() -> None:
    values = settled(print_of(boxes_of(evenly(6), (3000, 4000)), evenly(3000), evenly(4000)))
    assert "data.image_size" not in values
    assert values["data.patch_size"] == 256
    assert "data.zoom" not in values  # enlarging images of this size takes too long
    assert values["model.small_lesions"] is True
    assert values["data.foreground_share"] == 0.33  # 3 objects in 12 million pixels
    assert values["model.detector"] == "fcos"


def test_lesions_of_a_pixel_get_anchors_since_no_cell_has_its_centre_in_them() -> None:
    values = settled(print_of(boxes_of(evenly(1), (512, 512)), evenly(512)))
    assert values["model.detector"] == "retinanet"
    assert values["model.small_lesions"] is True


def test_large_objects_in_huge_images_need_no_patches() -> None:
    values = settled(print_of(boxes_of(evenly(5000), (50_000, 50_000)), evenly(50_000)))
    assert values["data.image_size"] == 288
    assert "data.patch_size" not in values


def test_huge_images_of_middling_objects_are_made_smaller_before_patches_are_cut() -> None:
    values = settled(print_of(boxes_of(evenly(100), (50_000, 50_000)), evenly(50_000)))
    assert values["data.zoom"] == pytest.approx(0.22)
    assert values["data.patch_size"] == 256


@pytest.mark.parametrize(("shares", "patches"), [(evenly(0.001, 0.1), True), (evenly(0.01), False)])
def test_images_of_unlike_sizes_keep_their_resolution_where_objects_do_not_grow_with_them(
    shares: Spread, patches: bool
) -> None:
    objects = boxes_of(evenly(20, 60), (400, 400), share=shares)
    values = settled(print_of(objects, evenly(256, 1024)))
    assert ("data.patch_size" in values) is patches
    assert ("data.image_size" in values) is not patches


def test_tiles_overlap_by_a_large_object() -> None:
    objects = boxes_of(Spread(4, 5, 10, 150, 180), (3000, 3000))
    values = settled(print_of(objects, evenly(3000)))
    assert values["data.patch_size"] == 512  # room for four of them
    assert values["model.overlap"] * 512 >= 150


def test_a_gpu_takes_larger_images_and_the_published_width() -> None:
    known = print_of(boxes_of(evenly(18, 60), (1000, 1000)), evenly(1000))
    on_cpu, on_gpu = settled(known), settled(known, device="cuda")
    assert on_cpu["data.patch_size"] == 256
    assert on_gpu["data.image_size"] == 896
    assert "model.channels" not in on_gpu


@pytest.mark.parametrize(("count", "nms"), [(3, None), (40, "soft")])
def test_crowded_images_get_soft_nms(count: int, nms: str | None) -> None:
    values = settled(print_of(boxes_of(evenly(30), (300, 300), per_image=count), evenly(300)))
    assert values.get("model.nms") == nms


@pytest.mark.parametrize(
    ("facts", "flips"), [({}, True), ({"sided": True}, False), ({"upright": True}, False)], ids=["free", "sided", "up"]
)
def test_mirror_images_where_nothing_has_a_side(facts: dict[str, Any], flips: bool) -> None:
    values = settled(print_of(boxes_of(evenly(30), (300, 300)), evenly(300), modality="mr", **facts))
    assert values["data.augment"] == "mri"
    assert ("data.augment_args.vertical_flip" in values) is flips


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"data.image_size": 64}, {"data.image_size", "data.patch_size"}),
        ({"data.patch_size": 64}, {"data.image_size", "data.patch_size", "data.zoom"}),
        ({"model.detector": "faster_rcnn"}, {"model.detector", "model.channels", "model.small_lesions"}),
        ({"model.teacher": "run"}, {"model.detector", "model.channels", "model.small_lesions"}),
        ({"data.augment": "none"}, {"data.augment", "data.augment_args.scale"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_given_is_not_planned_nor_what_contradicts_it(given: dict[str, Any], left: set[str]) -> None:
    assert not left & set(settled(print_of(boxes_of(evenly(6), (2000, 2000)), evenly(2000)), given))


@pytest.mark.parametrize(("anchors", "fine"), [("default", True), (8, True), ([16, 32, 64, 128, 256], None)])
def test_a_list_of_anchors_keeps_the_levels_that_it_was_written_for(anchors: object, fine: bool | None) -> None:
    values = settled(print_of(boxes_of(evenly(6), (300, 300)), evenly(300)), {"model.anchors": anchors})
    assert values.get("model.small_lesions") == fine


def test_an_overlap_that_is_given_is_one_that_boxes_are_told_by() -> None:
    crowded = print_of(boxes_of(evenly(30), (300, 300), per_image=20), evenly(300))
    assert settled(crowded, {})["model.nms"] == "soft"
    assert "model.nms" not in settled(crowded, {"model.nms_iou": 0.3})


@pytest.mark.parametrize("given", [{"model.anchors": "default"}, {"model.box_loss": "smooth_l1"}])
def test_what_fcos_has_not_is_given_to_retinanet(given: dict[str, Any]) -> None:
    assert settled(print_of(boxes_of(evenly(30), (300, 300)), evenly(300)), given)["model.detector"] == "retinanet"


def test_objects_that_were_not_measured_leave_sizes_open() -> None:
    values = settled(print_of(None, evenly(300)))
    assert not {"data.image_size", "data.patch_size", "model.small_lesions"} & set(values)


sides = st.floats(1, 60_000)
shares = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(sorted)


@st.composite
def prints(draw: st.DrawFn) -> Fingerprint:
    height, width = (Spread(*sorted(draw(st.lists(sides, min_size=5, max_size=5)))) for _ in range(2))
    inside = min(height.median, width.median)
    short = Spread(*(max(1.0, share * inside) for share in draw(shares)))
    objects = boxes_of(short, (height.median, width.median), per_image=draw(st.floats(0, 5000)))
    images = draw(st.sampled_from([3, 100, 20_000]))
    return print_of(
        draw(st.sampled_from([objects, None])), height, width, channels=draw(st.sampled_from([1, 3, 12])),
        modality=draw(st.sampled_from(["ct", "mr", "pet", "microscopy", "colour", "unknown"])),
        sided=draw(st.booleans()), upright=draw(st.booleans()),
        cases={"train": images, "val": draw(st.sampled_from([0, 20]))}, samples=images, images=images,
    )  # fmt: skip


@given(prints(), st.sampled_from(["cpu", "cuda"]))
@settings(
    # A command line is read and a network built for each: without shrinking, which takes minutes.
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)  # fmt: skip
def test_any_fingerprint_gives_flags_that_the_command_and_the_detector_take(
    tmp_path: Path, known: Fingerprint, device: Device
) -> None:
    own = {"model.backbone": "test_resnet", "model.weights": None}
    file = tmp_path / "plan.yaml"
    file.write_text(make_plan(draft_of(known, own, device), defaults()["data.class_path"]).to_yaml(), encoding="utf-8")
    words = ["--config", str(file), *(f"--{flag}={'null' if value is None else value}" for flag, value in own.items())]
    cli = TaskParser("detect", "fit", words, own_flags=OWN_FLAGS, builds_model=True)
    data, model = cli.config["data"]["init_args"].as_dict(), cli.config["model"]
    size, patch = (numbers(data[name]) for name in ("image_size", "patch_size"))
    assert not (size and patch)
    prepared = Preprocess(size=(size[0], size[-1]) if size else None, channels=known.channels, zoom=data["zoom"])
    patch_place(data["patch_size"], data["foreground_share"], data["zoom"], data["patches"])
    ranges = {name: value for name, value in data["augment_args"].items() if name != "transforms"}
    resolved_ranges(data["augment"], channels=known.channels, **ranges)
    seen = patch or size or [512]
    task = DetectionTask(
        **{**model, "metrics": None}, in_channels=known.channels, num_classes=1, class_names=["lesion"],
        input_size=(seen[0], seen[-1]), preprocess=prepared.to_dict(), box_sizes=[[4.0, 4.0]],
    )  # fmt: skip
    assert task.detector.strides[0] in (4, 8)
