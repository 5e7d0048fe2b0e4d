"""Splits: patients whole, strata even, and the same tomorrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from datamodules.cases.table import SPLITS, CaseTable, table_of_images
from datamodules.splitting.dealing import stratified_groups, tie_words
from datamodules.splitting.splits import join_split, make_split, shared_between_parts
from datamodules.splitting.strata import column_strata
from scansuite.errors import SuiteError

FIRST_LABEL = 9  # column of labels.csv where the 14 findings begin
PLAIN: dict[str, Any] = {"test_fraction": 0.2, "folds": 5, "fold": 0, "seed": 0}


class Chest(NamedTuple):
    table: CaseTable
    patients: NDArray[np.int64]
    findings: NDArray[np.float64]  # (1000, 14)
    abnormal: NDArray[np.float64]  # (1000, 2)


@pytest.fixture(scope="module")
def chest(shared_data: Path) -> Chest:
    frame = pd.read_csv(shared_data / "nih_cxr64" / "labels.csv")
    findings = frame[frame.columns[FIRST_LABEL:]].to_numpy(np.float64)
    assert findings.shape == (1000, 14)
    assert frame["patient_id"].nunique() == 264
    return Chest(
        table_of_images(frame[["path", "patient_id"]]),
        pd.factorize(frame["patient_id"])[0].astype(np.int64),
        findings,
        np.eye(2)[pd.factorize(frame["shipped_class"])[0]],
    )


def plain_table(count: int, split: list[str] | None = None) -> CaseTable:
    frame = pd.DataFrame({"path": [f"{number:04d}.png" for number in range(count)]})
    return table_of_images(frame if split is None else frame.assign(split=pd.Series(split, dtype="str")))


def deal(
    strata: NDArray[np.float64], groups: NDArray[np.int64], fractions: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """The parts of cases that are called by their row."""
    return stratified_groups(strata, groups, fractions, tie_words(map(str, range(len(groups))), seed, "test"))


def unevenness(strata: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the share of each stratum in a part is from its share in the whole."""
    share: NDArray[np.float64] = np.abs(strata[members].mean(axis=0) - strata.mean(axis=0))
    return share


