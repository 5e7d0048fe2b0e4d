"""Recipes of images and of a Kubernetes job are well-formed, and name what is there; none is built here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.cli.main import VERBS
from tasks.registry.specs import task_names

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PACKAGES = {"scansuite", "backbones", "datamodules", "tasks", "configs"}
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in (DOCKER / "scansuite.def").read_text().splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def test_the_dockerfile_copies_what_there_is_and_the_whole_suite() -> None:
    found = instructions()
    assert {name for name, _ in found} <= KNOWN
    assert found[0][0] == "FROM"
    sources = [source for name, text in found if name == "COPY" for source in shlex.split(text)[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert set(sources) >= {*PACKAGES, "pyproject.toml"}
    entry = [text for name, text in found if name == "ENTRYPOINT"]
    assert entry == ['["scansuite"]']
    assert 'scansuite = "tasks.cli.main:script"' in (ROOT / "pyproject.toml").read_text()


def test_the_apptainer_recipe_copies_what_there_is_and_the_whole_suite() -> None:
    found = sections()
    header = dict(line.split(": ") for line in found[""])
    assert header == {"Bootstrap": "docker", "From": "python:3.12-slim"}
    assert set(found) == {"", "files", "post", "environment", "runscript", "test"}
    pairs = [line.split() for line in found["files"]]
    assert all((ROOT / source).exists() and target == f"/opt/scansuite/{source}" for source, target in pairs)
    assert {source for source, _ in pairs} >= {*PACKAGES, "pyproject.toml"}


@pytest.mark.parametrize("file", ["Dockerfile", "scansuite.def"])
def test_extras_that_are_installed_are_declared(file: str) -> None:
    (extras,) = re.findall(r"pip install .*'\.\[([\w,-]+)\]'", (DOCKER / file).read_text())
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras.split(","))


def test_the_kubernetes_job_runs_a_command_that_goes_on_and_mounts_what_it_declares() -> None:
    job: Any = yaml.safe_load((DOCKER / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    task, verb, *flags = container["args"]
    assert task in task_names()
    assert verb in VERBS
    assert flags[flags.index("--ckpt_path") + 1] == "last"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(
        any(flags[flags.index(name) + 1].startswith(path) for path in paths) for name in ("--run_dir", "--data.root")
    )
    rules = {rule["action"]: rule["onExitCodes"]["values"] for rule in job["spec"]["podFailurePolicy"]["rules"]}
    assert rules == {"FailJob": [2], "Ignore": [75]}
    assert pod["restartPolicy"] == "Never"  # what a podFailurePolicy asks for
