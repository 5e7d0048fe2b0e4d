"""``run.json`` in a run folder: the code, the machine and the model that its tables were made by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scansuite.files import write_text

FILE = "run.json"
PLAN = "plan.json"  # of tasks.planning.plan


def write_run_file(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write ``run.json``; a present one is replaced.

    Args:
        run_dir: folder of the run.
        facts: plain values.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    write_text(run_dir / FILE, json.dumps(facts, indent=2) + "\n")


def read_run_file(run_dir: Path) -> dict[str, Any]:
    """The facts; empty where the folder has none, as those of runs made before there were any, or they are damaged."""
    try:
        facts = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def read_config(run_dir: Path) -> dict[str, Any]:
    """``config.yaml`` of a run; empty where there is none that can be read."""
    import yaml

    try:
        config = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def read_plan_file(run_dir: Path) -> list[dict[str, Any]]:
    """Flag, value, reason and source of each setting that a plan has chosen; a fold has those of its run.

    Args:
        run_dir: folder of the run.

    Returns:
        Nothing where there was no plan, or its file is damaged.
    """
    folder = run_dir.parent if run_dir.name.startswith("fold_") else run_dir
    try:
        planned = json.loads((folder / PLAN).read_text(encoding="utf-8"))["planned"]
        return [{name: one[name] for name in ("flag", "value", "reason", "source")} for one in planned]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def asked_monitor(run_dir: Path) -> str | None:
    """The metric that ``--model.monitor`` chose the best checkpoint by; None where it is the task's own.

    Whether it rises is not known without its class.
    """
    model = read_config(run_dir).get("model")
    asked = model.get("monitor") if isinstance(model, dict) else None
    return str(asked) if asked else None
