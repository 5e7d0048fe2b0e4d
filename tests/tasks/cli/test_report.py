"""The verb ``report`` as a user calls it, on tables that need no training."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from tasks.evaluation.evaluated import read_evaluated
from tasks.evaluation.report.words import with_interval
from tasks.evaluation.report.write import report_of_folder
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.evaluation.run_folders import write_binary_run


class Text(HTMLParser):
    """The text of a page, and what it would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.scripts = 0
        self.fetched: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag == "script"
        self.ids += [str(given["id"])] if "id" in given else []
        for name in ("src", "href"):
            address = given.get(name) or "#"
            if not address.startswith(("#", "data:")):
                self.fetched.append(address)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read_page(file: Path) -> Text:
    page = Text()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def test_a_run_folder_gets_its_report(run: Run, tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "mine")
    status, out, err = run("report", "--run_dir", folder, "--paper", "markdown")
    assert status == 0, err
    assert out.strip().splitlines()[-1] == f"written to {folder / 'report.html'}; its figures: {folder / 'report.json'}"
    page = read_page(folder / "report.html")
    figures = json.loads((folder / "report.json").read_text())
    auroc = with_interval(read_evaluated(folder).part("test").metrics()["auroc"])
    text = re.sub(r"\s+", " ", " ".join(page.words))
    assert auroc in text
    assert auroc in (folder / "report" / "results_main.md").read_text()
    table = pd.read_csv(folder / "report" / "results_main.csv").set_index("metric")
    value = figures["sections"]["results"]["tables"]["main"][0]["value"]
    assert table.loc["AUROC", "value"] == value["value"] == pytest.approx(float(auroc[:5]), abs=5e-4)
    assert page.fetched == []
    assert set(figures["sections"]) <= set(page.ids)
    assert "AUROC" in (folder / "report" / "model_card.md").read_text()
    # Again: the report is the run's own, and is replaced.
    assert run("report", "--run_dir", folder)[0] == 0


def test_an_operating_point_is_chosen_again(run: Run, tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "mine")
    before = (folder / "task.json").read_text()
    flags = ("--run_dir", folder, "--operating_point", "specificity>=0.9", "--prevalence", "0.05")
    status, _, err = run("report", *flags, "--output", "again.html")
    assert status == 0, err
    figures = json.loads((tmp_path / "again.json").read_text())["sections"]["operating_point"]
    assert figures["figures"]["rule"] == "specificity>=0.9"
    chosen = figures["tables"]["thresholds"][0]
    assert chosen["on validation"]["value"] >= 0.9
    reached = figures["tables"]["reached"][0]
    assert reached["specificity"]["value"] == chosen["on test"]["value"]
    assert [each["prevalence"] for each in figures["tables"]["predictive_values"]][1:] == [0.05]
    assert (folder / "task.json").read_text() == before


