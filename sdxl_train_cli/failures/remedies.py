"""Remedies in full: what they say of optimizers and precision depends on the run and its GPU.

In a signature's remedy, {optimizer NAME} stands for the flags that swap the optimizer with all that belongs to it,
{precision} for those of a precision without NaN, and {no-bf16} for what a GPU without bf16 trains with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli import gpu
from sdxl_train_cli.errors import WayOut
from sdxl_train_cli.failures import translation
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer, optimizer_swap, rates

PLACES = re.compile(r"\{([\w-]+)(?: ([\w.]+))?\}")
_FULL_SCRIPT = re.compile(r"\bsdxl_train\.py\b")
_COST = "fp32 takes up to twice the memory and time"
_UNSOUND = f"{_COST}; fp16 gives NaN on this card"
_OLDER = f"on a GTX 16, whose fp16 gives NaN, and older cards: --set mixed_precision=no; {_COST}"
_GTX_16 = f"on a GTX 16, whose fp16 gives NaN: --set mixed_precision=no --set full_bf16=false; {_COST}"
_SINGLE = ("mixed_precision=no", "full_fp16=false", "full_bf16=false")


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run besides its log."""

    recipe: Recipe | None = None
    gpu_name: str | None = None
    in_russian: bool = False
    """Who asks reads Russian."""

    def note(self, name: str, english: str) -> str:
        """What a remedy adds, in the language of who asks."""
        return translation.rows()[translation.NOTES][name] if self.in_russian else english


def in_full(remedy: str, facts: RunFacts, lines: Sequence[str] = ()) -> str:
    """A signature's remedy for a run. Of a stranger's log only the script is known."""
    told = {"precision": _precision, "no-bf16": _without_bf16}

    def fill(place: re.Match[str]) -> str:
        if place[1] == "optimizer" and place[2]:
            return _swap(place[2], facts, lines)
        return told[place[1]](facts) if place[1] in told else place[0]  # braces of what someone typed

    return PLACES.sub(fill, remedy)


def not_a_number(facts: RunFacts) -> str:
    """What to do where the loss is not a number."""
    rate = "Prodigy and DAdapt: d_coef=0.5 in optimizer_args"
    first = f"first try a lower learning rate, such as --set learning_rate=5e-5 ({rate})"
    if facts.recipe is not None:
        first = f"first try {_lower_rate(facts.recipe)}"
    vae = "--set no_half_vae=true or a repaired VAE with --vae"
    known = facts.recipe is not None and facts.recipe.get("mixed_precision") == "bf16"
    return f"{first}\nthen {vae}" if known else f"{first}\nthen {_precision(facts)}, and {vae}"


def _lower_rate(recipe: Recipe) -> str:
    if optimizer.sets_own_rate(recipe):
        return "a lower rate: d_coef=0.5 in optimizer_args"
    usual = float(optimizer_swap.usual_rate(recipe.kind))
    rate = recipe.number("learning_rate") or usual
    own = [option for option in ("unet_lr", "text_encoder_lr") if recipe.get(option) is not None]
    lower = WayOut(
        (
            f"learning_rate={usual if rate >= rates.TOO_HIGH else rate / 2:.2g}",
            *(f"{option}=null" for option in own),
        )
    )
    return f"a lower learning rate: {lower.flags}"


def _swap(name: str, facts: RunFacts, lines: Sequence[str]) -> str:
    if facts.recipe is not None:
        return WayOut(optimizer_swap.settings(name, facts.recipe)).flags
    is_full = any(map(_FULL_SCRIPT.search, lines))
    kind = Kind.DREAMBOOTH if is_full else Kind.LORA
    return WayOut(optimizer_swap.all_settings(name, kind)).flags


def _precision(facts: RunFacts) -> str:
    if facts.gpu_name is not None and not gpu.has_sound_fp16(facts.gpu_name):
        return f"{_single(facts)} ({facts.note('unsound', _UNSOUND)})"
    if facts.gpu_name is not None:
        return "--set mixed_precision=bf16"
    return f"--set mixed_precision=bf16 ({facts.note('older', _OLDER)})"


def _without_bf16(facts: RunFacts) -> str:
    if facts.gpu_name is None:
        return f"--set mixed_precision=fp16 --set full_bf16=false ({facts.note('gtx-16', _GTX_16)})"
    if gpu.has_sound_fp16(facts.gpu_name):
        return "--set mixed_precision=fp16 --set full_bf16=false --set no_half_vae=true"
    return f"{_single(facts)} ({facts.note('unsound', _UNSOUND)})"


def _single(facts: RunFacts) -> str:
    recipe = facts.recipe
    needed = (one for one in _SINGLE if recipe is None or "=false" not in one or recipe.is_on(one.partition("=")[0]))
    return WayOut(tuple(needed)).flags
