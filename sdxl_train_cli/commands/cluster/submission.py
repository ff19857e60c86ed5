"""`--on slurm`: a training that passed every check is submitted instead of started."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from typing import Annotated

from sdxl_train_cli.cluster import settings
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands import train_options, values, workspace
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console, printing


class Engine(str, Enum):
    """Values of `--on`."""

    SLURM = "slurm"


On = Annotated[
    Engine | None,
    values.one_of("--on", Engine, panel=train_options.WATCHING,
                  about="Submit it to a cluster that `sdxl-train cluster init` has set up [default: start it here]"),
]  # fmt: skip


Nodes = Annotated[
    int | None,
    values.whole("--nodes", metavar="NODES", panel=train_options.WATCHING,
                 about="Nodes of the cluster that train this together [default: 1]"),
]  # fmt: skip


def engine(on: Engine | None, nodes: int | None, choices: Choices, home: str | None) -> SlurmEngine | None:
    """The cluster to submit to. None where the run starts here."""
    if on is None:
        if nodes is not None:
            raise UsageError("--nodes is for a cluster", f"add --on slurm --nodes {nodes}")
        return None
    known = settings.load(os.environ)
    if choices.processes > 1 and known.gpus.isdecimal():
        known = replace(known, gpus=str(choices.processes))
    return SlurmEngine(workspace.home(home or known.home), known, nodes or 1)


def checked_as(choices: Choices, cluster: SlurmEngine) -> Choices:
    """The choices as they are checked here: against a node's GPU where it is known. The node checks again."""
    if choices.on_processor or choices.gpu_memory_gib is not None:
        return choices
    if choices.gpu_index is not None or choices.gpu_indices:
        raise UsageError("--gpu is a number of this computer's, and Slurm chooses the GPU there", "leave out --gpu")
    known = cluster.settings.gpu_memory_gib
    return replace(choices, check_vram=False) if known is None else replace(choices, gpu_memory_gib=known)


def submit(
    prepared: Prepared, cluster: SlurmEngine, guards_off: frozenset[Guard], *, step_downs: int, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Submit a run and print the job's number; with `dry_run`, print the script and submit nothing."""
    points = [entering.waiting(prepared, guards_off, step_downs=step_downs)]
    if dry_run:
        text = cluster.script(points, None)
        printing.data({"script": text}, indent=None) if as_json else printing.document(text.rstrip("\n"))
        return
    made, _ = cluster.submit(points)
    (job,) = made.jobs
    if as_json:
        printing.data({"job": job, "name": prepared.choices.name, "folder": str(made.folder)}, indent=None)
    else:
        printing.out(job)
    console.note(f"job {job} is submitted; to see it: sdxl-train cluster list")