def unavoidable(strata: NDArray[np.float64], groups: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """How far the part is off, at least, that holds the patient with most cases of a stratum.

    One patient of this data set has 21 of its 31 images with oedema: 10 % of any fifth, where 3 % would be fair.
    """
    most = np.zeros((groups.max() + 1, strata.shape[1]))
    np.add.at(most, groups, strata)
    forced: NDArray[np.float64] = most.max(axis=0) / size - strata.mean(axis=0)
    return forced


# Splits of our own, on real patients (1 to 66 images each).


@pytest.mark.parametrize("strata", ["findings", "abnormal"])
@pytest.mark.parametrize("test_fraction", [0.2, 0.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_patients_stay_whole_strata_even_and_sizes_as_asked(
    strata: str, test_fraction: float, seed: int, chest: Chest
) -> None:
    values: NDArray[np.float64] = getattr(chest, strata)
    wanted = {"train": 0.64, "val": 0.16, "test": 0.2} if test_fraction else {"train": 0.6, "val": 0.2, "test": 0.2}
    for fold in range(5):
        split = make_split(
            chest.table, values, chest.patients, test_fraction=test_fraction, folds=5, fold=fold, seed=seed
        )
        assert (
            pd.DataFrame({"patient": chest.patients, "split": split}).groupby("patient")["split"].nunique().max() == 1
        )
        for part in SPLITS:
            members = (split == part).to_numpy()
            assert members.mean() == pytest.approx(wanted[part], abs=0.01)
            allowed = np.maximum(0.05, unavoidable(values, chest.patients, members.sum()) + 0.005)
            assert (unevenness(values, members) <= allowed).all(), (fold, part)


def test_the_test_part_is_within_five_points_for_each_finding(chest: Chest) -> None:
    split = make_split(chest.table, chest.findings, chest.patients, **PLAIN)
    for part in ("train", "test"):
        assert unevenness(chest.findings, (split == part).to_numpy()).max() < 0.05


def test_as_even_as_scikit_learn_where_that_can_do_it(chest: Chest) -> None:
    target = chest.abnormal[:, 1]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(target, target, chest.patients)
    theirs = max(abs(target[held].mean() - target.mean()) for _, held in folds)
    parts = deal(chest.abnormal, chest.patients, [0.2] * 5, seed=0)
    assert max(unevenness(chest.abnormal, parts == part).max() for part in range(5)) <= theirs


@pytest.mark.parametrize("folds", [2, 5])
def test_validation_folds_are_disjoint_and_cover_all_that_is_not_test(folds: int, chest: Chest) -> None:
    splits = [
        make_split(chest.table, chest.findings, chest.patients, test_fraction=0.2, folds=folds, fold=fold, seed=3)
        for fold in range(folds)
    ]
    test = [set(split.index[split == "test"]) for split in splits]
    validation = [set(split.index[split == "val"]) for split in splits]
    assert all(cases == test[0] for cases in test)
    assert sum(map(len, validation)) == len(set.union(*validation)) == 1000 - len(test[0])
    assert not set.union(*validation) & test[0]


def test_without_a_test_part_each_fold_is_evaluated_once_and_another_validates(chest: Chest) -> None:
    splits = [
        make_split(chest.table, chest.abnormal, chest.patients, test_fraction=0, folds=4, fold=fold, seed=0)
        for fold in range(4)
    ]
    evaluated = [set(split.index[split == "test"]) for split in splits]
    validation = [set(split.index[split == "val"]) for split in splits]
    assert sum(map(len, evaluated)) == len(set.union(*evaluated)) == 1000
    assert validation == [*evaluated[1:], evaluated[0]]


def test_a_split_repeats_with_its_seed_and_moves_with_another(chest: Chest) -> None:
    first, again, other = (
        make_split(chest.table, chest.findings, chest.patients, test_fraction=0.2, folds=5, fold=0, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first.equals(again)
    assert (first != other).mean() > 0.1


# Dealing.


def test_the_patients_of_a_rare_class_go_one_to_each_part() -> None:
    groups = np.repeat(np.arange(50), 4)
    rare = np.isin(groups, [3, 11, 20, 31, 49])
    parts = deal(np.stack([rare, ~rare], axis=1).astype(float), groups, [0.2] * 5, seed=0)
    assert sorted(parts[rare][::4]) == [0, 1, 2, 3, 4]
    assert np.bincount(parts).tolist() == [40] * 5


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.7, 0.15, 0.15), (0.5, 0.5)])
def test_single_images_are_dealt_to_the_very_share(fractions: tuple[float, ...]) -> None:
    classes = np.random.default_rng(0).choice(4, size=1000, p=[0.6, 0.3, 0.08, 0.02])
    parts = deal(np.eye(4)[classes], np.arange(1000), fractions, seed=0)
    dealt = pd.crosstab(classes, parts).to_numpy()
    np.testing.assert_allclose(dealt, np.bincount(classes)[:, None] * np.asarray(fractions), atol=1.0)


def test_unknown_labels_and_absent_strata_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    strata = rng.integers(0, 2, (200, 3)).astype(float)
    strata[:, 1] = 0
    strata[rng.random(200) < 0.5, 2] = np.nan
    parts = deal(strata, np.arange(200), [0.5, 0.5], seed=0)
    assert np.bincount(parts).tolist() == [100, 100]
    assert abs(np.nansum(strata[parts == 0, 2]) - np.nansum(strata[parts == 1, 2])) <= 1


def test_group_numbers_may_have_gaps() -> None:
    groups = np.array([7, 7, 2, 2, 9, 9, 40, 40])
    parts = deal(np.ones((8, 1)), groups, [0.5, 0.5], seed=0)
    assert np.bincount(parts).tolist() == [4, 4]
    assert (parts[::2] == parts[1::2]).all()


def test_no_part_stays_empty_while_there_are_as_many_patients() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        sizes = np.clip(rng.pareto(0.7, rng.integers(5, 9)) * 2 + 1, 1, 300).astype(int)
        groups = np.repeat(np.arange(len(sizes)), sizes)
        strata = (rng.random((len(groups), 5)) < rng.choice([0.01, 0.1, 0.6], 5)).astype(float)
        assert len(np.unique(deal(strata, groups, [0.2] * 5, seed))) == 5


def test_fifty_thousand_cases_of_ten_thousand_patients_are_spread_evenly() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 10_000, 50_000)
    strata = (rng.random((50_000, 14)) < 0.05).astype(float)
    split = make_split(plain_table(50_000), strata, groups, **PLAIN)
    for part in SPLITS:
        assert unevenness(strata, (split == part).to_numpy()).max() < 0.002
    assert split.groupby(groups).nunique().max() == 1


# What is asked for must be possible.


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test_fraction": 1.0}, r"--data\.test_fraction 1\.0: must be at least 0 and below 1"),
        ({"test_fraction": -0.1}, r"--data\.test_fraction -0\.1"),
        ({"test_fraction": float("nan")}, r"--data\.test_fraction nan"),
        ({"test_fraction": 0.01}, r"--data\.test_fraction 0\.01: of 20 patients .* none fits"),
        ({"folds": 1}, r"--data\.folds 1 --data\.fold 0"),
        ({"fold": 5}, r"--data\.folds 5 --data\.fold 5: .* fold in 0\.\.folds-1"),
        ({"fold": -1}, r"--data\.fold -1"),
        ({"folds": 17}, r"--data\.folds 17: only 16 patients .* are left outside the test part: give fewer folds"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        make_split(plain_table(20), np.ones((20, 1)), np.arange(20), **{**PLAIN, **changes})


def test_one_patient_cannot_be_split() -> None:
    everyone = np.zeros(20, np.int64)
    with pytest.raises(SuiteError, match=r"--data\.test_fraction 0\.2: of 1 patient .* none fits"):
        make_split(plain_table(20), np.ones((20, 1)), everyone, **PLAIN)
    with pytest.raises(SuiteError, match=r"--data\.folds 5: only 1 patient .* need a patient each: add patients"):
        make_split(plain_table(20), np.ones((20, 1)), everyone, **{**PLAIN, "test_fraction": 0})


# Columns to stratify by.


def test_rare_values_of_a_column_are_in_each_fold() -> None:
    scanner = np.array(["A"] * 60 + ["B"] * 30 + ["C"] * 5 + [None] * 5, dtype=object)
    table = plain_table(100).with_columns(scanner=pd.Series(scanner, dtype="str"))
    counts = {}
    for fold in range(5):
        split = make_split(
            table, np.ones((100, 1)), np.arange(100), stratify=["scanner"],
            test_fraction=0, folds=5, fold=fold, seed=0,
        )  # fmt: skip
        counts[fold] = table.cases["scanner"].fillna("none")[split == "test"].value_counts().to_dict()
    assert all(count == {"A": 12, "B": 6, "C": 1, "none": 1} for count in counts.values()), counts


def test_columns_add_to_the_classes(chest: Chest, shared_data: Path) -> None:
    frame = pd.read_csv(shared_data / "nih_cxr64" / "labels.csv")
    view = frame["view_position"].astype("str")
    table = chest.table.with_columns(view=view)
    by_view = (view == view.iloc[0]).to_numpy()
    split = make_split(table, chest.abnormal, chest.patients, stratify=["view"], **PLAIN)
    for part in SPLITS:
        inside = (split == part).to_numpy()
        assert by_view[inside].mean() == pytest.approx(by_view.mean(), abs=0.03)
        assert chest.abnormal[inside].mean(axis=0) == pytest.approx(chest.abnormal.mean(axis=0), abs=0.03)
    patients = pd.Series(chest.patients)
    assert (patients.groupby(patients).transform("size") > 1).any()
    assert split.groupby(patients).nunique().max() == 1


def test_numbers_count_by_fifths_and_few_values_by_themselves() -> None:
    cases = pd.DataFrame({"age": [*np.linspace(20, 90, 99), np.nan], "grade": [1, 2, 3, 4] * 25})
    assert column_strata(cases, ["age"]).sum(axis=0).tolist() == [20, 20, 19, 20, 20, 1]
    assert column_strata(cases, ["grade"]).sum(axis=0).tolist() == [25] * 4
    assert column_strata(cases, ["grade", "age"]).shape == (100, 10)
    assert column_strata(cases, []).shape == (100, 0)


@pytest.mark.parametrize("column", ["scaner", "case_id", "split"])
def test_a_column_that_is_not_there_is_named(column: str) -> None:
    table = plain_table(20).with_columns(scanner="A")
    with pytest.raises(SuiteError, match=rf"--data\.stratify {column}: no such column .*its columns are scanner\)"):
        make_split(table, np.ones((20, 1)), np.arange(20), stratify=[column], **PLAIN)
    with pytest.raises(SuiteError, match="it has none to stratify by"):
        make_split(plain_table(20), np.ones((20, 1)), np.arange(20), stratify=[column], **PLAIN)


def test_a_column_of_names_is_refused_unless_nothing_is_drawn() -> None:
    table = plain_table(200).with_columns(accession=[f"A{number}" for number in range(200)])
    with pytest.raises(SuiteError, match=r"--data\.stratify accession: 200 different values .* at most 100"):
        make_split(table, np.ones((200, 1)), np.arange(200), stratify=["accession"], **PLAIN)
    whole = plain_table(3, ["train", "val", "test"])
    assert make_split(whole, np.ones((3, 1)), np.arange(3), stratify=["size"], **PLAIN).tolist() == list(SPLITS)


# Splits that are given.


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "val"), ("test",)])
def test_a_given_split_is_kept(parts: tuple[str, ...]) -> None:
    given = [parts[number % len(parts)] for number in range(30)]
    split = make_split(plain_table(30, given), np.ones((30, 1)), np.arange(30), **PLAIN)
    assert split.tolist() == given


