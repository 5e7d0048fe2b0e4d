"""``plan``: say what a training would choose for itself, and why; write it as a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.cli.flags import wants_help
from tasks.cli.logs import configure_logs
from tasks.cli.planning.given import asked_value
from tasks.cli.planning.planner import FOLDS_FLAG, MEMORY_FLAG, PLAN_FLAGS, plan_for
from tasks.cli.tables import text_width
from tasks.registry.flag import OwnFlags

OWN_FLAGS: OwnFlags = {
    "output": "new file (plan.yaml) for the plan, a config that fit takes; left out: it is printed alone",
    "folds": FOLDS_FLAG,
    "memory": MEMORY_FLAG,
    **PLAN_FLAGS,
}


def run(task: str, argv: Sequence[str]) -> int:
    """Plan.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0.
    """
    configure_logs()
    asked = None if wants_help(argv) else asked_value(argv, "--output")
    file = None if asked is None else _new_file(Path(asked))
    plan = plan_for(task, argv, OWN_FLAGS, "plan").plan
    print(plan.listed(text_width()))
    if file is not None:
        write_text(file, plan.to_yaml())
        print(f"\nwritten to {file}")
    return 0


def _new_file(file: Path) -> Path:
    """Refuse a file that is there, or cannot be, before the data are looked at."""
    if file.exists():
        raise SuiteError(f"--output {file}: exists already: give a new file")
    if file.suffix not in (".yaml", ".yml"):
        raise SuiteError(f"--output {file}: the plan is YAML: name it {file}.yaml")
    if not file.parent.is_dir():
        raise SuiteError(f"--output {file}: there is no folder {file.parent}: make it, or give another")
    return file
