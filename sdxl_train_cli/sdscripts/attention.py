"""Memory-efficient attention: the options that select one, and which of them takes effect."""

from __future__ import annotations

from sdxl_train_cli.recipe import Recipe

ATTENTIONS = ("mem_eff_attn", "xformers", "sdpa")
"""In the order in which sd-scripts tests them (library/train_util.py: replace_unet_modules). The first one wins."""


def chosen_attention(recipe: Recipe) -> str | None:
    """The option whose attention is used. None for plain attention, which saves no memory."""
    return next((option for option in ATTENTIONS if recipe.is_on(option)), None)
