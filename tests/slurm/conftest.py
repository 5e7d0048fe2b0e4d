"""A cluster for the tests of this folder; they are skipped, with the reason, where SLURM is not installed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if (why := missing()) is not None:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # short: a socket's path takes 107 characters
    folder.chmod(0o755)
    up = Cluster(folder)
    try:
        up.start()
        yield up
    finally:
        up.stop()
        shutil.rmtree(folder, ignore_errors=True)
