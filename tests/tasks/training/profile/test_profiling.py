"""The profile of a training: its parts add up, and its advice follows the rules."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Trainer

from scansuite import ClassificationPhantoms, ClassificationTask, DetectionPhantoms, DetectionTask
from tasks.cli.parser import TaskParser
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.training.profile.device_times import BETWEEN, DeviceTimes, covered
from tasks.training.profile.parts import (
    BACKWARD,
    CALLBACKS,
    CHECKPOINTS,
    FORWARD,
    GAP,
    LOOP,
    LOSS,
    METRICS,
    OPTIMISER,
    PARTS,
    PROFILING,
    TRANSFER,
    VALIDATION,
    WAIT,
)  # fmt: skip
from tasks.training.profile.profiling import ProfileTraining, TrainingProfiler, part_of
from tasks.training.profile.report import Device, Measurement, Report, Settings


class FakeClock:
    """Seconds that a test lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("tasks.training.profile.profiling.time.perf_counter", lambda: self.now)


def test_an_action_within_another_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, profiler = FakeClock(monkeypatch), TrainingProfiler()
    profiler.begin()
    for step, length in (
        (("start", "run_training_epoch"), 1), (("start", "[_TrainingEpochLoop].train_dataloader_next"), 2),
        (("stop", "[_TrainingEpochLoop].train_dataloader_next"), 4),
        (("start", "[LightningModule]Task.optimizer_step"), 8), (("start", "[Strategy]S.training_step"), 16),
        (("start", "forward"), 32), (("stop", "forward"), 64), (("stop", "[Strategy]S.training_step"), 128),
        (("start", "[Callback]Ema{'decay': 0.9}.on_before_optimizer_step"), 256),
        (("stop", "[Callback]Ema{'decay': 0.9}.on_before_optimizer_step"), 512),
        (("stop", "[LightningModule]Task.optimizer_step"), 1024), (("stop", "run_training_epoch"), 2048),
    ):  # fmt: skip
        getattr(profiler, step[0])(step[1])
        clock.now += length
    profiler.end()
    expected = {
        WAIT: 2, OPTIMISER: 8 + 128 + 512, METRICS: 16 + 64, FORWARD: 32, CALLBACKS: 256, LOOP: 1 + 4 + 1024, GAP: 2048,
    }  # fmt: skip
    assert {part: spent for part, spent in profiler.seconds.items() if spent} == expected
    clock.now += 1
    profiler.start("forward")
    assert sum(profiler.seconds.values()) == 4095  # nothing is counted after the end


def test_validation_holds_its_own_actions_but_the_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, profiler = FakeClock(monkeypatch), TrainingProfiler()
    profiler.begin()
    profiler.next_epoch()
    for verb, action, length in (
        ("start", "[Loop].train_dataloader_next", 1), ("stop", "[Loop].train_dataloader_next", 0),
        ("start", "[Loop].train_dataloader_next", 2), ("stop", "[Loop].train_dataloader_next", 0),
        ("start", "[LightningModule]T.on_validation_model_zero_grad", 4),
        ("stop", "[LightningModule]T.on_validation_model_zero_grad", 8),
        ("start", "[Callback]C.on_validation_end", 16), ("start", "save_checkpoint", 32),
        ("stop", "save_checkpoint", 64),
        ("stop", "[Callback]C.on_validation_end", 0), ("start", "[Strategy]S.on_validation_end", 0),
        ("stop", "[Strategy]S.on_validation_end", 128), ("start", "forward", 256),
    ):  # fmt: skip
        getattr(profiler, verb)(action)
        clock.now += length
    profiler.end()
    found = {part: spent for part, spent in profiler.seconds.items() if spent}
    # Directly behind an action that ends nothing is running: that is the time between epochs.
    assert found == {GAP: 1 + 8 + 128, WAIT: 2, VALIDATION: 4 + 16 + 64, CHECKPOINTS: 32, FORWARD: 256}


def test_time_set_aside_is_the_profiles_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, profiler = FakeClock(monkeypatch), TrainingProfiler()
    profiler.begin()
    profiler.start("forward")
    for aside in (True, False):
        clock.now += 3
        profiler.set_aside(aside)
    clock.now += 5
    profiler.stop("forward")
    profiler.end()
    assert profiler.seconds[FORWARD] == 3 + 5
    assert profiler.seconds[PROFILING] == 3


