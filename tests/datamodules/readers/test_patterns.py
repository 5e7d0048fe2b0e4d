"""Shell patterns choose among the files of a folder, by name or by path."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.readers.patterns import FilePatterns, fits
from scansuite.errors import SuiteError

NAMES = ["a/1_T1w.nii.gz", "a/1_T2w.nii.gz", "b/2_T1w.nii.gz", "b/old/3_T1w.nii.gz"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*_T1w.nii.gz", [0, 2, 3]),
        ("a", [0, 1]),  # a folder
        ("a/", [0, 1]),
        ("./a/", [0, 1]),
        ("old", [3]),
        ("b/old", [3]),
        ("b/*", [2, 3]),
        ("b/*_T1w*", [2, 3]),
        ("/a/1_T?w.nii.gz", [0, 1]),
        ("*/old/*", [3]),
        ("[ac]", [0, 1]),
        ("1_T1w", []),
        ("nii", []),
    ],
)
def test_patterns_are_of_names_or_with_a_slash_of_paths(pattern: str, found: list[int]) -> None:
    assert [number for number, name in enumerate(NAMES) if fits(name, pattern)] == found


@given(st.lists(st.text("abc_.", min_size=1, max_size=6), min_size=1, max_size=4), st.text("abc*?_.", min_size=1))
def test_a_pattern_without_a_slash_is_of_any_name_on_the_way(parts: list[str], pattern: str) -> None:
    parts = [part for part in parts if part != "."] or ["a"]
    if not pattern.startswith("./"):
        assert fits("/".join(parts), pattern) == any(fnmatchcase(part, pattern) for part in parts)


@given(st.lists(st.sampled_from(["*T1w*", "a", "b/*", "*3*"])), st.lists(st.sampled_from(["old", "a", "*2*"])))
def test_what_is_taken_is_included_and_not_excluded(include: list[str], exclude: list[str]) -> None:
    patterns = FilePatterns(include, exclude)
    for name in NAMES:
        included = not include or any(fits(name, pattern) for pattern in include)
        excluded = any(fits(name, pattern) for pattern in exclude)
        assert patterns.take(name) == (included and not excluded)
        assert patterns.keep(name) == (not excluded)


def test_files_left_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert FilePatterns(["*T1w*"], ["old"]).chosen(NAMES, "study") == [NAMES[0], NAMES[2]]
        assert FilePatterns().chosen(NAMES, "study") == NAMES
    said = "study: 2 of 4 files are left out (--data.include *T1w* --data.exclude old)"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_paths_are_from_the_root_on() -> None:
    assert FilePatterns(["images/1*"]).chosen(["1.png", "2.png"], "study", "images") == ["1.png"]


@pytest.mark.parametrize(
    ("include", "exclude", "said"),
    [
        (
            ["*_T1W.nii.gz"],
            [],
            "--data.include *_T1W.nii.gz: fits none of the 4 files in study: the nearest is 3_T1w.nii",
        ),
        (["zzz"], [], "--data.include zzz: fits none of the 4 files in study"),
        (["a"], ["*"], "--data.include a --data.exclude *: leaves none of the 4 files in study"),
    ],
)
def test_nothing_left_names_the_nearest(include: list[str], exclude: list[str], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        FilePatterns(include, exclude).chosen(NAMES, "study")
    assert said in str(caught.value)


def test_an_empty_folder_is_for_others_to_name() -> None:
    assert FilePatterns(["a"]).chosen([], "study") == []
