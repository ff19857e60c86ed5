"""`sdxl-train runs resume`: resume an interrupted run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import ending, values, workspace
from sdxl_train_cli.commands.cluster import resumption
from sdxl_train_cli.commands.cluster.submission import On
from sdxl_train_cli.commands.runs.showing import Run
from sdxl_train_cli.commands.train_options import AsJson, NoGuard, NoVramCheck, OnOom, OnOomOption, StepDowns
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.jobs.job import KeptResume
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import finishing, guards, next_steps, resuming, retry, training
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.resuming import ResumedRun
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.ui import console, live, printing
from sdxl_train_cli.ui.live import LiveView

Steps = Annotated[
    int | None, values.whole("--steps", metavar="STEPS", about="Total steps of the run [default: unchanged]")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command line and change nothing")]
Force = Annotated[bool, typer.Option("--force", help="Resume even if it is refused as unsafe; look at the run first")]


def resume(
    run: Run, output: OutputOption = None, steps: Steps = None, on_oom: OnOomOption = OnOom.STOP,
    step_downs: StepDowns = 3, no_guard: NoGuard = None, as_json: AsJson = False,
    dry_run: DryRun = False, no_vram_check: NoVramCheck = False, force: Force = False, on: On = None,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Resume a run that was stopped or cut off."""
    off = guards.parse(no_guard or [])
    entry = history.require(run, workspace.output(output))
    if on is not None:
        kept = KeptResume(steps, force=force, check_vram=not no_vram_check)
        downs = step_downs if on_oom is OnOom.STEP_DOWN else 0
        point, cluster = resumption.prepare(entry, kept, on, home)
        point = replace(point, guards_off=tuple(sorted(guard.value for guard in off)), step_downs=downs)
        resumption.submit(entry, point, cluster, dry_run=dry_run, as_json=as_json)
        return
    where = workspace.home(home)
    if dry_run:
        resumed = resuming.prepare(entry, where, steps=steps, check_vram=not no_vram_check, force=force)
        if as_json:
            printing.data({"argv": resumed.argv, "result": str(resumed.run.result)}, indent=None)
        else:
            printing.out(formatting.shell_line(resumed.argv))
        return

    asked = ResumeRequest(steps=steps, check_vram=not no_vram_check, force=force, guards_off=off,
                          step_downs=step_downs if on_oom is OnOom.STEP_DOWN else 0)  # fmt: skip
    launch(entry, where, asked, as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class ResumeRequest:
    """How to resume."""

    steps: int | None = None
    check_vram: bool = True
    force: bool = False
    guards_off: frozenset[Guard] = frozenset()
    step_downs: int = 0
    gpu_indices: tuple[int, ...] | None = None
    saves_on_stop: bool = False
    ends_early: Callable[[], str | None] | None = None


def launch(entry: Loaded, where: Home, asked: ResumeRequest, *, as_json: bool = False) -> None:
    """Resume a run, with less memory if it runs out, and say what its file is good for."""

    def prepared(now: Loaded, changes: Mapping[str, Setting | None], *, check_vram: bool) -> ResumedRun:
        found = resuming.prepare(
            now, where, steps=asked.steps, check_vram=check_vram, force=asked.force, changes=changes,
            gpu_indices=asked.gpu_indices, saves_on_stop=asked.saves_on_stop,
        )  # fmt: skip
        return replace(found, ends_early=asked.ends_early)

    if asked.steps is None and finishing.is_trained(entry):
        console.note(f"all steps of {entry.name} were made before it was cut off: only its end is left")
        installed = environment.require(where)
        followed = ending.FollowedRun(entry.folder, as_json=as_json)
        followed.carry_out(lambda: finishing.finish(entry, where), lambda outcome: _then(entry, installed, outcome))
        return
    resumed = prepared(entry, {}, check_vram=asked.check_vram)
    actions = retry.RunActions(
        lambda ready: carry_on(ready, live.view(as_json=as_json), asked.guards_off),
        # From the furthest state that there is by now.
        lambda _ready, reduction: prepared(history.load(entry.folder), reduction.changes, check_vram=False),
        console.warn,
    )
    policy = retry.resume_policy(entry.folder)
    presets = workspace.user_presets()
    ending.FollowedRun(entry.folder, as_json=as_json).carry_out(
        lambda: retry.carry_out(resumed, actions, policy, step_downs=asked.step_downs, user_presets=presets),
        lambda outcome: _then(entry, resumed.environment, outcome),
    )


def _then(entry: Loaded, installed: Environment, outcome: RunResult) -> list[str]:
    """What the file is good for. Nothing where nothing was trained."""
    kind, inputs = entry.record.kind, entry.record.inputs
    known = installed.trains and kind is not None
    kept = ending.kept_lines(inputs, outcome)
    lines = next_steps.lines(Kind(kind), inputs.trigger if inputs else None, outcome.result) if known else []
    return [*kept, *lines]


def carry_on(resumed: ResumedRun, view: LiveView, guards_off: frozenset[Guard] = frozenset()) -> RunResult:
    """Record the attempt, start the trainer and watch it to its end."""
    for note in resumed.notes:
        console.note(note)
    with view:
        return training.watch(
            resumed.run,
            resumed.argv,
            cwd=resumed.environment.checkout,
            env=resumed.variables,
            on_event=view.show,
            conditions=resumed.conditions(guards_off),
            examiner=resumed.examiner,
            begin=lambda: resuming.begin(resumed),
        )
