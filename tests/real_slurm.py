"""A real Slurm for tests: a controller and two nodes on this machine, of unpacked Debian packages.

Nothing is installed and no service is started: `unpack` downloads the packages into a folder, and `Slurm` starts
three processes on free ports, which it stops by their ids. There is no munge and no database, as on small clusters.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

UNPACKED = "SDXL_TRAIN_SLURM"
"""Variable that names the folder with the unpacked packages; .ci/run fills it."""
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins")
NODES = ("n1", "n2")
_TOOLS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "sacct")
_FOLDER = os.environ.get(UNPACKED, "")  # the tests' own world empties the environment

_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=3
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core,CR_LLN
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
PriorityType=priority/basic
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=20
MinJobAge=3600
InactiveLimit=0
SlurmctldDebug=info
SlurmdDebug=info
SlurmdParameters=config_overrides
SlurmdSyslogDebug=quiet
{nodes}
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def unpack(folder: Path) -> None:
    """Download the packages and what they need, and unpack them: dpkg's own scripts, which start services, never run.

    Raises CalledProcessError without apt, its lists or root.
    """
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    options = ("-y", "-qq", "--download-only", "--no-install-recommends", "-o", f"Dir::Cache::Archives={archives}")
    subprocess.run(["apt-get", "install", *options, *PACKAGES], check=True, capture_output=True, timeout=300)
    for package in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
    shutil.rmtree(archives)


def missing() -> str | None:
    """Why there is no Slurm for the tests. None if there is one."""
    if not _FOLDER:
        return f"no Slurm: set {UNPACKED} to a folder that `python tests/real_slurm.py FOLDER` has filled"
    return None if (Path(_FOLDER) / "usr/sbin/slurmctld-wlm").is_file() else f"no Slurm in {UNPACKED}={_FOLDER}"


class Slurm:
    """A running cluster of two nodes."""

    def __init__(self, folder: Path, unpacked: Path, more: Sequence[str] = ()) -> None:
        self.folder, self._root, self._more = folder, unpacked, more
        (self._libraries,) = unpacked.glob("usr/lib/*/slurm-wlm")
        self.bin = folder / "bin"
        """Its commands, to be put on PATH."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def path(self) -> str:
        """PATH with the cluster's commands first."""
        return f"{self.bin}{os.pathsep}{os.environ['PATH']}"

    def start(self) -> None:
        """Start controller and nodes, and wait until they are idle."""
        for name in ("state", "bin", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        self._write_conf()
        self._write_commands()
        self.start_daemon("slurmctld", "slurmctld-wlm", "-D", "-f", str(self.conf))
        for node in NODES:
            self.start_node(node)
        _until(self._is_ready)

    def _is_ready(self) -> bool:
        ended = [name for name, process in self._processes.items() if process.poll() is not None]
        assert not ended, "\n".join((self.folder / f"{name}.log").read_text(errors="replace")[-2000:] for name in ended)
        with contextlib.suppress(subprocess.CalledProcessError):  # the controller does not answer yet
            return self("sinfo", "-h", "-N", "-o", "%N %t").split("\n") == [f"{node} idle" for node in NODES]
        return False

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        steps = str(self._root / "usr/sbin/slurmstepd-wlm")
        self.start_daemon(node, "slurmd-wlm", "-D", "-N", node, "-f", str(self.conf), "-d", steps)

    def start_daemon(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._root / "usr/sbin" / program, *arguments],
                env={**os.environ, "LD_LIBRARY_PATH": self._library_path, "SLURM_CONF": str(self.conf)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def start_now(self, job: str) -> None:
        """Start a requeued job, which Slurm would hold back for two minutes."""
        self("scontrol", "update", f"JobId={job}", "StartTime=now")

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon, as a crash does."""
        self._stop(node, signal.SIGKILL)

    def stop(self) -> None:
        """Cancel what runs, and stop the daemons by their ids."""
        with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            self("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
            self("scancel", f"--user={getpass.getuser()}")
            _until(lambda: not self("squeue", "-h"))
        for name in reversed(list(self._processes)):
            self._stop(name, signal.SIGTERM)

    def __call__(self, command: str, *arguments: str) -> str:
        """Run one of its commands and give what it printed. CalledProcessError if it fails."""
        done = subprocess.run(
            [self.bin / command, *arguments], check=True, capture_output=True, encoding="utf-8", timeout=60
        )
        return done.stdout.strip()

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def _library_path(self) -> str:
        return f"{self._libraries}{os.pathsep}{self._libraries.parent}"

    def _write_conf(self) -> None:
        control, *ports = _free_ports(1 + len(NODES))
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000 State=UNKNOWN"
            for node, port in zip(NODES, ports, strict=True)
        )
        text = _CONF.format(
            host=host, control=control, user=getpass.getuser(), folder=self.folder, plugins=self._libraries, nodes=nodes
        )
        self.conf.write_text(text + "".join(f"{line}\n" for line in self._more), encoding="utf-8")

    def _write_commands(self) -> None:
        """The commands find their libraries and this cluster by themselves, as installed ones do."""
        for tool in _TOOLS:
            line = shlex.join(["exec", str(self._root / "usr/bin" / tool)])
            exports = shlex.join(["export", f"LD_LIBRARY_PATH={self._library_path}", f"SLURM_CONF={self.conf}"])
            (self.bin / tool).write_text(f'#!/bin/sh\n{exports}\n{line} "$@"\n', encoding="utf-8")
            (self.bin / tool).chmod(0o755)

    def _stop(self, name: str, signum: int) -> None:
        process = self._processes.pop(name)
        process.send_signal(signum)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(found: Callable[[], bool]) -> None:
    from patience import until  # noqa: PLC0415 - as below

    until(found)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


@contextlib.contextmanager
def running(folder: Path, *more: str) -> Iterator[Slurm]:
    """A cluster for the duration of the block. Skips the test, saying why, where there is none.

    `more` are further lines of its slurm.conf, such as `MaxArraySize=5`.
    """
    import pytest  # noqa: PLC0415 - `unpack` runs before there is one

    why = missing()
    if why is not None:
        pytest.skip(why)
    cluster = Slurm(folder, Path(_FOLDER), more)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


if __name__ == "__main__":
    unpack(Path(sys.argv[1]).absolute())
