"""What a recipe trains with that sd-scripts does not install by itself: the extras of setup."""

from __future__ import annotations

from sdxl_train_cli.installation.toolchain import Extra
from sdxl_train_cli.recipe import Recipe


def needed(recipe: Recipe) -> tuple[Extra, ...]:
    """The extras without which the run would end where the package is imported."""
    found = []
    if recipe.is_on("xformers") or recipe.is_on("diffusers_xformers"):
        found.append(Extra.XFORMERS)
    if str(recipe.get("network_module") or "").startswith("lycoris."):
        found.append(Extra.LYCORIS)
    return tuple(found)
