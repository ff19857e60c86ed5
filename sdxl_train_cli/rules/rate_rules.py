"""Learning rates that train nothing, or something else: a table, read from sd-scripts v0.10.1 and its optimizers."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_train_cli.errors import WayOut
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.rules.rule import NETWORK_KINDS, Rule, RuleHint, is_set, ways, without_arguments
from sdxl_train_cli.sdscripts import optimizer, optimizer_swap, rates, shipped, torch_schedules
from sdxl_train_cli.sdscripts.rates import BLOCK_WEIGHTS

_FULL = (Kind.DREAMBOOTH,)
_EMBEDDING = (Kind.EMBEDDING,)
"""From here on a step of Adam or Lion is larger than SDXL's weights are."""
_TOO_LOW = 1e-3
"""Up to here an optimizer that finds its own rate moves next to nothing."""
_LOW_FOR_SGD = 1e-2
_MUCH_DECAY = 0.01
"""Share of each weight that weight_decay may take away in a step."""
_MUCH_WARMUP = 0.5
_STEEP = 10
_TINY_D0 = 1e-8
"""Steps of this size are rounded away in weights of 32 bits, so the first estimate of the rate may never come."""
_ALMOST_ALL, _MUCH = 0.9, 0.5
"""Share of a run without a rate worth the name."""
_RATE_OPTIONS = ("learning_rate", "unet_lr", "text_encoder_lr", "learning_rate_te1", "learning_rate_te2", "block_lr")
_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_STOPS = "this optimizer stops at its first step if parts have different rates"
_HIGH = (
    f"a learning rate of {rates.TOO_HIGH} or more destroys the model with this optimizer: 1 is for those that find"
    " their own, such as Prodigy"
)
_MAYBE_HIGH = (
    f"a learning rate of {rates.TOO_HIGH} or more destroys the model with most optimizers,"
    " and this one is not known here"
)
_LOW = f"this optimizer finds the rate by itself; with {_TOO_LOW:g} or less as a factor it learns next to nothing"
_DIFFERENT = "this optimizer trains every part with the rate of the first one"


def _trains_nothing(recipe: Recipe) -> bool:
    return not rates.of(recipe).all


def _leaves_upper_out(recipe: Recipe) -> bool:
    arguments = recipe.arguments("network_args")
    given = any(key in arguments for key in _PLUS)
    return given and 0 in {rates.plus_ratio(arguments, part) for part in ("unet", "text_encoder")}


def _differs(recipe: Recipe) -> bool:
    return len(rates.of(recipe).all) > 1 and not is_set(recipe, "fused_optimizer_groups")


def _by_arguments(recipe: Recipe) -> bool:
    return not {*_PLUS, *BLOCK_WEIGHTS}.isdisjoint(recipe.arguments("network_args"))


def _stops(recipe: Recipe) -> bool:
    return optimizer.own_name(recipe) in optimizer.STOPS_AT_OTHER_RATES and _differs(recipe)


def _uses_first(recipe: Recipe) -> bool:
    return optimizer.own_name(recipe) in optimizer.USES_FIRST_RATE and _differs(recipe)


def _is_too_high(recipe: Recipe) -> bool:
    return optimizer.steps_by_rate(recipe) and max(rates.of(recipe).all, default=0) >= rates.TOO_HIGH


def _may_be_too_high(recipe: Recipe) -> bool:
    return optimizer.is_of_unknown_scale(recipe) and max(rates.of(recipe).all, default=0) >= rates.TOO_HIGH


def _is_too_low(recipe: Recipe) -> bool:
    return optimizer.sets_own_rate(recipe) and 0 < max(rates.of(recipe).all, default=0) <= _TOO_LOW


def _argument(recipe: Recipe, name: str) -> float | None:
    try:
        return float(recipe.arguments("optimizer_args").get(name, ""))
    except ValueError:
        return None


def _idle_share(recipe: Recipe) -> float:
    steps = recipe.number("max_train_steps") or shipped.defaults().get("max_train_steps")
    name = str(recipe.get("lr_scheduler_type") or "")
    others_decide = is_set(recipe, "max_train_epochs") or optimizer.is_schedule_free(recipe)
    if not name or others_decide or not isinstance(steps, int | float):
        return 0.0
    return torch_schedules.idle_share(name, recipe.arguments("lr_scheduler_args"), int(steps))


def _decays_away(recipe: Recipe) -> bool:
    decay = _argument(recipe, "weight_decay") or 0
    return optimizer.steps_by_rate(recipe) and decay * max(rates.of(recipe).all, default=0) > _MUCH_DECAY