def test_another_tools_table(run: Run, tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "mine")
    table = pd.read_csv(folder / "predictions.csv").drop(columns=["prediction", "prediction_op", "score_healthy"])
    table = table.rename(columns={"score_ill": "score"})
    hospitals = ["<script>alert(1)</script>", "B"]
    table = table.assign(hospital=[hospitals[row // 2 % 2] for row in range(len(table))])
    table.to_csv(tmp_path / "<b>scores.csv", index=False)
    status, _, err = run(
        "report", "--predictions", "<b>scores.csv", "--positive_class", "ill", "--output", "pages/one.html"
    )
    assert status == 0, err
    text = (tmp_path / "pages" / "one.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert read_page(tmp_path / "pages" / "one.html").scripts == len(scripts)
    for script in scripts:  # the page's own: no other may run
        assert b64encode(sha256(script.encode()).digest()).decode() in text.partition("</head>")[0]
        assert "alert" not in script
    assert "&lt;script&gt;alert(1)" in text  # as a subgroup
    assert "&lt;b&gt;scores" in text


def test_two_runs_compared(run: Run, tmp_path: Path) -> None:
    first, second = (
        write_binary_run(tmp_path / name, shift=shift) for name, shift in (("first", 1.0), ("second", 2.5))
    )
    status, _, err = run("report", "--compare", "first", "second", "--margin", "0.05", "--output", "both.html")
    assert status == 0, err
    found = json.loads((tmp_path / "both.json").read_text())
    areas = [read_evaluated(folder).part("test").metrics()["auroc"].value for folder in (first, second)]
    table = found["sections"]["comparison"]["tables"]["differences"][0]
    (difference,) = (cell for cell in table.values() if isinstance(cell, dict) and "low" in cell)
    assert difference["value"] == pytest.approx(areas[1] - areas[0])
    assert difference["low"] > 0
    assert "higher AUROC" in " ".join(found["verdict"])
    third = write_binary_run(tmp_path / "more" / "second", shift=2.0)
    assert run("report", "--compare", "first", "second", third, "--output", "three.html")[0] == 0
    head = json.loads((tmp_path / "three.json").read_text())["header"]
    assert head["Compared with it"] == "second, more/second"
    other = write_binary_run(tmp_path / "other", patients=10)
    status, _, err = run("report", "--compare", "first", other, "--output", "no.html")
    assert (status, len(err.strip().splitlines())) == (2, 1)
    assert not (tmp_path / "no.html").exists()
    assert run("report", "--compare", "first", other, "--common_cases", "true", "--output", "common.html")[0] == 0


def test_all_runs_on_one_page(run: Run, tmp_path: Path) -> None:
    from tasks.evaluation.run_tables import classification
    from tasks.evaluation.task_file import read_task

    for number, rate in enumerate((0.1, 0.01)):
        folder = write_binary_run(tmp_path / "runs" / str(number), seed=10 * number)
        data = f"data: {{init_args: {{root: /home/doe/scans{number}}}}}\n"
        config = f"trainer: {{max_epochs: 9}}\nmodel: {{lr: {rate}, backbone: resnet18}}\n{data}"
        (folder / "config.yaml").write_text(config)
        for split in ("val", "test"):
            classification(folder, split, read_task(folder))
    tested = write_binary_run(tmp_path / "runs" / "2", seed=20)  # an evaluation has no flags of a model
    (tested / "config.yaml").write_text("trainer: {max_epochs: 99}\ndata: {init_args: {root: /home/doe/scans1}}\n")
    classification(tested, "test", read_task(tested))
    for name, damaged in (("3", "task.json"), ("4", "metrics.json")):
        shutil.copytree(tested, tmp_path / "runs" / name)
        (tmp_path / "runs" / name / damaged).write_text("{")
    file = tmp_path / "runs" / "0" / "metrics.json"
    kept = json.loads(file.read_text())  # a metric that one run alone has leads no plot
    file.write_text(json.dumps({"test/fold_auroc": kept["test/auroc"]} | kept))
    status, _, err = run("report", "--runs", "runs", "--output", "all.html")
    assert status == 0, err
    assert "AUROC is highest in" in json.loads((tmp_path / "all.json").read_text())["verdict"][0]
    assert "runs/3: left out: task.json: is damaged" in err
    assert "runs/4: left out: metrics.json" in err
    table = pd.read_csv(tmp_path / "all" / "test_test.csv")
    assert list(table["--data.root"]) == ["scans0", "scans1", "scans1"]
    assert "--trainer.max_epochs" not in table
    assert "home" not in (tmp_path / "all.html").read_text(encoding="utf-8")
    assert list(table["run"].astype(str)) == ["0", "1", "2"]
    assert list(table["--model.lr"])[:2] == [0.1, 0.01]
    assert "--model.backbone" not in table
    metrics = json.loads((tmp_path / "runs" / "1" / "metrics.json").read_text())
    assert table["AUROC"].iloc[1] == metrics["test/auroc"]["value"]


def test_runs_are_compared_on_the_same_cases(run: Run, tmp_path: Path) -> None:
    for name in ("old", "new"):
        write_binary_run(tmp_path / name)
    table = pd.read_csv(tmp_path / "new" / "predictions.csv")
    # Nearer to the truth: the better model.
    better = (table["score_ill"] + 0.3 * (table["target"] == "ill")) / 1.3
    table = table.assign(score_ill=better, score_healthy=1 - better)
    table.to_csv(tmp_path / "new" / "predictions.csv", index=False)
    flags = ("--compare", "old", "new", "--margin", "0.05")
    status, _, err = run("report", *flags, "--output", "both.html")
    assert status == 0, err
    figures = json.loads((tmp_path / "both.json").read_text())["sections"]["comparison"]
    found = figures["figures"]["models"]["new"]
    assert (found["primary"], found["verdict"]) == ("auroc", "superior")
    text = re.sub(r"\s+", " ", " ".join(read_page(tmp_path / "both.html").words))
    auroc = found["metrics"]["auroc"]["difference"]
    ends = f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert f"new has a higher AUROC than old by {ends}, p < 0.001." in text
    assert "new is superior to old in AUROC" in text
    rows = pd.read_csv(tmp_path / "both" / "comparison_differences.csv").set_index("metric")
    assert rows.loc["AUROC", "difference"] == pytest.approx(auroc["value"])

    cases = pd.read_csv(tmp_path / "new" / "cases.csv")
    gone = cases[cases["split"] == "test"]["case_id"].iloc[0]
    cases[cases["case_id"] != gone].to_csv(tmp_path / "new" / "cases.csv", index=False)
    table[table["case_id"] != gone].to_csv(tmp_path / "new" / "predictions.csv", index=False)
    status, _, err = run("report", *flags, "--output", "less.html")
    assert status == 2
    assert "new: split 'test': lacks 1 of the " in one_line(err)
    assert "with --common_cases" in err
    status, _, err = run("report", *flags, "--common_cases", "true", "--output", "less.html")
    assert status == 0, err


def test_nothing_of_an_old_report_stands_beside_a_new_one(run: Run, tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "mine", patients=10)
    assert run("report", "--run_dir", folder, "--paper", "latex")[0] == 0
    (folder / "report" / "notes.txt").write_text("mine")
    (folder / "report" / "model_card.md").write_text("edited")
    listed = json.loads((folder / "report.json").read_text())["files"]
    assert {"results_main.csv", "results_main.tex"} <= set(listed)
    assert run("report", "--run_dir", folder, "--split", "val")[0] == 0
    there = {file.name for file in (folder / "report").iterdir()}
    listed = json.loads((folder / "report.json").read_text())["files"]
    assert there == {*listed, "notes.txt", "model_card.md", "tripod_ai.md", "claim.md"}
    assert not [name for name in there if name.endswith(".tex")]
    assert (folder / "report" / "model_card.md").read_text() == "edited"
    # New tables that no report can be made from: the old one's page, figures and tables go.
    (folder / "predictions.csv").write_text("case_id\n")
    assert report_of_folder(folder) == []
    assert not (folder / "report.html").exists()
    assert not (folder / "report.json").exists()
    assert not list((folder / "report").glob("*.csv"))
    assert (folder / "report" / "notes.txt").read_text() == "mine"


MISTAKES = {
    "nothing": ([], "give one of --run_dir RUN, --predictions FILE, --compare RUN RUN, --runs FOLDER"),
    "two": (["--run_dir", "mine", "--runs", "."], "--run_dir and --runs together"),
    "no output": (["--predictions", "scores.csv"], "--output: name a file"),
    "no folder": (["--run_dir", "nowhere"], "--run_dir nowhere: no such folder"),
    "no run": (["--run_dir", "empty"], "task.json: no such file"),
    "no part": (["--run_dir", "mine", "--split", "external"], "no case of split 'external': there are val, test"),
    "one to compare": (["--compare", "mine", "--output", "a.html"], "--compare: name the folders of two runs at least"),
    "useless": (["--run_dir", "mine", "--targets", "t.csv"], "--targets: is about --predictions"),
    "margin": (["--run_dir", "mine", "--margin", "0.1"], "--margin: is about --compare"),
    "common": (["--run_dir", "mine", "--common_cases", "true"], "--common_cases: is about --compare"),
    "share": (["--run_dir", "mine", "--prevalence", "5"], "--prevalence 5: is a share"),
    "coverage": (["--run_dir", "mine", "--coverage", "90"], "--coverage 90: is a share"),
    "rule": (["--run_dir", "mine", "--operating_point", "best"], "--operating_point best: is no rule"),
    "page": (["--run_dir", "mine", "--output", "a.pdf"], "--output a.pdf: the page is HTML"),
    "there": (["--run_dir", "mine", "--output", "there.html"], "--output there.html: exists already"),
    "figures": (["--run_dir", "mine", "--output", "mine/task.html"], "mine/task.json would be written to, and is no"),
    "tables": (["--predictions", "mine/predictions.csv", "--output", "mine.html"], "mine would be written to, and is"),
    "a file in between": (["--run_dir", "mine", "--output", "there.html/a.html"], "a.html: cannot be written (not a"),
    "no disk": (["--run_dir", "mine", "--output", "/proc/a.html"], "/proc/a.html: cannot be written (no such file"),
    "mistyped": (["--run_dirs", "mine"], "did you mean --run_dir"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(what: str, run: Run, tmp_path: Path) -> None:
    write_binary_run(tmp_path / "mine", patients=10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.html").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    flags, said = MISTAKES[what]
    status, _, err = run("report", *flags)
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_run_of_another_task_is_refused(run_task: Run, tmp_path: Path) -> None:
    write_binary_run(tmp_path / "mine", patients=10)
    status, _, err = run_task("segment", "report", "--run_dir", "mine")
    assert status == 2
    assert "is a run of classify: write it with scansuite classify report" in err
