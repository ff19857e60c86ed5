"""A training on several GPUs: on which ones, and what a step is there.

sd-scripts gives each process a batch of its own in each step and does not divide `max_train_steps`: N GPUs see N times
the pictures (train_network.py, sdxl_train.py). A length in epochs it does divide. Of a schedule, accelerate makes N
steps in each step, so that a number of warm-up steps passes N times too fast (get_scheduler_fix, AcceleratedScheduler).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sdxl_train_cli import formatting, gpu, language
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.processes import Processes

ORIGIN = Origin("--gpus")
_Inputs = TypeVar("_Inputs", bound=Inputs)
_LENGTH, _EPOCHS = "max_train_steps", "max_train_epochs"
IN_STEPS = (
    _LENGTH, "save_every_n_steps", "save_last_n_steps", "save_last_n_steps_state", "sample_every_n_steps",
    "validate_every_n_steps", "token_warmup_step",
)  # fmt: skip
_OF_SCHEDULE = ("lr_warmup_steps", "lr_decay_steps")
_CACHES = ("cache_latents", "cache_text_encoder_outputs")
_SEED = 42
_TIMEOUT_MINUTES = 60
"""Torch waits 10 for another process. The first one may draw, save or upload for longer."""


@dataclass(frozen=True)
class SharedRun:
    """A recipe whose steps are as they were meant, and what is to be said of that."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


def require_possible(inputs: Inputs, kind: Kind) -> None:
    """UsageError where several GPUs can't train together."""
    if inputs.all_processes == 1:
        return
    if sys.platform == "win32" and not inputs.on_processor:
        words = "several GPUs can't train one model on Windows: PyTorch has no NCCL there, which exchanges gradients"
        raise UsageError(words, "use one, --gpu 0; a queue trains two runs at once: sdxl-train queue add; or use WSL2")
    if kind is Kind.EMBEDDING:
        words = "sd-scripts can't train an embedding on several GPUs"
        raise UsageError(words, "use one: --gpu 0")
    if inputs.fast:
        raise UsageError("--fast is proven on one GPU alone", "leave out --fast, or use one GPU: --gpu 0")


def on(inputs: _Inputs, indices: Sequence[int]) -> _Inputs:
    """The same run on these GPUs, which have to be as many. Without indices, they are chosen at the start."""
    if len(indices) > 1:
        return replace(inputs, gpu_index=None, gpu_indices=tuple(indices))
    return replace(inputs, gpu_index=indices[0] if indices else None, gpu_indices=())


def choose(inputs: Inputs, memory_gib: float | None = None, *, is_idle: bool = False) -> tuple[Gpu, ...]:
    """The GPUs that were named, else those with the most free memory, by number. UsageError if there are too few."""
    if memory_gib is not None:
        indices = inputs.gpu_indices or tuple(range(inputs.processes))
        return tuple(gpu.hypothetical(memory_gib, gpu.usual_headroom_gib(), index) for index in indices)
    return freest(inputs.processes, inputs.gpu_indices, is_idle=is_idle)


