"""The GPU benchmark's machinery, on a CPU with tiny networks: what it prints of a GPU needs one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.drawn import FORMATS
from benchmarks.gpu import Chosen, Comparison, DataOfNetworks, Row, cells, chosen_rows, compare, parse
from benchmarks.sides import Budget, Network

TINY = Budget(steps=1, windows=1, warm_up=1, seconds=0.0, epochs=2)
NETWORKS = {
    "classify": Network("classify", "classify", "test_resnet", 32, 4),
    "segment": Network("segment", "segment", "test_resnet", 32, 2),
    "detect": Network("detect", "detect", "test_resnet", 64, 2),
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    data = DataOfNetworks(tmp_path_factory.mktemp("drawn"), steps=2, workers=0)
    return Comparison(torch.device("cpu"), data, TINY)


@pytest.mark.parametrize(
    ("task", "source"),
    [
        *(("classify", source) for source in gpu.SOURCES),
        ("segment", "dicom"), ("detect", "jpeg"),
        *(pytest.param(task, source, marks=pytest.mark.slow)
          for task in ("segment", "detect") for source in ("memory", "resident")),
    ],
)  # fmt: skip
def test_both_sides_train_from_every_source(comparison: Comparison, task: str, source: str) -> None:
    row = comparison.row(NETWORKS[task], source, 99)
    assert row.bare > 0
    assert row.suite > 0
    assert row.ratio == pytest.approx(row.suite / row.bare)
    assert row.epoch == 2
    assert len(row.windows) >= 2
    assert row.within > 0
    assert 0 <= row.wait < 1
    assert row.memory is None
    assert row.target == (0.95 if source in gpu.CACHED else 0.85)


def test_formats_are_those_that_sources_name() -> None:
    assert {kind for kind, _, _ in gpu.SOURCES.values()} == set(FORMATS)


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(
    comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Network("nothing", "classify", "no_such_network", 32, 4)
    rows: list[Chosen] = [(bad, "memory", 1, "none"), (NETWORKS["classify"], "memory", 1, "none")]
    measured, left_out = compare(comparison, rows, end=float("inf"))
    assert [row.network for row in measured] == ["classify"]
    assert left_out[0].startswith("nothing, memory, 1 cores, compile none: ")
    assert compare(comparison, rows, end=0.0) == (
        [],
        [
            "nothing, memory, 1 cores, compile none: the time was over",
            "classify, memory, 1 cores, compile none: the time was over",
        ],
    )


@pytest.mark.parametrize(("ratio", "memory", "met"), [(0.95, 1.1, "met"), (0.94, 1.0, "missed"), (1, 1.2, "missed")])
def test_a_row_is_met_in_speed_and_memory(ratio: float, memory: float, met: str) -> None:
    row = Row("n", "memory", 8, "none", 100, 100 * ratio, ratio, 1.0, 0.95, 0.0, 0.0, 8, memory, 1.0, [])
    assert cells(row)[-1] == met


def test_rows_that_flags_choose() -> None:
    flags = ["--networks", "resnet18", "--sources", "memory", "dicom", "--cores", "16", "8"]
    assert [(row[0].label, *row[1:]) for row in chosen_rows(parse(flags))] == [
        ("ResNet-18", "memory", 16, "none"), ("ResNet-18", "memory", 8, "none"),
        ("ResNet-18", "dicom", 16, "none"), ("ResNet-18", "dicom", 8, "none"),
    ]  # fmt: skip
    assert [row[3] for row in chosen_rows(parse([*flags[:4], "--compile", "none", "default"]))] == ["none", "default"]
    assert {row[0].task for row in chosen_rows(parse(["--tasks", "detect"]))} == {"detect"}
    assert len(chosen_rows(parse(["--quick"]))) < len(chosen_rows(parse([])))


def test_flags_of_data_and_model_reach_both(tmp_path: Path) -> None:
    arguments = parse(["--data", "augment=none", "round_resized=true", "--model", "ema=0.9"])
    data = DataOfNetworks(tmp_path, 2, 0, dict(arguments.data))
    comparison = Comparison(torch.device("cpu"), data, TINY, model_arguments=dict(arguments.model))
    assert comparison.row(NETWORKS["classify"], "png-resized", 99).suite > 0
    made = data.of(NETWORKS["classify"], "png-resized")
    assert made.augment == "none"
    assert made.preprocess.round_resized
    with pytest.raises(SystemExit):
        parse(["--data", "augment"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_reason_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert gpu.main(["--output", str(tmp_path / "gpu.json")]) == 0
    assert capsys.readouterr().out == "skipped: torch sees no CUDA GPU on this machine\n"
    assert not (tmp_path / "gpu.json").exists()
