"""The verb ``list``, and the shipped tables against the networks themselves."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import timm

from backbones.catalogue import facts_of, families
from tasks.cli.verbs.list import networks
from tests.tasks.cli.conftest import Run, one_line

ROOT = Path(__file__).resolve().parents[3]


def test_families_one_a_line(run: Run) -> None:
    status, out, _ = run("list")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["family", "networks"]
    named = [line.split()[0] for line in lines[1:] if line and not line.startswith("the networks")]
    assert named == sorted({row.family for row in networks()})
    assert {"resnet", "vgg", "small_cnn", "lenet5"} <= set(named)


def test_who_reads_a_part_alone_sees_no_error() -> None:
    command = [sys.executable, "-m", "tasks.cli", "classify", "list", "resnet"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


def test_networks_by_pattern_and_by_family(run: Run) -> None:
    status, out, _ = run("list", "resnet18", "cbam_resnet")
    assert status == 0
    rows = {line.split()[1]: line for line in out.splitlines()[1:]}
    assert set(rows) == {"resnet18", "cbam_resnet18", "cbam_resnet34", "cbam_resnet50"}
    assert "11.69 M" in rows["resnet18"]
    assert "2 4 8 16 32" in rows["resnet18"]
    assert "224x224 from 64" in rows["resnet18"]
    assert "apache-2.0" in rows["resnet18"]
    assert rows["resnet18"].endswith("classify segment detect")
    assert "none" in rows["cbam_resnet18"]


def test_table_of_all(run: Run) -> None:
    status, out, _ = run("list", "--csv", "out/networks.csv")
    assert status == 0
    rows = list(csv.DictReader(Path("out/networks.csv").read_text(encoding="utf-8").splitlines()))
    assert f"{len(rows)} networks written" in out
    assert len(rows) > 1000
    assert {row["tasks"] for row in rows} >= {"classify segment detect"}


def test_refused_in_one_line(run: Run) -> None:
    status, _, err = run("list", "resnet81*")
    assert status == 2
    assert "no network or family 'resnet81*'" in one_line(err)
    status, _, err = run("list", "--cvs", "x")
    assert status == 2
    assert "--cvs" in one_line(err)


def test_help_starts_without_torch() -> None:
    code = (
        "import sys; from tasks.cli.main import main; main('classify', ['list', 'vgg']); print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


def test_every_family_and_network_is_in_the_table() -> None:
    if timm.__version__ != next(csv.DictReader((ROOT / "configs" / "networks.csv").open(encoding="utf-8")))["timm"]:
        pytest.skip("the table was written with another timm")
    counted = Counter(row.family for row in networks())
    assert counted == {family: len(names) for family, names in families().items()}


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vgg11", "swin_tiny_patch4_window7_224", "lenet5"])
def test_rows_are_what_the_networks_are(name: str) -> None:
    row = next(row for row in networks() if row.name == name)
    facts = facts_of(row.family, name)
    assert row.parameters == facts.parameters
    assert row.strides == " ".join(map(str, facts.strides))
    assert row.size == f"{facts.size[0]}x{facts.size[1]}"
    assert row.licence == facts.licence
