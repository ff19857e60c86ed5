"""What to give up next where the GPU's memory ran out: one rung lower, with the same effective batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sdxl_train_cli.memory import estimation, savings
from sdxl_train_cli.memory.savings import Changes
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts.options import OptionTable

ORIGIN = Origin("--on-oom step-down")


@dataclass(frozen=True)
class Reduction:
    """A recipe that needs less than the one above it."""

    recipe: Recipe
    words: str
    """What changed, for a person: `gradient checkpointing; costs about a third of the speed`."""
    changes: Mapping[str, Setting]
    """The same as settings."""

    @property
    def flags(self) -> str:
        """The same as flags to type."""
        return savings.flags({name: setting.value for name, setting in self.changes.items()})


def _text_outputs(recipe: Recipe) -> Changes:
    """Cached outputs of text encoders that are not trained anyway; to stop training them is not ours to choose."""
    trained = recipe.kind is not Kind.DREAMBOOTH and not recipe.is_on("network_train_unet_only")
    return {} if trained else savings.unet_only(recipe)


def _pictures_one_by_one(recipe: Recipe) -> Changes:
    return {"vae_batch_size": 1} if (recipe.number("vae_batch_size") or 1) > 1 else {}


def _smaller_batch(recipe: Recipe) -> Changes:
    """Half the pictures at once and twice as often; a batch of 3 becomes 1, thrice."""
    batch, accumulated = (
        int(recipe.number("train_batch_size") or 1),
        int(recipe.number("gradient_accumulation_steps") or 1),
    )
    divisor = next((number for number in range(2, batch + 1) if batch % number == 0), None)
    if divisor is None:
        return {}
    return {"train_batch_size": batch // divisor, "gradient_accumulation_steps": accumulated * divisor}


LADDER: tuple[tuple[str, Callable[[Recipe], Changes], bool], ...] = (
    ("an attention that spares memory; costs nothing", savings.attention, True),
    ("gradient checkpointing; costs about a third of the speed", savings.checkpointing, True),
    ("pictures are encoded once; costs nothing but the time for it", savings.latents, True),
    ("captions are encoded once; costs nothing but the time for it", _text_outputs, True),
    ("the VAE takes one picture at a time; costs a little time before the first step", _pictures_one_by_one, True),
    ("a smaller batch, gradients collected over as many more; costs a little speed", _smaller_batch, True),
    ("the base model in fp8; costs precision of the base model", savings.fp8, True),
    ("optimizer states in 8 bits; costs next to nothing", savings.eight_bit, False),
    ("gradients used up at once; costs nothing", savings.fused, False),
    ("weights in bf16; costs some precision", savings.full_bf16, False),
    ("a network of dim 16; costs detail", savings.smaller_dim, False),
    ("pictures of 768 pixels; costs detail", savings.smaller_pictures, False),
)
"""In the order in which they are taken; whether a state that was saved before can still be loaded after it."""


def next_reduction(recipe: Recipe, table: OptionTable, *, keep_state: bool = False) -> Reduction | None:
    """The next change that breaks no rule and, by the estimate, takes no more memory; None where none is left.

    Only options of the table are changed: older sd-scripts lack some. RecipeError where the recipe's own values are
    out of range. `keep_state` leaves network, optimizer and pictures alone, so that a state fits still.
    """
    known = table.of(recipe.kind)
    now_gib = estimation.estimate(recipe).high_gib
    for words, saving, keeps_state in LADDER:
        changes = saving(recipe) if keeps_state or not keep_state else {}
        if not changes or not changes.keys() <= known.keys():
            continue
        settings = {name: Setting(value=value, origin=ORIGIN) for name, value in changes.items()}
        lower = recipe.replaced(settings)
        if not any(rules.problems(lower)) and estimation.estimate(lower).high_gib <= now_gib:
            return Reduction(lower, words, settings)
    return None
