"""Changes that reduce a run's GPU memory, cheapest in quality and speed first, as flags to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from sdxl_train_cli.errors import WayOut
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import optimizer, sample_prompts
from sdxl_train_cli.sdscripts.attention import chosen_attention

WAYS = 3
"""Number of alternatives shown."""

Changes = dict[str, Value | None]
"""Options and their new values; None takes an option away."""


@dataclass(frozen=True)
class Saving:
    """One change."""

    costs: str
    """What is given up, in words."""
    changes: Callable[[Recipe], Changes]
    """Options to set. Empty if they are set already, or can't be."""


def attention(recipe: Recipe) -> Changes:
    """Use the memory-efficient attention that is part of torch."""
    return {} if chosen_attention(recipe) else {"sdpa": True}


def latents(recipe: Recipe) -> Changes:
    """Encode pictures once, if they are not augmented."""
    cached = recipe.is_on("cache_latents") or recipe.is_on("cache_latents_to_disk")
    moving = recipe.is_on("color_aug") or recipe.is_on("random_crop")
    return {} if cached or moving else {"cache_latents": True}


def no_samples(recipe: Recipe) -> Changes:
    """Draw no sample pictures."""
    if recipe.get(sample_prompts.PROMPTS) is None:
        return {}
    return {name: None for name in (sample_prompts.PROMPTS, *sample_prompts.RHYTHM) if name in recipe.settings}


def _smaller_batch(recipe: Recipe) -> Changes:
    """Train one picture at a time, with accumulation to keep the effective batch size."""
    batch, accumulated = recipe.number("train_batch_size"), recipe.number("gradient_accumulation_steps")
    if batch is None or batch <= 1 or recipe.is_on("fused_backward_pass"):
        return {}
    return {"train_batch_size": 1, "gradient_accumulation_steps": int(batch) * int(accumulated or 1)}


def eight_bit(recipe: Recipe) -> Changes:
    """Use 8-bit optimizer states."""
    return {"optimizer_type": "AdamW8bit"} if optimizer.optimizer(recipe) == "adamw" else {}


def fused(recipe: Recipe) -> Changes:
    """Consume gradients as they are computed."""
    fits = recipe.kind is Kind.DREAMBOOTH and optimizer.optimizer(recipe) == "adafactor"
    accumulates = (recipe.number("gradient_accumulation_steps") or 1) > 1
    return {} if not fits or accumulates or recipe.is_on("fused_backward_pass") else {"fused_backward_pass": True}


def unet_only(recipe: Recipe) -> Changes:
    """Cache the text encoders' outputs, which are then not trained."""
    trains_words = recipe.is_on("train_text_encoder") or recipe.kind is Kind.EMBEDDING
    if recipe.is_on("cache_text_encoder_outputs") or trains_words:
        return {}
    only = {"network_train_unet_only": True} if recipe.kind.is_network else {}
    return {**only, "cache_text_encoder_outputs": True}


def checkpointing(recipe: Recipe) -> Changes:
    """Recompute activations in the backward pass."""
    return {} if recipe.is_on("gradient_checkpointing") else {"gradient_checkpointing": True}


def full_bf16(recipe: Recipe) -> Changes:
    """Use 16-bit weights."""
    possible = recipe.get("mixed_precision") == "bf16" and not recipe.is_on("full_bf16")
    return {"full_bf16": True} if possible and not recipe.is_on("fp8_base") else {}


def fp8(recipe: Recipe) -> Changes:
    """Load the base model in 8 bits."""
    # Without checkpointing, autograd keeps a 16-bit copy of every cast weight, so memory would grow.
    possible = recipe.kind.is_network and recipe.is_on("gradient_checkpointing")
    return {} if not possible or recipe.is_on("fp8_base") or recipe.is_on("full_bf16") else {"fp8_base": True}


def smaller_dim(recipe: Recipe) -> Changes:
    """Use a network of dim 16."""
    dim, alpha = recipe.number("network_dim"), recipe.number("network_alpha")
    if dim is None or dim <= 16 or recipe.arguments("network_args") or recipe.kind is Kind.LOKR:  # noqa: PLR2004 - smaller ones save next to nothing
        return {}
    return {"network_dim": 16, "network_alpha": 16 * (alpha or 1) / dim}


