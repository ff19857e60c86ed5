"""`sdxl-train lora`, `locon`, `loha`, `lokr`, `dreambooth` and `embedding`: check, launch, watch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import ending, train_options, workspace
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.cluster.submission import Nodes, On
from sdxl_train_cli.commands.queue import adding
from sdxl_train_cli.commands.sweep import checking, queuing
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.commands.train_options import (
    Accumulate,
    Alpha,
    AsJson,
    BatchSize,
    Data,
    Dim,
    DryRun,
    Epochs,
    Fast,
    GpuIndices,
    GpuMemory,
    Gpus,
    GradientCheckpointing,
    KeepBest,
    KeepTokens,
    LearningRate,
    MinSnrGamma,
    Model,
    Name,
    NoGuard,
    NoiseOffset,
    NoSamples,
    NoVramCheck,
    OnOom,
    OnOomOption,
    Optimizer,
    Output,
    PredictionOption,
    Preset,
    Reg,
    Repeats,
    Resolution,
    Sample,
    SaveEvery,
    SaveState,
    Scheduler,
    Seed,
    Set,
    ShuffleCaptions,
    StepDowns,
    Steps,
    Trigger,
    Vae,
    Validate,
    Warmup,
    Workers,
)
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs
from sdxl_train_cli.run import guards, launching, next_steps, preparation, repeating, retry, run_choices, summary
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.ui import console, live, printing
from sdxl_train_cli.ui.live import LiveView


def train(
    context: typer.Context, preset: Preset = None, model: Model = None, data: Data = None, trigger: Trigger = None,
    name: Name = None, output: Output = None, reg: Reg = None, repeats: Repeats = None, vae: Vae = None,
    prediction: PredictionOption = None, steps: Steps = None, epochs: Epochs = None, batch_size: BatchSize = None,
    accumulate: Accumulate = None, resolution: Resolution = None, learning_rate: LearningRate = None,
    optimizer: Optimizer = None, scheduler: Scheduler = None, warmup: Warmup = None, dim: Dim = None,
    alpha: Alpha = None, min_snr_gamma: MinSnrGamma = None, noise_offset: NoiseOffset = None,
    shuffle_captions: ShuffleCaptions = None, keep_tokens: KeepTokens = None, seed: Seed = None, set_: Set = None,
    save_every: SaveEvery = None, save_state: SaveState = None, gpu: GpuIndices = None, gpus: Gpus = None,
    gpu_memory: GpuMemory = None, gradient_checkpointing: GradientCheckpointing = None, workers: Workers = None,
    fast: Fast = False, on_oom: OnOomOption = OnOom.STOP, step_downs: StepDowns = 3, no_vram_check: NoVramCheck = False,
    sample: Sample = None, no_samples: NoSamples = False, validate: Validate = None,
    keep_best: KeepBest = None,
    no_guard: NoGuard = None, dry_run: DryRun = False, as_json: AsJson = False, on: On = None,
    nodes: Nodes = None, home: HomeOption = None,
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
    flagged = train_options.from_flags({
        "max_train_steps": steps, "max_train_epochs": epochs, "train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulate, "resolution": resolution, "learning_rate": learning_rate,
        "optimizer_type": optimizer, "lr_scheduler": scheduler, "lr_warmup_steps": warmup, "network_dim": dim,
        "network_alpha": alpha, "min_snr_gamma": min_snr_gamma, "noise_offset": noise_offset,
        "shuffle_caption": shuffle_captions, "keep_tokens": keep_tokens, "seed": seed,
        "save_every_n_steps": save_every, "save_state": save_state, "gradient_checkpointing": gradient_checkpointing,
        "max_data_loader_n_workers": workers,
    })  # fmt: skip
    _require_network(kind, flagged)
    overrides = [*run_choices.overrides(kind, written), *train_options.typed(flagged, set_)]
    choices = run_choices.choose(
        kind, run_choices.fill_in(kind, written, typed), overrides,
        repeats=repeats, gpu_indices=gpu or (), processes=gpus, gpu_memory_gib=gpu_memory,
        check_vram=not no_vram_check, fast=fast,
        samples=run_choices.samples(written, sample, no_samples=no_samples),
        validation=run_choices.validation(written, typed=validate),
        keep_best=written.keep_best if keep_best is None else keep_best,
    )  # fmt: skip
    if adding.is_asked(context):
        submission.require_none(on, nodes, kind)
    cluster = submission.engine(on, nodes, choices, home)
    where = workspace.home(home) if cluster is None else cluster.home
    allowed = step_downs if on_oom is OnOom.STEP_DOWN else 0
    choices = replace(choices, starts_later=cluster is not None or adding.is_asked(context), nodes=nodes or 1)
    sweep = checking.asked(context)
    if sweep is not None:
        engine = SweepEngine(where, cluster)
        queuing.take(sweep, choices, engine, off, allowed, dry_run=dry_run, as_json=as_json)
        return
    checked = choices if cluster is None else submission.checked_as(choices, cluster)
    with console.picture_progress() as on_progress:
        prepared = preparation.prepare(checked, where, workspace.user_presets(), on_progress)
    if cluster is not None:
        tell(prepared)
        ready = replace(prepared, choices=choices)
        submission.submit(ready, cluster, off, step_downs=allowed, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        show_prepared(prepared, as_json=as_json)
        return

    if choices.starts_later:
        tell(prepared)
        adding.add(prepared, where, off, step_downs=allowed, as_json=as_json)
        return
    launch(prepared, where, off, step_downs=allowed, as_json=as_json)


def launch(
    prepared: Prepared, where: Home, guards_off: frozenset[Guard] = frozenset(), *, step_downs: int = 0,
    as_json: bool = False, is_told: bool = False, note_folder: Callable[[Path], None] | None = None,
) -> None:  # fmt: skip
    """Start a prepared run, with less memory if it runs out, and say what its file is good for.

    `note_folder` is told of each folder before it is created.
    """
    if prepared.choices.tokenizers is None:
        hub.require(prepared.model, where, os.environ)
    user_presets = workspace.user_presets()

    followed = ending.FollowedRun(prepared.run.folder, as_json=as_json)

    def follow(ready: Prepared) -> RunResult:
        followed.folder = ready.run.folder
        if note_folder is not None:
            note_folder(ready.run.folder)
        return carry_out(ready, live.view(as_json=as_json), guards_off, is_told=is_told and ready is prepared)

    actions = retry.RunActions(
        carry_out=follow,
        lower=lambda ready, reduction: replace(
            preparation.prepare(retry.apply_reduction(ready.choices, reduction), where, user_presets),
            ends_early=ready.ends_early,
        ),
        warn=console.warn,
    )
    followed.carry_out(
        lambda: retry.carry_out(prepared, actions, retry.NEW, step_downs=step_downs, user_presets=user_presets),
        lambda outcome: [*ending.kept_lines(prepared.choices, outcome), *next_lines(prepared, outcome)],
    )


def carry_out(
    prepared: Prepared, view: LiveView, guards_off: frozenset[Guard] = frozenset(), *, is_told: bool = False
) -> RunResult:
    """Write the run's record, start the trainer and watch it to its end. `is_told`: its warnings were shown before."""
    note_untrained(prepared.environment)
    if not is_told:
        tell(prepared)
    if prepared.memory is not None:
        console.note(f"VRAM: {prepared.memory}")
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
    console.note(f"run: {prepared.run.folder}")
    with view:
        outcome = launching.follow(prepared, view.show, guards_off)
    remember(prepared, outcome.peak_gib, outcome.seconds_per_step)
    return outcome