def test_validation_comes_out_of_train_alone_where_it_is_not_given(chest: Chest) -> None:
    in_test = np.isin(chest.patients, np.arange(0, 264, 4))
    table = chest.table.with_columns(split=np.where(in_test, "test", "train"))
    splits = [
        make_split(table, chest.findings, chest.patients, test_fraction=0.2, folds=5, fold=fold, seed=0)
        for fold in range(5)
    ]
    for split in splits:
        assert ((split == "test").to_numpy() == in_test).all()
        assert (split == "val").mean() == pytest.approx(0.2 * (~in_test).mean(), abs=0.01)
        assert not set(chest.patients[split == "val"]) & set(chest.patients[split != "val"])
    times = np.stack([split == "val" for split in splits]).sum(axis=0)
    np.testing.assert_array_equal(times, (~in_test).astype(int))


def test_a_given_split_with_gaps_or_without_train_is_refused() -> None:
    table = plain_table(3).with_columns(split=pd.Series(["train", pd.NA, "val"], dtype="str"))
    with pytest.raises(SuiteError, match=r"the split is empty in row 2 \(0001\.png\): fill it"):
        make_split(table, np.ones((3, 1)), np.arange(3), **PLAIN)
    with pytest.raises(SuiteError, match="no train part"):
        make_split(plain_table(2, ["val", "test"]), np.ones((2, 1)), np.arange(2), **PLAIN)


