"""The front door: verbs, help, versions, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli import errors, flags
from tasks.cli.main import BESIDE, VERBS, script
from tasks.cli.parser_line import parser_line
from tasks.registry.specs import SPECS
from tasks.training.stopping.signals import Stopped
from tests.tasks.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[3]


def test_help_names_every_verb(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for verb in VERBS:
        assert f"\n  {verb} " in out


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_that_is_shown_has_help(run: Run, verb: str) -> None:
    status, out, _ = run(verb, "--help")
    assert status == 0
    shown = {
        "list": "--csv",
        "summary": "--model.backbone",
        "check": "--output",
        "show": "--case_id",
        "report": "--compare",
        "serve": "--max_request",
        "plan": "--output",
        "sweep": "--space",
    }
    assert shown.get(verb, "--ckpt_path") in out


def test_fit_help_shows_what_a_user_needs_first(run: Run) -> None:
    _, out, _ = run("fit", "--help")
    for flag in (
        "--run_dir",
        "--data ImageTable",
        "--data.patient_pattern",
        "--model.backbone",
        "--trainer.max_epochs",
    ):
        assert flag in out
    assert "--model.num_classes" not in out  # the data say it
    assert "min_image_size" not in out
    assert "--help_all" in out


def test_every_flag_is_one_word_away(run: Run) -> None:
    status, out, _ = run("fit", "--help_all")
    assert status == 0
    assert "--trainer.profiler" in out
    status, out, _ = run("fit", "--data.help", "ImageTable")
    assert status == 0
    assert "path_column" in out


def test_unknown_verbs(run: Run) -> None:
    status, _, err = run("fitt")
    assert status == 2
    assert err == "error: unknown verb 'fitt': did you mean 'fit'?\n"


def test_unknown_tasks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["scansuite", "clasify", "fit"])
    assert script() == 2
    assert "did you mean 'classify'?" in capsys.readouterr().err


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["scansuite", *words])
    return script()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_scansuite_lists_tasks_and_verbs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert called(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    for name in (*SPECS, *VERBS, *BESIDE):
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fit"], "fit is a verb: name a task before it: scansuite classify fit"),
        (["doctr"], "unknown task 'doctr': did you mean 'doctor'?"),
        (["--fit"], "unknown flag --fit: give a task first: classify, segment, detect"),
        (["classify", "doctor"], "doctor is of no task: scansuite doctor"),
        (
            ["segment", "--data.root", "x"],
            "--data.root: a verb comes first: python -m tasks.segment fit --data.root",
        ),
        (["clean", "volume"], "clean volume: no kind of cache: did you mean 'volumes'?"),
        (["verfy", "x"], "unknown task 'verfy': did you mean 'verify'?"),
        (["keys", "mak"], "keys mak: did you mean 'make'?"),
        (["completion", "bosh"], "completion bosh: name one shell: did you mean 'bash'?"),
    ],
)
def test_words_in_the_wrong_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert called(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")


@pytest.mark.parametrize("words", [["--help"], ["classify", "--help"], ["clean"], ["completion", "bash"]])
def test_a_full_disk_below_what_is_printed_is_one_line(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tasks.cli", *words],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "SCANSUITE_CACHE": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device: make room\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["jobs", "--help"], ["clean"], ["doctor", "--help"], ["keys"], ["completion", "zsh"]]
)
def test_what_is_of_no_task_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from tasks.cli import main; main.guarded = lambda run, **_: run()\n"
        "try: main.script()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'pytorch_lightning', 'rich', 'jsonargparse'} & set(sys.modules)))"
    )
    env = {**os.environ, "SCANSUITE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("words", [["--version"], ["unknown"], ["--help"]])
def test_the_front_door_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from tasks.cli.main import main; main('classify', sys.argv[1:]);"
        "print(sorted({'torch', 'numpy', 'pandas', 'pytorch_lightning'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")


def test_help_of_a_verb_loads_no_network_library() -> None:
    code = (
        "import sys; from tasks.cli.main import main\n"
        "try: main('classify', ['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'timm', 'albumentations', 'sklearn'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")


def test_shipped_configs_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    for name in ("experiment/medmnist", "configs/experiment/medmnist.yaml", "trainer/cpu"):
        words = flags.find_configs(["--config", name])
        assert Path(words[1]).is_file()
    mine = tmp_path / "trainer.yaml"
    mine.write_text("seed_everything: 3\n")
    assert flags.find_configs([f"--config={mine}"]) == [f"--config={mine}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Parser key \"model.lr\":\n  Expected a <class 'float'>. Got value: abc", "--model.lr abc: expected a number"),
        (
            'Parser key "data":\n  - Problem with given class_path \'a.b.D1\':\n      Parser key "batch_size":\n'
            "        Expected a <class 'int'>. Got value: x\n  - Expected a <class 'NoneType'>",
            "--data.batch_size x: expected a whole number",
        ),
        (
            "Parser key \"data\":\n  - Problem with given class_path 'a.b.D1':\n      Option 'bach' is not accepted",
            "--data.bach: not a flag of D1",
        ),
    ],
)
def test_parser_reports_become_one_line(text: str, line: str) -> None:
    assert parser_line(text) == line


def test_unexpected_faults_keep_their_traceback() -> None:
    def fault() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        errors.guarded(fault, debug=False)


@pytest.mark.parametrize(
    ("stop", "status", "said"),
    [(Stopped("SIGUSR1"), 75, "stopped by SIGUSR1: "), (KeyboardInterrupt(), 130, "interrupted: ")],
)
def test_what_fails_while_a_signal_ends_a_command_is_not_said(
    stop: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning's loops reset loaders that have not begun."""

    def run() -> int:
        try:
            raise stop
        finally:
            raise RuntimeError("Please call `iter(combined_loader)` first.")

    assert errors.guarded(run, debug=False) == status
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_help_says_everything_before_it_ends_the_process() -> None:
    """It does not wait for what libraries do at the end of a process, but for whoever reads a pipe."""
    help_text = subprocess.run(
        [sys.executable, "-m", "tasks.classify", "list", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert help_text.startswith("usage: python -m tasks.classify list")
    assert "--csv" in help_text
    assert help_text.endswith("\n")
