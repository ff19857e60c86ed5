"""The next option to give up when GPU memory runs out, keeping the effective batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sdxl_train_cli.memory import estimation, savings
from sdxl_train_cli.memory.savings import Changes
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts.options import OptionTable

ORIGIN = Origin("--on-oom step-down")


@dataclass(frozen=True)
class Reduction:
    """A recipe that needs less memory than the one before it."""

    recipe: Recipe
    words: str
    """The change in words: `gradient checkpointing; costs about a third of the speed`."""
    changes: Mapping[str, Setting | None]
    """The changed settings. None takes an option away."""

    @property
    def flags(self) -> str:
        """The change as flags to type."""
        return savings.flags({name: None if each is None else each.value for name, each in self.changes.items()})


def _text_outputs(recipe: Recipe) -> Changes:
    """Cache outputs of untrained text encoders. Whether to stop training them is not ours to decide."""
    trained = recipe.kind.is_network and not recipe.is_on("network_train_unet_only")
    return {} if trained else savings.unet_only(recipe)


def _pictures_one_by_one(recipe: Recipe) -> Changes:
    return {"vae_batch_size": 1} if (recipe.number("vae_batch_size") or 1) > 1 else {}


def _smaller_batch(recipe: Recipe) -> Changes:
    """Halve the batch and double the accumulation. A batch of 3 becomes 1, three times."""
    batch, accumulated = (
        int(recipe.number("train_batch_size") or 1),
        int(recipe.number("gradient_accumulation_steps") or 1),
    )
    divisor = next((number for number in range(2, batch + 1) if batch % number == 0), None)
    if divisor is None:
        return {}
    return {"train_batch_size": batch // divisor, "gradient_accumulation_steps": accumulated * divisor}


LADDER: tuple[tuple[str, Callable[[Recipe], Changes], bool], ...] = (
    ("no sample pictures; costs nothing of what is learned", savings.no_samples, True),
    ("a memory-efficient attention; costs nothing", savings.attention, True),
    ("gradient checkpointing; costs about a third of the speed", savings.checkpointing, True),
    ("pictures are encoded once; costs only the time for it", savings.latents, True),
    ("captions are encoded once; costs only the time for it", _text_outputs, True),
    ("the VAE takes one picture at a time; costs a little time before the first step", _pictures_one_by_one, True),
    ("a smaller batch, gradients collected over as many more; costs a little speed", _smaller_batch, True),
    ("the base model in fp8; costs precision of the base model", savings.fp8, True),
    ("optimizer states in 8 bits; costs next to nothing", savings.eight_bit, False),
    ("gradients used up at once; costs nothing", savings.fused, False),
    ("weights in bf16; costs some precision", savings.full_bf16, False),
    ("a network of dim 16; costs detail", savings.smaller_dim, False),
    ("pictures of 768 pixels; costs detail", savings.smaller_pictures, False),
)
"""Reductions in order, and whether a state saved before still loads afterwards."""


def next_reduction(recipe: Recipe, table: OptionTable, *, keep_state: bool = False) -> Reduction | None:
    """The next change that breaks no rule and is estimated to need no more memory. None if none is left.

    Only options of the table are changed, as older sd-scripts lack some. RecipeError if the recipe's own values are out
    of range. `keep_state` leaves network, optimizer and pictures unchanged, so that a saved state still loads.
    """
    known = table.of(recipe.kind)
    now_gib = estimation.estimate(recipe).high_gib
    for words, saving, keeps_state in LADDER:
        changes = saving(recipe) if keeps_state or not keep_state else {}
        if not changes or not changes.keys() <= known.keys():
            continue
        settings = {name: savings.setting(value, ORIGIN) for name, value in changes.items()}
        lower = recipe.replaced(settings)
        if not any(rules.problems(lower)) and estimation.estimate(lower).high_gib <= now_gib:
            return Reduction(lower, words, settings)
    return None
