"""How sd-scripts interprets optimizer and scheduler options (get_optimizer, get_scheduler_fix)."""

from __future__ import annotations

from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import shipped

SCHEDULERS = (
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "piecewise_constant",
    "adafactor",
)
"""Values of lr_scheduler that work with transformers 4.54 and diffusers 0.32."""

OWN_OPTIMIZERS = {
    "adamw": "torch.optim.AdamW",
    "adamw8bit": "bitsandbytes.optim.AdamW8bit",
    "pagedadamw": "bitsandbytes.optim.PagedAdamW",
    "pagedadamw8bit": "bitsandbytes.optim.PagedAdamW8bit",
    "pagedadamw32bit": "bitsandbytes.optim.PagedAdamW32bit",
    "lion": "lion_pytorch.Lion",
    "lion8bit": "bitsandbytes.optim.Lion8bit",
    "pagedlion8bit": "bitsandbytes.optim.PagedLion8bit",
    "sgdnesterov": "torch.optim.SGD",
    "sgdnesterov8bit": "bitsandbytes.optim.SGD8bit",
    "dadaptation": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadampreprint": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadagrad": "dadaptation.DAdaptAdaGrad",
    "dadaptadam": "dadaptation.DAdaptAdam",
    "dadaptadan": "dadaptation.DAdaptAdan",
    "dadaptadanip": "dadaptation.experimental.DAdaptAdanIP",
    "dadaptlion": "dadaptation.DAdaptLion",
    "dadaptsgd": "dadaptation.DAdaptSGD",
    "prodigy": "prodigyopt.Prodigy",
    "adafactor": "transformers.optimization.Adafactor",
    "radamschedulefree": "schedulefree.RAdamScheduleFree",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree",
    "sgdschedulefree": "schedulefree.SGDScheduleFree",
}
"""Case-insensitive names, and the class for each (library/train_util.py: get_optimizer)."""

