"""``check`` on the command line: what is printed and written, and the exit status."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from datamodules.classification.image_table import ImageTable
from datamodules.fingerprint.fingerprint import Fingerprint
from tests.datamodules.scans_on_disk import cohort, data_of, write_table
from tests.tasks.cli.conftest import Run, one_line


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "<b>scans"
    folder.mkdir()
    write_table(folder, cohort())
    return folder


def flags(root: Path, output: str) -> list[str]:
    return ["--data", "ImageTable", "--data.root", str(root), "--output", output]


def test_a_clean_set_ends_with_0(run: Run, root: Path) -> None:
    status, out, err = run("check", *flags(root, "checked"))
    assert status == 0
    assert err.startswith(f"data: ImageTable, root {root}: train ")
    assert len(err.splitlines()) == 1  # nothing else is said
    assert "nothing would stop or spoil training" in out
    assert sorted(file.name for file in Path("checked").iterdir()) == [
        "check.csv",
        "check.html",
        "fingerprint.json",
    ]


def test_the_fingerprint_is_that_of_training_and_training_reads_no_image_again(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = run("check", *flags(root, "checked"))
    assert (status, "checked/fingerprint.json" in out) == (0, True)
    found = Fingerprint.from_json(Path("checked/fingerprint.json").read_text())
    assert (found.task, sum(found.cases.values()), found.height.most) == ("classify", 60, 16)
    data = data_of(root)
    monkeypatch.setattr(ImageTable, "read", lambda *_: pytest.fail("read again"))
    assert len(data.contents) == 60


def test_where_training_would_stop_there_is_no_fingerprint(run: Run, root: Path) -> None:
    (root / cohort()["path"][3]).write_bytes(b"")
    assert run("check", *flags(root, "checked"))[0] == 1
    assert not Path("checked/fingerprint.json").exists()


def test_an_error_ends_with_1_and_the_page_escapes_what_the_data_say(run: Run, root: Path) -> None:
    frame = cohort().astype({"patient_id": "str"})
    frame["split"] = ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    frame.loc[59, "patient_id"] = frame.loc[0, "patient_id"] = "<script>alert(1)</script>"
    frame.to_csv(root / "labels.csv", index=False)
    (root / frame["path"][3]).write_bytes(b"\x89PNG\r\n\x1a\n")
    status, out, _ = run("check", *flags(root, "checked"), "--data.num_workers", "1")
    assert status == 1
    assert "2 errors would stop or spoil training" in out
    found = pd.read_csv("checked/check.csv")
    assert list(found.columns) == ["severity", "kind", "case_id", "path", "split", "detail"]
    assert set(found["kind"][found["severity"] == "error"]) == {"patient_leak", "unreadable"}
    page = Path("checked/check.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>scans" not in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")  # needs nothing else


def test_a_table_that_cannot_be_built_is_a_finding(run: Run, root: Path) -> None:
    (root / cohort()["path"][3]).write_bytes(b"")
    status, _, _ = run("check", *flags(root, "checked"), "--data.path_column", "file", "--data.num_workers", "0")
    assert status == 1
    found = pd.read_csv("checked/check.csv")
    assert set(found["kind"]) == {"table", "unreadable"}  # files are looked at all the same
    assert "'file'" in found["detail"][found["kind"] == "table"].iloc[0]


def test_mistakes_of_flags_are_one_line(run: Run, root: Path) -> None:
    status, _, err = run("check", "--data", "ImageTable", "--data.root", str(root))
    assert (status, "--output" in one_line(err)) == (2, True)
    status, _, err = run("check", *flags(Path("/no/such"), "checked"))
    assert (status, "/no/such" in one_line(err)) == (2, True)
    status, _, err = run("check", *flags(root, "other"), "--data.bach_size", "3")
    assert (status, "--data.batch_size" in one_line(err)) == (2, True)
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    status, _, err = run("check", *flags(root, "full"))
    assert (status, "full" in one_line(err)) == (2, True)


def test_the_help_names_output(run: Run) -> None:
    status, out, _ = run("check", "--help")
    assert status == 0
    assert "--output" in out
    assert "\nmodel:" not in out
