"""`sdxl-train fit`: measure which settings train fastest on this GPU."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, gpu
from sdxl_train_cli.commands import train_options, values, workspace
from sdxl_train_cli.commands.train import note_untrained, remember
from sdxl_train_cli.commands.train_options import (
    Data,
    GpuIndex,
    Model,
    PredictionOption,
    Preset,
    Repeats,
    Resolution,
    Set,
    Trigger,
    Vae,
)
from sdxl_train_cli.commands.workspace import HomeOption, KindOption
from sdxl_train_cli.dataset import checking
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import Gathering, VramError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import savings
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.rules import embedding_rules, rules
from sdxl_train_cli.run import fitting, preparation, run_choices, trial
from sdxl_train_cli.run.fitting import FitLimits, Fitted, SpeedSettings, TriedSettings
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.trial import Trial
from sdxl_train_cli.ui import console

MaxBatch = Annotated[
    int | None, values.whole("--max-batch", most=256, about="Largest batch to try [default: 16; without a GPU 2]")
]
Minutes = Annotated[
    float,
    values.number(
        "--minutes", metavar="MINUTES", example="10", most=600, about="Begin no trial that would probably end later"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def fit(
    kind: KindOption = "lora", preset: Preset = None, model: Model = None, data: Data = None, trigger: Trigger = None,
    repeats: Repeats = None, resolution: Resolution = None, vae: Vae = None,
    prediction: PredictionOption = None, set_: Set = None, gpu: GpuIndex = None,
    max_batch: MaxBatch = None, minutes: Minutes = 5, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Measure which settings train fastest, in real steps."""
    where, asked_kind = workspace.home(home), workspace.kind(kind)
    installed = environment.require(where)
    written = project.load(Path.cwd())
    typed = {"preset": preset, "model": model, "data": data, "trigger": trigger, "vae": vae,
             "prediction": prediction and prediction.value}  # fmt: skip
    texts = run_choices.fill_in(asked_kind, written, typed)
    has_gpu = _has_gpu(gpu)
    own_pictures = has_gpu or bool(texts["data"])
    typed_options = train_options.typed(train_options.from_flags({"resolution": resolution}), set_)
    overrides = [*run_choices.overrides(asked_kind, written), *typed_options]
    asked = run_choices.choose(
        asked_kind, texts if own_pictures else {**texts, "data": "."}, overrides,
        repeats=repeats, gpu_index=gpu, gpu_memory_gib=None, check_vram=False,
    )  # fmt: skip
    limits = FitLimits(max_batch or (_MOST if has_gpu else _MOST_ON_PROCESSOR), 60 * minutes)
    found = _search(asked, installed, where, limits, own_pictures=own_pictures, has_gpu=has_gpu)
    flags = {**typed, "resolution": resolution, "repeats": repeats, "gpu": gpu}
    command = None if found.fastest is None else _command(found, found.fastest, flags, set_ or [])
    if as_json and command is not None:
        console.data(_facts(found, command))
    elif found.tried and not as_json:
        _show(found)
    _require_one_fits(found)
    _conclude(found)
    if command is not None and not as_json:
        console.out(command)


