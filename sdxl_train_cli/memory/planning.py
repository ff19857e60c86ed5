"""Plan what to train on a GPU: every preset with the largest batch that fits, else with changes that make it fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.memory import requirement, savings
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules

BATCH_SIZES = (8, 4, 2, 1)


@dataclass(frozen=True)
class FittingRun:
    """One run that fits."""

    preset: str
    recipe: Recipe
    need: requirement.MemoryNeed
    gives_up: tuple[str, ...]
    command: str
    settings: tuple[str, ...]
    """What is changed of the preset, each as `--set` takes it."""
    pictures_per_second: float | None = None
    """As measured on this GPU, the way the command trains. None if it was not."""

    @property
    def batch_size(self) -> int:
        """Pictures on the GPU at once."""
        return int(self.recipe.number("train_batch_size") or 1)

    @property
    def effective_batch_size(self) -> int:
        """Pictures per optimizer step."""
        return self.batch_size * int(self.recipe.number("gradient_accumulation_steps") or 1)


Pace = Callable[[Recipe, bool], float | None]


@dataclass(frozen=True)
class PlanRequest:
    """What to plan for."""

    kind: Kind
    free_gib: float
    resolution: int | None
    data: str | None
    """Dataset, only repeated in the commands."""
    known: requirement.Known = requirement.unmeasured
    """Measurements on this GPU."""
    pace: Pace = lambda _recipe, _fast: None
    """Pictures a second that were measured on this GPU, plain or with --fast. None where they were not."""
    as_started: Callable[[Recipe], Recipe] = lambda recipe: recipe
    """What a start makes of a preset, where more than the preset decides."""


def fitting_runs(request: PlanRequest, user_presets: Path | None) -> list[FittingRun]:
    """Presets of the kind that fit unchanged, smallest sacrifice first. If none does, the best changed one."""
    names = presets.names_by_size(request.kind, user_presets)
    sizes = [] if request.resolution is None else presets.with_sizes(request.resolution)
    loaded = {name: request.as_started(presets.load(request.kind, name, sizes, user_presets)) for name in names}
    recipes = {name: recipe for name, recipe in loaded.items() if not any(rules.problems(recipe))}
    found = [_fit_unchanged(recipe, request) for recipe in recipes.values()]
    fitting = sorted((offer for offer in found if offer is not None), key=_loss)
    if fitting:
        return [offer for offer in fitting if not any(_beats(other, offer) for other in fitting)]
    mended = [_fit_with_savings(recipe, request) for recipe in recipes.values()]
    return sorted((offer for offer in mended if offer is not None), key=_loss)[:1]


def _fit_unchanged(recipe: Recipe, request: PlanRequest) -> FittingRun | None:
    """The run with the largest batch that fits, or the fastest one where several were measured."""
    sized = [
        recipe.replaced({"train_batch_size": Setting(value=size, origin=Origin("--batch-size"))})
        for size in BATCH_SIZES
    ]
    fitting = [one for one in sized if requirement.need(one, request.known).high_gib <= request.free_gib]
    paces = {at: pace for at, one in enumerate(fitting) if (pace := _pace(one, request)[0]) is not None}
    if not fitting:
        return None
    best = fitting[max(paces, key=paces.__getitem__) if len(paces) > 1 else 0]
    pace, fast = _pace(best, request)
    size = best.number("train_batch_size")
    command = _command(recipe, request, f"--batch-size {size:g}{' --fast' if fast else ''}")
    need = requirement.need(best, request.known)
    return FittingRun(recipe.name, best, need, _given_up(best), command, (f"train_batch_size={size:g}",), pace)


def _pace(recipe: Recipe, request: PlanRequest) -> tuple[float | None, bool]:
    """Pictures a second as measured, the fastest way, and whether that is --fast."""
    plain, fast = request.pace(recipe, False), request.pace(recipe, True)
    is_faster = fast is not None and (plain is None or fast > _GAIN * plain)
    return (fast if is_faster else plain), is_faster


_GAIN = 1.03
"""Less is noise."""


def _beats(one: FittingRun, other: FittingRun) -> bool:
    """Whether it trains the same network, gives up less, and takes as many pictures at once."""
    same = all(one.recipe.get(option) == other.recipe.get(option) for option in ("network_dim", "network_args"))
    return same and set(one.gives_up) < set(other.gives_up) and one.batch_size >= other.batch_size


def _fit_with_savings(recipe: Recipe, request: PlanRequest) -> FittingRun | None:
    """The run with the cheapest changes that make it fit."""
    for way in savings.ways_out(recipe, request.free_gib, request.known):
        command = _command(recipe, request, way.flags)
        return FittingRun(recipe.name, way.recipe, way.need, _given_up(way.recipe), command, way.way.settings)
    return None


def _command(recipe: Recipe, request: PlanRequest, flags: str) -> str:
    words: list[object] = ["sdxl-train", recipe.kind.value, "--preset", recipe.name]
    words += [] if request.data is None else ["--data", request.data]
    words += ["--trigger", "mychar01"] if recipe.kind is Kind.EMBEDDING else []  # it has to have a word
    words += [] if request.resolution is None else ["--resolution", request.resolution]
    return f"{formatting.shell_line(words)} {flags}"


_LOSSES = (
    # option that is on, and what it costs; the worst first
    ("fp8_base", "precision of the base model"),
    ("full_bf16", "some precision"),
    ("gradient_checkpointing", "about a third of the speed"),
)


def _given_up(recipe: Recipe) -> tuple[str, ...]:
    lost = [words for option, words in _LOSSES if recipe.is_on(option)]
    small = str(recipe.get("resolution")).startswith("768,")
    return (*lost, "detail: pictures of 768 pixels") if small else tuple(lost)


def _loss(offer: FittingRun) -> tuple[object, ...]:
    small = str(offer.recipe.get("resolution")).startswith("768,")
    switches = tuple(offer.recipe.is_on(option) for option, _ in _LOSSES)
    return (small, *switches, -(offer.recipe.number("network_dim") or 0))