# split.csv


def test_a_written_split_is_read_back_whatever_its_order(tmp_path: Path, chest: Chest) -> None:
    split = make_split(chest.table, chest.findings, chest.patients, **PLAIN)
    written = chest.table.with_columns(split=split).cases[["case_id", "patient_id", "split"]]
    written.sample(frac=1, random_state=0).to_csv(tmp_path / "split.csv", index=False)
    assert join_split(chest.table, tmp_path / "split.csv").cases["split"].tolist() == split.tolist()


def test_further_columns_of_a_split_join_the_table(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("case_id,split,patient_id,kind,sex\n0001,val,p9,brightfield,f\n0000,train,p8,fluorescence,m\n")
    joined = join_split(plain_table(2).with_columns(sex=pd.Series(["x", "y"])), file).cases
    assert joined["kind"].tolist() == ["fluorescence", "brightfield"]
    assert joined["sex"].tolist() == ["x", "y"]  # the data's own
    assert joined["patient_id"].isna().all()
    assert joined["split"].tolist() == ["train", "val"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case_id,part\n0000,train\n0001,val\n", r"no column split \(found: case_id, part\)"),
        ("name,split\n0000,train\n0001,val\n", r"no column case_id \(found: name, split\)"),
        ("case_id,split\n0000,train\n0001,val\n0000,val\n", "case_id '0000' is duplicated"),
        ("case_id,split\n0000,train\n", r"case_id '0001' is not in it \(1 of 2 cases are not\): was it made for other"),
        ("case_id,split\n0,train\n1,val\n", r"case_id '0000' is not in it \(2 of 2 cases are not\)"),
        (
            "case_id,split\n0000,train\n0001,val\n0002,val\n",
            r"case_id '0002' is not in the data \(1 of 3 rows ",
        ),
        ("case_id,split\n0000,train\n0001,holdout\n", "split 'holdout' in row 2 is none of train, "),
        ("case_id,split\n0000,train\n0001,\n", r"the split is empty in row 2 \(0001\): fill it"),
        ("case_id,split\n0000,train\n,val\n", "case_id is empty in row 2: name the case, or drop the row"),
        ("case_id,split\n0000,\n0001,\n", r"the split is empty in row 1 \(0000\): fill it"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text(text)
    with pytest.raises(SuiteError, match=says) as caught:
        join_split(plain_table(2), file)
    assert str(caught.value).startswith(f"--data.split_file {file}: ")
    assert "\n" not in str(caught.value)


def test_shared_between_parts() -> None:
    key = pd.Series(["b", "a", "b", "c", "a", pd.NA, pd.NA, "a"], dtype="str")
    split = pd.Series(["test", "train", "train", "val", "train", "train", "test", "val"], dtype="str")
    shared = shared_between_parts(key, split)
    assert dict(zip(shared["key"], map(set, shared["parts"]), strict=True)) == {
        "b": {"train", "test"},
        "a": {"train", "val"},
    }
    assert len(shared_between_parts(key[:2], split[:2])) == 0