TORCH_OPTIMIZERS = frozenset(
    {"ASGD", "Adadelta", "Adagrad", "Adam", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"}
)
"""Names passed to torch.optim unchanged."""
DEFAULT = "AdamW"
"""sd-scripts' optimizer if the parser's default, an empty string, is used."""

CLASSES = {**OWN_OPTIMIZERS, **{name.lower(): f"torch.optim.{name}" for name in sorted(TORCH_OPTIMIZERS)}}
"""Classes of optimizers without a dot in their name, by lower-case name."""


PACKAGED = {"prodigyplus.prodigyplusschedulefree": "prodigyplus.ProdigyPlusScheduleFree"}
"""Classes of packages that sd-scripts installs and has no name of its own for."""

ASKED = {**CLASSES, **PACKAGED}
"""Every class that setup asks for its arguments."""

_OWN_NAMES = {path.lower(): name for name, path in CLASSES.items() if path.lower().endswith(f".{name}")}


def own_name(recipe: Recipe) -> str:
    """The optimizer's name in lower case; sd-scripts' own name where a class is named that it has one for."""
    name = optimizer(recipe)
    return _OWN_NAMES.get(name, name)


def class_path(recipe: Recipe) -> str:
    """The dotted name of the optimizer's class. Empty if it is not known here."""
    name = str(recipe.get("optimizer_type") or "")
    return name if "." in name else CLASSES.get(optimizer(recipe), "")


def module(recipe: Recipe) -> str:
    """What sd-scripts imports for the optimizer."""
    return class_path(recipe).rpartition(".")[0]


def optimizer(recipe: Recipe) -> str:
    """The optimizer's name in lower case."""
    if recipe.is_on("use_8bit_adam"):
        return "adamw8bit"
    if recipe.is_on("use_lion_optimizer"):
        return "lion"
    return str(recipe.get("optimizer_type") or DEFAULT).lower()


def schedule(recipe: Recipe) -> str:
    """The schedule's name, including any part after a colon."""
    return str(recipe.get("lr_scheduler") or shipped.defaults()["lr_scheduler"])


def unknown_optimizer(recipe: Recipe) -> bool:
    """Whether sd-scripts would find no such optimizer. A name with a dot belongs to another package."""
    name = str(recipe.get("optimizer_type") or DEFAULT)
    return "." not in name and name.lower() not in OWN_OPTIMIZERS and name not in TORCH_OPTIMIZERS


STOPS_AT_OTHER_RATES = frozenset(
    {"prodigy", "dadaptation", "dadaptadampreprint", "dadaptadam", "dadaptlion", "dadaptsgd"}
)
"""Optimizers that stop at their first step where parts have different rates other than 0 (prodigyopt 1.1.2 and
dadaptation 3.2: step)."""
USES_FIRST_RATE = frozenset({"dadaptadagrad", "dadaptadan", "dadaptadanip"})
"""Those that train every part with the rate of the first, in silence (dadaptation 3.2: step)."""
SLOW_DESCENT = frozenset({"sgd", "sgdnesterov", "sgdnesterov8bit", "sgdschedulefree", "asgd"})
"""Plain gradient descent: its steps are as small as the gradient, so that it takes rates that others can't bear."""
_OTHER_SCALE = SLOW_DESCENT | {"adadelta", "lbfgs", "rprop"}
"""Optimizers whose rate is no step's size in a weight."""


def sets_own_rate(recipe: Recipe) -> bool:
    """Whether the optimizer adapts its own rate, so that learning_rate is only a factor."""
    name = optimizer(recipe).rpartition(".")[2]
    return "prodigy" in name or name.startswith("dadapt")


def steps_by_rate(recipe: Recipe) -> bool:
    """Whether each step moves a weight by about learning_rate, as Adam and Lion do."""
    if own_name(recipe) == "adafactor":
        return not chooses_own_rate(recipe)
    return own_name(recipe) in ASKED and _may_step_by_rate(recipe)


def is_of_unknown_scale(recipe: Recipe) -> bool:
    """Whether the class is of another package, so that a high rate may be right for it, though seldom is."""
    return own_name(recipe) not in ASKED and _may_step_by_rate(recipe)


def _may_step_by_rate(recipe: Recipe) -> bool:
    return not sets_own_rate(recipe) and own_name(recipe) not in _OTHER_SCALE and not is_schedule_free_sgd(recipe)


def is_schedule_free_sgd(recipe: Recipe) -> bool:
    """Whether a class of another package is plain gradient descent."""
    return optimizer(recipe).rpartition(".")[2].startswith(("sgd", "schedulefreesgd", "asgd"))


def is_half_schedule_free(recipe: Recipe) -> bool:
    """Whether the class is schedule-free and sd-scripts can't tell: it goes by the end of the name.

    It would save the weights of training mode, which are not those that were learned (is_schedulefree_optimizer).
    """
    name = optimizer(recipe).rpartition(".")[2].replace("_", "")
    return "schedulefree" in name and not optimizer(recipe).endswith("schedulefree")


def chooses_own_rate(recipe: Recipe) -> bool:
    """Whether Adafactor ignores learning_rate and lr_scheduler, as it does by default."""
    arguments = recipe.arguments("optimizer_args")
    relative = arguments.get("relative_step", "True").strip() not in {"False", "0"}
    return own_name(recipe) == "adafactor" and (relative or arguments.get("warmup_init", "").strip() == "True")


def is_schedule_free(recipe: Recipe) -> bool:
    """Whether the optimizer uses no schedule."""
    return optimizer(recipe).endswith("schedulefree")


def warms_up(recipe: Recipe) -> bool:
    """Whether lr_warmup_steps requests a warm-up."""
    return str(recipe.get("lr_warmup_steps") or "0").strip("0.%") != ""


def warmup_is_refused(recipe: Recipe) -> bool:
    """Whether sd-scripts would fail because the schedule does not support warm-up."""
    if not warms_up(recipe) or is_schedule_free(recipe):
        return False
    has_none = schedule(recipe) == "constant" or schedule(recipe).startswith("adafactor")
    return has_none or bool(recipe.get("lr_scheduler_type")) or chooses_own_rate(recipe)
