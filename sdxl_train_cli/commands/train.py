"""`sdxl-train lora`, `locon`, `loha`, `lokr` and `dreambooth`: check, launch, watch."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import sizes, workspace
from sdxl_train_cli.commands.sizes import Resolution
from sdxl_train_cli.commands.workspace import HomeOption, require_reasonable
from sdxl_train_cli.environment import hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs
from sdxl_train_cli.run import guards, launching, preparation, repeating, retry, run_choices, summary
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.ui import console, live, printing
from sdxl_train_cli.ui.live import LiveView

Preset = Annotated[str | None, typer.Option("--preset", "-p", help="A name from `sdxl-train presets list`, or a file")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="SDXL base: .safetensors file, diffusers folder or Hugging Face id")
]
Data = Annotated[
    str | None,
    typer.Option("--data", "-d", help="Folder of pictures; or a dataset config, or metadata"),
]
Reg = Annotated[str | None, typer.Option("--reg", help="Regularisation pictures, laid out like --data")]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Where the run's folder is made [default: output]")]
Name = Annotated[str | None, typer.Option("--name", "-n", help="Name of run and file [default: the data folder's]")]
Trigger = Annotated[str | None, typer.Option("--trigger", "-t", help="Trigger word for your subject")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", "-b", min=1, callback=require_reasonable, help="Pictures per step")
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, callback=require_reasonable, help="Length of the run in steps")
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, callback=require_reasonable, help="Length of the run in epochs: passes over the pictures"
    ),
]
Repeats = Annotated[
    int | None,
    typer.Option("--repeats", min=1, callback=require_reasonable, help="How often each picture is used in an epoch"),
]
PredictionOption = Annotated[
    Prediction | None,
    typer.Option("--prediction", help="What the base predicts, where its header doesn't say [default: as it says]"),
]
Vae = Annotated[str | None, typer.Option("--vae", help="VAE to use instead of the model's own")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, callback=require_reasonable, help="Random seed")]
Set = Annotated[list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any option of sd-scripts")]
GpuIndex = Annotated[
    int | None,
    typer.Option(
        "--gpu",
        min=0,
        callback=require_reasonable,
        help="Number of the GPU, as in nvidia-smi [default: the one with most free memory]",
    ),
]
GpuMemory = Annotated[
    float | None, typer.Option("--gpu-memory", help="With --dry-run: pretend that the GPU has this many GB")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command line and write nothing")]
AsJson = Annotated[bool, typer.Option("--json", help="Print events as JSON lines")]
NoGuard = Annotated[
    list[str] | None,
    typer.Option(
        "--no-guard",
        metavar="NAME",
        help="Guard to switch off: nan, loss, stuck, rate, speed, silence, disk, samples",
    ),
]


class OnOom(str, Enum):
    """Values of `--on-oom`."""

    STOP = "stop"
    STEP_DOWN = "step-down"


OnOomOption = Annotated[OnOom, typer.Option("--on-oom", help="What to do when the GPU's memory runs out")]
StepDowns = Annotated[
    int,
    typer.Option(
        "--step-downs", min=1, callback=require_reasonable, help="Most times that --on-oom step-down may step down"
    ),
]
SaveState = Annotated[
    bool | None,
    typer.Option(
        "--save-state/--no-save-state", help="Save the state that resuming needs [default: as the preset says]"
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="Train the same in less time, on a GPU (docs/speed.md)")]
NoVramCheck = Annotated[bool, typer.Option("--no-vram-check", help="Start even if the GPU seems too small")]


def train(
    context: typer.Context, preset: Preset = None, model: Model = None, data: Data = None, reg: Reg = None,
    output: Output = None, name: Name = None, trigger: Trigger = None, batch_size: BatchSize = None,
    steps: Steps = None, epochs: Epochs = None, repeats: Repeats = None, resolution: Resolution = None,
    vae: Vae = None, prediction: PredictionOption = None, seed: Seed = None, set_: Set = None,
    gpu: GpuIndex = None, gpu_memory: GpuMemory = None,
    save_state: SaveState = None, on_oom: OnOomOption = OnOom.STOP, step_downs: StepDowns = 3,
    no_guard: NoGuard = None, as_json: AsJson = False,
    dry_run: DryRun = False, no_vram_check: NoVramCheck = False, fast: Fast = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Train the kind that the command is named after; the command table has a row for each."""
    if gpu_memory is not None and not dry_run:
        raise UsageError(
            "--gpu-memory simulates a GPU, but a real run needs a real one", "add --dry-run, or omit --gpu-memory"
        )
    kind = Kind(context.command.name)
    off = guards.parse(no_guard or [])
    written = project.load(Path.cwd())
    typed = {"preset": preset, "model": model, "data": data, "reg": reg, "output": output, "name": name,
             "trigger": trigger, "vae": vae, "prediction": prediction and prediction.value}  # fmt: skip
    overrides = [*run_choices.overrides(kind, written), *from_flags(batch_size, steps, epochs, resolution, seed)]
    overrides += [*_state(save_state), *from_set(set_ or [])]
    choices = run_choices.choose(
        kind, run_choices.fill_in(kind, written, typed), overrides,
        repeats=repeats, gpu_index=gpu, gpu_memory_gib=gpu_memory, check_vram=not no_vram_check, fast=fast,
    )  # fmt: skip
    where = workspace.home(home)
    with workspace.picture_progress() as on_progress:
        prepared = preparation.prepare(choices, where, workspace.user_presets(), on_progress)
    if dry_run:
        show_prepared(prepared, as_json=as_json)
        return

    hub.require(prepared.model, where, os.environ)
    user_presets = workspace.user_presets()
    actions = retry.RunActions(
        carry_out=lambda ready: carry_out(ready, live.view(as_json=as_json), off),
        lower=lambda ready, reduction: preparation.prepare(
            retry.apply_reduction(ready.choices, reduction), where, user_presets
        ),
        warn=console.warn,
    )
    allowed = step_downs if on_oom is OnOom.STEP_DOWN else 0
    outcome = retry.carry_out(prepared, actions, retry.NEW, step_downs=allowed, user_presets=user_presets)
    console.finished(outcome)