@pytest.mark.parametrize(
    ("action", "part"),
    [
        ("forward", FORWARD), ("loss", LOSS), ("[Strategy]SingleDeviceStrategy.training_step", METRICS),
        ("[Strategy]SingleDeviceStrategy.batch_to_device", TRANSFER), ("[Strategy]DDPStrategy.backward", BACKWARD),
        ("[LightningModule]ClassificationTask.optimizer_step", OPTIMISER), ("save_checkpoint", CHECKPOINTS),
        ("[Callback]ModelCheckpoint{'monitor': 'val/auroc', 'every': 1}.on_train_batch_end", CALLBACKS),
        ("[Callback]Ema.on_save_checkpoint", CHECKPOINTS), ("run_training_batch", LOOP),
        ("[LightningModule]ClassificationTask.on_train_epoch_end", METRICS),
    ],
)  # fmt: skip
def test_the_part_of_an_action(action: str, part: str) -> None:
    assert part_of(action) == part


def fit(data: Any, task: Any, folder: Path, **flags: Any) -> tuple[Report, float]:
    profiler = TrainingProfiler()
    callback = ProfileTraining(profiler, folder)
    trainer = Trainer(
        accelerator="cpu", max_epochs=3, callbacks=[callback], profiler=profiler, logger=False, default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, **flags,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(task, data)
    seconds = time.perf_counter() - start
    assert callback.report is not None
    return callback.report, seconds


def test_parts_of_a_real_training_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ClassificationPhantoms(num_patients=40, image_size=32, batch_size=8, num_workers=1)
    task = ClassificationTask.for_data(data, "small_cnn", ema=0.9)
    report, seconds = fit(data, task, tmp_path)
    [rank] = report.ranks
    batches = -(-len(data.rows("train")) // 8)
    assert rank.epochs == 3
    assert rank.steps == 3 * batches - (3 if 3 * batches > 12 else 1)
    assert len(data.rows("train")) * 3 - 8 * 4 < rank.images <= 8 * rank.steps
    assert 0 < report.total <= seconds - rank.before
    for part in PARTS:
        assert (report.seconds[part] > 0) == (part is not PROFILING), part
    assert rank.step is not None
    assert 0 < rank.step < report.total
    assert rank.memory > 2**20
    assert rank.device is None
    within, whole = report.images_per_second
    assert within > whole > 0
    out = capsys.readouterr().out
    assert (tmp_path / "profile.txt").read_text() in out
    said = json.loads((tmp_path / "profile.json").read_text())
    assert sum(said["shares"].values()) == pytest.approx(1)
    assert said["ranks"][0]["steps"] == rank.steps
    assert said["settings"]["workers"] == 1


def test_detection_has_the_same_parts(tmp_path: Path) -> None:
    data = DetectionPhantoms(num_patients=8, image_size=64, batch_size=4, num_workers=0)
    report, _ = fit(data, DetectionTask.for_data(data, "test_resnet", channels=32, detector="fcos"), tmp_path)
    for part in (WAIT, FORWARD, LOSS, BACKWARD, OPTIMISER, VALIDATION, CHECKPOINTS):
        assert report.seconds[part] > 0, part


def test_a_training_that_breaks_off_tells_what_it_knows(tmp_path: Path) -> None:
    class Broken(ClassificationTask):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.global_step == 8:
                raise KeyError("broken")

    data = ClassificationPhantoms(num_patients=40, image_size=32, batch_size=8, num_workers=0)
    with pytest.raises(KeyError, match="broken"):
        fit(data, Broken.for_data(data, "small_cnn"), tmp_path)
    assert json.loads((tmp_path / "profile.json").read_text())["ranks"][0]["steps"] == 5


def measured(device: Device | None = None, **seconds: float) -> Measurement:
    names = {"wait": WAIT, "forward": FORWARD, "gap": GAP, "validation": VALIDATION, "checkpoints": CHECKPOINTS}
    return Measurement({names[name]: spent for name, spent in seconds.items()}, 1.0, 100, 800, 2, 0.02, 2**30, device)


def gpu(between: float = 0.0, kernels: float | None = 19.0, peak: int = 60) -> Device:
    return Device("card", 80 * 2**30, peak * 2**30, {FORWARD: 20.0 - between, BETWEEN: between}, kernels, 10)


ALONE = Settings(batch_size=8, workers=2, cores=8)


@pytest.mark.parametrize(
    ("rank", "settings", "flags"),
    [
        (measured(wait=0.0, forward=10), ALONE, []),
        (measured(wait=0.9, forward=9.1), ALONE, []),
        (measured(wait=2, forward=8), ALONE, ["--data.num_workers 7", "--data.cache auto"]),
        (measured(wait=2, forward=8), Settings(8, 7, 8), ["--data.cache auto"]),
        (measured(wait=2, forward=8), Settings(8, 7, 8, "memory"), ["--data.augment light"]),
        (measured(gpu(between=1), wait=5, forward=5), ALONE, []),  # the GPU had work left while the host waited
        (measured(gpu(between=5), wait=5, forward=5), Settings(8, 7, 8, "memory", "cpu"), ["--data.augment_on gpu"]),
        (measured(gpu(kernels=10), forward=10), ALONE, ["--compile reduce-overhead"]),
        (measured(gpu(kernels=10), forward=10), Settings(8, 7, 8, compiled=True), ["--data.batch_size"]),
        (measured(gpu(kernels=None), forward=10), ALONE, []),
        (measured(gpu(peak=10), forward=10), ALONE, ["--data.batch_size 32"]),
        (measured(forward=5, validation=5), ALONE, ["--trainer.check_val_every_n_epoch 5"]),
        (measured(forward=8, gap=2), ALONE, ["--trainer.check_val_every_n_epoch 5", "--data.cache auto"]),
        (measured(forward=8, checkpoints=2), ALONE, ["--run_dir"]),
    ],
)
def test_advice_follows_the_rules(rank: Measurement, settings: Settings, flags: list[str]) -> None:
    advice = " ".join(Report([rank], settings).advice())
    assert (advice == "") == (not flags)
    for flag in flags:
        assert flag in advice


def test_flags_of_the_advice_exist() -> None:
    ranks = [
        measured(gpu(between=8, kernels=2, peak=1), wait=5, forward=1, gap=4), measured(gpu(kernels=2), forward=1),
        measured(forward=1, validation=9), measured(forward=1, checkpoints=9), measured(forward=1, gap=9),
    ]  # fmt: skip
    told = [
        line
        for rank in ranks
        for settings in (ALONE, Settings(8, 7, 8, "memory"))
        for line in Report([rank], settings).advice()
    ]
    assert len({line.split()[0] for line in told}) >= 4
    named = {word.strip("(),.") for line in told for word in line.split() if "--" in word}
    known = TaskParser("classify", "fit", [], own_flags=OWN_FLAGS, builds_model=True).known_flags([])
    assert named
    assert named <= known


def test_ranks_are_put_together() -> None:
    report = Report([measured(wait=1, forward=9), measured(wait=3, forward=7)], ALONE)
    assert report.shares[WAIT] == pytest.approx(0.2)
    assert report.spread(WAIT) == (0.1, 0.3)
    assert report.images_per_second == (160.0, 160.0)
    text = report.text()
    assert "on 2 ranks" in text
    assert "10.0% to 30.0%" in text
    assert "at most 2.00 GiB" in text


def test_too_few_steps_are_said() -> None:
    nothing = Measurement({}, 0.1, 0, 0, 0, None, 0, None)
    assert Report([nothing], ALONE).text() == "profile: the training had too few steps to say where its time went\n"
    json.loads(Report([nothing], ALONE).json())


class FakeMark:
    """An event of a device whose clock the test moves."""

    now = 0.0
    reached = True

    def record(self) -> None:
        self.at = self.now

    def query(self) -> bool:
        return self.reached

    def elapsed_time(self, end_event: Any) -> float:
        return float(end_event.at - self.at)


def test_the_devices_time_is_divided_too(monkeypatch: pytest.MonkeyPatch) -> None:
    times = DeviceTimes(FakeMark)
    times.part(FORWARD)  # outside of a sampled step nothing is noted
    monkeypatch.setattr(FakeMark, "reached", False)
    for _ in range(2):
        times.begin_step()
        for part, length in ((CALLBACKS, 1), (FORWARD, 2), (LOSS, 4), (CALLBACKS, 8), (LOOP, 16), (OPTIMISER, 32)):
            times.part(part)
            FakeMark.now += length
        times.end_step()
    assert times.milliseconds() == {}  # the device has not come so far
    times.begin_step()
    FakeMark.now += 1000
    times.drop_step()
    times.end_step()
    monkeypatch.setattr(FakeMark, "reached", True)
    assert times.milliseconds() == {BETWEEN: 1 + 8 + 16, FORWARD: 2, LOSS: 4, OPTIMISER: 32}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8))
def test_kernels_that_run_at_once_count_once(spans: list[tuple[int, int]]) -> None:
    ticks = {tick for start, length in spans for tick in range(start, start + length)}
    assert covered([(start, start + length) for start, length in spans]) == len(ticks)
