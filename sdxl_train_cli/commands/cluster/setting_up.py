"""`sdxl-train cluster init`: ask once how a cluster wants its jobs, and check it by a short one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.cluster import checking, settings
from sdxl_train_cli.cluster.checking import NodeAnswer
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.commands import asking, values, workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.ui import console, printing

_NONE = "-"

Partition = Annotated[str | None, typer.Option("--partition", metavar="NAME", help="Partition [default: Slurm's]")]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Account to charge [default: yours]")]
Gpus = Annotated[
    str | None,
    typer.Option("--gpus", metavar="GRES", help="GPUs of a node: 1, 0 for none, or gpu:a100:1 [default: 1]"),
]
Time = Annotated[str | None, typer.Option("--time", metavar="LIMIT", help="Time limit of a job [default: 08:00:00]")]
Modules = Annotated[
    list[str] | None, typer.Option("--module", metavar="NAME", help="Module to load before a run; repeatable")
]
Container = Annotated[
    str | None,
    typer.Option(
        "--container", metavar="COMMAND", help="What starts a command in a container: apptainer exec --nv x.sif"
    ),
]
Lines = Annotated[
    list[str] | None, typer.Option("--line", metavar="OPTION", help="Further option of sbatch: --qos=long; repeatable")
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Write the settings without a job that tries them")]
Wait = Annotated[int, values.whole("--wait", metavar="SECONDS", about="How long to wait for that job")]


def init(
    partition: Partition = None, account: Account = None, gpus: Gpus = None, time: Time = None,
    module: Modules = None, container: Container = None, line: Lines = None, no_check: NoCheck = False,
    wait: Wait = 600, home: HomeOption = None,
) -> None:  # fmt: skip
    """Ask how this cluster wants its jobs, and check it by a short job."""
    before = _before()
    found = settings.require(
        ClusterSettings(
            home=str(layout.expand(Path(_asked(home, "Home of sdxl-train that all nodes share", before.home)))),
            partition=_text(_asked(partition, "Partition", before.partition or _NONE)),
            account=_text(_asked(account, "Account", before.account or _NONE)),
            gpus=_asked(gpus, "GPUs of a node (0 for none, or a gres such as gpu:a100:1)", before.gpus),
            time=_asked(time, "Time limit of a job; longer runs are resumed", before.time),
            modules=_listed(module, "Modules to load, with spaces between", before.modules),
            container=_text(_asked(container, "Command that starts another in a container", before.container or _NONE)),
            lines=_listed(line, "Further options of sbatch, such as --qos=long", before.lines),
            gpu_memory=before.gpu_memory,
            gpu=before.gpu,
            gpu_capability=before.gpu_capability,
        )
    )
    if not no_check:
        where = workspace.home(found.home)
        answer = checking.ask_node(where, found, float(wait), console.note)
        name, size = answer.smallest or (None, None)
        memory = None if size is None else f"{size:.1f}"
        found = replace(found, gpu_memory=memory, gpu=name, gpu_capability=answer.capability)
        _tell(answer, found)
    printing.out(str(settings.write(found, os.environ)))
    console.note("to submit a training: sdxl-train lora --on slurm --model MODEL --data FOLDER")


def _before() -> ClusterSettings:
    """The settings that are there, which are kept where nothing else is said; else the defaults."""
    if files.is_file(settings.path(os.environ)):
        return settings.load(os.environ)
    return ClusterSettings(home=str(workspace.home(None).path))


def _asked(typed: str | None, question: str, usual: str) -> str:
    """What was typed, else an answer, else the default: a script is never asked."""
    if typed is not None:
        return typed
    return asking.ask(f"{question}:", usual, str) if asking.is_possible() else usual


def _text(answer: str) -> str | None:
    return None if answer in {_NONE, ""} else answer


def _listed(typed: list[str] | None, question: str, usual: Sequence[str]) -> tuple[str, ...]:
    if typed is not None:
        return tuple(typed)
    if not asking.is_possible():
        return tuple(usual)
    answer = _text(_asked(None, question, " ".join(usual) or _NONE))
    return () if answer is None else tuple(answer.split())


def _tell(answer: NodeAnswer, found: ClusterSettings) -> None:
    """Say what the node said. SetupError if it can't train."""
    console.note(f"node {answer.node} answers, and shares {found.home}")
    console.note(f"Python: {answer.python}")
    if answer.problem is not None or answer.environment is None:
        raise SetupError(
            f"the environment is not complete on node {answer.node}: {answer.problem}",
            "sdxl-train setup on this computer, into a home that all nodes share; then: sdxl-train cluster init",
        )
    console.note(f"environment: {answer.environment}")
    if not found.has_gpu:
        console.note("GPU: none was asked for")
        return
    if not answer.gpus or answer.torch_gpus == 0:
        seen = "the driver shows none" if not answer.gpus else "torch sees none"
        raise SetupError(
            f"no GPU on node {answer.node}: {seen}",
            "--gpus as the cluster's guide names them; a container needs them too: apptainer exec --nv",
        )
    for name, size in answer.gpus:
        console.note(f"GPU: {name}, {size:.1f} GB")