def carry_out(prepared: Prepared, view: LiveView, guards_off: frozenset[Guard] = frozenset()) -> RunResult:
    """Write the run's record, start the trainer and watch it to its end."""
    note_untrained(prepared.environment)
    _tell(prepared)
    if prepared.memory is not None:
        console.note(f"VRAM: {prepared.memory}")
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures)
    console.note(f"run: {prepared.run.folder}")
    with view:
        outcome = launching.follow(prepared, view.show, guards_off)
    remember(prepared, outcome.peak_gib, outcome.seconds_per_step)
    return outcome


def show_prepared(prepared: Prepared, *, as_json: bool = False) -> None:
    """Show what a real start would: warnings and notes, then the run in five lines; stdout gets the command line."""
    _tell(prepared)
    for line in summary.lines(prepared):
        console.note(line)
    if as_json:
        printing.data({"argv": prepared.argv, "result": str(prepared.run.result)}, indent=None)
    else:
        printing.out(formatting.shell_line(prepared.argv))


def _tell(prepared: Prepared) -> None:
    for problem in prepared.warnings:
        console.warn(problem)
    for note in prepared.notes:
        console.note(note)


def note_untrained(installed: Environment) -> None:
    """Say so where a run will change no weights, whatever it looks like."""
    if not installed.trains:
        console.note("NOTHING WILL BE TRAINED: this sd-scripts has no torch; `sdxl-train setup` installs one that has")


def remember(prepared: Prepared, peak_gib: float | None, seconds_per_step: float | None) -> None:
    """Record the run's memory for later checks, and warn if it can't be recorded."""
    problem = launching.remember(prepared, peak_gib, seconds_per_step)
    if problem is not None:
        console.warn(problem)


def _state(wanted: bool | None) -> list[Override]:
    if wanted is None:
        return []
    if wanted:
        return [Override("save_state", True, Origin("--save-state"))]
    options = ("save_state", "save_last_n_steps_state", "save_last_n_epochs_state")
    return [Override(option, None, Origin("--no-save-state")) for option in options]


def from_flags(
    batch_size: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    resolution: str | None = None,
    seed: int | None = None,
) -> list[Override]:
    """Overrides from the flags of common options."""
    if steps is not None and epochs is not None:
        raise UsageError("--steps and --epochs both set the length of the run", "give one of them")
    overrides = []
    if batch_size is not None:
        overrides.append(Override("train_batch_size", batch_size, Origin("--batch-size")))
    if steps is not None:
        origin = Origin("--steps")
        overrides += [Override("max_train_steps", steps, origin), Override("max_train_epochs", None, origin)]
    if epochs is not None:
        origin = Origin("--epochs")
        overrides += [Override("max_train_epochs", epochs, origin), Override("max_train_steps", None, origin)]
    if resolution is not None:
        overrides += presets.with_sizes(*sizes.parse(resolution))
    if seed is not None:
        overrides.append(Override("seed", seed, Origin("--seed")))
    return overrides


def from_set(texts: list[str]) -> list[Override]:
    """Overrides from `--set`."""
    return [presets.parse_override(text) for text in texts]
