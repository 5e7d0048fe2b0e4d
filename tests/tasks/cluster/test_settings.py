"""The grammar of `fit --slurm`: words, files, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.cluster.settings import JobSettings, settings_of

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "configs" / "slurm").glob("*.yaml"))


def nothing(name: str) -> Any:
    raise AssertionError(f"no file {name} was to be read")


def of(*words: str) -> JobSettings:
    return settings_of(words, nothing)


def test_one_word_or_several_say_the_same() -> None:
    joined = of("partition=gpu,gpus=4,nodes=2,time=12h,memory=64G")
    assert joined == of("partition=gpu", "gpus=4", "nodes=2,time=12h", "memory=64G")
    assert (joined.partition, joined.tasks_per_node, joined.nodes, joined.minutes) == ("gpu", 4, 2, 720)


def test_a_comma_before_no_setting_belongs_to_the_value() -> None:
    settings = of("modules=cuda/12.4,gcc/13,environment=NCCL_DEBUG=INFO,MASTER_ADDR=n1,time=1h,constraint=a100|h100")
    assert settings.modules == ("cuda/12.4", "gcc/13")
    assert settings.environment == {"NCCL_DEBUG": "INFO", "MASTER_ADDR": "n1"}
    assert settings.constraint == "a100|h100"


def test_what_is_typed_later_counts(tmp_path: Path) -> None:
    def read(name: str) -> Any:
        return {"gpus": 4, "time": "24h", "setup": ["source /etc/profile"], "sbatch": {"mail-type": "END"}, "qos": None}

    settings = settings_of(["four", "time=2h", "gpus=1"], read)
    assert (settings.gpus, settings.time, settings.setup) == (1, 7200, ("source /etc/profile",))
    assert settings.sbatch == {"mail-type": "END"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("12h", 43200), ("1d12h", 129600), ("1h30m", 5400), ("00:02:30", 150), ("1-12:00:00", 129600)],
)
def test_times(text: str, seconds: int) -> None:
    assert of(f"time={text}", "signal=30s").time == seconds


@given(st.integers(1, 400), st.integers(0, 23), st.integers(0, 59))
def test_slurms_own_times_and_ours_agree(days: int, hours: int, minutes: int) -> None:
    ours, theirs = of(f"time={days}d{hours}h{minutes}m"), of(f"time={days}-{hours:02}:{minutes:02}:00")
    assert ours.minutes == theirs.minutes == (days * 24 + hours) * 60 + minutes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gpus=4", "time is missing"),
        ("time=12", "a time with its unit"),
        ("time=30s", "at least 1m"),
        ("time=1m,signal=2m", "below time"),
        ("time=1h,partiton=gpu", "did you mean 'partition'"),
        ("time=1h,gpus=four", "a whole number"),
        ("time=1h,gpus=²", "a whole number"),
        ("time=1h,nodes=0", "at least 1"),
        ("time=1h,gpus=2,processes=2", "each GPU has its process"),
        ("time=1h,memory=64", "as in 64G"),
        ("time=1h,memory=", "a value is missing"),
        ("time=1h,venv=/nowhere", "no virtual environment"),
        ("time=1h,container=/nowhere.sif", "no such image"),
        ("time=1h,check=flag", "did you mean 'flags'"),
        ("time=1h,environment=NCCL_DEBUG", "has no value"),
        ("time=1h,environment=1A=2", "no name of a variable"),
        ("time=1h,partition=gpu\n#SBATCH --uid=0", "one line"),
    ],
)
def test_mistakes_are_named(words: str, said: str) -> None:
    with pytest.raises(SuiteError, match="--slurm") as error:
        of(words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("time: 12:00:00", 'quote it ("12:00:00")'),  # YAML takes it for 43200
        ("time: 12h\nenvironment: A", "a value for each name"),
        ("time: 12h\npartition: [a, b]", "one value"),
        ("time: 12h\nnode: 2", "did you mean 'nodes'"),
        ("- time", "holds no settings"),
    ],
)
def test_mistakes_in_a_file_are_named(held: str, said: str) -> None:
    with pytest.raises(SuiteError) as error:
        settings_of(["mine.yaml"], lambda name: yaml.safe_load(held))
    assert said in str(error.value)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_can_be_read(file: Path) -> None:
    settings = settings_of([file.stem], lambda name: yaml.safe_load(file.read_text()))
    assert settings.cpus is not None


def test_examples_of_every_size_are_shipped() -> None:
    held = [yaml.safe_load(file.read_text()) for file in SHIPPED]
    assert {(one.get("nodes", 1), one.get("gpus", 0)) for one in held} == {(1, 0), (1, 1), (1, 4), (4, 4)}
