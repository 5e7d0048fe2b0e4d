"""Checkpoints from anywhere: refused by name, and what is pickled in them is never run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.weights import read_state_dict
from scansuite.errors import SuiteError
from tasks.cli.runs.checkpoints import open_checkpoint


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


GOOD: dict[str, Any] = {
    "scansuite": {"task": "classify"},
    "hyper_parameters": {"backbone": "resnet18"},
    "state_dict": {"backbone.conv.weight": torch.ones(3, 3)},
}


def refused(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        open_checkpoint(path, "classify")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_foreign_pickles_are_refused_by_name_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.ckpt"
    torch.save(GOOD | {"callbacks": Evil()}, path)
    assert "holds more than weights and plain values (posix.system), and pickled code is never run" in refused(path)
    path.write_bytes(pickle.dumps(GOOD | {"callbacks": Evil()}))
    refused(path)
    torch.save({"state_dict": Evil()}, path)
    refused(path)
    with pytest.raises(SuiteError, match=r"a\.ckpt: refused, because it holds more than weights \(posix\.system\)"):
        read_state_dict(path)
    torch.save(torch.nn.Linear(2, 2), path)  # a whole module, as many tutorials save it
    assert "torch.nn.modules.linear.Linear" in refused(path)
    assert not (tmp_path / "pwned").exists()


def test_what_is_no_checkpoint_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    for content, why in (
        ({}, "no checkpoint of this suite"),
        ([1, 2], "no checkpoint of this suite"),
        (GOOD | {"scansuite": 5}, "no checkpoint of this suite"),
        (GOOD | {"scansuite": {"task": ["classify"]}}, "no checkpoint of this suite"),
        (GOOD | {"scansuite": {"task": "segment"}}, "a checkpoint of the task 'segment'"),
        ({"scansuite": {"task": "classify"}, "state_dict": {}}, "has no hyper_parameters"),
        (GOOD | {"state_dict": None}, "has no state_dict"),
    ):
        torch.save(content, path)
        assert why in refused(path)
    torch.save(GOOD, path)
    assert open_checkpoint(path, "classify")["hyper_parameters"] == {"backbone": "resnet18"}


def test_damaged_checkpoints_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(GOOD, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    ended = {"read": 0, "refused": 0}
    for number in range(300):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=4):
            data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[: int(rng.integers(len(data)))] if number % 3 == 0 else data)
        for read in (lambda: open_checkpoint(path, "classify"), lambda: read_state_dict(path)):
            try:
                read()
                ended["read"] += 1
            except SuiteError as error:
                assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most are refused, some are read
                ended["refused"] += 1
    assert ended["refused"] > 200
