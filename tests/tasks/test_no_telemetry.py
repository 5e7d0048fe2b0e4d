"""Nothing that the suite uses reports home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_onnxruntime_reports_nothing(tmp_path: Path) -> None:
    """Where it does, it leaves a file with the session's number in the temporary folder."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra export)")
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import tasks.exported.model_file, onnxruntime"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**env, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
