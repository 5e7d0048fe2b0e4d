"""``plan``: say what a training would choose for itself, and why; write it as a config."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tasks.cli.logs import configure_logs
from tasks.cli.planning.planned_run import quick
from tasks.cli.planning.planner import PLAN_FLAGS, plan_for
from tasks.registry.flag import OwnFlags

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "output": "new file for the plan, a config that fit takes; left out: it is printed alone",
    "memory": "memory of the GPU (20GiB) that batches are planned within; left out: all that it has",
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
    planning = plan_for(task, quick(argv), OWN_FLAGS, "plan")
    for line in planning.plan.lines():
        print(line)
    return 0
