"""`sdxl-train smoke`: train something tiny for real, on any machine."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.commands import train, values, workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment, required_packages
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import preparation, smoke
from sdxl_train_cli.run.smoke import SmokeActions
from sdxl_train_cli.ui import console, live

_ALL = "all"
_PROOF_STEPS = 2
_MOST_PROCESSES = 8

KindOption = Annotated[
    str,
    typer.Option(
        "--kind",
        "-k",
        metavar="KIND",
        help=f"{', '.join(kind.value for kind in Kind)} or {_ALL}",
        autocompletion=workspace.complete_kinds,
    ),
]
Steps = Annotated[int, values.whole("--steps", metavar="STEPS", least=2, about="Length of each run")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go [default: smoke-output]")
]
FullSize = Annotated[bool, typer.Option("--full-size", help="Use full-size SDXL: about 7 GB of disk and memory")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep model, pictures and logs, not only the trained files")]
GpuIndex = Annotated[int | None, values.gpu_index("Number of the GPU to train on [default: the processor]")]

Processes = Annotated[
    int,
    values.whole("--processes", most=_MOST_PROCESSES, about="Train in several processes, as several GPUs do"),
]


def train_tiny(
    kind: KindOption = "lora", steps: Steps = 4, output: Output = None, full_size: FullSize = False,
    keep: Keep = False, gpu: GpuIndex = None, processes: Processes = 1, home: HomeOption = None,
) -> None:  # fmt: skip
    """Prove that training works, on any machine."""
    where = workspace.home(home)
    if gpu is not None and processes > 1:
        raise UsageError("--processes rehearses on the processor, and --gpu takes one GPU", "leave out one of them")
    asked = None if kind == _ALL else workspace.kind(kind, _ALL)
    installed = environment.require(where)
    kinds = _kinds(installed, asked)
    target = _made(layout.expand(output or Path("smoke-output")))
    reason = None if full_size else environment.abilities(installed).not_scaled
    if reason and installed.trains:
        console.note(f"using full-size SDXL, 6.9 GB: {reason}")
    size = smoke.SmokeSize(steps, scaled=not full_size and reason is None, gpu_index=gpu, processes=processes)
    with ExitStack() as stack:
        folder = target if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sdxl-train-smoke-")))
        found = smoke.run(installed, kinds, folder, size, _actions(where))
        kept = [facts.path if keep else _copied(facts.path, target / facts.path.name) for facts in found]
    if installed.trains:
        console.note("training works here; next: `sdxl-train start` in the folder with your pictures")
    for path in kept:
        console.out(str(path))


def prove(where: Home) -> None:
    """Train the smallest thing with the home's environment. TrainingError if that fails. Nothing is kept."""
    installed = environment.require(where)
    if not installed.trains:
        return
    scaled = environment.abilities(installed).not_scaled is None
    size = smoke.SmokeSize(_PROOF_STEPS, scaled=scaled, gpu_index=None)
    with tempfile.TemporaryDirectory(prefix="sdxl-train-smoke-") as folder:
        smoke.run(installed, [Kind.LORA], Path(folder), size, _actions(where))


def _actions(where: Home) -> SmokeActions:
    return SmokeActions(
        lambda choices: preparation.prepare(choices, where, workspace.user_presets()),
        lambda prepared: train.carry_out(prepared, live.view(as_json=False)),
        console.note,
    )


def _copied(made: Path, target: Path) -> Path:
    """Copy the file to the user's folder. A link at the target is replaced, its destination left alone."""
    try:
        files.copy(made, target)
    except OSError as error:
        raise UsageError(f"{target} can't be written: {error.strerror}", "give --output another folder") from error
    return target


def _kinds(installed: Environment, asked: Kind | None) -> list[Kind]:
    """The requested kinds, or all that can be trained here. Reports what the others need."""
    kinds, missing = smoke.trainable(installed)
    if asked is not None:
        required_packages.require_extras(installed, [Extra.LYCORIS] if asked in missing else [], "run")
        return [asked]
    if missing:
        names = " and ".join(kind.label for kind in missing)
        console.note(f"{names} left out, as LyCORIS is not installed: `sdxl-train setup --extra lycoris`")
    return kinds


def _made(folder: Path) -> Path:
    """Create the folder before the work whose result it receives."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror}", "give --output a folder") from error
    return folder
