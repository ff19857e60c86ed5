"""`sdxl-train setup`: create the isolated environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.commands import setup_choice, smoke, values, workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import building, environment, gathering
from sdxl_train_cli.environment.environment import Environment, SetupRequest
from sdxl_train_cli.environment.gathering import OtherMachine
from sdxl_train_cli.environment.toolchain import Extra, TorchBuild
from sdxl_train_cli.environment.wheel_folder import System, WheelFolder
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ui import console

_WHAT, _OFFLINE, _OTHERS = "What to install", "Without a network", "Several environments"

Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        rich_help_panel=_WHAT,
        help="sd-scripts: URL or clone [env: SDXL_TRAIN_SOURCE; default: GitHub]",
    ),
]
Ref = Annotated[
    str | None,
    typer.Option(
        "--ref", metavar="REF", rich_help_panel=_WHAT, help="Branch, tag or commit [default: the newest known release]"
    ),
]
Python = Annotated[
    str | None,
    typer.Option(
        "--python",
        metavar="PYTHON",
        rich_help_panel=_WHAT,
        help="Python of the environment, or the one whose torch exists [default: 3.11]",
    ),
]
Torch = Annotated[
    TorchBuild | None,
    values.one_of(
        "--torch",
        TorchBuild,
        panel=_WHAT,
        about="Build of torch, or existing: use one that is there [default: auto, for the GPU]",
    ),
]
Download = Annotated[
    Path | None,
    typer.Option(
        "--download",
        metavar="FOLDER",
        rich_help_panel=_OFFLINE,
        help="Install nothing: fetch all that --wheels needs into this folder",
    ),
]
PlatformOption = Annotated[
    System | None,
    values.one_of(
        "--platform", System, panel=_OFFLINE, about="With --download: system of the other machine [default: this one's]"
    ),
]
Present = Annotated[
    Path | None,
    typer.Option(
        "--present",
        metavar="FILE",
        rich_help_panel=_OFFLINE,
        help="With --download: its `pip list --format freeze`, to leave out what it has",
    ),
]
Wheels = Annotated[
    str | None,
    typer.Option(
        "--wheels", metavar="FOLDER", rich_help_panel=_OFFLINE, help="Install from this folder, without a network"
    ),
]
Extras = Annotated[
    list[Extra] | None, values.one_of("--extra", Extra, panel=_WHAT, about="Install this too; repeatable")
]
Without = Annotated[
    list[Extra] | None, values.one_of("--without", Extra, panel=_WHAT, about="Leave out this extra; repeatable")
]
Update = Annotated[
    bool,
    typer.Option("--update", rich_help_panel=_OTHERS, help="Move to the newest known release, proven by a smoke run"),
]
Rollback = Annotated[
    bool, typer.Option("--rollback", rich_help_panel=_OTHERS, help="Go back to the environment before")
]
ListAll = Annotated[bool, typer.Option("--list", rich_help_panel=_OTHERS, help="Show what is installed")]
Use = Annotated[
    str | None,
    typer.Option("--use", metavar="NAME|RELEASE", rich_help_panel=_OTHERS, help="Use another of them"),
]
Prune = Annotated[bool, typer.Option("--prune", rich_help_panel=_OTHERS, help="Remove all but the current one")]
Recreate = Annotated[
    bool, typer.Option("--recreate", rich_help_panel=_WHAT, help="Rebuild the environment even if nothing has changed")
]
Json = Annotated[bool, typer.Option("--json", help="Print what is installed as JSON")]


def setup(
    source: Source = None, ref: Ref = None, python: Python = None, torch: Torch = None, extra: Extras = None,
    without: Without = None, wheels: Wheels = None, download: Download = None, platform: PlatformOption = None,
    present: Present = None, recreate: Recreate = False, update: Update = False, rollback: Rollback = False,
    list_all: ListAll = False, use: Use = None, prune: Prune = False, json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Install sd-scripts and torch in their own environment."""
    where = workspace.home(home)
    _require_one_way(update=update, rollback=rollback, list=list_all, use=use, prune=prune, download=download)
    if rollback or list_all or use or prune:
        setup_choice.carry_out(where, use, rollback=rollback, prune=prune, as_json=json)
        return
    address = source or _carried(wheels) or os.environ.get("SDXL_TRAIN_SOURCE") or workspace.config().source
    request = requested(where, address, ref, python, torch, (extra, without), wheels, newest=update)
    if download is not None:
        source, version = address or request.source, request.python or f"{sys.version_info[0]}.{sys.version_info[1]}"
        machine = OtherMachine(source, version, platform or System.here(), gathering.read_packages(present))
        folder = WheelFolder(layout.expand(download))
        gathering.download(where, folder, request, machine, console.note)
        console.note(_summary_of_download(folder.path, request))
        if json:
            console.data({"folder": str(folder.path)})
        return
    newer, before = (building.Update(smoke.prove), environment.find(where)) if update else (None, None)
    installed = building.create(where, request, recreate=recreate, report=console.note, address=address, update=newer)
    if json:
        console.data(installed.lock.model_dump(mode="json"))
        return
    console.note(_summary(installed))
    if before is not None and installed.folder == before.folder:
        console.note("this is the newest known release that the source has")
    if others := len(list(environment.iter_whole(where))) - 1:
        console.note(f"{formatting.counted(others, 'other environment')} kept: `sdxl-train setup --list`")
    if installed.trains:
        console.note("next: `sdxl-train smoke` trains something tiny, to prove that it works")


def _require_one_way(**flags: object) -> None:
    typed = [f"--{name}" for name, value in flags.items() if value]
    if len(typed) > 1:
        raise UsageError(f"{' and '.join(typed)} can't be used together", "type one of them")


def _summary_of_download(path: Path, request: SetupRequest) -> str:
    torch = f" --torch {request.torch.value}" if request.torch is not TorchBuild.AUTO else ""
    return f"ready: copy {path} to the other machine, and type there: sdxl-train setup{torch} --wheels {path.name}"


def _carried(wheels: str | None) -> str | None:
    """sd-scripts in the folder of wheels, if it is there."""
    source = WheelFolder(Path(wheels)).source if wheels else None
    return str(source) if source and files.is_folder(source) else None


def requested(
    home: Home, address: str | None, ref: str | None, python: str | None, torch: TorchBuild | None,
    extras: tuple[list[Extra] | None, list[Extra] | None], wheels: str | None, *,
    newest: bool,
) -> SetupRequest:  # fmt: skip
    """The request: typed values replace the installed ones, untyped values stay. Extras are added and left out."""
    there = environment.read_lock(home)
    now = there.request if there and there.trains else environment.SetupRequest()
    build = torch or now.torch
    is_other_python = (build is TorchBuild.EXISTING) is not (now.torch is TorchBuild.EXISTING)
    return environment.SetupRequest(
        source=address or now.source,
        ref=None if newest else ref or now.ref,
        python=python or (None if is_other_python else now.python),
        torch=build,
        extras=tuple(sorted({*now.extras, *(extras[0] or ())} - set(extras[1] or ()))),
        wheels=now.wheels if wheels is None else wheels or None,
    )


def _summary(installed: Environment) -> str:
    lock = installed.lock
    if not installed.trains:
        return f"ready, but it trains nothing: {lock.ref} ({lock.commit[:10]}) brings its own accelerate and no torch"
    return (
        f"ready: sd-scripts {lock.ref} ({lock.commit[:10]}), Python {lock.python}, torch {lock.packages.get('torch')}"
        f"{f' of {lock.existing.python}' if lock.existing else ''}"
    )
