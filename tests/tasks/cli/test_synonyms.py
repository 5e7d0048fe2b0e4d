"""Names that other trainers have for our flags, and typing mistakes, lead to the flag that is meant."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.cli.config_keys import refuse_unknown_keys
from tasks.cli.flags import refuse_unknown
from tasks.cli.starting.known_flags import OWN_FLAGS, flags_of
from tasks.cli.starting.mistyped import refuse_mistyped
from tasks.cli.synonyms import _NAMES, SYNONYMS, meant
from tasks.registry.specs import spec_of

TASKS = ("classify", "segment", "detect")


@cache
def flags(task: str, verb: str) -> frozenset[str]:
    spec = spec_of(task)
    return frozenset(flags_of(spec, verb, spec.data))


@cache
def all_flags() -> frozenset[str]:
    found = frozenset({"--quiet"}).union(*(flags(task, verb) for task in TASKS for verb in OWN_FLAGS))
    # What is below these is anybody's.
    return found | {f"--model.optimizer_args.{name}" for name in ("momentum", "betas", "eps")} | {
        f"--model.schedule_args.{name}" for name in ("step_size", "gamma", "min_lr")
    }  # fmt: skip


def test_every_flag_of_the_table_is_one() -> None:
    assert {flag.split("=")[0] for flags in SYNONYMS.values() for flag in flags} <= all_flags()


def test_no_name_stands_twice_in_the_table() -> None:
    counts = Counter(name for _, names in _NAMES for name in names.split())
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("typed", "flag"),
    [
        ("--learning_rate", "--model.lr"),
        ("--learning-rate", "--model.lr"),
        ("--model.learning_rate", "--model.lr"),
        ("--lr", "--model.lr"),
        ("-lr", "--model.lr"),
        ("--learing_rate", "--model.lr"),
        ("--epochs", "--trainer.max_epochs"),
        ("--num_epochs=3", "--trainer.max_epochs"),
        ("--max_epochs", "--trainer.max_epochs"),
        ("--model.epochs", "--trainer.max_epochs"),
        ("--batch", "--data.batch_size"),
        ("--batch_size", "--data.batch_size"),
        ("--bs", "--data.batch_size"),
        ("-b", "--data.batch_size"),
        ("--trainer.batch_size", "--data.batch_size"),
        ("--gpus", "--trainer.devices"),
        ("--devices", "--trainer.devices"),
        ("--gpu", "--trainer.accelerator gpu"),
        ("--wd", "--model.weight_decay"),
        ("--imgsz", "--data.image_size"),
        ("--img_size", "--data.image_size"),
        ("--image_size", "--data.image_size"),
        ("--workers", "--data.num_workers"),
        ("--num_workers", "--data.num_workers"),
        ("--seed", "--seed_everything"),
        ("--pretrained", "--model.weights imagenet"),
        ("--arch", "--model.backbone"),
        ("--model.name", "--model.backbone"),
        ("--dataset", "--data.root"),
        ("--data_dir", "--data.root"),
        ("--out", "--run_dir"),
        ("--output_dir", "--run_dir"),
        ("--resume", "--ckpt_path last"),
        ("--checkpoint", "--ckpt_path"),
        ("--weights", "--model.weights"),
        ("--amp", "--trainer.precision 16-mixed"),
        ("--fp16", "--trainer.precision 16-mixed"),
        ("--precision", "--trainer.precision"),
        ("--k", "--folds"),
        ("--patience", "--model.early_stopping"),
        ("--optimizer", "--model.optimizer"),
        ("--scheduler", "--model.schedule"),
        ("--momentum", "--model.optimizer_args.momentum"),
        ("--Model.LR", "--model.lr"),
        ("--wandb", "--logger wandb"),
    ],
)  # fmt: skip
def test_names_of_other_trainers(task: str, typed: str, flag: str) -> None:
    """The line names our flag before anything heavy is imported, and what it says passes."""
    with pytest.raises(SuiteError) as said:
        refuse_mistyped(spec_of(task), "fit", [typed, "3"])
    assert str(said.value) == f"unknown flag {typed.split('=')[0]}: did you mean {flag}?"
    refuse_unknown([flag.split()[0], "3"], flags(task, "fit"))


@pytest.mark.parametrize(
    ("task", "verb", "typed", "flag"),
    [
        ("classify", "fit", "--names", "--data.class_names"),
        ("classify", "fit", "--classes", "--data.class_names"),
        ("segment", "fit", "--names", "--data.classes"),
        ("classify", "fit", "--dropout", "--model.dropout"),
        ("classify", "fit", "--mixup", "--model.mixup"),
        ("detect", "fit", "--conf", "--model.score_threshold"),
        ("detect", "fit", "--iou", "--model.nms_iou"),
        ("classify", "predict", "--model", "--ckpt_path"),
        ("classify", "predict", "--weights", "--ckpt_path"),
        ("classify", "predict", "--source", "--input"),
        ("classify", "predict", "--image", "--input"),
        ("classify", "predict", "--out", "--output"),
        ("classify", "predict", "--batch", "--data.batch_size"),
        ("segment", "test", "--checkpoint", "--ckpt_path"),
        ("segment", "summary", "--imgsz", "--data.image_size"),
    ],
)
def test_what_a_name_means_depends_on_the_verb(task: str, verb: str, typed: str, flag: str) -> None:
    assert meant(typed, flags(task, verb)) == flag


@pytest.mark.parametrize("typed", ["--lr", "--iou", "--patience", "--pretrained", "--momentum"])
def test_what_a_verb_does_not_have_is_not_guessed(typed: str) -> None:
    assert meant(typed, flags("classify", "predict")) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("epochs: 5\n", "epochs: no such flag: did you mean 'trainer.max_epochs'?"),
        ("model:\n  learning_rate: 0.1\n", "model.learning_rate: no such flag: did you mean 'lr'?"),
        ("model:\n  batch_size: 8\n", "model.batch_size: no such flag: did you mean 'data.batch_size'?"),
        ("trainer:\n  gpus: 2\n", "trainer.gpus: no such flag: did you mean 'devices'?"),
        ("model:\n  pretrained: true\n", "model.pretrained: no such flag: did you mean 'weights: imagenet'?"),
        ("zzzzzz: 5\n", "zzzzzz: no such flag: see --help_all"),
    ],
)
def test_keys_of_a_config(tmp_path: Path, text: str, hint: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(SuiteError) as said:
        refuse_unknown_keys(["--config", str(file)], flags("classify", "fit"))
    assert str(said.value) == f"--config {file}: {hint}"


@given(st.text(st.sampled_from("abcdelmnoprt_.-"), max_size=20))
def test_what_is_proposed_is_a_flag_of_the_verb(word: str) -> None:
    known = flags("segment", "predict")
    flag = meant(f"--{word}", known)
    assert flag is None or flag.split()[0] in known


@given(st.sampled_from(sorted(SYNONYMS)), st.sampled_from(["-", "--"]))
def test_names_are_taken_with_dashes_and_capitals(name: str, dashes: str) -> None:
    known = flags("detect", "fit")
    typed = f"{dashes}{name.replace('_', '-').upper()}"
    assert meant(typed, known) == meant(f"--{name}", known)


@pytest.mark.parametrize("words", [["--data.value_range", "-1,1"], ["--x", "-0.5"], ["-"], ["-c", "run.yaml"]])
def test_negative_numbers_are_values(words: list[str]) -> None:
    refuse_unknown(words, {"--data.value_range", "--x", "-c"})