def _schedule_passes_over(option: str, schedules: frozenset[str]) -> Rule:
    def breaks(recipe: Recipe) -> bool:
        value = recipe.get(option)
        is_default = value is None or value == shipped.defaults().get(option)
        others = is_set(recipe, "lr_scheduler_type") or optimizer.is_schedule_free(recipe)
        return not is_default and not others and optimizer.schedule(recipe) not in schedules

    return Rule(
        (option, "lr_scheduler", "lr_scheduler_type", "optimizer_type"),
        breaks,
        f"{option} does nothing with this lr_scheduler, only with {' or '.join(sorted(schedules))}",
        ways(f"{option}=null"),
    )


_OWN_RATES: Mapping[tuple[Kind, ...], tuple[str, ...]] = {
    NETWORK_KINDS: ("unet_lr", "text_encoder_lr"),
    _FULL: ("learning_rate_te1", "learning_rate_te2", "block_lr"),
    _EMBEDDING: (),
}
"""What goes before learning_rate for a part."""
_USUAL = tuple((kinds, optimizer_swap.usual_rate(kinds[0])) for kinds in _OWN_RATES)


def _rate_hint(rate: str, kinds: tuple[Kind, ...]) -> RuleHint:
    return ways((f"learning_rate={rate}", *(f"{option}=null" for option in _OWN_RATES[kinds])))


_READ_BY = {
    "lr_scheduler_num_cycles": frozenset({"cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay"}),
    "lr_scheduler_power": frozenset({"polynomial"}),
    "lr_scheduler_timescale": frozenset({"inverse_sqrt"}),
    "lr_scheduler_min_lr_ratio": frozenset({"cosine_with_min_lr", "warmup_stable_decay"}),
    "lr_decay_steps": frozenset({"warmup_stable_decay"}),
}
"""Options of the schedule, and the schedules that read them (get_scheduler_fix)."""


def _warms_up_too_long(recipe: Recipe) -> bool:
    share = recipe.get("lr_warmup_steps")
    return isinstance(share, float) and share >= _MUCH_WARMUP and not optimizer.is_schedule_free(recipe)


CONFLICTS = (
    *(
        Rule(
            (*_RATE_OPTIONS, "network_train_unet_only", "network_train_text_encoder_only", "train_text_encoder"),
            _trains_nothing,
            "a learning rate of 0 leaves nothing to train",
            RuleHint((WayOut((f"learning_rate={rate}",)), *_rate_hint(rate, kinds).ways)),
            kinds,
        )
        for kinds, rate in _USUAL
    ),
    Rule(
        ("block_lr", "learning_rate"),
        lambda recipe: is_set(recipe, "block_lr") and rates.common(recipe) == 0,
        "block_lr does nothing while learning_rate is 0: the U-Net is not trained at all",
        ways("learning_rate=1e-5"),
        _FULL,
    ),
    Rule(
        ("network_args",),
        _leaves_upper_out,
        "a LoRA+ ratio of 0 leaves the upper matrices at zero, so the network would change nothing",
        "take loraplus_... out of network_args, or give it a ratio such as 16",
        NETWORK_KINDS,
    ),
    Rule(
        ("unet_lr", "text_encoder_lr", "learning_rate", "optimizer_type"),
        lambda recipe: _stops(recipe) and not _by_arguments(recipe),
        _STOPS,
        ways(("unet_lr=null", "text_encoder_lr=null"), advice="learning_rate goes for both"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "optimizer_type"),
        lambda recipe: _stops(recipe) and _by_arguments(recipe),
        f"{_STOPS}, which network_args asks for",
        "take loraplus_... and ..._lr_weight out of network_args",
        NETWORK_KINDS,
    ),
    Rule(
        ("block_lr", "learning_rate_te1", "learning_rate_te2", "optimizer_type"),
        _stops,
        f"{_STOPS} other than 0",
        ways(("block_lr=null", "learning_rate_te1=null", "learning_rate_te2=null")),
        _FULL,
    ),
    *(
        Rule((*_RATE_OPTIONS, "optimizer_type"), breaks, message, _rate_hint(rate, kinds), kinds)
        for kinds, usual in _USUAL
        for breaks, message, rate in ((_is_too_high, _HIGH, usual), (_is_too_low, _LOW, "1"))
    ),
    Rule(
        ("optimizer_args", "optimizer_type"),
        lambda recipe: recipe.arguments("optimizer_args").get("fused_back_pass") in {"True", "1"},
        "with fused_back_pass the optimizer leaves its steps to the backward pass, and sd-scripts never takes them:"
        " nothing would be trained",
        without_arguments("optimizer_args", "fused_back_pass"),
    ),
    Rule(
        ("optimizer_args", "optimizer_type"),
        lambda recipe: _argument(recipe, "d_coef") == 0 or _argument(recipe, "d0") == 0,
        "with d_coef or d0 at 0 this optimizer never finds a rate, and trains nothing",
        without_arguments("optimizer_args", "d_coef", "d0"),
    ),
    Rule(
        ("optimizer_args", "optimizer_type"),
        lambda recipe: optimizer.sets_own_rate(recipe) and (_argument(recipe, "d0") or 0) >= rates.TOO_HIGH,
        f"a d0 of {rates.TOO_HIGH} or more is the rate of the first steps, and destroys the model",
        without_arguments("optimizer_args", "d0"),
    ),
    Rule(
        ("optimizer_args", "optimizer_type"),
        lambda recipe: (growth := _argument(recipe, "growth_rate")) is not None and growth <= 1,
        "with a growth_rate of 1 or less the rate that this optimizer finds can't rise, and it trains next to nothing",
        without_arguments("optimizer_args", "growth_rate"),
    ),
    Rule(
        ("lr_scheduler_type", "lr_scheduler_args", "max_train_steps"),
        lambda recipe: _idle_share(recipe) > _ALMOST_ALL,
        "with these lr_scheduler_args the rate is next to 0 for almost the whole run",
        ways(("lr_scheduler_type=null", "lr_scheduler_args=null"), advice="or give it arguments that last for the run"),
    ),
    Rule(
        ("optimizer_type",),
        optimizer.is_half_schedule_free,
        "sd-scripts takes an optimizer for schedule-free only if its name ends in ScheduleFree: of this one it would"
        " save weights that are not the trained ones",
        ways("optimizer_type=AdamWScheduleFree"),
    ),
)