def _search(
    asked: Choices, installed: Environment, home: Home, limits: FitLimits, *, own_pictures: bool, has_gpu: bool
) -> Fitted:
    """Run the trials in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="sdxl-train-fit-") as name:
        folder = Path(name)
        note_untrained(installed)
        if not has_gpu:
            _require_possible(asked, installed, own_pictures=own_pictures)
            for line in _NO_GPU:
                console.note(line)
            asked = fitting.on_processor(asked, installed, folder, asked.data if own_pictures else None)
        actions = fitting.FitActions(lambda choices: _prepare(choices, home), _carry_out, console.note)
        return fitting.run(asked, limits, folder, actions)


def _has_gpu(index: int | None) -> bool:
    return index is not None or bool(gpu.devices())


def _require_possible(asked: Choices, installed: Environment, *, own_pictures: bool) -> None:
    """Refuse early what would otherwise be refused after half a minute of creating a model."""
    gathering = Gathering()
    with gathering.part():
        loaded = presets.load(asked.kind, asked.preset, asked.overrides, workspace.user_presets())
        if own_pictures:
            embedding_rules.require_word(loaded)
        rules.require(loaded, installed.options())
    with gathering.part():
        if own_pictures:
            checking.require(asked.source, None)
    gathering.require_none()


_MOST, _MOST_ON_PROCESSOR = 16, 2
_NO_GPU = (
    "NO GPU was found: this measures the RAM of a scaled-down model on the processor, to show that it works.",
    "The figures say nothing about GPU memory; for an estimate: `sdxl-train plan --gpu-memory 12`",
)


def _prepare(choices: Choices, home: Home) -> Prepared:
    """Prepare as the real command does, including the check for downloads."""
    prepared = preparation.prepare(choices, home, workspace.user_presets())
    if choices.tokenizers is None:  # the generated model includes its own
        hub.require(prepared.model, home, os.environ)
    return prepared


def _carry_out(prepared: Prepared) -> Trial:
    """Run one trial and report it."""
    found = trial.run(prepared)
    what = _words(prepared)
    if found.fits:
        remember(prepared, found.peak_gib, found.seconds_per_step)
        console.note(f"{what}: {_amount(found)}, {_pace(found)}")
    else:
        console.note(f"{what}: does not fit: {found.why_not}")
    return found


def _words(prepared: Prepared) -> str:
    checkpointing = prepared.recipe.is_on(fitting.CHECKPOINTING)
    settings = SpeedSettings(checkpointing, prepared.choices.fast)
    return f"batch {prepared.recipe.get('train_batch_size')} {settings}"


def _amount(found: Trial) -> str:
    if found.peak_gib is not None:
        return f"{found.peak_gib:.2f} GB"
    return f"{found.resident_gib:.2f} GB of RAM"


def _pace(found: Trial) -> str:
    return "pace unknown" if found.seconds_per_step is None else f"{found.seconds_per_step:.2f} s a step"


def _facts(found: Fitted, command: str | None) -> dict[str, object]:
    device = found.real.device
    return {
        "kind": found.real.recipe.kind.value,
        "preset": found.real.recipe.name,
        "measures": "GPU memory" if device else "RAM of a scaled model on the processor, not GPU memory",
        "gpu": device.name if device else None,
        "free_gib": round(device.free_gib, 2) if device else None,
        "bucket": f"{found.bucket.width}x{found.bucket.height}",
        "tried": [_trial_facts(tried) for tried in found.ranked],
        "left_out": found.left_out,
        "command": command,
    }


def _trial_facts(tried: TriedSettings) -> dict[str, object]:
    return {
        "pictures_per_second": _rounded(tried.pictures_per_second),
        "batch_size": tried.batch_size,
        "gradient_checkpointing": tried.settings.checkpointing,
        "fast": tried.settings.fast,
        "fits": tried.trial.fits,
        "peak_gib": _rounded(tried.trial.peak_gib),
        "resident_gib": _rounded(tried.trial.resident_gib),
        "seconds_per_step": _rounded(tried.trial.seconds_per_step),
        "why_not": tried.trial.why_not,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _show(found: Fitted) -> None:
    on_gpu = found.real.device is not None
    rows = [
        (
            _figure(tried.pictures_per_second) if tried.trial.fits else "does not fit",
            str(tried.batch_size),
            "yes" if tried.settings.checkpointing else "no",
            "yes" if tried.settings.fast else "no",
            _figure(tried.trial.peak_gib if on_gpu else tried.trial.resident_gib),
            _figure(tried.trial.seconds_per_step),
        )
        for tried in found.ranked
    ]
    memory = "GPU, GB" if on_gpu else "RAM, GB"
    console.table(("pictures/s", "batch", "checkpointing", "--fast", memory, "s a step"), rows)


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _require_one_fits(found: Fitted) -> None:
    """VramError if not even one picture fits."""
    if found.fastest is not None:
        return
    device = found.real.device
    ways = savings.ways_out(found.recipe, device.free_gib) if device else []
    why = found.tried[-1].trial.why_not if found.tried else found.left_out[-1]
    hint = "\n".join(map(str, ways)) or "use a smaller preset: `sdxl-train plan`"
    error = VramError(f"not even one picture fits: {why}", hint)
    error.facts = _facts(found, None)
    raise error


def _conclude(found: Fitted) -> None:
    """Report the fastest settings, and what they change."""
    for line in found.left_out:
        console.note(f"not tried: {line}")
    best, as_asked = found.fastest, found.as_asked
    if best is None:
        return
    pace, before = best.pictures_per_second, as_asked.pictures_per_second if as_asked else None
    times = f", {pace / before:.1f} times as fast as asked for" if pace and before and best is not as_asked else ""
    console.note(f"the fastest: batch {best.batch_size} {best.settings}{times}")
    steps = found.real.recipe.number("max_train_steps")
    if steps and best.batch_size != found.batch_size and found.real.device is not None:
        same = math.ceil(steps * found.batch_size / best.batch_size)
        console.note(
            f"a step then sees {best.batch_size} pictures instead of {found.batch_size}: "
            f"--steps {same} sees as many as {int(steps)} did"
        )
    if found.real.device is None:
        console.note("this was a scaled-down model on the processor: it says nothing about GPU memory or a GPU's speed")


def _command(found: Fitted, best: TriedSettings, typed: Mapping[str, object], sets: Sequence[str]) -> str:
    """The command that trains with the fastest settings."""
    words: list[object] = ["sdxl-train", found.real.recipe.kind.value]
    for flag, value in typed.items():
        words += [] if value is None else [f"--{flag}", value]
    words += ["--batch-size", best.batch_size, *(["--fast"] if best.settings.fast else [])]
    words += [word for text in sets for word in ("--set", text)]
    if best.settings.checkpointing != found.asked.checkpointing:
        words += ["--set", f"{fitting.CHECKPOINTING}={str(best.settings.checkpointing).lower()}"]
    return formatting.shell_line(words)
