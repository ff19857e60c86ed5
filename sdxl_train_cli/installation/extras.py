"""What a recipe's options make sd-scripts import: without it, the run would end there."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_train_cli.installation.toolchain import Extra
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.rulebook import optimizer

_EXTRAS = {extra.package: extra for extra in Extra}


def needed(recipe: Recipe) -> tuple[Extra, ...]:
    """The extras of setup that it takes."""
    return tuple(_EXTRAS[name] for name in imported(recipe) if name in _EXTRAS)


def others(recipe: Recipe) -> dict[str, str]:
    """The other modules, by dotted name, with the option that names each."""
    return {name: option for name, option in imported(recipe).items() if name not in _EXTRAS}


def imported(recipe: Recipe) -> Mapping[str, str]:
    """Every module that an option asks for, and that option; of an extra, its package."""
    asked = {option: str(recipe.get(option) or "") for option in ("network_module", "lr_scheduler_type")}
    found = {
        "network_module": asked["network_module"],
        "optimizer_type": optimizer.module(recipe) or "",
        "lr_scheduler_type": asked["lr_scheduler_type"].rpartition(".")[0],
        "xformers": "xformers" if recipe.is_on("xformers") or recipe.is_on("diffusers_xformers") else "",
        "deepspeed": "deepspeed" if recipe.is_on("deepspeed") else "",
        "log_with": "wandb" if recipe.get("log_with") in {"wandb", "all"} else "",
    }
    return {_of_an_extra(name): option for option, name in found.items() if name}


def _of_an_extra(name: str) -> str:
    top = name.partition(".")[0]
    return top if top in _EXTRAS else name