def smaller_pictures(recipe: Recipe) -> Changes:
    """Use pictures of 768 pixels."""
    width = str(recipe.get("resolution") or "").split(",")[0].strip()
    if not width.isdecimal() or int(width) <= 768:  # noqa: PLR2004 - below that, SDXL trains far from its native size
        return {}
    return {"resolution": "768,768", "min_bucket_reso": 384, "max_bucket_reso": 1536}


LADDER = (
    Saving("nothing", attention),
    Saving("nothing but the time to encode once", latents),
    Saving("the sample pictures", no_samples),
    Saving("a little speed, the effective batch stays", _smaller_batch),
    Saving("next to nothing", eight_bit),
    Saving("nothing", fused),
    Saving("the text encoders are not trained", unet_only),
    Saving("about a third of the speed", checkpointing),
    Saving("some precision", full_bf16),
    Saving("detail that a larger network would hold", smaller_dim),
    Saving("precision of the base model", fp8),
    Saving("detail: pictures of 768 pixels", smaller_pictures),
)


@dataclass(frozen=True)
class FittingChanges:
    """Changes that make a run fit."""

    changes: Changes
    costs: tuple[str, ...]
    recipe: Recipe
    need: requirement.MemoryNeed

    @property
    def flags(self) -> str:
        """The flags to type."""
        return flags(self.changes)

    @property
    def way(self) -> WayOut:
        """The same as a way out of too little memory."""
        return WayOut(_settings(self.changes), f"needs {self.need}; costs {', '.join(self.costs)}")

    def __str__(self) -> str:
        return str(self.way)


Works = Callable[["FittingChanges"], bool]
"""Whether a run can be prepared with such changes."""


def ways_out(
    recipe: Recipe,
    free_gib: float,
    known: requirement.Known = requirement.unmeasured,
    works: Works = lambda _way: True,
) -> list[FittingChanges]:
    """Up to three ways to make a typed recipe fit, the cheapest first: single changes, else what they do together.

    None of them breaks a rule that the recipe keeps; `works` is asked of each before it is offered.
    """
    single = [way for saving in LADDER if (way := _way(recipe, [saving], known)).changes]
    rungs = accumulate(([saving] for saving in LADDER), list.__add__)
    together = _distinct((_way(recipe, savings, known) for savings in rungs), single)
    fitting = (way for way in (*single, *together) if way.need.high_gib <= free_gib and works(way))
    return list(islice(fitting, WAYS))


def _distinct(ways: Iterator[FittingChanges], known: list[FittingChanges]) -> Iterator[FittingChanges]:
    seen = [way.changes for way in known]
    for way in ways:
        if way.changes and way.changes not in seen:
            seen.append(way.changes)
            yield way


def _way(recipe: Recipe, savings: list[Saving], known: requirement.Known) -> FittingChanges:
    costs, changed = [], dict[str, Value | None]()
    kept = {problem.message for problem in rules.problems(recipe)}
    for saving in savings:
        changes = saving.changes(_with(recipe, changed))
        broken = {problem.message for problem in rules.problems(_with(recipe, changed | changes))} if changes else set()
        if changes and broken <= kept:
            changed |= changes
            costs.append(saving.costs)
    after = _with(recipe, changed)
    return FittingChanges(changed, tuple(dict.fromkeys(costs)), after, requirement.need(after, known))


def flags(changes: Changes) -> str:
    """Changes as flags to type."""
    return WayOut(_settings(changes)).flags


def _settings(changes: Changes) -> tuple[str, ...]:
    """Without prompts no sample is drawn, whatever else is said of samples."""
    implied = sample_prompts.RHYTHM if changes.get(sample_prompts.PROMPTS, "") is None else ()
    return tuple(f"{name}={_text(value)}" for name, value in changes.items() if name not in implied)


def _with(recipe: Recipe, changes: Changes) -> Recipe:
    return recipe.replaced({name: setting(value, Origin("--set")) for name, value in changes.items()})


def setting(value: Value | None, origin: Origin) -> Setting | None:
    """A change as a recipe keeps it."""
    return None if value is None else Setting(value=value, origin=origin)


def _text(value: Value | None) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
