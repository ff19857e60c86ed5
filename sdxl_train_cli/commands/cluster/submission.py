"""`--on slurm`: a training that passed every check is submitted instead of started."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from typing import Annotated

from sdxl_train_cli import formatting
from sdxl_train_cli.cluster import settings
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands import train_options, values, workspace
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
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
    if choices.gpu_index is not None or choices.gpu_indices:
        several = len(choices.gpu_indices)
        hint = f"give --gpus {several} in its place" if several else "leave out --gpu"
        raise UsageError("--gpu is a number of this computer's, and Slurm chooses the GPU there", hint)
    known = settings.load(os.environ)
    if choices.processes > 1:
        known = known.with_gpus(choices.processes)
    return SlurmEngine(home_of(on, home), known, nodes or 1)


def home_of(on: Engine | None, home: str | None) -> Home:
    """The home of a run: the one that a cluster's nodes share, if it is submitted to one."""
    return workspace.home(home or settings.load(os.environ).home if on is not None else home)


def require_none(on: Engine | None, nodes: int | None, kind: Kind) -> None:
    """UsageError for a cluster's flags beside `queue add`."""
    if on is None and nodes is None:
        return
    given = "--on" if on is not None else "--nodes"
    more = "" if nodes is None else f" --nodes {nodes}"
    words = f"{given} is for a cluster, and `queue add` is for this computer's queue"
    raise UsageError(words, f"a cluster has a queue of its own: sdxl-train {kind.value} --on slurm{more}")


def checked_as(choices: Choices, cluster: SlurmEngine) -> Choices:
    """The choices as they are checked here: against a node's GPU where it is known. The node checks again."""
    if choices.on_processor or choices.gpu_memory_gib is not None:
        return choices
    known = cluster.settings.gpu_memory_gib
    if known is not None:
        return replace(choices, gpu_memory_gib=known)
    if choices.processes > 1:
        words = "several GPUs are checked by a node's, and no node was asked what it has"
        raise UsageError(words, f"sdxl-train cluster init --gpus {choices.processes}")
    return replace(choices, check_vram=False)


def submit(
    prepared: Prepared, cluster: SlurmEngine, guards_off: frozenset[Guard], *, step_downs: int, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Submit a run and print the job's number; with `dry_run`, print the script and submit nothing."""
    points = [entering.waiting(prepared, guards_off, step_downs=step_downs)]
    if dry_run:
        (text,) = cluster.scripts(points, None)
        printing.data({"script": text}, indent=None) if as_json else printing.document(text.rstrip("\n"))
        return
    (made,) = cluster.submit(points)
    (job,) = made.jobs
    if as_json:
        printing.data({"job": job, "name": prepared.choices.name, "folder": str(made.folder)}, indent=None)
    else:
        printing.out(job)
    console.note(f"job {job} is submitted; to see it: sdxl-train cluster list{flag(cluster.home)}")


def flag(home: Home) -> str:
    """`--home` for a command that is told, where it would look into another one without it."""
    is_usual = home.path == workspace.home(None).path
    return "" if is_usual else f" --home {formatting.shell_word(home.path)}"
