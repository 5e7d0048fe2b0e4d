"""Mistyped flags are answered before torch is imported, and as the parser of the verb answers them."""

from __future__ import annotations

import importlib
import resource
import statistics
import subprocess
import sys
from argparse import SUPPRESS
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.cli import flags
from tasks.cli.flags import VALUELESS, refuse_unknown
from tasks.cli.main import VERBS
from tasks.cli.starting.known_flags import OWN_FLAGS, OWN_FLAGS_ALONE, flags_of
from tasks.cli.starting.mistyped import refuse_mistyped
from tasks.registry.specs import SPECS, spec_of
from tests.tasks.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[4]
WITHOUT_TRAINER = ("explain",)
CASES = [(task, verb) for task in SPECS for verb in OWN_FLAGS]


class _Known(BaseException):
    """What a verb's parser has told of itself, thrown from where it would look at flags."""

    def __init__(self, known: set[str], options: dict[str, object]) -> None:
        self.known, self.options = known, options  # of all options how many words they take


@cache
def parsed(task: str, verb: str, *argv: str) -> _Known:
    """The flags that a verb's own parser knows, as the verb makes it."""
    from tasks.cli import evaluate_checkpoint
    from tasks.cli.verb_parser import VerbParser

    def check(self: VerbParser, argv: Sequence[str]) -> None:
        shown = [action for action in self.parser._actions if action.help != SUPPRESS]  # the others are no flags
        options = {name: action.nargs for action in shown for name in action.option_strings}
        raise _Known(self.known_flags(argv), options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VerbParser, "check", check)
        patch.setattr(evaluate_checkpoint, "_find", lambda *_: None)
        with pytest.raises(_Known) as found:
            importlib.import_module(f"tasks.cli.verbs.{verb}").run(task, list(argv))
    return found.value


def answer(task: str, verb: str, argv: Sequence[str]) -> str | None:
    """The line that the early look says."""
    try:
        refuse_mistyped(spec_of(task), verb, argv)
    except SuiteError as error:
        return str(error)
    return None


def late_answer(task: str, verb: str, argv: Sequence[str], data: Sequence[str] = ()) -> str | None:
    """The line that the parser says."""
    try:
        refuse_unknown(argv, parsed(task, verb, *data).known)
    except SuiteError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("task", "verb"), CASES)
def test_flags_read_from_the_source_are_those_of_the_parser(task: str, verb: str) -> None:
    """For all data classes together, and for each."""
    spec = spec_of(task)
    assert set(flags_of(spec, verb, spec.data)) == parsed(task, verb).known
    if verb in ("fit", "check"):  # the other verbs with data take them from the same place
        for name, path in zip(spec.data_names(), spec.data, strict=True):
            assert set(flags_of(spec, verb, [path])) == parsed(task, verb, "--data", name).known


@pytest.mark.parametrize(("task", "verb"), CASES)
def test_whatever_the_parser_takes_passes(task: str, verb: str, tmp_path: Path) -> None:
    """Every flag that it has in each way to type it: with `=`, with `+`, and with something below it."""
    config = tmp_path / "own.yaml"
    config.write_text("output: out\n")
    for option in parsed(task, verb).options:
        if option.startswith("--"):
            shipped = str(config) if verb in WITHOUT_TRAINER else "trainer/cpu"
            value = {"--config": shipped, "--data": "Phantoms"}.get(option, "x")
            for words in ([option, value], [f"{option}={value}"]):
                assert answer(task, verb, words) is None
    if verb in OWN_FLAGS_ALONE:
        return
    if verb in WITHOUT_TRAINER:
        assert answer(task, verb, ["--trainer.max_epochs", "1"]) is not None
        return
    for word in ("--data.augment_args.rotation", "--model.backbone_args.x.y", "--trainer.logger.save_dir"):
        if verb != "predict" or "trainer" in word:
            if verb in ("validate", "test") and "model" in word:
                continue
            assert answer(task, verb, [word, "1"]) == late_answer(task, verb, [word, "1"]) is None


@pytest.mark.parametrize(("task", "verb"), CASES)
def test_only_flags_that_must_have_a_value_are_refused_without(task: str, verb: str) -> None:
    found = parsed(task, verb)
    for option in found.known:
        if option in VALUELESS:
            assert answer(task, verb, [option]) is None
            continue
        assert found.options.get(option) in (None, "+"), option
        line = answer(task, verb, [option])
        if verb in ("validate", "test") and option.startswith("--model"):
            assert line is None
        else:
            assert line == f"{option}: its value is missing: give {option} VALUE, or leave it out"


