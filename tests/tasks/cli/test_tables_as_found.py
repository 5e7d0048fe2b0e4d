"""Tables as people have them, from real scans: legacy encodings, UTF-16, semicolons, boxes; fit, test and predict."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.detection.box_table import BoxTable
from datamodules.detection.voc import Voc
from tests.datamodules.tables.workbooks import write_xlsx
from tests.tasks.cli.conftest import TINY, Run, one_line

FINDINGS = {"0_normal": "정상", "1_abnormal": "비정상"}
CELLS = {"RBC": "적혈구", "WBC": "백혈구", "Platelets": "혈소판"}


@pytest.fixture
def radiographs(shared_data: Path, tmp_path: Path) -> pd.DataFrame:
    """Some radiographs in ``scans/images``, and their rows: a path without suffix, Korean labels, fractions."""
    frame = pd.read_csv(shared_data / "nih_cxr64" / "labels.csv", dtype={"patient_id": "str"})
    frame = frame.groupby("shipped_class", group_keys=False).head(40).drop_duplicates("path")
    folder = tmp_path / "scans" / "images"
    folder.mkdir(parents=True)
    for path in frame["path"]:
        shutil.copy(shared_data / "nih_cxr64" / path, folder)
    return pd.DataFrame(
        {
            "경로": ["images/" + Path(path).stem for path in frame["path"]],
            "판독": frame["shipped_class"].map(FINDINGS),
            "환자": frame["patient_id"],
            "크기": np.arange(len(frame)) / 4,
        }
    )


@pytest.mark.parametrize(("encoding", "first"), [("cp949", "sep=;\r\n"), ("utf-16", "")])
def test_a_korean_table_is_trained_on_tested_and_predicted(
    run: Run, radiographs: pd.DataFrame, encoding: str, first: str
) -> None:
    content = first + radiographs.to_csv(sep=";", decimal=",", index=False, lineterminator="\r\n") + ";;;\r\n"
    Path("scans/판독.csv").write_bytes(content.encode(encoding))
    columns = ["--data.path_column", "경로", "--data.label_columns", "판독", "--data.patient_column", "환자"]
    status, _, err = run(
        "fit", "--data", "ImageTable", "--data.root", "scans", "--data.table", "판독.csv", *columns, *TINY,
        "--data.encoding", encoding, "--data.separator", ";", "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    assert "numbers have decimal commas ('크기')" in err
    cases = pd.read_csv("run/cases.csv")
    assert set(cases["크기"]) <= set(radiographs["크기"])
    split = pd.read_csv("run/split.csv", dtype=str)
    assert len(split) == len(radiographs)
    # The run's own split.csv is UTF-8 with commas, whatever the flags say of the table.
    status, _, err = run("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "tested")
    assert status == 0, err
    predictions = pd.read_csv("tested/predictions.csv")
    assert {"score_정상", "score_비정상"} <= set(predictions)
    assert set(predictions["target"]) == set(FINDINGS.values())
    status, _, err = run(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "scans/판독.csv",
        "--data.path_column", "경로", "--output", "out",
    )  # fmt: skip
    assert status == 0, err
    found = "read as CP949, such as '정상' in row 1 (--data.encoding" if encoding == "cp949" else "read as UTF-16"
    assert found in err
    assert len(pd.read_csv("out/predictions.csv")) == len(radiographs)


def test_what_cannot_be_told_is_asked_and_the_flag_mends_it(run: Run, radiographs: pd.DataFrame) -> None:
    table = radiographs.rename(columns={"경로": "path", "판독": "label"})[["path", "label"]]
    content = table.replace({"label": {"정상": "正常", "비정상": "異常"}}).to_csv(index=False)
    Path("scans/labels.csv").write_bytes(content.encode("euc_jp"))
    flags = ["check", "--data", "ImageTable", "--data.root", "scans", "--output"]
    status, _, _ = run(*flags, "asked")
    assert status == 1
    (row,) = pd.read_csv("asked/check.csv").query("kind == 'table'").to_dict("records")
    assert "euc_jp ('正常'): say which with --data.encoding" in row["detail"]
    status, out, err = run(*flags, "mended", "--data.encoding", "euc-jp")
    assert status == 0, out + err
    assert set(pd.read_csv("mended/check.csv")["kind"]) <= {
        "split_by_image",
        "burned_in_text",
        "near_duplicate",
        "faint",
    }


def test_a_flag_of_tables_is_refused_where_none_is_named(run: Run) -> None:
    status, _, err = run("fit", "--data", "ImageFolder", "--data.root", ".", "--data.encoding", "cp949")
    assert status == 2
    assert "--data.encoding cp949: no use to ImageFolder: it is of tables, and none is named" in one_line(err)
    status, _, err = run("fit", "--data", "ImageTable", "--data.root", ".", "--data.separator", "xx")
    assert status == 2
    assert "--data.separator 'xx': one character" in one_line(err)


@pytest.fixture
def smears(shared_data: Path, tmp_path: Path) -> pd.DataFrame:
    """Blood smears in ``voc`` and ``smears``, and rows of their boxes: corner, width and height, an image without."""
    source = shared_data / "bccd" / "BCCD"
    for folder in ("voc/JPEGImages", "voc/Annotations", "smears/images"):
        (tmp_path / folder).mkdir(parents=True)
    files = sorted((source / "JPEGImages").iterdir())[:16]
    for file in files:
        shutil.copy(file, tmp_path / "voc" / "JPEGImages")
        shutil.copy(file, tmp_path / "smears" / "images")
        shutil.copy(source / "Annotations" / f"{file.stem}.xml", tmp_path / "voc" / "Annotations")
    table = Voc(str(tmp_path / "voc"), check_files=False)
    boxes = table.true_boxes(np.arange(len(table.table)))
    bare = boxes["case_id"] == boxes["case_id"].iloc[0]
    rows = pd.DataFrame(
        {
            "image_id": boxes["case_id"],
            "class": boxes["label"].map(CELLS).mask(bare),
            "x": boxes["x1"].mask(bare),
            "y": boxes["y1"].mask(bare),
            "width": (boxes["x2"] - boxes["x1"]).mask(bare),
            "height": (boxes["y2"] - boxes["y1"]).mask(bare),
        }
    )
    return rows.drop_duplicates()


@pytest.mark.parametrize("form", [pytest.param("cp949", marks=pytest.mark.slow), "utf-16", "xlsx"])
def test_boxes_of_a_table_are_trained_on_and_predicted(run_task: Run, smears: pd.DataFrame, form: str) -> None:
    detect = partial(run_task, "detect")
    name = "boxes.xlsx" if form == "xlsx" else "boxes.csv"
    if form == "xlsx":
        pytest.importorskip("python_calamine")
        cells = smears.astype(object).where(smears.notna(), None).to_numpy().tolist()
        write_xlsx(Path("smears") / name, [[str(column) for column in smears.columns], *cells])
    else:
        separator, decimal = ("\t", ".") if form == "utf-16" else (";", ",")
        content = smears.to_csv(sep=separator, decimal=decimal, index=False)
        (Path("smears") / name).write_bytes(content.encode(form))
    data = BoxTable("smears", table=name, check_files=False)
    truth = data.true_boxes(np.arange(len(data.table)))
    plain = Voc("voc", check_files=False, class_map=CELLS)
    same = plain.true_boxes(np.arange(1, len(plain.table)))
    pd.testing.assert_frame_equal(truth[same.columns], same, check_exact=True)
    assert len(data.table) == 16
    if form != "cp949":
        return
    status, _, err = detect(
        "fit", "--data", "BoxTable", "--data.root", "smears", "--data.table", name, "--data.image_size", "48,64",
        *TINY, "--model.channels", "16", "--data.batch_size", "4", "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    assert "boxes are xywh (x, y, width, height), paths in 'image_id', labels in 'class'" in err
    assert "read as CP949, such as " in err
    assert set(pd.read_csv("run/targets.csv")["label"]) <= set(CELLS.values())
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert f"val/map50/{CELLS['RBC']}" in metrics
    status, _, err = detect(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", "smears/images", "--output", "out"
    )
    assert status == 0, err
    assert set(pd.read_csv("out/predictions.csv")["label"]) <= set(CELLS.values())


def test_a_check_goes_on_behind_rows_of_boxes_that_are_wrong(run_task: Run, smears: pd.DataFrame) -> None:
    broken = smears.astype({"x": object, "image_id": object}).reset_index(drop=True)
    broken.loc[3, "x"], broken.loc[5, "class"], broken.loc[7, "image_id"] = "left", None, "gone"
    broken.to_csv("smears/boxes.csv", index=False)
    flags = ["--data", "BoxTable", "--data.root", "smears"]
    status, _, _ = run_task("detect", "check", *flags, "--output", "look")
    assert status == 1
    found = pd.read_csv("look/check.csv")
    assert {"bad_box", "empty_label", "missing_file"} <= set(found["kind"][found["severity"] == "error"])
    assert found["detail"].str.contains("row 4: 'left, ").any()
    status, _, err = run_task("detect", "fit", *flags, *TINY)
    assert status == 2
    assert "gone in column 'image_id' is not below" in one_line(err)