def freest(count: int, named: Sequence[int] = (), *, is_idle: bool = False) -> tuple[Gpu, ...]:
    """So many GPUs of those that were named, or of all, with the most free memory, by number. UsageError if too few."""
    visible = [text.strip() for text in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    found = [device.idle if is_idle else device for device in gpu.devices()]
    if not named and all(text.isdecimal() for text in visible):
        found = [device for device in found if device.index in map(int, visible)]
    wanted = [device for device in found if not named or device.index in named]
    if len(wanted) < count:
        asked = ",".join(map(str, named))
        there = ", ".join(f"{device.index}: {device.name}" for device in found) or "none was found"
        words = f"no GPUs {asked}" if asked else f"--gpus {count} needs {count} GPUs"
        raise UsageError(words, f"the GPUs: {there}")
    chosen = sorted(wanted, key=lambda device: -device.free_gib)[:count]
    return tuple(sorted(chosen, key=lambda device: device.index))


def weakest(devices: Sequence[Gpu]) -> Gpu | None:
    """The GPU that decides what fits: the one with the least free memory. None without one."""
    return min(devices, key=lambda device: device.free_gib, default=None)


def layout(inputs: Inputs, devices: Sequence[Gpu]) -> Processes:
    """The processes of a training on these GPUs, or on the processor."""
    port = None if inputs.processes == 1 else free_port()
    return Processes(
        gpus=tuple(device.index for device in devices),
        on_processor=1 if devices else inputs.processes,
        port=port,
    )


def free_port() -> int:
    """A port that is free now. The launcher refuses one that another program takes until it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def share(recipe: Recipe) -> SharedRun:
    """Keep the number of pictures that a run sees, unless its steps were typed: then these are kept."""
    if recipe.processes == 1:
        return SharedRun(recipe)
    is_typed = _is_typed(recipe, _LENGTH)
    changes = {} if is_typed else dict(_divided(recipe))
    shared = recipe.replaced({name: Setting(value=value, origin=ORIGIN) for name, value in changes.items()})
    more = dict(_schedule(recipe, shared, is_typed=is_typed))
    if recipe.get("seed") is None:
        more["seed"] = _SEED  # else each process draws its own, and sorts the pictures differently
    if recipe.get("ddp_timeout") is None:
        more["ddp_timeout"] = _TIMEOUT_MINUTES
    shared = shared.replaced({name: Setting(value=value, origin=ORIGIN) for name, value in more.items()})
    return SharedRun(shared, tuple(_notes(recipe, shared, is_typed=is_typed)))


def _is_typed(recipe: Recipe, option: str) -> bool:
    """Whether it was typed beside --gpus, rather than written for one GPU into a preset or a project file."""
    origin = recipe.origin(option)
    return origin is not None and origin.name.startswith("--")


def _divided(recipe: Recipe) -> Iterator[tuple[str, Value]]:
    """Options in steps, which are as many times fewer as there are processes."""
    for option in IN_STEPS:
        steps = _length(recipe) if option == _LENGTH else recipe.number(option)
        if steps is not None and steps >= 1 and not _is_typed(recipe, option):
            yield option, -(-int(steps) // recipe.processes)


def _length(recipe: Recipe) -> int | None:
    """The run's steps. None if the length is in epochs, which sd-scripts divides itself."""
    if recipe.get(_EPOCHS) is not None:
        return None
    steps = recipe.number(_LENGTH)
    return int(shipped.default_number(_LENGTH) if steps is None else steps)


def _schedule(recipe: Recipe, shared: Recipe, *, is_typed: bool) -> Iterator[tuple[str, Value]]:
    """Parts of the schedule as sd-scripts has to be told them, so that they last as many steps as was meant."""
    steps = _length(shared)
    for option in _OF_SCHEDULE:
        part = recipe.number(option)
        if part is None or part < 1 or isinstance(part, float) or recipe.origin(option) == ORIGIN:
            continue  # absent, a share of all steps, or of a run that is repeated
        ticks = part * recipe.processes if is_typed or _is_typed(recipe, option) else part
        yield option, int(ticks) if steps is None else _as_share(int(ticks), steps * recipe.processes)


def _as_share(part: int, whole: int) -> float:
    """A share of which sd-scripts makes this part, rounding down."""
    plain = part / whole
    return plain if int(plain * whole) == part else (part + 0.5) / whole


def _notes(recipe: Recipe, shared: Recipe, *, is_typed: bool) -> Iterator[str]:
    count, accumulated = recipe.processes, int(recipe.number("gradient_accumulation_steps") or 1)
    batch = int(recipe.number("train_batch_size") or 1)
    times = language.said("plan", "accumulated", ", {accumulated} times", accumulated=accumulated)
    times = times if accumulated > 1 else ""
    seen = count * batch * accumulated
    told = language.said(
        "plan", "of-processes", "{count} processes: each step trains {pictures} ({batch} on each{times})", count=count,
        pictures=formatting.counted(seen, "picture"), seen=seen, batch=batch, times=times,
    )  # fmt: skip
    steps, before = _length(shared), _length(recipe)
    facts = {"count": count, "steps": steps, "before": before}
    if recipe.origin(_LENGTH) == ORIGIN:
        yield told
    elif is_typed:
        english = "; {steps} steps were typed and are kept, so that {count} times as many pictures are seen"
        yield told + language.said("plan", "steps-typed", english, **facts)
    elif steps is None:
        english = "; an epoch has {count} times fewer steps, and as many pictures are seen as on one GPU"
        yield told + language.said("plan", "epochs-shared", english, **facts)
    else:
        english = "; {before} steps become {steps}, so that as many pictures are seen as on one GPU"
        yield told + language.said("plan", "steps-shared", english, **facts)
    yield language.said(
        "plan", "rate-kept", "the learning rate stays as it is: sd-scripts does not scale it with the number of GPUs"
    )
    if any(recipe.is_on(cache) and not recipe.is_on(f"{cache}_to_disk") for cache in _CACHES):
        english = "each process keeps all caches in RAM, which takes {count} times as much; caches on disk are shared"
        yield language.said("plan", "caches-in-ram", english, count=count)
