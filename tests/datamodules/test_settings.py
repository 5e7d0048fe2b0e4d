"""Memory that may be taken: of the machine, or of what a job or a container is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.settings import free_in_cgroups, free_memory

MIB = 2**20


def group(folder: Path, limit: str, used: int, files: int, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_nearest_limit_of_a_job_counts(version: int, tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("9:cpu:/other\n4:memory:/slurm/job_7\n" if version == 1 else "0::/slurm/job_7\n")
    top = tmp_path / "fs" / ("memory" if version == 1 else "")
    group(top / "slurm" / "job_7", str(100 * MIB), 60 * MIB, 20 * MIB, version)
    group(top / "slurm", str(500 * MIB), 100 * MIB, 0, version)
    assert min(free_in_cgroups(tmp_path / "fs", own)) == 60 * MIB
    group(top / "slurm" / "job_7", "max", 60 * MIB, 20 * MIB, version)
    assert free_in_cgroups(tmp_path / "fs", own) == [400 * MIB]


def test_in_a_container_the_limit_lies_at_the_top(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/docker/not/seen/from/here\n")
    group(tmp_path / "fs", str(100 * MIB), 99 * MIB, 0)
    assert free_in_cgroups(tmp_path / "fs", own) == [MIB]


def test_where_there_are_no_limits_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_in_cgroups(tmp_path, tmp_path / "missing") == []
    machine = free_memory()
    monkeypatch.setattr("datamodules.settings.free_in_cgroups", lambda: [MIB])
    assert free_memory() == MIB
    assert machine is None or machine > MIB
