"""The Python API, for scripts: docs/python_api.md explains it. What it names stays; all else may change.

Expected errors are subclasses of `SdxlTrainError`: `problems` holds everything that is wrong, each with a message and a
hint. Memory is in GiB (2^30 bytes), time in seconds. Nothing here prints.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sdxl_train_cli import layout
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.errors import Problem, SdxlTrainError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.ranking import keeping
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets, user_config
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import curves, history, run_list, runs
from sdxl_train_cli.records.curves import Curves
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.run_list import Listed
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import launching, preparation, repeating, run_choices
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.supervision import Event
from sdxl_train_cli.run.training import OnEvent, RunResult

__all__ = [
    "Curves",
    "Event",
    "Kind",
    "Listed",
    "Loaded",
    "MemoryNeed",
    "OnEvent",
    "Prepared",
    "Problem",
    "Recipe",
    "RunResult",
    "RunState",
    "SdxlTrainError",
    "Value",
    "estimate_memory",
    "launch",
    "list_runs",
    "load_preset",
    "prepare",
    "read_curves",
    "read_run",
]

_ORIGIN = Origin("changes")
_NONE: Mapping[str, Value | None] = MappingProxyType({})


def load_preset(
    kind: Kind, preset: str | None = None, changes: Mapping[str, Value | None] = _NONE, *, home: Path | None = None
) -> Recipe:
    """Load a preset and check it as `sdxl-train presets check` does.

    `preset` is a shipped name, one of the user's own, or a file; None takes the kind's default. `changes` are options
    by sd-scripts' own names; None takes an option away. `home` is where setup has installed sd-scripts, None the usual
    place; before setup, the pinned release's options count.

    Raises RecipeError with every problem.
    """
    name = preset or run_choices.DEFAULT_PRESETS[kind]
    loaded = presets.load(kind, name, _overrides(changes), layout.user_presets(os.environ))
    return rules.require(loaded, environment.option_table(_home(home)))


def estimate_memory(recipe: Recipe) -> MemoryNeed:
    """How much GPU memory a checked recipe takes, in GiB, the Python process alone.

    `high_gib` is the figure that a check uses; a desktop takes 1 to 2 GiB more. Raises RecipeError for absurd sizes.
    """
    return requirement.need(recipe)


def prepare(  # noqa: PLR0913 - keyword-only, each is one flag of `sdxl-train lora`
    kind: Kind,
    *,
    model: str | Path,
    data: Path,
    preset: str | None = None,
    changes: Mapping[str, Value | None] = _NONE,
    output: Path = Path(run_choices.DEFAULT_OUTPUT),
    name: str | None = None,
    trigger: str | None = None,
    vae: str | Path | None = None,
    prediction: str | None = None,
    regularisation: Path | None = None,
    repeats: int | None = None,
    gpu_index: int | None = None,
    gpu_memory_gib: float | None = None,
    check_vram: bool = True,
    fast: bool = False,
    samples: str | Sequence[str] | None = None,
    validation: float | None = None,
    keep_best: bool = False,
    home: Path | None = None,
) -> Prepared:
    """Make every check that can be made before a run, and build its command line (`argv`); writes nothing of the run.

    The arguments are the flags of `sdxl-train lora`; no project file is read. `gpu_memory_gib` checks as if the GPU had
    so much memory. `samples` are prompts, `()` for no sample pictures; `validation` is the share of pictures that is
    held back, 0 for none. None leaves both to the run. With `keep_best`, `launch` deletes the checkpoints that turn out
    clearly worse than the best one. `warnings` and `notes` of what is given are worth showing.

    Raises UsageError, RecipeError, DatasetError, ModelError, SetupError or VramError; one error holds all problems.
    """
    texts = {
        "preset": preset,
        "model": str(model),
        "vae": None if vae is None else str(vae),
        "data": str(data),
        "reg": None if regularisation is None else str(regularisation),
        "output": str(output),
        "name": name,
        "trigger": trigger,
        "prediction": prediction,
    }
    choices = run_choices.choose(
        kind,
        texts,
        _overrides(changes),
        repeats=repeats,
        gpu_index=gpu_index,
        gpu_memory_gib=gpu_memory_gib,
        check_vram=check_vram,
        fast=fast,
        samples=None if samples is None else run_choices.prompts([samples] if isinstance(samples, str) else samples),
        validation=validation,
        keep_best=keep_best,
    )
    return preparation.prepare(choices, _home(home), layout.user_presets(os.environ))


def launch(prepared: Prepared, on_event: OnEvent = lambda _event: None) -> RunResult:
    """Write the run's record, start the trainer and follow it; blocks until it has ended.

    `on_event` is called with each event: a step, figures, a checkpoint, a sample, a guard's warning. The result names a
    file that is there and whole. KeyboardInterrupt ends the trainer at once. With `keep_best`, clearly worse
    checkpoints are deleted at the end; those that can't be deleted stay.

    Raises TrainingError with cause and remedy; GpuMemoryError, one of these, where memory ran out; UsageError where
    another process has the run; ModelError or SetupError where something must still be fetched and can't be.
    """
    hub.require(prepared.model, prepared.home, os.environ)
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
    result = launching.follow(prepared, on_event)
    launching.remember(prepared, result.peak_gib, result.seconds_per_step)
    if prepared.choices.keep_best:
        with contextlib.suppress(SdxlTrainError):  # the run is done all the same
            keeping.keep_best(prepared.run.folder)
    return result


def list_runs(output: Path = Path(run_choices.DEFAULT_OUTPUT)) -> list[Listed]:
    """Every run in an output folder, newest first; a broken record is listed with its problem. Raises UsageError."""
    return run_list.entries(output)


def read_run(run: str | Path, output: Path = Path(run_choices.DEFAULT_OUTPUT)) -> Loaded:
    """Read a run's record: how it stands (`state`), what was chosen (`record`), how it ended (`outcome`).

    `run` is a name in the output folder, or a run's folder. Raises UsageError where there is none, or it is broken.
    """
    return history.require(str(run), output)


def read_curves(run: Loaded) -> Curves:
    """Read a run's figures, one value for each step in every column; empty where there are none. Raises UsageError."""
    return curves.load(Run(run.folder, run.name).metrics)


def _overrides(changes: Mapping[str, Value | None]) -> list[Override]:
    return [Override(option, value, _ORIGIN) for option, value in changes.items()]


def _home(typed: Path | None) -> Home:
    return user_config.home(None if typed is None else str(typed), os.environ)
