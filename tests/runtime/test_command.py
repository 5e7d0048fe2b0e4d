"""The command ``scansuite-runtime``: the flags and files of the suite's ``predict``, mistakes in one line, a watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import scansuite_runtime
from scansuite.errors import SuiteError
from scansuite_runtime import predict, watch
from scansuite_runtime.__main__ import main
from scansuite_runtime.flags import reading_flags
from tasks.cli.main import main as suite_main
from tasks.cli.starting.known_flags import flags_of
from tasks.registry.specs import spec_of
from tests.datamodules.scans_on_disk import write_scans
from tests.tasks.exported.tiny_model import DESCRIPTION, write_tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny.onnx")
    write_scans(tmp_path / "scans", ["a.png", "b/c.png"])
    (tmp_path / "scans" / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_it_leaves_what_the_suite_leaves(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--input", "scans", "--data.batch_size", "1"]
    assert main(["predict", "--model", "tiny.onnx", *words, "--output", "ours"]) == 1
    out, err = capfd.readouterr()
    assert out == "2 cases predicted, 1 files unreadable: ours\n"
    assert err == "input: 3 cases of 3 files\n"
    assert suite_main("classify", ["predict", "--ckpt_path", "tiny.onnx", *words, "--output", "theirs"]) == 1
    for name in ("predictions.csv", "errors.csv"):
        assert (place / "ours" / name).read_text() == (place / "theirs" / name).read_text()


def test_from_python(place: Path) -> None:
    model = scansuite_runtime.load("tiny.onnx")
    assert model.description == DESCRIPTION
    found = model.predict("scans", exclude="broken.png", batch_size=1)
    assert found.table["case_id"].tolist() == ["a", "b/c"]
    assert model.predict(["scans/a.png"], output="out").cases == ["a"]
    assert pd.read_csv("out/predictions.csv")["case_id"].tolist() == ["a"]
    with pytest.raises(SuiteError, match="batchsize: predict has no such argument: did you mean 'batch_size'"):
        model.predict("scans", batchsize=1)
    with pytest.raises(SuiteError, match="exists already"):
        model.predict("scans", output="out")
    assert "tiny.onnx" in repr(model)
    with pytest.raises(AttributeError, match="has no attribute 'predict_all'"):
        scansuite_runtime.predict_all  # type: ignore[attr-defined]  # noqa: B018


def test_its_flags_are_those_of_the_suites_predict() -> None:
    """But for what is of checkpoints, of Lightning and of loader processes."""
    ours = {f"--{name}" for flags in predict.sections().values() for name in flags}
    theirs = {name for task in ("classify", "segment", "detect") for name in flags_of(spec_of(task), "predict", ())}
    left = {
        name for name in theirs if not name.startswith(("--trainer", "--dicom", "--config", "--print_config", "-c"))
    }
    others = {"-h", "--help", "--data", "--ckpt_path", "--ckpt_paths", "--allow_import", "--memory_format"}
    assert left - ours == others | {"--data.num_workers"}
    assert ours - theirs == {"--model", "--threads"}


def test_what_is_said_of_reading_is_what_the_class_says() -> None:
    from inspect import signature

    from datamodules.input_cases import InputCases

    flags = reading_flags()
    assert {f"data.{name}" for name in signature(InputCases).parameters} - set(flags) == {"data.num_workers"}
    assert flags["data.batch_size"].default == 32
    assert flags["data.allow_outside"].kind is bool
    assert flags["data.window"].help.endswith("left out: as the model was trained")
    assert all(flag.help for flag in flags.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predct"], "predct: no such verb: did you mean 'predict'?"),
        (["predict", "--modle", "tiny.onnx"], "--modle: no such flag: did you mean '--model'?"),
        (["predict", "tiny.onnx"], "tiny.onnx: belongs to no flag: name inputs behind --input"),
        (["predict", "--model", "tiny.onnx", "--output", "o"], "--input is missing: files, folders, or a table"),
        (["predict", "--model"], "--model: expected one argument"),
        (["predict", "--threads", "two"], "--threads two: expected a whole number"),
        (["predict", "--data.allow_outside", "yes"], "--data.allow_outside yes: true or false"),
        (["predict", "--model", "no.onnx", "--input", "scans", "--output", "o"], "no.onnx: there is no such file"),
        (
            ["predict", "--model", "tiny.onnx", "--input", "scans", "--output", "o", "--mask_format", "png"],
            "--mask_format: is not of classify",
        ),
        (["predict", "--model", "tiny.onnx", "--input", "scans", "--output", "scans"], "exists already"),
        (["predict", "--model", "tiny.onnx", "--input", "none", "--output", "o"], "none"),
        (["watch", "--model", "tiny.onnx", "--input", "none", "--output", "o"], "--input none: is no folder"),
        (["watch", "--model", "tiny.onnx", "--input", "scans", "--output", "scans/o"], "lies in the folder"),
        (["watch", "--model", "tiny.onnx", "--input", "scans", "--output", "o", "--rest", "-1"], "--rest"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_help_and_version(capfd: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"]):
        assert main(words) == 0
        assert "watch    apply an exported model to whatever comes to a folder" in capfd.readouterr().out
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("scansuite-runtime 0.")
    for verb, module in (("predict", predict), ("watch", watch)):
        assert main([verb, "--help"]) == 0
        out = capfd.readouterr().out
        assert all(f"--{name}" in out for flags in module.sections().values() for name in flags)
        assert max(map(len, out.splitlines())) <= 120


def test_help_imports_nothing_heavy() -> None:
    """It answers at once: what it costs is measured in docs/runtime.md."""
    code = (
        "import sys; from scansuite_runtime.__main__ import main; main(['watch', '--help']); main(['--version']); "
        "print([one for one in ('numpy', 'pandas', 'onnxruntime', 'pydicom', 'scipy', 'torch') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_watch_ends_on_a_signal_with_all_that_is_done_written(place: Path) -> None:
    command = [sys.executable, "-m", "scansuite_runtime", "watch", "--model", "tiny.onnx", "--input", "scans"]
    flags = ["--output", "out", "--rest", "0.2", "--every", "0.1"]

    def watched(cases: list[str]) -> tuple[int, str]:
        process = subprocess.Popen([*command, *flags], env=_environment(), stdout=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 30
            while _cases(place) != cases and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    assert watched(["a", "b/c"])[0] == 1  # one file is unreadable
    write_scans(place / "scans", ["d.png"])
    status, out = watched(["a", "b/c", "d"])
    assert (status, out) == (0, f"1 cases predicted, 0 unreadable: {place / 'out'}\n")
    assert pd.read_csv("out/errors.csv")["path"].tolist() == [str(place / "scans" / "broken.png")]
    assert (
        main([*command[3:], "--output", "out", "--once", "--rest", "0", "--every", "0", "--data.batch_size", "2"]) == 2
    )


def _cases(place: Path) -> list[str]:
    file = place / "out" / "predictions.csv"
    lines = (place / "out" / "watched.jsonl").read_text().count("\n") if file.is_file() else 0
    # One line says what is watched, and three cases are there from the start.
    return sorted(pd.read_csv(file)["case_id"]) if lines > 3 else []


def test_a_watch_may_end_when_all_is_done(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["watch", "--model", "tiny.onnx", "--input", "scans", "--output", "out", "--rest", "0", "--every", "0"]
    assert main([*words, "--once"]) == 1
    assert main([*words, "--once"]) == 0
    assert "goes on; 3 cases are done" in capfd.readouterr().err
    other = write_tiny(place / "other.onnx", replace(DESCRIPTION, name="other"))
    assert main(["watch", "--model", str(other), *words[3:], "--once"]) == 2
    assert "its results are of model" in capfd.readouterr().err


def test_another_packages_names_are_told(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("")
    code = "import tasks, scansuite_runtime"
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "scansuite_runtime needs the name 'tasks'" in done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'runtime'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
