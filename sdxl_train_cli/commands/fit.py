"""`sdxl-train fit`: measure the largest batch that fits instead of estimating it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import gpu
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
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import savings
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import fitting, preparation, run_choices, trial
from sdxl_train_cli.run.fitting import TriedBatch
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.trial import Trial
from sdxl_train_cli.ui import console

MaxBatch = Annotated[
    int | None, values.whole("--max-batch", most=256, about="Largest batch to try [default: 16; without a GPU 2]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def fit(
    kind: KindOption = "lora", preset: Preset = None, model: Model = None, data: Data = None, trigger: Trigger = None,
    repeats: Repeats = None, resolution: Resolution = None, vae: Vae = None,
    prediction: PredictionOption = None, set_: Set = None, gpu: GpuIndex = None,
    max_batch: MaxBatch = None, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Measure the largest batch that fits, with a few real steps."""
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
    most = max_batch or (_MOST if has_gpu else _MOST_ON_PROCESSOR)
    with tempfile.TemporaryDirectory(prefix="sdxl-train-fit-") as name:
        folder = Path(name)
        note_untrained(installed)
        if not has_gpu:
            _require_possible(asked, installed, own_pictures=own_pictures)
            for line in _NO_GPU:
                console.note(line)
            asked = fitting.on_processor(asked, installed, folder, asked.data if own_pictures else None)
        actions = fitting.FitActions(lambda choices: _prepare(choices, where), _carry_out, console.note)
        found = fitting.run(asked, most, folder, actions)
    if as_json:
        console.data(_facts(found))
    else:
        _show(found)
    _conclude(found, most)


def _has_gpu(index: int | None) -> bool:
    return index is not None or bool(gpu.devices())


def _require_possible(asked: Choices, installed: Environment, *, own_pictures: bool) -> None:
    """Refuse early what would otherwise be refused after half a minute of creating a model."""
    gathering = Gathering()
    with gathering.part():
        loaded = presets.load(asked.kind, asked.preset, asked.overrides, workspace.user_presets())
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
    size = prepared.recipe.get("train_batch_size")
    found = trial.run(prepared)
    if found.fits:
        remember(prepared, found.peak_gib, found.seconds_per_step)
        console.note(f"batch {size}: {_amount(found)}, {_pace(found)}")
    else:
        console.note(f"batch {size}: does not fit: {found.why_not}")
    return found


def _amount(found: Trial) -> str:
    if found.peak_gib is not None:
        return f"{found.peak_gib:.2f} GB"
    return f"{found.resident_gib:.2f} GB of RAM"


def _pace(found: Trial) -> str:
    return "pace unknown" if found.seconds_per_step is None else f"{found.seconds_per_step:.2f} s a step"


def _device(found: list[TriedBatch]) -> Gpu | None:
    return found[0].prepared.device


def _facts(found: list[TriedBatch]) -> dict[str, object]:
    device, best = _device(found), fitting.largest(found)
    return {
        "kind": found[0].prepared.recipe.kind.value,
        "preset": found[0].prepared.recipe.name,
        "measures": "GPU memory" if device else "RAM of a scaled model on the processor, not GPU memory",
        "gpu": device.name if device else None,
        "free_gib": round(device.free_gib, 2) if device else None,
        "bucket": f"{found[0].width}x{found[0].height}",
        "sizes": [
            {
                "batch_size": tried.batch_size,
                "fits": tried.trial.fits,
                "peak_gib": None if tried.trial.peak_gib is None else round(tried.trial.peak_gib, 3),
                "resident_gib": round(tried.trial.resident_gib, 3),
                "seconds_per_step": None
                if tried.trial.seconds_per_step is None
                else round(tried.trial.seconds_per_step, 4),
                "why_not": tried.trial.why_not,
            }
            for tried in found
        ],
        "largest": best.batch_size if best else None,
    }


def _show(found: list[TriedBatch]) -> None:
    on_gpu = _device(found) is not None
    rows = [
        (
            str(tried.batch_size),
            _figure(tried.trial.peak_gib if on_gpu else tried.trial.resident_gib),
            _figure(tried.trial.seconds_per_step),
            "yes" if tried.trial.fits else "no",
        )
        for tried in found
    ]
    console.table(("batch", "GPU, GB" if on_gpu else "RAM, GB", "s a step", "fits"), rows)


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _conclude(found: list[TriedBatch], most: int) -> None:
    """Report the largest batch. VramError if not even one picture fits."""
    best, device = fitting.largest(found), _device(found)
    if best is None:
        ways = savings.ways_out(found[0].prepared.recipe, device.free_gib) if device else []
        raise VramError(
            f"not even one picture fits: {found[0].trial.why_not}",
            "\n".join(map(str, ways)) or "use a smaller preset: `sdxl-train plan`",
        )
    more = "; larger batches were not tried (--max-batch)" if best.batch_size == most else ""
    if device is not None:
        of = f"{_amount(best.trial)} of {device.free_gib:.1f} free on {device.name}"
        console.note(
            f"the largest batch that fits: {best.batch_size} ({of}){more}; to train: --batch-size {best.batch_size}"
        )
    else:
        console.note(
            f"the largest batch tried: {best.batch_size}; this is the RAM of a scaled model and "
            "says nothing about GPU memory"
        )
