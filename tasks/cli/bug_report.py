"""What a bug report needs: machine, versions, accelerators, caches. What is broken is a line in it, and stops nothing.

No path below the user's home, user name or name of the machine stands in it.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

from datamodules.caching.kept import KINDS, kept_in
from datamodules.settings import default_cache_dir, free_memory
from scansuite.version import __version__
from scansuite.words import number_of

Facts: TypeAlias = dict[str, "str | dict[str, str]"]

_DISTRIBUTION = "scansuite"
_DEVELOPERS = ("test", "dev")  # extras of no use to a user
_GIB = 2**30
# Values of the environment that change what the suite does; others say nothing that a report needs.
_VARIABLES = re.compile(
    r"SCANSUITE_\w+|CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|OMP_NUM_THREADS|MKL_NUM_THREADS|NCCL_\w+|TORCH_\w+|"
    r"PYTORCH_\w+|HF_HOME|HF_HUB_OFFLINE|NO_COLOR|TERM|LANG|LC_ALL|SLURM_(NTASKS|NNODES|JOB_NUM_NODES)|WORLD_SIZE"
)
# Run in a process of its own: a driver that hangs, or a library that crashes, is then a line too.
_PROBE = """
import importlib, json
found, broken = {}, {}
for name in ("torch", "torchvision", "pytorch_lightning", "timm", "albumentations", "cv2", "imagecodecs", "SimpleITK",
             "pyarrow", "sklearn"):
    try:
        importlib.import_module(name)
    except BaseException as error:
        broken[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
try:
    import torch
    found["CPU threads"] = str(torch.get_num_threads())
    found["CUDA of torch"] = str(torch.version.cuda or torch.version.hip or "none: this build computes on the CPU")
    for number in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(number)
        found[f"GPU {number}"] = f"{one.name}, {one.total_memory / 2**30:.1f} GiB, capability {one.major}.{one.minor}"
    if torch.backends.mps.is_available():
        found["GPU"] = "Apple (mps)"
    if not any(name.startswith("GPU") for name in found):
        found["GPU"] = "none that torch can use"
except BaseException as error:
    broken.setdefault("torch", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
print("\\n" + json.dumps([found, broken]))
"""
_SECONDS = 180  # a library on a slow disk takes its time


def gathered() -> tuple[Facts, list[str]]:
    """The facts by subject, and what is wrong, each with a mend."""
    wrong: list[str] = []
    facts: Facts = {"scansuite": __version__}
    subjects: tuple[tuple[str, Callable[[list[str]], dict[str, str]]], ...] = (
        ("machine", _machine),
        ("accelerators", _accelerators),
        ("packages", _packages),
        ("extras", _extras),
        ("caches", _caches),
        ("environment", _environment),
    )
    for subject, gather in subjects:
        try:
            facts[subject] = {name: private(text) for name, text in gather(wrong).items()}
        except Exception as error:  # whatever is broken: the rest is told all the same
            said = private(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            facts[subject] = {"cannot be told": said}
            wrong.append(f"{subject}: cannot be told: {said}")
    return facts, [private(line) for line in wrong]


def private(text: str) -> str:
    """A text without the user's home, user name and the name of the machine."""
    found: dict[str, str] = {}
    with suppress(Exception):
        found[str(Path.home())] = "~"
    with suppress(Exception):
        found[getpass.getuser()] = "USER"
    with suppress(Exception):
        found[platform.node()] = "HOST"
    for name, instead in sorted(found.items(), key=lambda one: -len(one[0])):
        if len(name) > 1:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", instead, text)
    return text


def _machine(wrong: list[str]) -> dict[str, str]:
    found = {"Python": f"{platform.python_version()} ({platform.python_implementation()})"}
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    with suppress(OSError):
        system += f", {platform.freedesktop_os_release()['PRETTY_NAME']}"
    libc = " ".join(platform.libc_ver())
    found["system"] = f"{system}, {libc}" if libc.strip() else system
    found["CPU"] = f"{cpu_name()}, {os.cpu_count()} cores, {len(os.sched_getaffinity(0))} for this process"
    free = free_memory()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found["memory"] = f"{total / _GIB:.1f} GiB" + ("" if free is None else f", {free / _GIB:.1f} GiB free")
    for name, folder in (("shared memory", "/dev/shm"), ("temporary files", os.environ.get("TMPDIR", "/tmp"))):
        found[name] = _room(Path(folder), f"{name} ({folder})", wrong)
    found["SLURM"] = "yes" if shutil.which("sbatch") else "no"
    return found


def cpu_name() -> str:
    """The processor, with what it computes fast."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        flags = about.get("flags", "").split()
        special = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
        if name := about.get("model name"):
            return f"{name} ({' '.join(special)})" if special else name
    return platform.processor() or "unknown"


def _room(folder: Path, what: str, wrong: list[str]) -> str:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if usage.free < 2**26:
        wrong.append(f"{what}: is full, {usage.free / 2**20:.0f} MiB are free: make room")
    return f"{usage.total / _GIB:.1f} GiB, {usage.free / _GIB:.1f} GiB free"


def _accelerators(wrong: list[str]) -> dict[str, str]:
    found = _driver()
    try:
        probe = [sys.executable, "-c", _PROBE]
        # albumentations asks the network for a newer release otherwise.
        quiet = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
        done = subprocess.run(
            probe, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False, env=quiet
        )
    except subprocess.TimeoutExpired:
        wrong.append(
            f"torch: does not answer within {_SECONDS} seconds: does nvidia-smi? restart the machine otherwise"
        )
        return {**found, "torch": "does not answer"}
    try:
        told, broken = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        how = f"signal {signal.Signals(-done.returncode).name}" if done.returncode < 0 else f"status {done.returncode}"
        wrong.append(f"torch, or a library beside it, ends its process ({how}): {last[:200]}: install scansuite anew")
        return {**found, "torch": f"ended by {how}"}
    for name, why in broken.items():
        wrong.append(f"{name}: cannot be imported: {why}: install it anew")
    if "driver" in found and "GPU" in told:
        wrong.append("a GPU is there, but torch cannot use it: install a torch for this driver (pytorch.org)")
    return {**found, **told}


def _driver() -> dict[str, str]:
    """What nvidia-smi says."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {"driver": "nvidia-smi does not answer"}
    versions = dict.fromkeys(done.stdout.split())
    return {"driver": f"NVIDIA {', '.join(versions)}"} if done.returncode == 0 and versions else {}


def _packages(wrong: list[str]) -> dict[str, str]:
    found = {}
    for need in _requirements():
        if need.extra is None:
            found[need.name] = need.told
            if need.lacks:
                wrong.append(f"{need.name}: {need.told}: pip install '{need.text}'")
    return found


def _extras(wrong: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for need in _requirements():
        if need.extra is not None and need.extra not in _DEVELOPERS:
            found.setdefault(need.extra, []).extend([need.name] if need.lacks else [])
    return {
        extra: f"lacks {', '.join(lacks)}: pip install 'scansuite[{extra}]'" if lacks else "there"
        for extra, lacks in found.items()
    }


class _Need:
    """A requirement of the suite, and whether it is met."""

    def __init__(self, text: str) -> None:
        self.text, _, marker = (part.strip() for part in text.partition(";"))
        self.name = re.split(r"[\s\[<>=!~(]", self.text, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)", marker)
        self.extra = None if extra is None else extra[1]
        try:
            version = metadata.version(self.name)
        except metadata.PackageNotFoundError:
            self.told, self.lacks = "missing", True
            return
        self.lacks = not _fits(self.text, version)
        bound = self.text.removeprefix(self.name).strip()
        self.told = f"{version}, but {bound} is needed" if self.lacks else version


def _fits(requirement: str, version: str) -> bool:
    try:
        from packaging.requirements import Requirement

        return Requirement(requirement).specifier.contains(version, prereleases=True)
    except Exception:  # packaging is missing, or cannot read it: what is there is told all the same
        return True


def _requirements() -> list[_Need]:
    return [_Need(text) for text in metadata.requires(_DISTRIBUTION) or ()]


def _caches(wrong: list[str]) -> dict[str, str]:
    folder = default_cache_dir()
    named = " ($SCANSUITE_CACHE)" if os.environ.get("SCANSUITE_CACHE") else ""
    found = {"folder": f"{folder}{named}"}
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    found["disk"] = _room(there, f"the disk of {folder}", wrong)
    if not os.access(there, os.W_OK):
        wrong.append(f"{folder}: may not be written: name another with $SCANSUITE_CACHE")
    entries = list(kept_in(folder))
    for kind in KINDS:
        ours = [one for one in entries if one.kind == kind]
        size, files = sum(one.size for one in ours), sum(one.files for one in ours)
        found[kind] = f"{size / 2**20:.1f} MiB, {number_of(files, 'file')}" if ours else "nothing"
    for one in entries:
        if one.trouble.startswith("cannot"):
            wrong.append(f"{one.path}: {one.trouble}: mend its permissions, or remove it")
    return found


def _environment(wrong: list[str]) -> dict[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)}
