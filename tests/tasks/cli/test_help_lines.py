"""Every line of help of every verb, task and data class: default, choices, unit, width, style; no words of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

import pytest

from tasks.cli import help as layout
from tasks.cli.help_lines import EMPTY, Known, arguments, choices_of, documented, known_of, line, takes_none
from tasks.cli.parser import COMMON, TRAINER_DEFAULTS, TaskParser
from tasks.cli.trainer_help import TRAINER
from tasks.cli.verb_parser import VerbParser
from tasks.registry.flag import Flag
from tasks.registry.specs import spec_of
from tests.tasks.cli.conftest import Run

TASKS = ("classify", "segment", "detect")
VERBS = ("fit", "plan", "sweep", "validate", "test", "predict", "check", "show", "summary", "list")

# A number of these kinds says so: with its unit, or as a number of something.
UNITS = (
    r"\bmm\b|\bpixels\b|\bdegrees\b|\bepochs?\b|\bseconds\b|\bminutes\b|\bbytes\b|0 to \d|0 \(easy\) to 1|\bfeatures\b"
    r"|\bsteps?\b|\bbatches\b|\bfolds?\b|\bpatches\b|\bpatients\b|\bimages\b|\bslices\b|\bcases\b|\bprocesses\b|\bchannels\b"
    r"|\bmachines\b|\bdevices\b|\bclasses\b|\bpasses\b"
)
# Numbers without a unit, and why.
WITHOUT_UNIT = {
    **dict.fromkeys(("split_seed", "phantom_seed", "seed_everything"), "a seed"),
    **dict.fromkeys(("gamma", "focal_gamma"), "an exponent"),
    **dict.fromkeys(("lr", "weight_decay", "backbone_lr_factor", "zoom"), "a factor"),
    **dict.fromkeys(("distill_features", "boundary_weight", "class_weights"), "a weight"),
    "distill_temperature": "a temperature",
    **dict.fromkeys(("mixup", "cutmix"), "a parameter of a distribution"),
    "gradient_clip_val": "in the units of the loss",
    **dict.fromkeys(("value_range", "ignore_value", "classes"), "stored values"),
    "fast_dev_run": "a switch",
}
PYTHON = re.compile(
    r"\b(?:None|True|False|Union|Optional|Literal|Callable|NoneType|dict|tuple|kwargs|str|int|bool|isinstance)\b|<class|\[\]"
    r"|``|:class:|:func:|\btype:"
)


@cache
def sections(task: str, verb: str, data: str | None = None) -> tuple[tuple[str, dict[str, str]], ...]:
    """The sections of the whole help of a verb, without making its parser."""
    import importlib

    found: list[Any] = []

    class ShownError(Exception):
        """Ends the verb where its help would be printed."""

    def keep(usage: str, about: str, shown: Any, more: Mapping[str, str]) -> str:
        found.extend((title, dict(rows)) for title, rows in shown)
        raise ShownError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.cli.verb_parser.short_help", keep)
        words = ["--help_all", *([] if data is None else ["--data", data])]
        with pytest.raises(ShownError):
            importlib.import_module(f"tasks.cli.verbs.{verb}").run(task, words)
    return tuple(found)


def cases() -> Iterator[tuple[str, str, str | None]]:
    for task in TASKS:
        for verb in VERBS:
            yield task, verb, None
        for name in spec_of(task).data_names():
            yield task, "fit", name


def rows(task: str, verb: str, data: str | None) -> dict[str, str]:
    return {name: text for _, some in sections(task, verb, data) for name, text in some.items() if name[:2] == "--"}


def known(task: str, verb: str, data: str | None) -> dict[str, Known]:
    """What the code says of the flags: types and defaults, found without what makes the help."""
    from pytorch_lightning import Trainer

    from datamodules.inputs import InputFiles

    spec = spec_of(task)
    cls = None if data is None else spec.data_classes()[data]
    found = {f"--model.{name}": one for name, one in known_of(spec.task_class()).items()}
    for kind in [InputFiles] if verb == "predict" else spec.data_classes().values() if cls is None else [cls]:
        found |= {f"--data.{name}": one for name, one in known_of(kind).items()}
    found |= {f"--trainer.{name}": one for name, one in known_of(Trainer).items()}
    if verb != "predict":
        found |= {f"--trainer.{n}": Known(found[f"--trainer.{n}"].kind, v) for n, v in TRAINER_DEFAULTS.items()}
    return found


@pytest.mark.parametrize(("task", "verb", "data"), cases())
def test_every_line_says_what_a_user_must_know(task: str, verb: str, data: str | None) -> None:
    facts, said = known(task, verb, data), rows(task, verb, data)
    wrong = []
    for name, text in said.items():
        if name not in facts or name in ("--data", "--trainer", "--model"):
            continue
        fact, leaf = facts[name], name.rpartition(".")[2]
        if fact.default is EMPTY:
            wrong += [] if "needed" in text else [f"{name}: is needed"]
        elif fact.default is None:
            wrong += [] if re.search("left out: |of training alone", text) else [f"{name}: what is it left out: {text}"]
        elif "of training alone" not in text:
            shown = (
                {True: "true", False: "false"}.get(fact.default, fact.default)
                if isinstance(fact.default, bool)
                else fact.default
            )
            shown = str(shown).removesuffix(".0")
            wrong += (
                [] if re.search(rf"default: {re.escape(shown)}(?:\]|,)", text) else [f"{name}: default {shown}: {text}"]
            )
        if takes_none(fact.kind) or not isinstance(fact.default, bool):
            missing = [one for one in choices_of(fact.kind) if one not in text]
            wrong += [f"{name}: may be {missing}: {text}"] if missing else []
        if is_number(fact.kind) and leaf not in WITHOUT_UNIT and not re.search(UNITS, text):
            wrong.append(f"{name}: no unit: {text}")
    assert wrong == []


def is_number(kind: Any) -> bool:
    """Whether a number may be typed."""
    from typing import get_args

    return kind in (int, float) or any(is_number(part) for part in get_args(kind))


@pytest.mark.parametrize(("task", "verb", "data"), cases())
def test_every_line_is_of_one_style(task: str, verb: str, data: str | None) -> None:
    """It begins with a small letter or a name, ends without a point, and speaks no Python."""
    for title, some in sections(task, verb, data):
        for name, text in some.items():
            assert text, f"{name}: says nothing"
            assert not PYTHON.search(text), f"{name}: {text}"
            if name.startswith("--data ") or not name.startswith("--"):
                continue  # what a class is: a sentence
            assert not text.endswith("."), f"{name}: {text}"
            assert " ".join(text.split()) == text, f"{name}: {text}"
            assert re.match(r"[a-z0-9]|[A-Z]{2,}|Lightning's", text), f"{title}: {name}: {text}"
            assert not re.search(r"\(default|defaults? (?:to |\d)", text), text


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize(("task", "verb"), [(task, verb) for task in TASKS for verb in ("fit", "predict")])
def test_help_fits_a_terminal(task: str, verb: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "text_width", lambda: width)
    shown = "\n".join(layout.shown([(title, list(some.items())) for title, some in sections(task, verb)]))
    assert max(map(len, shown.splitlines())) <= width
    # Words have room, and each flag is there once.
    indents = [len(text) - len(text.lstrip()) for text in shown.splitlines() if text.startswith("   ")]
    assert max(indents) <= max(width // 3, 22) + 4


@pytest.mark.parametrize("task", TASKS)
def test_help_of_everything_has_every_flag(task: str) -> None:
    from tasks.cli.starting.known_flags import flags_of

    spec = spec_of(task)
    for verb in VERBS:
        shown = set(rows(task, verb, None))
        wanted = {name for name in flags_of(spec, verb, spec.data) if ".init_args." not in name}
        bare = {"-h", "-c", "--help", "--data", "--model", "--trainer", "--data.help"}
        hidden = {name for name in wanted if name.startswith("--model.")} if verb not in ("fit", "summary") else set()
        assert wanted - bare - hidden <= shown, (verb, sorted(wanted - shown - bare - hidden))


def test_lightnings_flags_all_have_a_line() -> None:
    """One that a later Lightning brings has a line too, but a poor one: write it in ``tasks/cli/trainer_help.py``."""
    from pytorch_lightning import Trainer

    assert set(TRAINER) == set(known_of(Trainer))


def test_defaults_and_choices_come_from_the_code() -> None:
    """Another signature, another line: nothing is typed twice."""

    class Made:
        """What is made.

        Args:
            rate: speed of it.
            way: of going: ``left`` turns left.
            other: of going.
            some: numbers of it; left out: all.
            on: whether it runs.
        """

        def __init__(
            self,
            rate: float = 0.5,
            way: Literal["left", "right"] = "left",
            other: Literal["up", "down"] | None = None,
            some: list[int] | None = None,
            *,
            on: bool = True,
        ) -> None:
            self.all = rate, way, other, some, on

    found = documented("--x.", [Made], Made)
    assert found == {
        "--x.rate": "speed of it [default: 0.5]",
        "--x.way": "of going: left turns left [left, right; default: left]",
        "--x.other": "of going [up, down]",
        "--x.some": "numbers of it; left out: all",
        "--x.on": "whether it runs [default: true]",
    }
    assert arguments("--x.", Made, {"rate": "the suite gives it"})[0] == (
        "--x.rate",
        "speed of it [the suite gives it]",
    )


def test_other_arguments_are_named_as_they_are_typed() -> None:
    """``lr`` in a docstring is ``--model.lr`` in help; names of columns, folders and choices stay words."""

    class Made:
        """What is made.

        Args:
            rate: a multiple of ``way``, not of ``other``.
            way: ``rate`` or ``way``, of ``way.far`` and ``split.csv`` and ``split``.
            split: any.
            kind: ``rate`` or ``split``.
        """

        def __init__(
            self, rate: float = 0.5, way: str = "way", split: int = 1, kind: Literal["rate", "split"] = "rate"
        ) -> None:
            self.all = rate, way, split, kind

    found = documented("--x.", [Made], Made)
    assert found["--x.rate"].startswith("a multiple of --x.way, not of other [")
    assert found["--x.way"].startswith("--x.rate or way, of way.far and split.csv and split [")
    assert found["--x.kind"] == "rate or split [default: rate]"


@pytest.mark.parametrize(
    ("text", "known", "said"),
    [
        ("what it is.", Known(int, 3), "what it is [default: 3]"),
        ("what it is.", Known(int, EMPTY), "what it is [needed]"),
        ("what it is; left out: none.", Known(int | None, None), "what it is; left out: none"),
        ("``a`` or ``b``.", Known(Literal["a", "b"], "a"), "a or b [default: a]"),
        ("one of them.", Known(Literal["a", "b"], "a"), "one of them [a, b; default: a]"),
        ("whether.", Known(bool | None, None), "whether [true, false]"),
        ("bytes.", Known(int, 2**30), "bytes [default: 1073741824, 1 Gi]"),
        ("a\n    b.", Known(float, 2.0), "a b [default: 2]"),
        ("", Known(list[int], [1, 2]), "[default: 1,2]"),
        ("", Known(), ""),
    ],
)
def test_lines(text: str, known: Known, said: str) -> None:
    assert line("--x", text, known).strip() == said


def test_presets_are_listed_from_where_they_are() -> None:
    from datamodules.transforms.names import PRESETS
    from datamodules.windows import WINDOWS

    said = rows("classify", "fit", None)
    assert all(name in said["--data.augment"] for name in PRESETS)
    assert all(name in said["--data.window"] for name in WINDOWS)
    assert "left out: the preset's" in said["--data.augment_args.rotation"]


def test_null_in_a_config_is_left_out(tmp_path: Any) -> None:
    """Configs that earlier versions printed say null of flags that now have a default."""
    file = tmp_path / "old.yaml"
    file.write_text("judge_test: null\nscale_lr: null\nprofile: null\n")
    from tasks.cli.verbs.fit import OWN_FLAGS

    cli = TaskParser("classify", "fit", ["--config", str(file)], own_flags=OWN_FLAGS, builds_model=True)
    assert (cli.config["judge_test"], cli.config["scale_lr"], cli.config["profile"]) == (True, "none", False)


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["fit", "--data.help", "ImageTable"], ["--data.table", "[default: labels.csv]", "--data.batch_size"]),
        (["fit", "--data.help"], ["ImageFolder", "Phantoms"]),
        (["fit", "--data.help", "Bids"], ["in folders of BIDS", "column of participants.tsv"]),
        (
            ["fit", "--trainer.callbacks.help", "EarlyStopping"],
            ["--trainer.callbacks.monitor", "[needed]", "default: 3]"],
        ),
        (["fit", "--trainer.callbacks.help"], ["EarlyStopping", "Timer"]),
        (["predict", "--trainer.logger.help", "CSVLogger"], ["--trainer.logger.save_dir"]),
    ],
)
def test_help_of_what_a_flag_names(run: Run, words: list[str], there: list[str]) -> None:
    status, out, _ = run(*words)
    assert status == 0
    assert all(word in out for word in there), out
    assert "usage: __main__" not in out
    assert max(map(len, out.splitlines())) <= 118


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["fit", "--data.help", "ImageTabel"], "did you mean 'ImageTable'?"),
        (["fit", "--trainer.callbacks.help", "EarlyStoping"], "did you mean 'EarlyStopping'?"),
        (["fit", "--trainer.callbacks.help", "mypkg.Mine"], "allow it with --allow_import mypkg"),
    ],
)
def test_help_of_what_is_not_there(run: Run, words: list[str], line: str) -> None:
    status, _, err = run(*words)
    assert status == 2
    assert line in err


def test_own_flags_of_verbs_have_no_default_in_their_words() -> None:
    from tasks.cli.evaluate_checkpoint import OWN_FLAGS as EVALUATE
    from tasks.cli.verbs import check, fit, predict, summary
    from tasks.cli.verbs import list as networks

    for flags in (
        fit.OWN_FLAGS,
        EVALUATE,
        predict.OWN_FLAGS,
        check.OWN_FLAGS,
        summary.OWN_FLAGS,
        networks.OWN_FLAGS,
        COMMON,
    ):
        for name, one in flags.items():
            flag = Flag(one) if isinstance(one, str) else one
            assert "default" not in flag.help, name
            known = flag.needed or flag.stands_for is not None or flag.default not in (None, [])
            assert known or "left out:" in flag.help, name
    assert VerbParser.trainer_defaults == {}