WARNINGS = (
    *(
        Rule((*_RATE_OPTIONS, "optimizer_type"), _may_be_too_high, _MAYBE_HIGH, _rate_hint(usual, kinds), kinds)
        for kinds, usual in _USUAL
    ),
    Rule(
        (*_RATE_OPTIONS, "optimizer_type"),
        _uses_first,
        _DIFFERENT,
        "give all parts the same rate",
    ),
    Rule(
        ("learning_rate", "unet_lr", "optimizer_type"),
        lambda recipe: (
            optimizer.own_name(recipe) in optimizer.SLOW_DESCENT
            and 0 < max(rates.of(recipe).all, default=0) < _LOW_FOR_SGD
        ),
        "plain gradient descent moves next to nothing at such a rate: its steps are thousands of times Adam's smaller",
        ways("optimizer_type=AdamW8bit"),
    ),
    Rule(
        ("optimizer_args", "learning_rate"),
        _decays_away,
        "weight_decay takes away more than 1 % of every weight in each step, which leaves little of what is learned",
        "set weight_decay to 0.01 in optimizer_args",
    ),
    Rule(
        ("lr_scheduler", "lr_decay_steps", "lr_scheduler_min_lr_ratio"),
        lambda recipe: optimizer.schedule(recipe) == "warmup_stable_decay" and not is_set(recipe, "lr_decay_steps"),
        "without lr_decay_steps the schedule warmup_stable_decay never lowers the rate",
        ways("lr_decay_steps=0.2"),
    ),
    Rule(
        ("optimizer_args", "optimizer_type"),
        lambda recipe: 0 < (_argument(recipe, "d0") or 0) < _TINY_D0,
        "with such a d0 the first steps are rounded away, and the rate may never rise; usual is 1e-6 to 1e-4",
        without_arguments("optimizer_args", "d0"),
    ),
    Rule(
        ("lr_scheduler_type", "lr_scheduler_args", "max_train_steps"),
        lambda recipe: _MUCH < _idle_share(recipe) <= _ALMOST_ALL,
        "with these lr_scheduler_args the rate is next to 0 for more than half of the run",
        ways(("lr_scheduler_type=null", "lr_scheduler_args=null"), advice="or give it arguments that last for the run"),
    ),
    Rule(
        ("lr_scheduler_power", "lr_scheduler"),
        lambda recipe: (
            optimizer.schedule(recipe) == "polynomial" and (recipe.number("lr_scheduler_power") or 0) >= _STEEP
        ),
        "with such a lr_scheduler_power the rate is next to 0 after a few steps",
        ways("lr_scheduler_power=1"),
    ),
    Rule(
        ("lr_warmup_steps",),
        _warms_up_too_long,
        "lr_warmup_steps is half of the run or more: as a share it counts of all steps",
        ways("lr_warmup_steps=0.05"),
    ),
    Rule(
        ("lr_scheduler_type", "lr_scheduler"),
        lambda recipe: is_set(recipe, "lr_scheduler_type") and recipe.get("lr_scheduler") not in {None, "constant"},
        "lr_scheduler_type is set, so lr_scheduler does nothing",
        ways("lr_scheduler=null"),
    ),
    *(_schedule_passes_over(option, schedules) for option, schedules in _READ_BY.items()),
)
