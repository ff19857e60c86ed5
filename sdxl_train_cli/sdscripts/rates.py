"""The learning rates that sd-scripts gives to the parts of a run, as its optimizer sees them.

From networks/lora.py: prepare_optimizer_params, which leaves a part with a rate of 0 out; sdxl_train.py: train; and
train_textual_inversion.py: train, which has one rate for the words of both text encoders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import shipped

TOO_HIGH = 0.1
"""From here on a rate destroys a model, or is the factor of an optimizer that finds its own."""
BLOCK_WEIGHTS = {"down_lr_weight": 9, "mid_lr_weight": 3, "up_lr_weight": 9}
"""Factors of the U-Net's rate for each block of a network, and how many blocks there are."""
_ONE_FOR_BOTH = frozenset({"networks.lora", "networks.lora_fa", "networks.dylora", "lycoris.kohya"})
"""Modules that give both text encoders the first of several rates."""


@dataclass(frozen=True)
class Rates:
    """Every rate other than 0 that a part is trained with."""

    unet: frozenset[float]
    text: frozenset[float]

    @property
    def all(self) -> frozenset[float]:
        """Both together; empty where nothing is trained."""
        return self.unet | self.text


def of(recipe: Recipe) -> Rates:
    """The rates of a run."""
    found = _OF_KIND.get(recipe.kind, _network)(recipe)
    return Rates(frozenset(found.unet - {0}), frozenset(found.text - {0}))


def common(recipe: Recipe) -> float:
    """The rate of every part that has none of its own."""
    rate = recipe.number("learning_rate")
    return shipped.default_number("learning_rate") if rate is None else rate


def plus_ratio(arguments: Mapping[str, str], part: str) -> float | None:
    """LoRA+'s factor for the upper matrices of `unet` or `text_encoder`; None where it is off."""
    own, both = (_number(arguments.get(f"loraplus_{name}lr_ratio")) for name in (f"{part}_", ""))
    return own or both


def _full(recipe: Recipe) -> Rates:
    rate = common(recipe)
    by_block = [_number(text) or 0.0 for text in str(recipe.get("block_lr") or "").split(",") if text.strip()]
    unet = frozenset(by_block or [rate]) if rate else frozenset[float]()
    if not recipe.is_on("train_text_encoder"):
        return Rates(unet, frozenset())
    own = (recipe.number(name) for name in ("learning_rate_te1", "learning_rate_te2"))
    return Rates(unet, frozenset(rate if one is None else one for one in own))


def _network(recipe: Recipe) -> Rates:
    arguments = recipe.arguments("network_args")
    unet, text = frozenset[float](), frozenset[float]()
    if not recipe.is_on("network_train_text_encoder_only"):
        own = recipe.number("unet_lr")
        rate = common(recipe) if own is None else own
        unet = _with_plus({rate * weight for weight in _weights(arguments)}, plus_ratio(arguments, "unet"))
    if not recipe.is_on("network_train_unet_only"):
        text = _with_plus(set(_text_rates(recipe)), plus_ratio(arguments, "text_encoder"))
    return Rates(unet, text)


def _embedding(recipe: Recipe) -> Rates:
    return Rates(frozenset(), frozenset({common(recipe)}))


_OF_KIND: Mapping[Kind, Callable[[Recipe], Rates]] = {Kind.DREAMBOOTH: _full, Kind.EMBEDDING: _embedding}


def _text_rates(recipe: Recipe) -> list[float]:
    given = recipe.get("text_encoder_lr")
    parts = given if isinstance(given, tuple) else () if given is None else (given,)
    rates = [float(part) for part in parts if isinstance(part, int | float)]
    return rates[: 1 if recipe.get("network_module") in _ONE_FOR_BOTH else None] or [common(recipe)]


def _with_plus(rates: set[float], ratio: float | None) -> frozenset[float]:
    return frozenset(rates if ratio is None else rates | {rate * ratio for rate in rates})


def _weights(arguments: Mapping[str, str]) -> set[float]:
    """The factors of all blocks; 1 alone where none is given."""
    given = {name: arguments[name] for name in BLOCK_WEIGHTS if name in arguments}
    threshold = _number(arguments.get("block_lr_zero_threshold")) or 0.0
    found = {1.0} if len(given) < len(BLOCK_WEIGHTS) else set[float]()
    for name, text in given.items():
        found |= {weight if weight > threshold else 0.0 for weight in _curve(text, BLOCK_WEIGHTS[name])}
    return found


def _curve(text: str, count: int) -> Iterator[float]:
    name, _, base = text.partition("+")
    for place in range(count):
        share = place / (count - 1)
        value = {"linear": share, "reverse_linear": share, "zeros": 0.0}.get(name)
        if name in {"sine", "cosine"}:
            value = math.sin(math.pi * share / 2)
        if value is None:
            yield from (_number(part) or 0.0 for part in text.split(","))
            return
        yield value + (_number(base) or 0.0)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