def show_prepared(prepared: Prepared, *, as_json: bool = False) -> None:
    """Show what a real start would: warnings and notes, then the run in five lines; stdout gets the command line."""
    tell(prepared)
    for line in summary.lines(prepared):
        console.note(line)
    if as_json:
        printing.data({"argv": prepared.argv, "result": str(prepared.run.result)}, indent=None)
    else:
        printing.out(formatting.shell_line(prepared.argv))


def tell(prepared: Prepared) -> None:
    """Show every warning and note."""
    for problem in prepared.warnings:
        console.warn(problem)
    for note in prepared.notes:
        console.note(note)


def note_untrained(installed: Environment) -> None:
    """Say so where a run will change no weights, whatever it looks like."""
    if not installed.trains:
        console.note("NOTHING WILL BE TRAINED: this sd-scripts has no torch; `sdxl-train setup` installs one that has")


def next_lines(prepared: Prepared, outcome: RunResult) -> list[str]:
    """What the file is good for. Nothing where nothing was trained."""
    choices = prepared.choices
    return next_steps.lines(choices.kind, choices.trigger, outcome.result) if prepared.environment.trains else []


def remember(prepared: Prepared, peak_gib: float | None, seconds_per_step: float | None) -> None:
    """Record the run's memory for later checks, and warn if it can't be recorded."""
    problem = launching.remember(prepared, peak_gib, seconds_per_step)
    if problem is not None:
        console.warn(problem)


def _require_network(kind: Kind, flagged: Sequence[Override]) -> None:
    """UsageError for a flag of the network's size where there is no network."""
    sizes = [str(one.origin) for one in flagged if one.option in {"network_dim", "network_alpha"}]
    if sizes and not kind.is_network:
        trains = "the whole U-Net" if kind is Kind.DREAMBOOTH else "the vectors of a word"
        words = f"{' and '.join(sizes)}: `sdxl-train {kind.value}` trains {trains}, and has no network"
        raise UsageError(words, f"leave out {sizes[0]}")
