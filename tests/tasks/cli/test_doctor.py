"""``scansuite doctor``: what a bug report needs, whatever is broken."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.cli import bug_report
from tasks.cli.bug_report import gathered, private
from tasks.cli.verbs.doctor import run

ROOT = Path(__file__).resolve().parents[3]
SUBJECTS = {"scansuite", "machine", "accelerators", "packages", "extras", "caches", "environment"}


@pytest.fixture
def _no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries are taken to be well: importing all of them takes seconds."""
    monkeypatch.setattr(bug_report, "_PROBE", "import json; print(json.dumps([{'GPU': 'none'}, {}]))")


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.cli", "doctor", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_report(tmp_path: Path) -> None:
    done = doctor("--json", SCANSUITE_CACHE=str(tmp_path))
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert set(facts) == {*SUBJECTS, "wrong"}
    assert facts["packages"]["torch"].startswith(metadata.version("torch"))
    assert facts["accelerators"]["CUDA of torch"]
    assert done.returncode == (1 if facts["wrong"] else 0)


@pytest.mark.usefixtures("_no_probe")
def test_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    run([])
    said = capsys.readouterr().out
    assert said.startswith("scansuite ")
    for subject in SUBJECTS - {"scansuite"}:
        assert f"\n\n{subject}\n" in said
    assert said.rstrip().endswith("nothing is wrong") or "\nwrong\n" in said


@pytest.mark.usefixtures("_no_probe")
def test_neither_home_nor_names_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", "/home/kim.minji")
    monkeypatch.setenv("LOGNAME", "kim.minji")
    monkeypatch.setenv("SCANSUITE_CACHE", "/scratch/kim.minji/cache")
    monkeypatch.setattr(platform, "node", lambda: "radiology-7")
    monkeypatch.setenv("TORCH_HOME", "/home/kim.minji/torch on radiology-7")
    assert getpass.getuser() == "kim.minji"
    run([])
    said = capsys.readouterr().out
    assert "kim.minji" not in said
    assert "radiology-7" not in said
    assert "/scratch/USER/cache" in said
    assert "~/torch on HOST" in said
    assert private("kim.minjis") == "kim.minjis"


@pytest.mark.parametrize(
    ("probe", "line"),
    [
        ("import torch_is_missing", "torch, or a library beside it, ends its process (status 1)"),
        ("import os; os.kill(os.getpid(), 11)", "(signal SIGSEGV)"),
        ("import time; time.sleep(60)", "torch: does not answer within 0.5 seconds"),
        (
            "import json; print(json.dumps([{}, {'torch': 'OSError: libcudart.so.13: cannot open shared file'}]))",
            "torch: cannot be imported: OSError: libcudart.so.13",
        ),
    ],
)
def test_broken_libraries_are_lines(monkeypatch: pytest.MonkeyPatch, probe: str, line: str) -> None:
    monkeypatch.setattr(bug_report, "_PROBE", probe)
    monkeypatch.setattr(bug_report, "_SECONDS", 0.5 if "sleep" in probe else 60)
    facts, wrong = gathered()
    assert any(line in one for one in wrong)
    assert set(facts) == SUBJECTS


def test_without_torch_there_is_a_report(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch.so: cannot be opened')\n")
    done = doctor(PYTHONPATH=f"{tmp_path}:{ROOT}", SCANSUITE_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == ""
    assert "torch: cannot be imported: ImportError: libtorch.so: cannot be opened" in done.stdout


@pytest.mark.usefixtures("_no_probe")
def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["timm>=99", "nosuchpackage>=1", "submitit_of_nobody>=1; extra == 'cluster'", "pytest; extra == 'test'"]
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    facts, wrong = gathered()
    assert isinstance(facts["packages"], dict)
    assert facts["packages"]["nosuchpackage"] == "missing"
    assert "but >=99 is needed" in facts["packages"]["timm"]
    assert facts["extras"] == {"cluster": "lacks submitit_of_nobody: pip install 'scansuite[cluster]'"}
    assert "nosuchpackage: missing: pip install 'nosuchpackage>=1'" in wrong


@pytest.mark.usefixtures("_no_probe")
def test_a_subject_that_cannot_be_told_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*words: object) -> None:
        raise RuntimeError("fault of ours")

    monkeypatch.setattr(metadata, "requires", fault)
    monkeypatch.setattr(bug_report, "free_memory", fault)
    facts, wrong = gathered()
    assert facts["machine"] == facts["packages"] == {"cannot be told": "RuntimeError: fault of ours"}
    assert "folder" in facts["caches"]
    assert "machine: cannot be told: RuntimeError: fault of ours" in wrong


@pytest.mark.usefixtures("_no_probe")
def test_caches_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path))
    (tmp_path / "images" / ("a" * 20)).mkdir(parents=True)
    (tmp_path / "images" / ("a" * 20) / "0.arrow").write_bytes(bytes(2**20))
    caches = gathered()[0]["caches"]
    assert isinstance(caches, dict)
    assert caches["images"] == "1.0 MiB, 1 file"
    assert caches["volumes"] == "nothing"


@pytest.mark.usefixtures("_no_probe")
@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_a_cache_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path))
    (tmp_path / "images").mkdir(mode=0)
    _, wrong = gathered()
    (tmp_path / "images").chmod(0o700)
    assert any("cannot be read (Permission denied)" in line for line in wrong)


@pytest.mark.usefixtures("_no_probe")
def test_a_cache_folder_that_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path))
    _, wrong = gathered()
    assert any("images: cannot be read (Not a directory)" in line for line in wrong)


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SuiteError, match="doctor --jsn: no such flag"):
        run(["--jsn"])
    assert run(["--help"]) == 0
    assert "--json" in capsys.readouterr().out
