"""From the flags of ``fit`` or ``plan`` to a plan: what was given is parsed, the data looked at, the rest settled."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.settings import free_memory
from scansuite.errors import SuiteError
from tasks.cli.devices import trains_on_cuda
from tasks.cli.logs import quiet
from tasks.cli.parser import TaskParser
from tasks.cli.planning.agreeing import agreed
from tasks.cli.planning.given import asked_value, flat, given_flags, given_values
from tasks.cli.planning.timed import asked_seconds
from tasks.cli.planning.trial import holds_of, trial_of
from tasks.cli.runs.run_dir import several_processes
from tasks.cli.training.memory import size_of
from tasks.cluster.settings import JobSettings
from tasks.parent_checkpoint import input_size_of, network_of, read_parent
from tasks.planning.budget import Budget, Quality
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.plan import Plan
from tasks.planning.rules import RULES
from tasks.planning.settle.network import WITH_WEIGHTS, first_choice
from tasks.planning.settle.sizes import as_flag
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.run_files import checkpoint_in

log = logging.getLogger(__name__)

PlanWord = Literal["auto", "none"]
# What --plan is where it is left out: for whole test suites and clusters that want the fixed defaults.
ENVIRONMENT = "SCANSUITE_PLAN"

# Flags beside which no folds are planned: they say which part is trained, or do what folds cannot be put together from.
WITHOUT_FOLDS = (
    "data.fold", "data.folds", "find_lr", "find_batch_size", "trainer.fast_dev_run", "ckpt_path", "slurm",
)  # fmt: skip

# They look for the batch themselves, train a single one, or take the rate from how many batches are added up.
WITHOUT_MEMORY_TRIAL = ("memory", "find_batch_size", "trainer.fast_dev_run", "scale_lr")

PLAN_FLAGS: OwnFlags = {
    "time": "time that the whole command may take (30m, 2h): the training is planned to end within it, with its "
    "schedule finished; left out: as long as the plan takes",
    "quality": Flag(
        "quick is a first look in two minutes; best takes folds, a larger network and longer",
        Literal["quick", "good", "best"] | None,
        "good",
    ),
}
MEMORY_FLAG = Flag(
    "memory of the GPU (20GiB): choose the largest batch within it, and add gradients up to the same cases a step; "
    "left out: the batch as given, and a planned one within 95 % of it"
)
FOLDS_FLAG = Flag(
    "train this many folds one after another, and put their predictions together (docs/folds.md); left out: one "
    "training"
)
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


def wants_plan(argv: Sequence[str]) -> bool:
    """Whether flags that are left out are to be planned.

    Args:
        argv: flags as typed.

    Raises:
        SuiteError: the word is neither ``auto`` nor ``none``.
    """
    word = asked_value(argv, "--plan") or os.environ.get(ENVIRONMENT) or "auto"
    if word not in ("auto", "none"):
        raise SuiteError(f"--plan {word}: auto or none")
    return word == "auto"


def plan_for(
    task: str, argv: Sequence[str], own_flags: OwnFlags, verb: str = "fit", job: JobSettings | None = None
) -> Planning:
    """Make a plan for what was left out.

    Args:
        task: name of the task.
        argv: flags as typed.
        own_flags: of the verb.
        verb: whose flags they are.
        job: that trains; no steps are tried for it, since this is not its machine. None: this machine trains.

    Raises:
        SuiteError: flags are wrong, or the data cannot be trained on.
    """
    if task not in RULES:
        raise SuiteError(f"{task}: there are no rules of planning for this task: fit trains it with the fixed defaults")
    names = given_flags(argv)
    cli = TaskParser(task, verb, argv, own_flags=own_flags, builds_model=False)
    values = flat(cli.config.as_dict())
    for link in cli.task_class.links:  # follows from a flag of the model
        values.pop(f"data.{link.data}", None)
    if names.intersection(WITHOUT_FOLDS) or several_processes():
        values.pop("folds", None)
    own = given_values(names, values)
    budget = budget_of(cli.config)
    with quiet() if verb == "fit" else nullcontext():  # the training says it, of the settings that it trains with
        data = cli.build_data()
        fingerprint = measure_fingerprint(data)
    machine = machine_of(cli.config["trainer"], own.get("model.backbone"), budget.quality, job)
    if budget.memory is not None and machine.device != "cuda":
        raise SuiteError(
            f"--memory {cli.config['memory']}: it is of a GPU, and this trains on the {machine.device.upper()}, whose "
            "memory is that of all programs: leave it out"
        )
    data_class = str(cli.config["data"]["class_path"])
    if budget.seconds is not None and job is None:
        budget = replace(budget, trial=trial_of(task, argv, own_flags, data_class, budget.seconds))
    tries = all(values.get(flag) in (None, False, 0, "none") for flag in WITHOUT_MEMORY_TRIAL)
    if machine.device == "cuda" and job is None and tries:
        budget = replace(budget, holds=holds_of(task, argv, own_flags, data_class))

    # Weights of a checkpoint of the suite's own fit no other network. It is read once, however often is planned anew.
    weights = own.get("model.weights")
    if weights is not None:  # a run folder is its best checkpoint
        weights = own["model.weights"] = checkpoint_in(str(weights))
    parent = read_parent(weights)
    network = {} if parent is None else network_of(parent, task, cli.task_class.behind_backbone)
    whole = task == "classify" and not fingerprint.volumes  # of the other tasks images are cut, or of any size
    size = [] if parent is None or not whole else input_size_of(parent, task)
    del parent  # its tensors

    def draft(held: Mapping[str, Any]) -> Draft:
        made = Draft(fingerprint, machine, budget, {**own, **held}, values)
        for flag, value in network.items():
            made.settle(f"model.{flag}", value, f"as in the checkpoint of --model.weights {weights}", "data")
        if size:
            why = f"the checkpoint of --model.weights {weights} was trained on images of this size"
            made.settle("data.image_size", as_flag(size), why, "data")
        return made

    classes = {"data": type(data), "model": cli.task_class}
    return Planning(agreed(draft, classes, data_class), fingerprint)


def budget_of(config: Mapping[str, Any]) -> Budget:
    """What ``--time``, ``--memory`` and ``--quality`` say."""
    quality: Quality = config["quality"]
    memory = None if config["memory"] is None else size_of(config["memory"])
    return Budget(quality, asked_seconds(config), memory)


def machine_of(
    trainer: Mapping[str, Any],
    backbone: str | None = None,
    quality: Quality = "good",
    job: JobSettings | None = None,
) -> Machine:
    """This machine, or that of a job, as far as the trainer's flags let it be used.

    Args:
        trainer: Lightning's ``accelerator``, ``devices`` and ``num_nodes``.
        backbone: network that the user gave; None: the plan chooses.
        quality: that is asked for, which has a say in what it chooses.
        job: whose GPUs, processes and memory count; weights are looked for here, from where the job takes them too.
    """
    from backbones.available import place_of, published  # bring timm, which help of fit does not need
    from backbones.hub import hub_answers

    cuda = trains_on_cuda(trainer["accelerator"], job)
    wanted = backbone or first_choice("cuda" if cuda else "cpu", quality).name
    names = tuple(dict.fromkeys((wanted, *WITH_WEIGHTS)))
    here = tuple(name for name in names if place_of(name) is not None)
    elsewhere = [name for name in names if name not in here and published(name)]
    # To ask the hub takes seconds where it is out of reach.
    asked = wanted in elsewhere and hub_answers()
    nodes = int(trainer["num_nodes"]) if job is None else job.nodes
    machine = Machine(
        "cuda" if cuda else "cpu",
        devices=nodes * (_a_node(trainer["devices"], cuda) if job is None else job.tasks_per_node),
        nodes=nodes,
        weights=here,
        hub=tuple(elsewhere) if asked else (),
    )
    free = free_memory() if job is None else job.memory_bytes
    return machine if free is None else replace(machine, memory=free)


def _a_node(devices: Any, cuda: bool) -> int:
    """Devices of a machine that train, as Lightning counts ``--trainer.devices``; 1 where it refuses them later."""
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator

    if devices == "auto":
        return CUDAAccelerator.auto_device_count() if cuda else CPUAccelerator.auto_device_count()
    try:
        return len(CUDAAccelerator.parse_devices(devices) or [0]) if cuda else CPUAccelerator.parse_devices(devices)
    except (TypeError, MisconfigurationException):
        return 1
