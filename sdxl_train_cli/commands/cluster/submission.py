"""`--on slurm`: a training that passed every check is submitted instead of started."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from typing import Annotated

from sdxl_train_cli import formatting, gpu
from sdxl_train_cli.cluster import settings
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands import train_options, values, workspace
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import counting
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices, Elsewhere
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
    return engine_for(on, nodes or 1, choices.processes, home)


def engine_for(on: Engine, nodes: int, processes: int, home: str | None) -> SlurmEngine:
    """The cluster, for runs on so many nodes and GPUs of each."""
    return SlurmEngine(home_of(on, home), settings.load(os.environ).with_gpus(processes), nodes)


def home_of(on: Engine | None, home: str | None) -> Home:
    """The home of a run: the one that a cluster's nodes share, if it is submitted to one."""
    return workspace.home(home or settings.load(os.environ).home if on is not None else home)


def require_none(on: Engine | None, nodes: int | None, kind: Kind, run: str | None = None) -> None:
    """UsageError for a cluster's flags beside `queue add`. `run` is what `queue add rerun` repeats."""
    if on is None and nodes is None:
        return
    given = "--on" if on is not None else "--nodes"
    more = "" if nodes is None else f" --nodes {nodes}"
    command = kind.value if run is None else f"runs rerun {formatting.shell_word(run)}"
    words = f"{given} is for a cluster, and `queue add` is for this computer's queue"
    raise UsageError(words, f"a cluster has a queue of its own: sdxl-train {command} --on slurm{more}")


def checked_as(choices: Choices, cluster: SlurmEngine) -> Choices:
    """The choices as they are checked here: against a node's GPU where it is known. The node checks again.

    UsageError where it is known that there is none.
    """
    there = node_of(cluster, is_needed=choices.check_vram and not choices.on_processor)
    if choices.gpu_memory_gib is not None:
        there = Elsewhere(gpu.hypothetical(choices.gpu_memory_gib, gpu.usual_headroom_gib()))
    return replace(choices, elsewhere=there, check_vram=choices.check_vram and there.gpu is not None)


def node_of(cluster: SlurmEngine, *, is_needed: bool) -> Elsewhere:
    """A node, as far as it is known. UsageError if a GPU `is_needed` and it is known that there is none."""
    known = cluster.settings
    found = Elsewhere(known.node_gpu, has_gpu=known.node_gpu is not None or known.has_gpu)
    if is_needed and not found.has_gpu:
        words = "the cluster's jobs ask for no GPU, and on a processor SDXL trains for weeks"
        raise UsageError(words, "sdxl-train cluster init --gpus 1; or try anyway: --no-vram-check")
    return found


def submit(
    prepared: Prepared, cluster: SlurmEngine, guards_off: frozenset[Guard] = frozenset(), *, step_downs: int = 0,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Submit a run and print the job's number; with `dry_run`, print the script and submit nothing."""
    why = counting.why_not_resumed(prepared.environment, prepared.recipe.kind)
    if why is not None:
        console.note(f"what Slurm takes back begins anew: {why}")
    submit_point(entering.waiting(prepared, guards_off, step_downs=step_downs), cluster, dry_run=dry_run,
                 as_json=as_json)  # fmt: skip


def submit_point(point: Waiting, cluster: SlurmEngine, *, dry_run: bool, as_json: bool) -> None:
    """Submit a job and print its number; with `dry_run`, print the script and submit nothing."""
    if dry_run:
        (text,) = cluster.scripts([point], None)
        printing.data({"script": text}, indent=None) if as_json else printing.document(text.rstrip("\n"))
        return
    (made,) = cluster.submit([point])
    job = made.jobs[-1]
    if as_json:
        printing.data({"job": job, "name": point.name, "folder": str(made.folder)}, indent=None)
    else:
        printing.out(job)
    console.note(f"job {job} is submitted; to see it: sdxl-train cluster list{flag(cluster.home)}")


def flag(home: Home) -> str:
    """`--home` for a command that is told, where it would look into another one without it."""
    is_usual = home.path == workspace.home(None).path
    return "" if is_usual else f" --home {formatting.shell_word(home.path)}"
