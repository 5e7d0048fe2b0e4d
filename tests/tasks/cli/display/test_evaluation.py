"""Cases and tiles are counted as they go through a model, with a total that becomes exact."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datamodules.samples.tiles import plan_tiles
from datamodules.types import Piece
from tasks.cli.display.evaluation import CaseCount

TILE, OVERLAP = (16, 16), 0.5
sizes = st.tuples(st.integers(4, 60), st.integers(4, 60))
# Of each case its images.
cases = st.lists(st.lists(sizes, min_size=1, max_size=4), min_size=1, max_size=6)


def batches(case: int, images: list[tuple[int, int]]) -> list[dict[str, Any]]:
    found = []
    for number, size in enumerate(images):
        places = plan_tiles(size, TILE, OVERLAP)
        for place, (top, left) in enumerate(places):
            last = place == len(places) - 1
            piece = Piece(case, number, len(images), top, left, size, last)
            found.append({"pieces": [piece], "scan": [{"case_id": f"c{case}"}], "unreadable": []})
    return found


@given(cases=cases)
def test_tiles_have_a_total_that_is_exact_in_the_end(cases: list[list[tuple[int, int]]]) -> None:
    cases = [[images[0]] * len(images) for images in cases]  # images of one size a case, as slices of a volume
    count, shares = CaseCount(len(cases), TILE, OVERLAP), []
    for number, images in enumerate(cases):
        for batch in batches(number, images):
            count.add(batch)
            shares.append(count.share)
        assert count.done == number + 1
    total = sum(len(images) * len(plan_tiles(images[0], TILE, OVERLAP)) for images in cases)
    assert count.expected == (total, True)
    assert count.pieces == total
    assert shares[-1] == 1
    assert all(share is not None and 0 < share <= 1 for share in shares)


def test_a_total_that_is_not_known_yet_says_so() -> None:
    count = CaseCount(2, TILE, OVERLAP)
    first, *others = batches(0, [(32, 32)])
    count.add(first)
    assert [part.text for part in count.parts()] == ["0/2 cases", "1/about 18 tiles"]
    for batch in others:
        count.add(batch)
    count.add({"pieces": [], "scan": [], "unreadable": [("b.png", "damaged")]})
    assert [part.text for part in count.parts()] == ["2/2 cases", "9/9 tiles"]
    assert count.share == 1


def test_slices_are_images_of_their_case() -> None:
    count = CaseCount(1)
    count.add({"pieces": [Piece(0, number, 8, 0, 0, (32, 32), True) for number in range(3)]})
    assert [part.text for part in count.parts()] == ["0/1 cases", "3/8 images"]
    assert count.share == 3 / 8


def test_whole_cases_are_counted_once_and_other_batches_not_at_all() -> None:
    count = CaseCount(3)
    count.add({"scan": [{"case_id": "a"}, {"case_id": "b"}]})
    count.add({"scan": [{"case_id": "b"}]})  # fills up a rank
    count.add([1, 2])
    assert (count.done, count.share) == (2, 2 / 3)
    assert [part.text for part in count.parts()] == ["2/3 cases"]
    assert CaseCount(None).share is None
