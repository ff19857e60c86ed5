"""`sdxl-train setup`: create the isolated environment."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import building, environment
from sdxl_train_cli.environment.environment import Environment, SetupRequest
from sdxl_train_cli.environment.toolchain import Extra, TorchBuild
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ui import console

Source = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="SOURCE", help="sd-scripts: URL or clone [env: SDXL_TRAIN_SOURCE; default: GitHub]"
    ),
]
Ref = Annotated[str | None, typer.Option("--ref", metavar="REF", help="Branch, tag or commit [default: sdxl]")]
Python = Annotated[
    str | None, typer.Option("--python", metavar="VERSION", help="Python of the environment [default: 3.11]")
]
Torch = Annotated[
    TorchBuild | None, values.one_of("--torch", TorchBuild, about="Build of torch [default: auto, chosen for the GPU]")
]
Extras = Annotated[list[Extra] | None, values.one_of("--extra", Extra, about="Also install this; repeatable")]
Recreate = Annotated[bool, typer.Option("--recreate", help="Rebuild the environment even if nothing has changed")]
Json = Annotated[bool, typer.Option("--json", help="Print what is installed as JSON")]


def setup(
    source: Source = None, ref: Ref = None, python: Python = None, torch: Torch = None, extra: Extras = None,
    recreate: Recreate = False, json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Install sd-scripts and torch in their own environment."""
    where = workspace.home(home)
    address = source or os.environ.get("SDXL_TRAIN_SOURCE") or workspace.config().source
    request = _request(where, address, ref, python, torch, extra)
    installed = building.create(where, request, recreate=recreate, report=console.note, address=address)
    if json:
        console.data(installed.lock.model_dump(mode="json"))
        return
    console.note(_summary(installed))
    if installed.trains:
        console.note("next: `sdxl-train smoke` trains something tiny, to prove that it works")


def _request(
    home: Home, address: str | None, ref: str | None, python: str | None, torch: TorchBuild | None,
    extras: list[Extra] | None,
) -> SetupRequest:  # fmt: skip
    """The request: typed values replace the installed ones, untyped values stay."""
    there = environment.read_lock(home)
    now = there.request if there and there.trains else environment.SetupRequest()
    return environment.SetupRequest(
        source=address or now.source,
        ref=ref or now.ref,
        python=python or now.python,
        torch=torch or now.torch,
        extras=now.extras if extras is None else tuple(sorted(set(extras))),
    )


def _summary(installed: Environment) -> str:
    lock = installed.lock
    if not installed.trains:
        return f"ready, but it trains nothing: {lock.ref} ({lock.commit[:10]}) brings its own accelerate and no torch"
    return (
        f"ready: sd-scripts {lock.ref} ({lock.commit[:10]}), Python {lock.python}, torch {lock.packages.get('torch')}"
    )
