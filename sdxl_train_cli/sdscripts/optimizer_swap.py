"""Another optimizer with all that belongs to it: its arguments, a rate of its scale, and a schedule that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sdxl_train_cli.errors import WayOut
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer, rates

_ARGUMENTS = {"adafactor": "scale_parameter=False relative_step=False warmup_init=False"}
"""Arguments with which an optimizer takes learning_rate as the others do, by lower-case name."""
_RATES = {Kind.DREAMBOOTH: "1e-5", Kind.EMBEDDING: "5e-4"}
_NETWORK_RATE = "1e-4"
_OWN_RATES: Mapping[Kind, tuple[str, ...]] = {
    Kind.DREAMBOOTH: ("learning_rate_te1", "learning_rate_te2", "block_lr"),
    Kind.EMBEDDING: (),
}
_OWN_NETWORK_RATES = ("unet_lr", "text_encoder_lr")
_LOW = 1e-3
"""A rate up to this is no factor of an optimizer that finds its own."""
_SCHEDULE = "cosine"
_SWITCHES = ("use_8bit_adam", "use_lion_optimizer")
"""Older options that choose an optimizer too."""


def usual_rate(kind: Kind) -> str:
    """The learning rate of an optimizer that steps by it, such as AdamW."""
    return _RATES.get(kind, _NETWORK_RATE)


def settings(name: str, recipe: Recipe) -> tuple[str, ...]:
    """What to set so that the recipe trains with this optimizer, as `--set` takes it; what suits it stays."""
    return (f"optimizer_type={name}", *_arguments(name, recipe), *_rates(name, recipe), *_schedule(name, recipe),
            *_others(name, recipe))  # fmt: skip


def all_settings(name: str, kind: Kind) -> tuple[str, ...]:
    """The same for a run of which nothing is known but its kind: whatever may belong to the optimizer before."""
    return (
        f"optimizer_type={name}",
        f"optimizer_args={_ARGUMENTS.get(name.lower(), 'null')}",
        f"learning_rate={'1' if _finds_rate(name) else usual_rate(kind)}",
        *(f"{option}=null" for option in _own_rates(kind)),
        f"lr_scheduler={_SCHEDULE}",
    )


def completed(way: WayOut, recipe: Recipe) -> WayOut:
    """The way out with what belongs to the optimizer that it sets, where it sets one."""
    name = next((setting.partition("=")[2] for setting in way.settings if setting.startswith("optimizer_type=")), None)
    if name is None or way.preset is not None:
        return way
    name = optimizer.DEFAULT if name == "null" else name
    more = (one for one in settings(name, recipe)[1:] if one.partition("=")[0] not in way.options)
    return WayOut((*way.settings, *more), way.words)


def _own_rates(kind: Kind) -> tuple[str, ...]:
    return _OWN_RATES.get(kind, _OWN_NETWORK_RATES)


def _finds_rate(name: str) -> bool:
    own = name.lower().rpartition(".")[2]
    return "prodigy" in own or own.startswith("dadapt")


def _arguments(name: str, recipe: Recipe) -> Iterator[str]:
    wanted = _ARGUMENTS.get(name.lower())
    if wanted is None and recipe.get("optimizer_args") is not None:
        yield "optimizer_args=null"
    elif wanted is not None and optimizer.own_name(recipe) != name.lower():
        yield f"optimizer_args={wanted}"


def _rates(name: str, recipe: Recipe) -> Iterator[str]:
    """A rate of the optimizer's scale, where a part of the recipe has one of the other."""
    found = {rates.common(recipe), *rates.of(recipe).all} - {0}
    finds = _finds_rate(name)
    unsuited = min(found, default=1) <= _LOW if finds else max(found, default=0) >= rates.TOO_HIGH
    differs = finds and len(rates.of(recipe).all) > 1
    if unsuited or differs:
        yield f"learning_rate={'1' if finds else usual_rate(recipe.kind)}"
        yield from (f"{option}=null" for option in _own_rates(recipe.kind) if recipe.get(option) is not None)


def _schedule(name: str, recipe: Recipe) -> Iterator[str]:
    if name.lower().endswith("schedulefree"):
        if optimizer.schedule(recipe) != "constant":
            yield "lr_scheduler=constant"
        if optimizer.warms_up(recipe):
            yield "lr_warmup_steps=0"
    elif optimizer.schedule(recipe).startswith("adafactor") or optimizer.is_schedule_free(recipe):
        yield f"lr_scheduler={_SCHEDULE}"


def _others(name: str, recipe: Recipe) -> Iterator[str]:
    yield from (f"{option}=null" for option in _SWITCHES if recipe.is_on(option))
    if recipe.is_on("fused_backward_pass") and name.lower() != "adafactor":
        yield "fused_backward_pass=null"
