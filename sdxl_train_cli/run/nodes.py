"""One training on several nodes of a Slurm job: started by srun on each, supervised on the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts.processes import Processes

_SCRIPT = INSIDE / "node.py"
_FIRST_PORT, _PORTS = 20_000, 20_000
"""Ports that systems do not give away by themselves. Each job has its own: two may share a node."""


def layout(processes: Processes, inputs: Inputs, environ: Mapping[str, str]) -> Processes:
    """The layout on all nodes, as the first one is told it; `inside/node.py` mends it on the others.

    UsageError outside a job of so many nodes, unless the run starts later.
    """
    if inputs.nodes == 1:
        return processes
    starts_later = isinstance(inputs, Choices) and inputs.starts_later
    if not starts_later and environ.get("SLURM_JOB_NUM_NODES") != str(inputs.nodes):
        words = f"this run trains on {inputs.nodes} nodes of a cluster"
        raise UsageError(words, f"add --on slurm --nodes {inputs.nodes}")
    job = environ.get("SLURM_JOB_ID", "0")
    port = _FIRST_PORT + (int(job) if job.isdecimal() else 0) % _PORTS
    return replace(processes, machines=inputs.nodes, address=environ.get("SLURMD_NODENAME", "localhost"), port=port)


def started(argv: Sequence[str], nodes: int, folder: Path) -> list[str]:
    """The command line that starts the launcher on each node."""
    if nodes == 1:
        return list(argv)
    # Unbuffered, as srun waits for the end of a line, and a bar has none.
    tasks = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    srun = ["srun", *tasks, "--kill-on-bad-exit=1", "--unbuffered"]
    return [*srun, argv[0], str(_SCRIPT), str(folder), *argv]
