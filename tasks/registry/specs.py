"""The list of tasks. A task of another package is found by its entry point in the group ``scansuite.tasks``.

Such a package says in its ``pyproject.toml``::

    [project.entry-points."scansuite.tasks"]
    keypoints = "mypkg.spec:SPEC"

and ``mypkg/spec.py`` makes a :class:`~tasks.registry.spec.TaskSpec`. Imports nothing heavy.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from scansuite.errors import SuiteError, nearest
from tasks.registry.spec import TaskSpec, load

GROUP = "scansuite.tasks"
# Name of each task of the suite -> where its spec is.
SPECS = {
    "classify": "tasks.classify.spec.SPEC",
    "segment": "tasks.segment.spec.SPEC",
    "detect": "tasks.detect.spec.SPEC",
}


def task_names() -> list[str]:
    """Names of all tasks, those of the suite first."""
    return [*SPECS, *(name for name in sorted(metadata.entry_points(group=GROUP).names) if name not in SPECS)]


def is_task(name: str) -> bool:
    """Whether there is a task of this name; installed packages are looked through only where it is none of ours."""
    return name in SPECS or name in task_names()


@cache
def spec_of(name: str) -> TaskSpec:
    """The spec of a task.

    Raises:
        SuiteError: there is no such task, or its package cannot be imported, or gives no spec.
    """
    if name in SPECS:
        return load(SPECS[name])  # type: ignore[no-any-return]
    points = metadata.entry_points(group=GROUP, name=name)
    if not points:
        raise SuiteError(f"unknown task {name!r}: {nearest(name, task_names())}")
    point = next(iter(points))
    try:
        spec = point.load()
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise SuiteError(
            f"task {name!r} ({point.value}): cannot be imported: {type(error).__name__}: {text}"
        ) from error
    if not isinstance(spec, TaskSpec) or spec.name != name:
        raise SuiteError(f"task {name!r} ({point.value}): its entry point must lead to a TaskSpec of that name")
    return spec