def test_a_flag_that_follows_is_no_value(run: Run) -> None:
    """In the parser's own words, which come where the early look is not sure."""
    line = "--run_dir: its value is missing: --model.lr follows: give --run_dir VALUE, or leave it out"
    assert answer("classify", "fit", ["--run_dir", "--model.lr", "0.1"]) == line
    blank = "--run_dir '': its value is blank: give --run_dir VALUE, or leave it out"
    assert answer("classify", "fit", ["--run_dir", "", "--model.lr", "-1"]) == blank
    assert answer("classify", "fit", ["--model.lr", "-1"]) is None
    own = ["--data", "tests.tasks.cli.none.Data"]
    assert answer("classify", "fit", [*own, "--data.root", "--model.lr", "0.1"]) is None


@pytest.mark.parametrize("flag", ["--data", "--data.class_path"])
@pytest.mark.parametrize("name", ["Foo", "Coco", "ImageTabel"])
def test_a_data_class_that_is_not_there(run: Run, flag: str, name: str) -> None:
    early = answer("classify", "check", [flag, name])
    with pytest.raises(SuiteError) as late:
        importlib.import_module("tasks.cli.verbs.check").run("classify", [flag, name])
    assert early == str(late.value)


@cache
def words_of(task: str, verb: str) -> list[str]:
    """Flags of a verb with all data classes."""
    return sorted(name for name in parsed(task, verb).known if name.startswith("--"))


@st.composite
def typed(draw: st.DrawFn, task: str, verb: str) -> list[str]:
    """Flags with values, some of them mistyped."""
    words: list[str] = []
    for name in draw(st.lists(st.sampled_from(words_of(task, verb)), max_size=4)):
        place = draw(st.integers(2, len(name) - 1))
        spoilt = draw(st.sampled_from([name, name, name[:place] + name[place + 1 :], f"{name[:place]}z{name[place:]}"]))
        below = draw(st.sampled_from(["", "", "", ".x", "+"]))
        value = draw(st.sampled_from(["x", "0.1", "-1", "true"]))
        words += [f"{spoilt}{below}={value}"] if draw(st.booleans()) else [f"{spoilt}{below}", value]
    return words


@pytest.mark.parametrize(("task", "verb"), [case for case in CASES if case[1] not in (*OWN_FLAGS_ALONE, "test")])
def test_the_early_answer_is_the_parsers(task: str, verb: str) -> None:
    names = spec_of(task).data_names() if verb != "predict" else []

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.data())
    def holds(draw: st.DataObject) -> None:
        name = draw.draw(st.sampled_from([None, *names]))
        chosen = [] if name is None else ["--data", name]
        drawn = draw.draw(typed(task, verb))
        words, flags = [*chosen, *drawn], {word.split("=")[0] for word in drawn}
        if (
            any(flag.endswith(".help") for flag in flags)
            or {"--help", "--config", "--data", "--data+", "--data.class_path"} & flags
        ):
            return
        if verb == "validate" and any(flag.startswith("--model") for flag in flags):
            return
        early, late = answer(task, verb, words), late_answer(task, verb, words, chosen)
        brings = name is None and any(flag.startswith(("--ckpt_path", "--model.weights")) for flag in flags)
        assert early == late or (brings and early is None)

    holds()


OWN = ["--data", "mypkg.data.Mine", "--allow_import", "mypkg"]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--data.roto", "x"], "unknown flag --data.roto: did you mean --data.root?"),
        (["--data=ImageTable", "--data.tabel=x"], "unknown flag --data.tabel: did you mean --data.table?"),
        ([*OWN, "--data.anything", "x"], None),
        ([*OWN, "--run_dri", "x"], "unknown flag --run_dri: did you mean --run_dir?"),
        (["--ckpt_path", "last", "--data.roto", "x"], None),  # the run may have a class of the user's own
        (["--ckpt_path", "last", "--run_dri", "x"], "unknown flag --run_dri: did you mean --run_dir?"),
        (["--data", '{"class_path": "ImageTable"}', "--data.table", "x"], None),
    ],
)
def test_what_is_not_known_yet_is_left_to_the_parser(argv: list[str], line: str | None) -> None:
    assert answer("classify", "fit", argv) == line


