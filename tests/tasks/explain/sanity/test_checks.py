"""Truth, curves and verdicts, where what is right is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from tasks.explain.maps import Map, explain_image
from tasks.explain.methods import Method
from tasks.explain.sanity.checks import Sanity, check_maps
from tasks.explain.sanity.localise import box_mask, chance, energy, pointing, widened
from tasks.explain.sanity.perturb import curve, moved
from tasks.explain.sanity.randomise import randomised
from tasks.explain.sanity.verdict import overall, verdict_of
from tasks.explain.targets import Target
from tests.tasks.explain.models import classifier, image

MAPS = arrays(np.float32, (20, 20), elements=st.floats(0, 10, width=32))


def made(values: np.ndarray, method: Method = "gradcam") -> Map:
    return Map(values, values, method, Target("lesion", "lesion"), "layer4", 0.9)


def test_the_pointing_game_asks_for_the_highest_place() -> None:
    strength, truth = np.zeros((100, 100), np.float32), np.zeros((100, 100), bool)
    truth[20:30, 20:30] = True
    strength[25, 25] = 1
    assert pointing(strength, truth) == 1
    strength[25, 32] = 2  # 3 pixels beside it: within the tolerance
    assert pointing(strength, truth) == 1
    assert pointing(strength, truth, tolerance=0) == 0
    strength[25, 34] = 3
    assert pointing(strength, truth) == 0
    strength[25, 25] = 3  # two places that are equally high
    assert pointing(strength, truth) == 0.5


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_a_map_of_nothing_points_by_chance(top: int, left: int, side: int) -> None:
    truth = np.zeros((100, 100), bool)
    truth[top : top + side, left : left + side] = True
    assert pointing(np.zeros((100, 100), np.float32), truth) == pytest.approx(chance(truth))
    assert (widened(truth, 0.03) >= truth).all()
    assert energy(np.ones((100, 100), np.float32), truth) == pytest.approx(truth.mean(), rel=1e-4)
    assert energy(np.zeros((100, 100), np.float32), truth) is None


def test_a_box_is_the_pixels_whose_centre_it_holds() -> None:
    mask = box_mask((2.0, 1.0, 5.0, 3.0), (6, 8))
    assert mask.sum() == 6
    assert mask[1:3, 2:5].all()


def dark(images: Tensor) -> Tensor:
    """A score that is the brightness of the upper left quarter."""
    return images[:, 0, :8, :8].mean(dim=(1, 2))


def test_taking_the_right_places_away_first_lowers_the_score_fastest() -> None:
    seen = torch.zeros(1, 1, 16, 16)
    seen[..., :8, :8] = 1
    right, wrong = np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)
    right[:8, :8] = 1
    wrong[8:, 8:] = 1
    deleted, late = (curve(seen, one, dark, "deletion", steps=4) for one in (right, wrong))
    # A quarter of the pixels is the whole of it: 1, then the mean of the image, 0.25, to the end.
    assert deleted.scores.tolist() == [1.0, 0.25, 0.25, 0.25, 0.25]
    assert deleted.area == pytest.approx(0.34375)
    assert late.area > deleted.area
    inserted, last = (curve(seen, one, dark, "insertion", steps=4) for one in (right, wrong))
    assert inserted.area > last.area
    assert inserted.scores[-1] == 1.0


@given(MAPS, st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_curves_end_at_the_image_and_at_the_plain_one(strength: np.ndarray, seed: int) -> None:
    seen = image(1, 1, 20, 20, seed=seed)
    deleted = curve(seen, strength, dark, "deletion")
    assert deleted.scores[0] == pytest.approx(float(dark(seen)))
    assert deleted.scores[-1] == pytest.approx(float(seen.mean()), rel=1e-5)
    assert all(sorted(one.ravel()) == sorted(strength.ravel()) for one in moved(strength, seed))


def sanity(**known: Any) -> Sanity:
    given: dict[str, Any] = {"mprt": 0.1, "moved_better": 0.0, "fall": 0.8, **known}
    return Sanity(given.pop("map", made(np.eye(4, dtype=np.float32))), **given)


@pytest.mark.parametrize(
    ("known", "trusted", "words"),
    [
        (
            {},
            True,
            "It may be trusted. The map changes with random weights. Hiding what it marks lowers the score faster",
        ),
        (
            {"mprt": 0.7},
            False,
            "Do not trust it. The map hardly changes with random weights: it shows edges of the image",
        ),
        ({"moved_better": 0.5}, False, "Do not trust it. Hiding what it marks lowers the score no faster than"),
        ({"fall": 0.01}, None, "It is not known whether to trust it. Hiding the whole image hardly changes the score"),
        ({"mprt": None}, None, "not compared with maps of random weights"),
        ({"map": made(np.eye(4, dtype=np.float32), "rollout")}, None, "the same for every class"),
        ({"map": made(np.zeros((4, 4), np.float32))}, False, "Do not trust it. The map is empty"),
    ],
)
def test_a_verdict_says_why(known: dict[str, Any], trusted: bool | None, words: str) -> None:
    verdict = verdict_of(sanity(**known))
    assert verdict.trusted is trusted
    assert words in verdict.text
    assert verdict.text[0].isupper()
    assert verdict.text.endswith(".")


def test_a_map_beside_the_truth_may_be_trusted_all_the_same() -> None:
    verdict = verdict_of(sanity(pointing=0.0))
    assert verdict.trusted
    assert verdict.reasons[-1] == "its highest place lies outside the annotated truth: the model may look elsewhere"


def test_a_method_needs_more_than_one_map_to_be_trusted() -> None:
    alone = overall([sanity()])["gradcam"]
    assert alone.trusted is None
    assert alone.text == (
        "It is not known whether to trust it. Hiding what a map marks lowers the score faster than hiding the same "
        "shape elsewhere in 1 of 1 map, which may be chance: explain more images."
    )
    assert overall([sanity()] * 12)["gradcam"].trusted
    half = [sanity(), sanity(moved_better=1.0)] * 6
    assert overall(half)["gradcam"].trusted is None
    assert overall([sanity(moved_better=1.0)] * 12)["gradcam"].trusted is False
    assert overall([sanity(mprt=0.9)] * 12)["gradcam"].trusted is False
    assert "12 of 12 maps are empty" in overall([sanity(map=made(np.zeros((4, 4), np.float32)))] * 12)["gradcam"].text
    both = overall([sanity(), sanity(map=made(np.eye(4, dtype=np.float32), "cam"))])
    assert list(both) == ["gradcam", "cam"]


def test_maps_of_an_image_are_checked_in_their_order() -> None:
    model, seen = classifier(), image()
    maps = explain_image(model, seen, ["0", "1"], ["layercam"], layer="act1")
    truth = np.zeros((64, 64), bool)
    truth[:16] = True
    random = [randomised(model, 1)]
    found = check_maps(model, seen, maps, random=random, truth=[truth, None], layer="act1")
    assert [one.map for one in found] == maps
    for one in found[:1]:
        assert one.truth_share == 0.25
        total = float(one.map.values.sum())
        assert one.energy == (pytest.approx(float(one.map.values[:16].sum()) / total, rel=1e-5) if total else None)
    assert found[1].pointing is None
    assert all(-1 <= one.mprt <= 1 for one in found if one.mprt is not None)
    assert found[0].deletion == pytest.approx(check_maps(model, seen, maps[:1])[0].deletion)
    assert check_maps(model, seen, maps[:1])[0].mprt is None


def test_a_network_with_random_weights_has_the_map_of_random_networks() -> None:
    """Layer-CAM at the first stage shows bright edges whatever the weights: the check must say so."""
    model = randomised(classifier(), 5)
    seen = torch.nn.functional.avg_pool2d(image(), 5, 1, 2)
    maps = explain_image(model, seen, ["1"], ["layercam"], layer="act1")
    same = check_maps(model, seen, maps, random=[model], layer="act1")
    assert same[0].mprt == pytest.approx(1.0)
    assert same[0].verdict.trusted is False
