"""Label columns as people write them -> numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.cases.class_names import class_text
from datamodules.classification.target import make_target
from scansuite.errors import SuiteError


def target_of(*values: Any, **settings: Any) -> Any:
    return make_target(pd.DataFrame({"label": list(values)}), ["label"], where="t.csv", **settings)


# Classes.


def test_two_classes_are_binary_and_more_are_multiclass() -> None:
    two = target_of("ill", "well", "ill")
    assert (two.kind, two.class_names) == ("binary", ("ill", "well"))
    assert two.values.dtype == np.int64
    assert two.values.tolist() == [0, 1, 0]
    three = target_of("b", "c", "a", "b")
    assert (three.kind, three.class_names, three.values.tolist()) == ("multiclass", ("a", "b", "c"), [1, 2, 0, 1])
    assert target_of("a", "b", kind="multiclass").kind == "multiclass"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([10, 2, 1], ("1", "2", "10")),
        (["10", "2", "1"], ("1", "2", "10")),
        ([10.0, 2.0, 0.0], ("0", "2", "10")),
        (["10", "2", "x"], ("10", "2", "x")),
        ([True, False, True], ("False", "True")),
        (["NA", "None", "x"], ("NA", "None", "x")),
        ([" b", "b ", "a"], ("a", "b")),
    ],
)
def test_classes_come_in_numeric_order_where_they_are_numbers(values: list[Any], names: tuple[str, ...]) -> None:
    target = target_of(*values)
    assert target.class_names == names
    assert [names[number] for number in target.values] == [text.strip() for text in class_text(pd.Series(values))]


def test_class_order_is_kept_and_may_hold_classes_that_do_not_occur() -> None:
    target = target_of("b", "a", class_order=["b", "a", "c"])
    assert (target.kind, target.class_names, target.values.tolist()) == ("multiclass", ("b", "a", "c"), [0, 1])
    grades = target_of("2", "0", "10", kind="ordinal")
    assert (grades.kind, grades.class_names, grades.values.tolist()) == ("ordinal", ("0", "2", "10"), [1, 0, 2])


@pytest.mark.parametrize(
    ("values", "settings", "says"),
    [
        (["a", None, "b"], {}, r"column 'label' is empty in row 2 \(1 of 3 rows\): give each case a label"),
        ([1.0, 2.0, np.nan], {}, r"column 'label' is empty in row 3 \(1 of 3 rows\)"),
        (["a", " ", ""], {}, r"column 'label' is empty in row 2 \(2 of 3 rows\)"),
        ([1.5, None], {"kind": "regression"}, r"column 'label' is empty in row 2"),
        (["a", "a"], {}, r"column 'label' has one class only \('a'\): there is nothing to learn"),
        (["a", "b", "c"], {"kind": "binary"}, "column 'label' has 3 classes, a binary target has 2"),
        (["a", "b", "x"], {"class_order": ["b", "a"]}, "class 'x' in row 3 is none of the classes b, a"),
        (["a", "b"], {"kind": "triage"}, "target 'triage' is none of binary, multiclass, multilabel, ordinal, "),
    ],
)
def test_strange_classes_are_refused_by_column_and_row(values: list[Any], settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        target_of(*values, **settings)
    assert "t.csv: " in str(caught.value) or "triage" in says
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_with_those_there_are() -> None:
    frame = pd.DataFrame({"path": ["a"], "diagnosis": ["ill"]})
    said = r"t\.csv: no label column 'label' for --data\.label_columns: there are path, diagnosis"
    with pytest.raises(SuiteError, match=said):
        make_target(frame, ["label"], where="t.csv")
    with pytest.raises(SuiteError, match="did you mean 'diagnosis'"):
        make_target(frame, ["diagnose"], where="t.csv")
    with pytest.raises(SuiteError, match="a binary target has one label column, 2 were given"):
        make_target(frame, ["path", "diagnosis"], kind="binary", where="t.csv")


# Several labels.


def test_multilabel_reads_what_people_write_for_yes_no_and_unknown() -> None:
    frame = pd.DataFrame(
        {
            "words": pd.Series(["true", "FALSE", " 1 ", "", None, "NA"], dtype="str"),
            "floats": [1.0, 0.0, np.nan, 1.0, 0.0, 0.0],
            "integers": [1, 0, 0, 0, 1, 0],
            "booleans": [True, False, True, False, True, False],
        }
    )
    target = make_target(frame, list(frame.columns), where="t.csv")
    unknown = np.nan
    expected = [
        [1, 1, 1, 1],
        [0, 0, 0, 0],
        [1, unknown, 0, 1],
        [unknown, 1, 0, 0],
        [unknown, 0, 1, 1],
        [unknown, 0, 0, 0],
    ]
    assert (target.kind, target.class_names) == ("multilabel", ("words", "floats", "integers", "booleans"))
    assert target.values.dtype == np.float32
    np.testing.assert_array_equal(target.values, np.array(expected, np.float32))
    assert target.counts() == [2, 2, 2, 3]
    assert target.counts(np.array([True, False, False, False, False, False])) == [1, 1, 1, 1]


def test_one_label_column_may_be_multilabel_and_one_may_be_all_unknown() -> None:
    one = make_target(pd.DataFrame({"a": [0, 1, np.nan]}), ["a"], kind="multilabel", where="t.csv")
    np.testing.assert_array_equal(one.values, np.array([[0], [1], [np.nan]], np.float32))
    two = make_target(pd.DataFrame({"a": [0, 1], "b": [np.nan, np.nan]}), ["a", "b"], where="t.csv")
    assert two.counts() == [1, 0]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([0, 1, 2], r"t\.csv: column 'b' has '2' in row 3: a label is 0, 1 or empty \(unknown\)"),
        ([0, -1, 1], r"column 'b' has '-1' in row 2"),  # CheXpert writes -1 for uncertain
        ([0.5, 1, 0], r"column 'b' has '0\.5' in row 1"),
        (["0", "1", "maybe"], r"column 'b' has 'maybe' in row 3"),
    ],
)
def test_strange_labels_are_refused_by_column_and_row(column: list[Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        make_target(pd.DataFrame({"a": [0, 1, 0], "b": column}), ["a", "b"], where="t.csv")


def test_labels_that_are_all_unknown_are_refused() -> None:
    with pytest.raises(SuiteError, match=r"t\.csv: the label columns a, b are empty in all 2 rows"):
        make_target(pd.DataFrame({"a": [np.nan] * 2, "b": [None] * 2}), ["a", "b"], where="t.csv")


# Numbers.


def test_regression_takes_numbers_and_their_text() -> None:
    target = target_of("1.5", "-2", "1e3", kind="regression")
    assert (target.kind, target.class_names, target.values.dtype) == ("regression", ("label",), np.float32)
    assert target.values.tolist() == [1.5, -2.0, 1000.0]
    assert target.counts() == []


@pytest.mark.parametrize(("value", "shown"), [("old", "'old'"), (np.inf, "'inf'"), ("1,5", "'1,5'")])
def test_what_is_no_finite_number_is_refused(value: Any, shown: str) -> None:
    with pytest.raises(SuiteError, match=rf"column 'label' has {shown} in row 2: a regression target is "):
        target_of(1.0, value, kind="regression")


# Strata.


def test_strata_are_classes_labels_or_fifths() -> None:
    np.testing.assert_array_equal(target_of("b", "a", "b").strata(), [[0, 1], [1, 0], [0, 1]])
    labels = make_target(pd.DataFrame({"a": [0, 1, np.nan], "b": [1, 1, 0]}), ["a", "b"], where="t.csv")
    np.testing.assert_array_equal(labels.strata(), [[0, 1], [1, 1], [0, 0]])
    fifths = target_of(*np.random.default_rng(0).permutation(100), kind="regression").strata()
    assert fifths.shape == (100, 5)
    assert fifths.sum(axis=0).tolist() == [20] * 5
    assert target_of(3, 3, 3, kind="regression").strata().sum() == 3
