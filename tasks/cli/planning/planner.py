"""From the flags of ``fit`` or ``plan`` to a plan: what was given is parsed, the data looked at, the rest settled."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch

from backbones.available import hub_answers, place_of
from datamodules.base import ScanDataModule
from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.settings import default_workers
from scansuite.errors import SuiteError
from tasks.cli.flags import value_of
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat, given_flags, given_values
from tasks.cli.planning.timed import asked_seconds
from tasks.cli.planning.trial import trial_of
from tasks.hardware import choose_precision, on_cuda
from tasks.planning.budget import Budget, Quality
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import Plan, make_plan
from tasks.planning.settle.network import ON_CPU, ON_GPU, WITH_WEIGHTS
from tasks.registry.flag import Flag, OwnFlags

log = logging.getLogger(__name__)

PlanWord = Literal["auto", "none"]
# What --plan is where it is left out: for whole test suites and clusters that want the fixed defaults.
ENVIRONMENT = "SCANSUITE_PLAN"

PLAN_FLAGS: OwnFlags = {
    "time": "time that the whole command may take (30m, 2h): the training is planned to end within it, with its "
    "schedule finished; left out: as long as the plan takes",
    "quality": Flag(
        "quick is a first look in two minutes (as is --quick); best takes folds, a larger network and longer",
        Literal["quick", "good", "best"] | None,
        "good",
    ),
}
PLAN_FLAG = Flag(
    "where flags are left out: auto plans them from the data, this machine and the time (docs/plan.md); none takes "
    "the fixed values that help shows",
    PlanWord | None,
    stands_for="auto",
)


class Planning(NamedTuple):
    """A plan with what it was made from."""

    plan: Plan
    fingerprint: Fingerprint


def wants_plan(argv: Sequence[str], config_value: str | None = None) -> bool:
    """Whether flags that are left out are to be planned.

    Args:
        argv: flags as typed.
        config_value: of ``plan`` in the configs.

    Raises:
        SuiteError: the word is neither ``auto`` nor ``none``.
    """
    word = value_of(argv, "--plan") or config_value or os.environ.get(ENVIRONMENT) or "auto"
    if word not in ("auto", "none"):
        raise SuiteError(f"--plan {word}: auto or none")
    return word == "auto"


def plan_for(task: str, argv: Sequence[str], own_flags: OwnFlags, verb: str = "fit") -> Planning:
    """Make a plan for what was left out.

    Args:
        task: name of the task.
        argv: flags as typed.
        own_flags: of the verb.
        verb: whose flags they are.

    Raises:
        SuiteError: flags are wrong, or the data cannot be trained on.
    """
    names = given_flags(argv)
    cli = TaskParser(task, verb, argv, own_flags=own_flags, builds_model=False)
    values = flat(cli.config.as_dict())
    data = cli.build_data()
    fingerprint = measure_fingerprint(data)
    given = given_values(names, values)
    machine = machine_of(cli, data, given.get("model.backbone"))
    data_class, budget = str(cli.config["data"]["class_path"]), budget_of(cli.config)
    if budget.seconds is not None:
        budget = replace(budget, trial=trial_of(task, argv, own_flags, data_class, budget.seconds))
    return Planning(make_plan(Draft(fingerprint, machine, budget, given, values), data_class), fingerprint)


def budget_of(config: Mapping[str, Any]) -> Budget:
    """What ``--time``, ``--memory`` and ``--quality`` say."""
    quality: Quality = config["quality"]
    return Budget(quality, asked_seconds(config))


def machine_of(cli: TaskParser, data: ScanDataModule, backbone: str | None = None) -> Machine:
    """This machine, as far as the trainer's flags let it be used.

    Args:
        cli: flags as parsed.
        data: that is trained on.
        backbone: network that the user gave; None: the plan chooses.
    """
    accelerator = str(cli.config["trainer"]["accelerator"])
    cuda = on_cuda(accelerator)
    wanted = backbone or (ON_GPU if cuda else ON_CPU).name
    here = tuple(name for name in dict.fromkeys((wanted, *WITH_WEIGHTS)) if place_of(name) is not None)
    return Machine(
        "cuda" if cuda else "cpu",
        torch.cuda.get_device_name() if cuda else "",
        default_workers() + 1,
        gpu_memory=torch.cuda.get_device_properties(0).total_memory if cuda else 0,
        half=choose_precision(accelerator) != "32-true",
        weights=here,
        hub=wanted not in here and hub_answers(),
    )
