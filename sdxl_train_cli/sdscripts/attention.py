"""Attentions that spare memory: the options that choose one, and which of them counts."""

from __future__ import annotations

from sdxl_train_cli.recipe import Recipe

ATTENTIONS = ("mem_eff_attn", "xformers", "sdpa")
"""In the order in which sd-scripts asks (library/train_util.py: replace_unet_modules): the first that is on counts."""


def chosen_attention(recipe: Recipe) -> str | None:
    """The option whose attention is used; None where it is the plain one, which spares nothing."""
    return next((option for option in ATTENTIONS if recipe.is_on(option)), None)
