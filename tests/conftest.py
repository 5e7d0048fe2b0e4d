"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, few of them, and no clock: a slow machine fails no test. `--hypothesis-profile deep`
# looks further, at other examples each time.
settings.register_profile(
    "fast", max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fast")


@pytest.fixture(scope="session", autouse=True)
def _config(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key that patients are hashed with is not the user's own one; and nothing is planned unasked."""
    os.environ.setdefault("SCANSUITE_PLAN", "none")  # tests of planning ask for it: --plan auto
    os.environ["SCANSUITE_CONFIG"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real scans are not at {folder}")
    return folder