def test_a_config_names_the_data_class(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  class_path: ImageTable\n")
    assert answer("classify", "fit", ["--config", str(file), "--data.table", "x"]) is None
    line = answer("classify", "fit", ["--config", str(file), "--data.num_patients", "3"])
    assert line is not None
    assert line.startswith("unknown flag --data.num_patients")
    file.write_text("data:\n  class_path: mypkg.Mine\n")
    assert answer("classify", "fit", ["--config", str(file), "--data.num_patients", "3"]) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("model:\n  lrr: 0.1\n", "model.lrr: no such flag: did you mean 'lr'?"),
        ("trainer:\n  max_epoch: 1\n", "trainer.max_epoch: no such flag: did you mean 'max_epochs'?"),
        ("modle:\n  lr: 1\n", "modle: no such flag: did you mean 'model'?"),
        ("data:\n  roto: x\n", "data.roto: no such flag: did you mean 'root'?"),
        (
            "data:\n  class_path: ImageTable\n  init_args:\n    tabel: x\n",
            "data.tabel: no such flag: did you mean 'table'?",
        ),
        ("- 1\n", "holds no flags: write a flag and its value in each line (run_dir: mine)"),
        ("", "is empty: write a flag and its value in each line (run_dir: mine)"),
    ],
)
def test_a_mistyped_key_of_a_config(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    argv = ["--config", str(file)]
    assert answer("classify", "check", argv) == f"--config {file}: {key}"
    with pytest.raises(SuiteError) as late:
        importlib.import_module("tasks.cli.verbs.check").run("classify", argv)
    assert str(late.value) == f"--config {file}: {key}"


@pytest.mark.parametrize(
    "text",
    [
        "model.lr: 0.1\ntrainer:\n  callbacks+: [{class_path: Timer, init_args: {interval: epoch}}]\n",
        "trainer:\n  logger: {class_path: CSVLogger, init_args: {save_dir: x}}\nconfig: x\n",
        "model:\n  num_classes: 3\ndata:\n  min_image_size: 3\n",
        "data:\n  class_path: mypkg.Mine\n  init_args: {anything: 3}\n",
        "data: ImageFolder\n",
    ],
)
def test_what_a_config_may_hold_is_left_to_the_parser(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert answer("classify", "fit", ["--config", str(file)]) is None


def test_arguments_of_a_class_that_another_config_or_flag_replaces_are_left_to_the_parser(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("data:\n  class_path: ImageTable\n  init_args: {table: x}\n")
    second.write_text("data:\n  class_path: ImageFolder\n")
    assert answer("classify", "fit", ["--config", str(first), "--config", str(second)]) is None
    assert answer("classify", "fit", ["--config", str(first), "--data", "ImageFolder"]) is None


@pytest.mark.parametrize("name", sorted(flags.shipped_configs()))
def test_shipped_configs_pass(name: str) -> None:
    task = {"hippocampus": "segment", "nuclei": "segment", "bccd": "detect"}.get(name.split("/")[-1], "classify")
    if not name.startswith("slurm/"):
        assert answer(task, "fit", ["--config", name]) is None


def test_every_verb_of_a_task_is_read() -> None:
    """One that is not is as slow as its imports: name its flags in ``tasks/cli/starting/known_flags.py``."""
    assert set(OWN_FLAGS) == set(VERBS)


def seconds(words: Sequence[str]) -> float:
    """CPU time of a command that ends with an error."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown flag")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_a_mistyped_flag_is_answered_within_half_a_second() -> None:
    assert statistics.median(seconds(["tasks.classify", "fit", "--data.roto", "x"]) for _ in range(5)) < 0.5


@pytest.mark.parametrize("verb", ["fit", "predict", "test"])
def test_a_mistyped_flag_costs_no_heavy_import(verb: str) -> None:
    code = (
        "import sys; from tasks.cli.main import main\n"
        f"status = main('segment', [{verb!r}, '--data.roto', 'x'])\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pytorch_lightning', 'timm', 'jsonargparse', 'rich'}\n"
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "2 []\n"
    assert result.stderr == "error: unknown flag --data.roto: did you mean --data.root?\n"
