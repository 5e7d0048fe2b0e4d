"""Images and targets from a user's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.classification.image_table import ImageTable
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, write_scans, write_table


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))


def parts_of(data: ImageTable) -> dict[str, set[str]]:
    return {str(part): set(rows["patient_id"]) for part, rows in data.table.cases.groupby("split")}


# Columns.


def test_columns_under_our_own_names_need_no_flag(tmp_path: Path) -> None:
    frame = cohort().assign(split=np.repeat(["train", "dev", "testing"], [30, 15, 15]), age=50)
    write_table(tmp_path, frame.assign(case_id=[f"scan {number}" for number in range(60)]))
    data = ImageTable(str(tmp_path))
    cases = data.table.cases
    assert cases["case_id"].tolist() == [f"scan {number}" for number in range(60)]
    assert cases["patient_id"].tolist() == frame["patient_id"].tolist()
    assert cases["split"].tolist() == ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    assert cases.columns.tolist() == ["case_id", "patient_id", "path", "split", "label", "sex", "age"]
    assert (data.target, data.class_names, data.positive_class) == ("binary", ["benign", "malignant"], "malignant")
    assert data.targets.values.tolist() == (frame["label"] == "malignant").astype(int).tolist()
    assert not data.table.published_split


@pytest.mark.parametrize("name", ["sheet.tsv", "sheet.parquet", "sheet.csv.gz"])
def test_columns_by_flag_in_any_format(name: str, tmp_path: Path) -> None:
    names = {"path": "file", "patient_id": "who", "label": "finding"}
    frame = cohort().rename(columns=names).assign(part="training", scan=[f"{number:03d}" for number in range(60)])
    frame.loc[frame["who"].isin(["004", "005"]), "part"] = "test"
    write_scans(tmp_path, frame["file"])
    if name.endswith(".parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, sep="\t" if ".tsv" in name else ",", index=False)
    data = ImageTable(
        str(tmp_path),
        table=name,
        path_column="file",
        label_columns="finding",
        patient_column="who",
        split_column="part",
        case_column="scan",
    )
    cases = data.table.cases
    assert cases["case_id"].tolist()[:2] == ["000", "001"]
    assert cases["patient_id"].tolist() == frame["who"].tolist()
    assert parts_of(data)["test"] == {"004", "005"}
    assert len(parts_of(data)["val"]) in (3, 4)
    assert {"file", "who", "finding", "part", "scan", "sex"} <= set(cases.columns)  # kept for subgroups
    assert data.class_names == ["benign", "malignant"]


def test_the_table_may_lie_elsewhere_and_paths_may_be_absolute(tmp_path: Path) -> None:
    frame = cohort(6, 2)
    write_scans(tmp_path / "scans", frame["path"])
    (tmp_path / "tables").mkdir()
    file = tmp_path / "tables" / "t.csv"
    frame.to_csv(file, index=False)
    assert len(ImageTable(str(tmp_path / "scans"), table=str(file), folds=2).table) == 12
    frame.assign(path=[str(tmp_path / "scans" / path) for path in frame["path"]]).to_csv(file, index=False)
    assert len(ImageTable(str(tmp_path), table=str(file), folds=2).table) == 12


def test_patients_by_pattern_and_by_a_second_table(tmp_path: Path) -> None:
    frame = cohort()
    write_table(tmp_path, frame.drop(columns="patient_id"))
    by_pattern = ImageTable(str(tmp_path), patient_pattern=r"^p(\d+)/")
    assert by_pattern.table.cases["patient_id"].tolist() == frame["patient_id"].tolist()
    second = tmp_path / "cases.csv"
    case_id = frame["path"].str.removesuffix(".png")
    frame.assign(case_id=case_id, site="Bern")[["case_id", "patient_id", "site"]][::-1].to_csv(second, index=False)
    by_table = ImageTable(str(tmp_path), cases=str(second))
    assert by_table.table.cases["patient_id"].tolist() == frame["patient_id"].tolist()
    assert set(by_table.table.cases["site"]) == {"Bern"}
    for data in (by_pattern, by_table):
        parts = parts_of(data)
        assert sum(map(len, parts.values())) == 20
        assert {part: len(patients) for part, patients in parts.items()} == {"train": 13, "val": 3, "test": 4}


def test_some_unknown_patients_are_said_and_split_by_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = cohort()
    frame.loc[frame["patient_id"] >= "015", "patient_id"] = None
    write_table(tmp_path, frame)
    cases = ImageTable(str(tmp_path)).table.cases
    assert cases["patient_id"].isna().sum() == 15
    assert "NO PATIENTS KNOWN for 15 of 60 cases" in caplog.text
    assert cases.groupby("patient_id")["split"].nunique().max() == 1


def test_no_patients_at_all_is_said_unless_the_split_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = cohort().drop(columns="patient_id")
    write_table(tmp_path, frame)
    _ = ImageTable(str(tmp_path)).table
    assert caplog.text.count("NO PATIENTS KNOWN for 60 of 60 cases") == 1
    caplog.clear()
    write_table(tmp_path, cohort())
    _ = ImageTable(str(tmp_path)).table
    assert "NO PATIENTS" not in caplog.text


# Targets.


def test_kinds_of_targets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = cohort().assign(
        grade=np.arange(60) % 4, age=rng.normal(60, 10, 60), a=rng.integers(0, 2, 60), b=rng.integers(0, 2, 60)
    )
    frame["b"] = frame["b"].astype(float).where(rng.random(60) < 0.8)
    write_table(tmp_path, frame)
    grade = ImageTable(str(tmp_path), label_columns="grade")
    assert (grade.target, grade.class_names) == ("multiclass", ["0", "1", "2", "3"])
    assert ImageTable(str(tmp_path), label_columns="grade", target="ordinal").target == "ordinal"
    age = ImageTable(str(tmp_path), label_columns=["age"], target="regression")
    assert (age.target, age.num_classes, age.class_names, age.class_counts) == ("regression", 1, ["age"], [])
    np.testing.assert_allclose(age.targets.values, frame["age"], rtol=1e-6)
    both = ImageTable(str(tmp_path), label_columns="a, b")
    assert (both.target, both.num_classes, both.positive_class) == ("multilabel", 2, None)
    np.testing.assert_array_equal(both.targets.values, frame[["a", "b"]].to_numpy(np.float32))
    training = (both.table.cases["split"] == "train").to_numpy()
    assert both.class_counts == frame[training][["a", "b"]].sum().tolist()
    turned = ImageTable(str(tmp_path), label_columns="a,b", class_names=["b", "a"])
    np.testing.assert_array_equal(turned.targets.values, both.targets.values[:, ::-1])


def test_names_order_and_positive_class(tmp_path: Path) -> None:
    frame = cohort()
    write_table(tmp_path, frame)
    data = ImageTable(str(tmp_path), class_names=["malignant", "benign"])
    assert (data.class_names, data.positive_class) == (["malignant", "benign"], "benign")
    assert data.targets.values.tolist() == (frame["label"] == "benign").astype(int).tolist()
    assert ImageTable(str(tmp_path), positive_class="benign").positive_class == "benign"
    with pytest.raises(SuiteError, match=r"--data\.positive_class 'Benign' is none of the classes benign, malignant"):
        _ = ImageTable(str(tmp_path), positive_class="Benign").positive_class


def test_class_map_renames_classes_and_labels(tmp_path: Path) -> None:
    frame = cohort().assign(code=[0.0, 1.0] * 30, x=[0, 1] * 30, y=[1, 0, 0] * 20)
    write_table(tmp_path, frame)
    mapped = ImageTable(str(tmp_path), class_map={"benign": "no", "malignant": "cancer"}, class_names=["no", "cancer"])
    assert mapped.targets.values.tolist() == (frame["label"] == "malignant").astype(int).tolist()
    coded = ImageTable(str(tmp_path), label_columns="code", class_map={"0": "well", "1": "ill"})
    assert coded.class_names == ["ill", "well"]
    assert coded.targets.values.tolist() == [1, 0] * 30
    labels = ImageTable(str(tmp_path), label_columns="x,y", class_map={"x": "oedema"})
    assert labels.class_names == ["oedema", "y"]
    np.testing.assert_array_equal(labels.targets.values, frame[["x", "y"]])


def test_classes_of_a_trained_model_are_matched_by_name(tmp_path: Path) -> None:
    frame = cohort()
    write_table(tmp_path, frame[frame["label"] == "benign"])
    data = ImageTable(str(tmp_path), split="all_test")
    data.adopt_classes("multiclass", ["malignant", "other", "benign"], None)
    assert data.targets.values.tolist() == [2] * 30
    assert set(data.table.cases["split"]) == {"test"}
    strange = ImageTable(str(tmp_path), split="all_test")
    strange.adopt_classes("binary", ["no", "yes"], "yes")
    with pytest.raises(SuiteError, match=r"labels\.csv: class 'benign' in row 1 is none of the classes no, yes"):
        _ = strange.targets


def test_labels_of_a_trained_model_pick_their_columns(tmp_path: Path) -> None:
    write_table(tmp_path, cohort(4, 1).assign(a=[0, 1, 0, 1], b=[1, 1, 0, 0], c=0))
    data = ImageTable(str(tmp_path), split="all_test", label_columns="a,b,c")
    data.adopt_classes("multilabel", ["b", "a"], None)
    np.testing.assert_array_equal(data.targets.values, [[1, 0], [1, 1], [0, 0], [0, 1]])
    incomplete = ImageTable(str(tmp_path), split="all_test", label_columns="a,b,c")
    incomplete.adopt_classes("multilabel", ["b", "d"], None)
    with pytest.raises(SuiteError, match=r"labels\.csv: no label column 'd' .*: there are .*a, b, c"):
        _ = incomplete.targets


def test_balanced_sampling_draws_the_rare_class_as_often(tmp_path: Path) -> None:
    frame = cohort(40, 3).assign(label=np.repeat(["rare", "common"], [15, 105]), value=range(120))
    write_table(tmp_path, frame)
    data = ImageTable(str(tmp_path), sampler="balanced", num_workers=0, batch_size=16)
    labels = np.concatenate([batch["label"].numpy() for _ in range(6) for batch in data.train_dataloader()])
    assert data.class_counts[1] / sum(data.class_counts) < 0.2
    assert np.mean(labels == 1) == pytest.approx(0.5, abs=0.15)
    regression = ImageTable(str(tmp_path), sampler="balanced", label_columns="value", target="regression")
    with pytest.raises(SuiteError, match=r"--data\.sampler balanced: a regression target has no classes to draw"):
        regression.train_dataloader()


# The likeliest mistakes, each one line.


def change(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    values: list[object] = frame[column].tolist()
    values[row] = value
    return frame.assign(**{column: pd.Series(values, dtype="object")})


@pytest.mark.parametrize(
    ("column", "value", "settings", "says"),
    [
        (
            None,
            None,
            {"path_column": "image"},
            "no column 'image' for --data.path_column: 'path' holds paths of ",
        ),
        (None, None, {"patient_column": "who"}, "no column 'who' for --data.patient_column: there are path, "),
        (None, None, {"split_column": "fold"}, "no column 'fold' for --data.split_column: there are path, "),
        (None, None, {"case_column": "id"}, "no column 'id' for --data.case_column: there are path, "),
        (None, None, {"path_column": "pth"}, "no column 'pth' for --data.path_column: did you mean 'path'?"),
        (
            None,
            None,
            {"label_columns": "lable"},
            "no label column 'lable' for --data.label_columns: did you mean 'label'",
        ),
        (
            None,
            None,
            {"label_columns": "lable", "class_map": {"a": "b"}},
            "no label column 'lable' for --data.label_columns: did you mean 'label'",
        ),
        ("path", "p9/9.png", {}, "p9/9.png is not below --data.root "),
        ("path", None, {}, "column 'path' is empty in row 3: fill it, or drop the row"),
        ("label", None, {}, "column 'label' is empty in row 3 (1 of 60 rows): give each case a label"),
        ("label", "benign ", {}, None),
        ("label", "unclear", {"target": "binary"}, "column 'label' has 3 classes, a binary target has 2"),
        ("label", "unclear", {"class_names": ["benign", "malignant"]}, "class 'unclear' in row 3 is none of the "),
        ("split", "holdout", {}, "split 'holdout' in row 3 is none of train, training, val, "),
    ],
)
def test_mistakes_in_the_table_name_file_row_and_column(
    column: str | None, value: object, settings: dict[str, Any], says: str | None, tmp_path: Path
) -> None:
    frame = cohort()
    write_table(tmp_path, frame)
    if column == "split":
        frame["split"] = "train"
    if column is not None:
        change(frame, column, 2, value).to_csv(tmp_path / "labels.csv", index=False)
    data = ImageTable(str(tmp_path), **settings)
    if says is None:
        assert len(data.targets.values) == 60
        return
    with pytest.raises(SuiteError) as caught:
        _ = data.targets
    assert str(caught.value).startswith(f"{tmp_path / 'labels.csv'}: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": "p000/1.png"}, r"case_id 'p000/1' is duplicated \(p000/1\.png and p000/1\.png, rows 2 and 3\)"),
        ({"case_id": None}, r"case_id is empty in row 3 \(p000/2\.png\)"),
        ({"split": None}, r"the split is empty in row 3 \(p000/2\.png\): fill it"),
    ],
)
def test_cases_named_twice_or_not_at_all(changes: dict[str, object], says: str, tmp_path: Path) -> None:
    frame = cohort().assign(case_id=[f"c{number}" for number in range(60)], split="train")
    write_table(tmp_path, frame)
    if "path" in changes:
        frame = frame.drop(columns="case_id")
    for column, value in changes.items():
        frame = change(frame, column, 2, value)
    frame.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(SuiteError, match=says):
        _ = ImageTable(str(tmp_path)).table


def test_all_missing_images_are_counted(tmp_path: Path) -> None:
    write_table(tmp_path, cohort())
    (tmp_path / "p003/1.png").unlink()
    (tmp_path / "p007/2.png").unlink()
    with pytest.raises(SuiteError, match=r"p003/1\.png is not below .* \(2 of 60 images are missing\)"):
        _ = ImageTable(str(tmp_path)).table


def test_missing_folder_and_table_are_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=rf"--data\.root {tmp_path}/nowhere: no such file or folder"):
        _ = ImageTable(str(tmp_path / "nowhere")).table
    with pytest.raises(SuiteError, match=rf"--data\.table {tmp_path}/labels\.csv: no such file"):
        _ = ImageTable(str(tmp_path)).table


def test_a_class_without_a_training_case_is_refused(tmp_path: Path) -> None:
    frame = cohort().assign(split=np.repeat(["train", "val", "test"], [30, 15, 15]))
    frame.loc[:29, "label"] = "benign"
    write_table(tmp_path, frame)
    with pytest.raises(SuiteError, match=r"labels\.csv: class 'malignant' has no training case: add cases"):
        _ = ImageTable(str(tmp_path)).targets
    assert ImageTable(str(tmp_path), split="all_test").class_names == ["benign", "malignant"]


# Real chest X-rays.


def test_chest_findings_and_a_binary_reading(shared_data: Path) -> None:
    root = shared_data / "nih_cxr64"
    frame = pd.read_csv(root / "labels.csv")
    findings = list(frame.columns[9:])
    many = ImageTable(str(root), label_columns=findings)
    assert (many.target, many.class_names) == ("multilabel", findings)
    np.testing.assert_array_equal(many.targets.values, frame[findings])
    assert {"patient_sex", "view_position", "patient_age"} <= set(many.table.cases.columns)
    one = ImageTable(str(root), label_columns="shipped_class", positive_class="1_abnormal")
    assert (one.target, one.positive_class) == ("binary", "1_abnormal")
    for data in (many, one):
        parts = parts_of(data)
        assert sum(map(len, parts.values())) == 264
        assert [len(data.rows(part)) for part in ("train", "val", "test")] == [640, 160, 200]


# As people have them.


@pytest.mark.parametrize("numbers", [False, True])
def test_swapped_columns_are_guessed_and_said(numbers: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = cohort()
    frame["label"] = (frame["label"] == "malignant").astype(int) if numbers else frame["label"]
    write_table(tmp_path, frame)
    right = ImageTable(str(tmp_path), target="regression" if numbers else None)
    frame.rename(columns={"path": "label", "label": "path"}).to_csv(tmp_path / "labels.csv", index=False)
    data = ImageTable(str(tmp_path), target="regression" if numbers else None)
    pd.testing.assert_frame_equal(data.table.cases[["path", "label"]], right.table.cases[["path", "label"]])
    assert data.targets.values.tolist() == right.targets.values.tolist()
    assert "paths and labels are swapped: column 'label' holds the paths, and 'path' is taken for the la" in caplog.text


def test_swapped_flags_are_named(tmp_path: Path) -> None:
    write_table(tmp_path, cohort())
    with pytest.raises(SuiteError, match=r"'path' for --data\.label_columns does: give the two flags the other way"):
        _ = ImageTable(str(tmp_path), path_column="label", label_columns="path").table


def test_paths_without_suffix_are_cases_of_the_same_name(tmp_path: Path) -> None:
    frame = cohort()
    write_table(tmp_path, frame)
    with_suffix = ImageTable(str(tmp_path)).table
    (tmp_path / "p001" / "0.png").rename(tmp_path / "p001" / "0")  # and one file that has none, told by its first bytes
    frame.assign(path=frame["path"].str.removesuffix(".png")).to_csv(tmp_path / "labels.csv", index=False)
    data = ImageTable(str(tmp_path))
    pd.testing.assert_series_equal(data.table.cases["case_id"], with_suffix.cases["case_id"])
    assert data.table.cases["split"].tolist() == with_suffix.cases["split"].tolist()
    assert data.table.images["path"].tolist() == [p if p != "p001/0.png" else "p001/0" for p in frame["path"]]
    assert data.read(3).array.shape == (16, 16)


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig"])
def test_a_korean_table_with_semicolons_is_the_same_data(encoding: str, tmp_path: Path) -> None:
    frame = cohort().assign(age=np.arange(60) / 4)
    frame["label"] = frame["label"].map({"benign": "양성", "malignant": "악성"})
    write_table(tmp_path, frame)
    plain = ImageTable(str(tmp_path))
    content = frame.to_csv(sep=";", decimal=",", index=False)
    (tmp_path / "표.csv").write_bytes(content.encode(encoding))
    data = ImageTable(str(tmp_path), table="표.csv")
    pd.testing.assert_frame_equal(data.table.cases, plain.table.cases)
    assert data.class_names == plain.class_names == ["악성", "양성"]
    # Joined tables too, each of its own form.
    people = (
        frame[["path", "age"]].assign(case_id=frame["path"].str.removesuffix(".png"), 병원="서울").drop(columns="path")
    )
    (tmp_path / "people.csv").write_bytes(people.to_csv(sep="\t", index=False).encode("cp949"))
    plain.table.cases[["case_id", "split"]].to_csv(tmp_path / "split.csv", index=False)
    joined = ImageTable(
        str(tmp_path),
        table="표.csv",
        cases=str(tmp_path / "people.csv"),
        split_file=str(tmp_path / "split.csv"),
        encoding=encoding,
        separator=";",
    )
    assert joined.table.cases["split"].tolist() == plain.table.cases["split"].tolist()
    assert set(joined.table.cases["병원"]) == {"서울"}
