"""A stand-in for the trainings of a sweep, so that what the sweep itself does is seen; real ones are slow."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import pytest

from tasks.cli.sweep import trials
from tasks.cli.sweep.trial_run import Ended

TINY = (
    *("--data", "Phantoms", "--data.num_patients", "16", "--data.image_size", "32", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "2", "--model.backbone", "resnet10t", "--plan", "none"),
)
SPACE = "model.lr: {low: 1e-4, high: 1e-2, log: true}\ndata.augment: [light, none]\n"


class Trainings:
    """Stands for trainings: the value of a trial is a function of its learning rate, best at 0.003."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.metric = "auroc"
        self.workers = 0
        self.fail: Callable[[int], str] = lambda number: ""

    def __call__(
        self,
        task: str,
        words: Sequence[str],
        folder: Path,
        metric: str,
        report: Callable[[int, float], bool],
        ending: Event,
        workers: int,
    ) -> Ended:
        self.words.append(list(words))
        self.workers = workers
        error = self.fail(len(self.words) - 1)
        if error:
            return Ended(2, False, error)
        folder.mkdir(exist_ok=True)
        rate = float(words[words.index("--model.lr") + 1]) if "--model.lr" in words else 0.003
        value = 1 - abs(rate - 0.003) * 50
        for epoch in range(5):
            if report(epoch, value):
                return Ended(75, True, "")
        entry = {"value": value, "low": None, "high": None, "n": 3}
        (folder / "metrics.json").write_text(json.dumps({f"val/{self.metric}": entry}))
        (folder / "split.csv").write_text("case_id,patient_id,split\na,1,train\nb,2,val\nc,3,test\n")
        return Ended(0, False, "")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(trials, "run_trial", found)
    return found


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return file
