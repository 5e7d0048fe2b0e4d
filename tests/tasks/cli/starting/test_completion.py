"""Completion of tasks, verbs, flags and values, by the shells themselves where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.cli.main import BESIDE, VERBS
from tasks.cli.starting.completion import FILES, candidates
from tasks.cli.starting.shells import joined
from tasks.registry.specs import SPECS

ROOT = Path(__file__).resolve().parents[4]


def complete(*words: str) -> list[str]:
    return [one.word for one in candidates(words, VERBS, BESIDE)]


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ([""], [*SPECS, "jobs", "doctor", "clean", "verify", "keys"]),
        (["seg"], ["segment"]),
        (["verify", "m"], [FILES]),
        (["keys", ""], ["make", "trust", "forget", FILES]),
        (["segment", ""], list(VERBS)),
        (["classify", "fit", "--run"], ["--run_dir"]),
        (["classify", "list", "--"], ["--csv", "--quiet", "--debug", "--help"]),
        (["classify", "fit", "--data", ""], ["Phantoms", "MedMNIST", "ImageFolder", "ImageTable"]),
        (["classify", "fit", "--data=Im"], ["--data=ImageFolder", "--data=ImageTable"]),
        (["classify", "fit", "--model.loss", "f"], ["focal"]),
        (["segment", "fit", "--model.decoder", "unet"], ["unet", "unetplusplus"]),
        (["detect", "fit", "--model.detector", ""], ["retinanet", "fcos", "faster_rcnn"]),
        (["classify", "fit", "--model.backbone", "resnet18"], ["resnet18", "resnet18d"]),
        (["classify", "fit", "--data.augment", "x"], ["xray"]),
        (["classify", "fit", "--data.window", "lu"], ["lung"]),
        (["classify", "fit", "--trainer.deterministic", ""], ["true", "false", "warn"]),
        (["classify", "fit", "--config", "experiment/p"], ["experiment/phantoms", FILES]),
        (["classify", "fit", "--ckpt_path", ""], ["last", FILES]),
        (["classify", "predict", "--input", "a.png", ""], [FILES]),
        (["classify", "fit", "--data.root", ""], [FILES]),
        (["segment", "predict", "--data.root="], [f"{FILES}"]),
    ],
)
def test_what_may_come_next(words: list[str], some: list[str]) -> None:
    assert set(some) <= set(complete(*words))


@pytest.mark.parametrize(
    "words",
    [
        ["classify", "fit", "--model.lr", ""],
        ["classify", "fit", "--run_dir", "x", ""],
        ["nothing", "fit", ""],
        ["classify", "fit", "--nothing", ""],
        ["classify", "fit", "--help", ""],
    ],
)
def test_nothing_is_offered_where_nothing_is_known(words: list[str]) -> None:
    assert complete(*words) == []


def test_flags_are_those_of_the_data_class_that_was_typed() -> None:
    assert "--data.table" in complete("classify", "fit", "--data", "ImageTable", "--data.ta")
    assert "--data.table" not in complete("classify", "fit", "--data", "Phantoms", "--data.ta")
    assert "--data.table" in complete("classify", "fit", "--data", "nothing", "--data.ta")


def test_flags_are_offered_with_what_they_are() -> None:
    told = {one.word: one.help for one in candidates(["classify", "fit", "--"], VERBS, BESIDE)}
    assert all(told[flag] for flag in ("--run_dir", "--data.batch_size", "--model.lr", "--trainer.max_epochs"))
    assert not any("\n" in text or "\t" in text for text in told.values())


def test_words_that_bash_has_cut_are_joined() -> None:
    assert joined(["fit", "--data", "=", "Im"]) == ["fit", "--data=Im"]
    assert joined(["fit", "--data", "="]) == ["fit", "--data="]
    assert joined(["fit", "--data", "Im"]) == ["fit", "--data", "Im"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a table, and a ``scansuite`` on PATH that shows its words unless a shell asks it."""
    program = tmp_path / "bin" / "scansuite"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = completion ]; then PYTHONPATH="{ROOT}" exec "{sys.executable}" -m tasks.cli "$@"; fi\n'
        'printf "[%s]" "$@"\nprintf "\\nshown\\n"\n'
    )
    program.chmod(0o755)
    (tmp_path / "labels of all.csv").write_text("path,label\n")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "> ", "ZDOTDIR": str(folder)}


def typed(shell: list[str], keys: list[tuple[str, str]], folder: Path) -> str:
    """What a shell on a terminal shows when keys are pressed, each time after it has shown what was expected."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(shell[0], shell, environment(folder))
    said = ""
    for key, expected in keys:
        os.write(terminal, key.encode())
        ends, since = time.monotonic() + 30, len(said)
        while expected not in said[since:] and time.monotonic() < ends:
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 4096).decode(errors="replace")
    os.close(terminal)
    os.waitpid(process, 0)
    return said


# A shell may show the letters alone that it adds.
KEYS = [
    ("scansuite classify fit --data ImageT\t", "able"),
    ("--data.tab\t", "le"),
    ("lab\t", ".csv"),
    ("--model.loss=foc\t", "al"),
    ("\n", "shown"),
]
SHOWN = "[classify][fit][--data][ImageTable][--data.table][labels of all.csv][--model.loss=focal]"


@pytest.mark.parametrize("shell", [["bash", "--norc", "--noprofile", "-i"], ["zsh", "-f", "-i"]], ids=["bash", "zsh"])
def test_a_shell_completes_a_command(shell: list[str], folder: Path) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    source = f"source <(scansuite completion {shell[0]}); echo sou''rced\n"
    said = typed(shell, [(source, "sourced"), *KEYS], folder)
    assert SHOWN in said


def test_fish_completes_a_command(folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")

    def offered(line: str) -> list[str]:
        script = f"source (scansuite completion fish | psub); complete --do-complete '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return [one.split("\t")[0] for one in done.stdout.splitlines()]

    assert offered("scansuite classify fit --data ImageT") == ["ImageTable"]
    assert "--data.table" in offered("scansuite classify fit --data ImageTable --data.tab")
    assert offered("scansuite classify fit --data.table lab") == ["labels of all.csv"]
    assert offered("scansuite classify fit --data.table=lab") == ["--data.table=labels of all.csv"]
    assert offered("scansuite classify fit --model.loss=foc") == ["--model.loss=focal"]


def test_completion_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tasks.cli.verbs.completion import run\n"
        "run(['--words', 'zsh', 'classify', 'fit', '--model.lo'])\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'pytorch_lightning', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("--model.loss\t")
    assert done.stdout.endswith("[]\n")
