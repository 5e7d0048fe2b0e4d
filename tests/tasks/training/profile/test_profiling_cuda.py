"""The profile's own clock and trace on a GPU."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer

from scansuite import ClassificationPhantoms, ClassificationTask
from tasks.training.profile.device_times import BETWEEN, DeviceTimes, KernelTrace
from tasks.training.profile.parts import FORWARD
from tasks.training.profile.profiling import ProfileTraining, TrainingProfiler

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")


def test_events_and_trace_agree_on_a_known_load() -> None:
    matrix = torch.rand(4096, 4096, device="cuda")
    for _ in range(3):
        matrix @ matrix
    times, trace = DeviceTimes(), KernelTrace(3)
    trace.start()
    for _ in range(3):
        times.begin_step()
        times.part(FORWARD)
        for _ in range(20):
            matrix @ matrix
        times.part(BETWEEN)
        times.end_step()
        trace.step()
    torch.cuda.synchronize()
    milliseconds = times.milliseconds()
    assert trace.over
    assert trace.milliseconds is not None
    assert 0 < trace.milliseconds < 1.2 * milliseconds[FORWARD]
    assert milliseconds[FORWARD] > milliseconds[BETWEEN]


def test_a_training_is_profiled(tmp_path: Path) -> None:
    data = ClassificationPhantoms(num_patients=200, image_size=64, batch_size=8, num_workers=2)
    task = ClassificationTask.for_data(data, "resnet18")
    profiler = TrainingProfiler()
    callback = ProfileTraining(profiler, tmp_path)
    trainer = Trainer(
        accelerator="gpu", devices=1, max_epochs=3, callbacks=[callback], profiler=profiler, logger=False,
        default_root_dir=tmp_path, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(task, data)
    report = callback.report
    assert report is not None
    print(report.text())
    device = report.device
    assert device is not None
    assert report.total < time.perf_counter() - start
    assert report.busy is not None
    assert 0 < report.busy <= 1
    assert 0 < device.peak < device.capacity
    assert all(device.milliseconds[part] > 0 for part in (FORWARD, "backward", "optimiser"))
    step = report.ranks[0].step
    assert step is not None
    assert sum(device.milliseconds.values()) < 5000 * step
