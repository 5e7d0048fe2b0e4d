"""Rules of segmentation, on fingerprints made by hand; whatever the data are like, their flags are such as exist."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.fingerprint.fingerprint import Fingerprint, Objects, Spread
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.planning.planner import PLAN_FLAGS
from tasks.planning.budget import Budget
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import make_plan
from tasks.planning.settle.length import samples_an_epoch

CPU = Machine("cpu", weights=("tf_efficientnet_lite0",))


def one(value: float) -> Spread:
    return Spread(value, value, value, value, value)


def objects(per_image: float = 1, *, short: float = 20, empty: float = 0.0, shown: Sequence[float] = (1.0,)) -> Objects:
    return Objects(100, one(per_image), empty, one(short), one(2 * short), class_images=tuple(shown))


def image_set(**facts: Any) -> Fingerprint:
    """Flat images; all 200 x 200 if nothing else is said."""
    return Fingerprint(**{
        "task": "segment", "cases": {"train": 100, "val": 25, "test": 25}, "samples": 100, "images": 100,
        "classes": ("a",), "class_counts": (0.1,), "types": ("uint8",), "height": one(200), "width": one(200),
        "objects": objects(), **facts,
    })  # fmt: skip


def volume_set(sides: tuple[float, float, float], spacing: tuple[float, ...], **facts: Any) -> Fingerprint:
    """Volumes of (rows, columns, slices) voxels, with their spacing in mm."""
    return image_set(**{
        "volumes": True, "height": one(sides[0]), "width": one(sides[1]), "slices": one(sides[2]), "spacing": spacing,
        "modality": "mr", **facts,
    })  # fmt: skip


@pytest.fixture(scope="module")
def defaults() -> dict[str, dict[str, Any]]:
    """Values of all flags of ``fit``, as the command line has them, for flat images and for volumes."""
    return {name: flat(_parsed(name, []).config.as_dict()) for name in ("MaskFolder", "Volumes")}


def _parsed(data: str, argv: list[str]) -> TaskParser:
    return TaskParser("segment", "fit", ["--data", data, *argv], own_flags=PLAN_FLAGS, builds_model=True)


def drafted(fingerprint: Fingerprint, values: dict[str, Any], machine: Machine = CPU, **given: Any) -> Draft:
    return Draft(fingerprint, machine, Budget(), {name.replace("_", ".", 1): it for name, it in given.items()}, values)


def planned(
    fingerprint: Fingerprint, values: dict[str, dict[str, Any]], machine: Machine = CPU, **given: Any
) -> dict[str, Any]:
    draft = drafted(fingerprint, values["Volumes" if fingerprint.volumes else "MaskFolder"], machine, **given)
    make_plan(draft, "x")
    return {flag: it.value for flag, it in draft.planned.items()}


@pytest.mark.parametrize(
    ("sides", "spacing", "axis", "neighbors", "mm"),
    [
        ((50, 35, 36), (1.0, 1.0, 1.0), "sagittal", 1, 0.5),  # small and alike in all directions: finer
        ((320, 320, 20), (0.6, 0.6, 3.6), "axial", 0, 0.75),  # thick slices: where the scan is sharp, each by itself
        ((256, 256, 60), (1.0, 1.0, 2.5), "axial", 1, 1.0),  # neighbours near enough to show the same
        ((200, 220, 180), (1.0, 1.0, 1.0), "axial", 1, 1.0),
        ((88, 88, 40), (1.7, 1.7, 3.0), "axial", 1, 1.6),  # never coarser than stored
    ],
)
def test_volumes_are_cut_where_they_are_sharp_and_at_a_spacing_that_shows_small_structures(
    defaults: dict[str, dict[str, Any]],
    sides: tuple[float, float, float],
    spacing: tuple[float, ...],
    axis: str,
    neighbors: int,
    mm: float,
) -> None:
    values = planned(volume_set(sides, spacing), defaults)
    assert values.get("data.axis", "axial") == axis
    assert values.get("data.neighbors", 0) == neighbors
    assert values["data.spacing"] == mm


def test_several_windows_take_each_slice_by_itself(defaults: dict[str, dict[str, Any]]) -> None:
    print_ = volume_set((256, 256, 60), (1.0, 1.0, 2.5))
    for window, neighbors in (("brain,bone", None), (["brain", "bone"], None), ("40,400", 1), ("brain", 1)):
        assert planned(print_, defaults, data_window=window).get("data.neighbors") == neighbors


def test_small_mr_volumes_get_the_settings_that_were_chosen_by_hand(defaults: dict[str, dict[str, Any]]) -> None:
    print_ = volume_set((50, 35, 36), (1.0, 1.0, 1.0), samples=4600, images=4600, objects=objects(empty=0.2))
    values = planned(print_, defaults)
    by_hand = {
        "model.backbone": "tf_efficientnet_lite0", "model.weights": "imagenet",
        "model.decoder_args": {"decoder_channels": [128, 64, 48, 32, 16]}, "model.tta": "flips",
        "model.cleanup": "auto", "data.axis": "sagittal", "data.neighbors": 1, "data.spacing": 0.5,
        "data.batch_size": 32, "data.augment": "mri", "data.augment_args.vertical_flip": True, "trainer.max_epochs": 16,
    }  # fmt: skip
    assert {flag: values.get(flag) for flag in by_hand} == by_hand


def test_crowded_images_of_many_sizes_get_the_settings_that_were_chosen_by_hand(
    defaults: dict[str, dict[str, Any]],
) -> None:
    print_ = image_set(
        height=Spread(256, 256, 256, 580, 1024), width=Spread(256, 256, 320, 940, 1272), objects=objects(21, short=6),
        modality="microscopy", intensities=Spread(0, 2, 12, 213, 255), means=Spread(1, 4, 13, 202, 221), colour=0.15,
    )  # fmt: skip
    values = planned(print_, defaults)
    by_hand = {
        "model.backbone": "tf_efficientnet_lite0", "model.batch_dice": False, "model.tta": "flips",
        "model.count_lesions": True, "data.patch_size": 256, "data.patches": 1, "data.percentiles": [0.5, 99.5],
        "data.gamma": 0.5, "data.augment": "microscopy", "data.augment_args.scale": 0.25,
        "data.augment_args.contrast": 0.3, "data.augment_args.color": 0.1, "data.batch_size": 8,
    }  # fmt: skip
    assert {flag: values.get(flag) for flag in by_hand} == by_hand
    assert "model.cleanup" not in values  # of many objects none is a mistake for being small


def test_large_images_whose_objects_bear_it_are_made_smaller_and_others_are_cut_into_patches(
    defaults: dict[str, dict[str, Any]],
) -> None:
    large = {"height": one(512), "width": one(768)}
    assert planned(image_set(objects=objects(short=60), **large), defaults)["data.image_size"] == [160, 256]
    values = planned(image_set(objects=objects(short=9), **large), defaults)
    assert (values["data.patch_size"], values["data.patches"]) == (256, 6)  # six cover an image


def sized(low: float, high: float, *, area: float = 0.7, long: float = 1.5, grows: bool = True) -> Objects:
    """Lesions of ``low`` to ``high`` px; with their images, of which each is a like part, or alike in all."""
    short = Spread(low, low, (low + high) / 2, high, high)
    longer = Spread(*(long * side for side in short))
    pixels = Spread(*(area * long * side**2 for side in short))
    share = Spread(0.02, 0.02, 0.1, 0.3, 0.3) if grows else Spread(0.0001, 0.0001, 0.01, 0.3, 0.3)
    return Objects(100, one(1), 0.0, short, longer, share=share, area=pixels, class_images=(1.0,))


PHOTOGRAPHS = {"height": Spread(540, 600, 2000, 4000, 4500), "width": Spread(722, 800, 3000, 6000, 6700)}


def test_images_of_unlike_sizes_become_one_size_where_their_objects_grow_with_them(
    defaults: dict[str, dict[str, Any]],
) -> None:
    """Photographs of a lesion each: a patch of their pixels would show nothing but it."""
    lesions = image_set(objects=sized(200, 1800), **PHOTOGRAPHS)
    draft = drafted(lesions, defaults["MaskFolder"])
    make_plan(draft, "x")
    assert draft.value("data.image_size") == [160, 256]
    assert "data.patch_size" not in draft.planned
    assert "fit into no patch" in draft.planned["data.image_size"].reason
    # Of such as fit into one, small ones keep 24 px.
    fitting = replace(sized(30, 190), share=lesions.objects.share)  # type: ignore[union-attr]
    draft = drafted(image_set(objects=fitting, **PHOTOGRAPHS), defaults["MaskFolder"])
    make_plan(draft, "x")
    assert draft.value("data.image_size") == [160, 256]
    assert "small objects (5th percentile) keep 24 px" in draft.planned["data.image_size"].reason
    assert planned(lesions, defaults, Machine("cuda", weights=CPU.weights))["data.image_size"] == [352, 512]
    # Cells have their pixels, whatever the image is.
    assert planned(image_set(objects=sized(20, 60, grows=False), **PHOTOGRAPHS), defaults)["data.patch_size"] == 256
    # Small images are not enlarged.
    small = {"height": Spread(90, 100, 120, 200, 240), "width": Spread(90, 100, 150, 200, 240)}
    assert planned(image_set(objects=sized(30, 190), **small), defaults)["data.image_size"] == [128, 160]


def test_objects_that_fit_into_no_patch_are_seen_whole_though_specks_lie_beside_them(
    defaults: dict[str, dict[str, Any]],
) -> None:
    specks = replace(sized(4, 1800), share=Spread(1e-7, 1e-7, 0.1, 0.3, 0.3))
    assert planned(image_set(objects=specks, **PHOTOGRAPHS), defaults)["data.image_size"] == [160, 256]


def test_thin_objects_keep_the_resolution_however_far_they_reach(defaults: dict[str, dict[str, Any]]) -> None:
    vessels = sized(300, 500, area=0.1)
    for sides in ({"height": one(565), "width": one(584)}, PHOTOGRAPHS):
        draft = drafted(image_set(objects=vessels, **sides), defaults["MaskFolder"])
        make_plan(draft, "x")
        assert draft.value("data.patch_size") == 256
        assert "too thin to be made smaller" in draft.planned["data.patch_size"].reason


def test_classes_that_lie_on_one_side_each_have_sides(defaults: dict[str, dict[str, Any]]) -> None:
    """Teeth by their numbers, lungs as 1 and 2: no name tells left from right."""
    two = {"classes": ("18", "28"), "class_counts": (0.05, 0.05)}
    for sides, planned_ in (((-0.95, 1.0), True), ((-0.95, 0.3), None), ((0.9, 1.0), None)):
        lungs = replace(objects(shown=(1.0, 1.0)), class_sides=sides)
        values = planned(image_set(objects=lungs, **two), defaults)
        assert values.get("data.sided") is planned_
        assert ("model.tta" in values) is (planned_ is None)
        # What the user gave, and classes with sides refuse, stays.
        assert "data.sided" not in planned(image_set(objects=lungs, **two), defaults, model_tta="flips")
        # A few objects lie on one side by chance.
        few = replace(lungs, class_images=(0.05, 1.0))
        assert "data.sided" not in planned(image_set(objects=few, **two), defaults)


def test_an_evaluation_that_would_take_longer_than_the_training_is_made_shorter(
    defaults: dict[str, dict[str, Any]],
) -> None:
    smears = {"height": one(3000), "width": one(4000), "objects": objects(40, short=9)}
    few = planned(image_set(cases={"train": 100, "val": 5, "test": 5}, **smears), defaults)
    assert (few["model.tta"], few.get("model.overlap")) == ("flips", None)
    many = image_set(cases={"train": 100, "val": 300, "test": 700}, **smears)
    values = planned(many, defaults)
    assert "model.tta" not in values
    assert values["model.overlap"] == 0.25
    assert "model.overlap" not in planned(many, defaults, model_overlap=0.5)


def test_patches_of_an_epoch_are_those_that_the_length_counts(defaults: dict[str, dict[str, Any]]) -> None:
    print_ = image_set(height=one(2048), width=one(2048), objects=objects(short=9))
    draft = drafted(print_, defaults["MaskFolder"])
    make_plan(draft, "x")
    assert draft.value("data.patches") == 20  # 64 would cover it; 2000 patches are 250 steps of 8
    assert samples_an_epoch(draft) == 2000


def test_patches_and_slices_that_hold_a_class_are_shown_more_often_where_they_are_rare(
    defaults: dict[str, dict[str, Any]],
) -> None:
    thin = {"height": one(1024), "width": one(1024), "objects": objects(short=4)}
    assert planned(image_set(class_counts=(0.002,), **thin), defaults)["data.foreground_share"] == 0.33
    assert "data.foreground_share" not in planned(image_set(class_counts=(0.2,), **thin), defaults)
    volume = ((200, 200, 180), (1.0, 1.0, 1.0))
    assert planned(volume_set(*volume, objects=objects(empty=0.9)), defaults)["data.foreground_share"] == 0.33
    assert "data.foreground_share" not in planned(volume_set(*volume, objects=objects(empty=0.3)), defaults)


@pytest.mark.parametrize("facts", [{"sided": True}, {"upright": True}])
def test_images_that_have_sides_or_an_up_are_not_mirrored(
    defaults: dict[str, dict[str, Any]], facts: dict[str, bool]
) -> None:
    values = planned(image_set(**facts), defaults)
    assert not {"model.tta", "data.augment_args.vertical_flip", "data.augment_args.horizontal_flip"} & values.keys()


def test_a_first_look_takes_no_mirror_images(defaults: dict[str, dict[str, Any]]) -> None:
    draft = Draft(image_set(), CPU, Budget("quick"), {}, defaults["MaskFolder"])
    make_plan(draft, "x")
    assert "model.tta" not in draft.planned


def test_overlap_is_summed_over_a_batch_where_images_lack_a_class(defaults: dict[str, dict[str, Any]]) -> None:
    many = image_set(objects=objects(20, shown=(1.0, 0.5)), classes=("a", "b"))
    assert "model.batch_dice" not in planned(many, defaults)


CT = {"modality": "ct", "intensities": Spread(-1024, -1000, -80, 300, 3071), "foreground_range": (-17.3, 200.6)}


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, [-20, 205]),  # outwards, to 5 HU
        ({"foreground_range": (-1024.0, 1500.0)}, [-1025, 1500]),
        ({"foreground_range": (40.0, 44.0)}, [0, 85]),  # 80 HU wide about their middle, 42
        ({"foreground_range": (60.0, 60.0)}, [20, 100]),
        ({"foreground_range": None}, None),
        ({"intensities": Spread(0, 0, 20, 200, 255), "foreground_range": (90.0, 140.0)}, None),  # no Hounsfield units
        ({"modality": "mr"}, None),
        ({"modality": "unknown"}, None),
    ],
)
def test_ct_is_scaled_by_what_is_annotated_in_all_volumes(
    defaults: dict[str, dict[str, Any]], facts: dict[str, Any], wanted: list[float] | None
) -> None:
    draft = drafted(volume_set((256, 256, 60), (1.0, 1.0, 2.5), **{**CT, **facts}), defaults["Volumes"])
    make_plan(draft, "x")
    assert draft.value("data.value_range") == wanted
    assert "data.percentiles" not in draft.planned


def test_the_reason_of_a_range_has_its_numbers(defaults: dict[str, dict[str, Any]]) -> None:
    draft = drafted(volume_set((256, 256, 60), (1.0, 1.0, 2.5), **CT), defaults["Volumes"])
    make_plan(draft, "x")
    found = draft.planned["data.value_range"]
    assert "values from -17 to 201 (0.5th and 99.5th percentile); all voxels from -1024 to 3071" in found.reason
    assert "nnU-Net" in found.source


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("data_window", "liver"), ("data_window", "liver,bone"), ("data_window", None), ("data_percentiles", [1, 99]),
        ("data_value_range", [-100, 300]), ("data_value_range", None),
    ],
)  # fmt: skip
def test_a_scale_that_was_given_stays(defaults: dict[str, dict[str, Any]], flag: str, value: Any) -> None:
    print_ = volume_set((256, 256, 60), (1.0, 1.0, 2.5), **CT)
    assert "data.value_range" in planned(print_, defaults)
    assert (
        not {"data.value_range", "data.percentiles", "data.window"} & planned(print_, defaults, **{flag: value}).keys()
    )


def test_flat_images_of_ct_are_left_as_they_are(defaults: dict[str, dict[str, Any]]) -> None:
    assert "data.value_range" not in planned(image_set(**CT, stated_range=True), defaults)


_SIDES = st.integers(1, 50_000)


def _spreads(sides: st.SearchStrategy[int] = _SIDES) -> st.SearchStrategy[Spread]:
    return st.lists(sides, min_size=5, max_size=5).map(lambda values: Spread(*sorted(values)))


@st.composite
def fingerprints(draw: st.DrawFn) -> Fingerprint:
    classes, volumes = draw(st.integers(1, 5)), draw(st.booleans())
    shares = st.floats(0, 1)
    found = Objects(
        draw(st.integers(0, 10_000)), draw(_spreads(st.integers(0, 200))), draw(shares), draw(_spreads()),
        draw(_spreads()), class_images=tuple(draw(st.lists(shares, min_size=classes, max_size=classes))),
    )  # fmt: skip
    train = draw(st.integers(1, 100_000))
    return Fingerprint(
        "segment",
        cases={"train": train, "val": draw(st.integers(0, 1000)), "test": 0},
        samples=train,
        images=train,
        classes=tuple(f"class {number}" for number in range(classes)),
        class_counts=tuple(draw(st.lists(shares, min_size=classes, max_size=classes))),
        channels=draw(st.integers(1, 12)),
        types=(draw(st.sampled_from(["uint8", "uint16", "int16", "float32", "bool"])),),
        height=draw(_spreads()),
        width=draw(_spreads()),
        volumes=volumes,
        slices=draw(_spreads(st.integers(1, 2000))) if volumes else None,
        spacing=draw(
            st.one_of(st.just(()), st.tuples(*[st.floats(0.001, 20)] * 3), st.tuples(*[st.floats(0.001, 20)] * 2))
        ),
        modality=draw(st.sampled_from(["ct", "mr", "xray", "ultrasound", "pet", "microscopy", "colour", "unknown"])),
        colour=draw(shares),
        intensities=draw(st.none() | _spreads(st.integers(0, 65535))),
        foreground_range=draw(st.none() | st.tuples(st.floats(-5000, 0), st.floats(0, 5000))),
        means=draw(st.none() | _spreads(st.integers(0, 65535))),
        objects=draw(st.none() | st.just(found)),
        sided=draw(st.booleans()),
        upright=draw(st.booleans()),
    )


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fingerprints(), st.sampled_from(["cpu", "mps", "cuda"]))
def test_whatever_the_data_are_like_the_flags_are_such_as_command_line_and_data_class_take(
    defaults: dict[str, dict[str, Any]], tmp_path: Path, found: Fingerprint, device: Any
) -> None:
    name: str = "Volumes" if found.volumes else "MaskFolder"
    data_class = Volumes if found.volumes else MaskFolder
    path = f"{data_class.__module__}.{name}"
    plan = make_plan(drafted(found, defaults[name], Machine(device, weights=CPU.weights)), path)
    file = tmp_path / "plan.yaml"
    file.write_text(plan.to_yaml())
    parsed = TaskParser(
        "segment",
        "fit",
        ["--config", str(file), "--data.root", str(tmp_path)],
        own_flags=PLAN_FLAGS,
        builds_model=False,
    )
    of_data = yaml.safe_load(plan.to_yaml())["data"].get("init_args", {})
    for flag, value in of_data.items():
        assert _plain(parsed.config["data"]["init_args"][flag], value) == value
    assert isinstance(parsed.build_data(), data_class)


def _plain(value: Any, like: Any) -> Any:
    """A parsed value, of which only what the plan says is looked at."""
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    return {key: value[key] for key in like} if isinstance(like, dict) and isinstance(value, dict) else value
