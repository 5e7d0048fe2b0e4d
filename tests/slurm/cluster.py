"""A real SLURM of two nodes on this machine, brought up and taken down: controller, two daemons and munge."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol")

# A requeued job waits until the credentials of its last start have expired: two minutes unless said otherwise.
# Nodes are told apart by port; their cores and memory are as this file says, not as the machine has them.
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=30
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=64 RealMemory=400000 State=UNKNOWN
PartitionName=cpu Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n[1-2] MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no SLURM can be brought up here; None where it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "SLURM's daemons start as root alone"


class Cluster:
    """Two nodes, ``n1`` and ``n2``, with room for any job of the tests.

    Args:
        folder: for configuration, state and logs; its path is short, since a socket lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.munged: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Bring it up, and wait until both nodes are idle."""
        os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        os.environ["SLURM_CONF"] = str(self.conf)
        (self.folder / "state").mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        names = {"key": "munge.key", "socket": "munge.socket", "pid": "munged.pid", "log": "munged.log", "seed": "seed"}
        flags = {"key": "key-file", "socket": "socket", "pid": "pid-file", "log": "log-file", "seed": "seed-file"}
        self.munged = subprocess.Popen(
            ["munged", "--force", "--foreground", *(f"--{flags[name]}={self.folder / names[name]}" for name in names)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_for(lambda: (self.folder / "munge.socket").exists(), 20)
        controller, first = _free_ports(2)[0], _free_pair()
        host = socket.gethostname().split(".")[0]
        self.conf.write_text(
            CONF.format(host=host, folder=self.folder, controller=controller, first=first, second=first + 1)
        )
        subprocess.run(["slurmctld", "-c"], check=True)
        for node in ("n1", "n2"):
            subprocess.run(["slurmd", "-N", node], check=True)
        self.wait_for(lambda: self.ask("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", 60)

    def stop(self) -> None:
        """Cancel what runs, and take it down."""
        with suppress(subprocess.SubprocessError):
            subprocess.run(["scancel", "--signal=KILL", "--full", "--user=root"], check=False, timeout=20)
            subprocess.run(["scancel", "--user=root"], check=False, timeout=20)
        for name in ("slurmctld", "slurmd-n1", "slurmd-n2"):
            with suppress(OSError, ValueError):
                _end(int((self.folder / f"{name}.pid").read_text()))
        if self.munged is not None:
            self.munged.terminate()
            self.munged.wait(10)
        os.environ.pop("SLURM_CONF", None)

    def ask(self, *command: str) -> str:
        """What a program of SLURM's says."""
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout

    def state(self, job: str) -> str:
        """State of a job."""
        told = self.ask("scontrol", "--oneliner", "show", "job", job).split("\n")[0]
        return dict(word.partition("=")[::2] for word in told.split()).get("JobState", "UNKNOWN")

    def field(self, job: str, name: str) -> str:
        """A field of ``scontrol show job``."""
        told = self.ask("scontrol", "--oneliner", "show", "job", job).split("\n")[0]
        return dict(word.partition("=")[::2] for word in told.split()).get(name, "")

    @staticmethod
    def wait_for(there: Callable[[], object], seconds: float) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} seconds")
            time.sleep(0.2)


def _end(process: int) -> None:
    """End a daemon; with force where it does not within ten seconds."""
    os.kill(process, signal.SIGTERM)
    for _ in range(100):
        time.sleep(0.1)
        os.kill(process, 0)  # raises where it has ended
    os.kill(process, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _free_pair() -> int:
    """The first of two free ports side by side."""
    while True:
        (port,) = _free_ports(1)
        with socket.socket() as beside, suppress(OSError):
            beside.bind(("127.0.0.1", port + 1))
            return port
