"""Packages that a recipe's options make sd-scripts import, and whether they are installed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sdxl_train_cli import files, formatting
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.errors import Problem, SetupError, WayOut
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer

_EXTRAS = {extra.package: extra for extra in Extra}
_NAMES = {Extra.LYCORIS: "LyCORIS", Extra.TAGGER: "onnxruntime (for the tagger)"}
"""Names of extras that differ from what `--extra` accepts."""
_HIGH_RATE = 0.1
"""A rate for optimizers that find their own; others diverge at it."""


def required_modules(recipe: Recipe) -> Mapping[str, str]:
    """Modules that options require, by dotted name, with the option. For an extra, its package."""
    found = {
        "network_module": str(recipe.get("network_module") or ""),
        "optimizer_type": optimizer.module(recipe),
        "lr_scheduler_type": str(recipe.get("lr_scheduler_type") or "").rpartition(".")[0],
        "xformers": "xformers" if recipe.is_on("xformers") or recipe.is_on("diffusers_xformers") else "",
        "deepspeed": "deepspeed" if recipe.is_on("deepspeed") else "",
        "log_with": "wandb" if recipe.get("log_with") in {"wandb", "all"} else "",
    }
    return {_of_an_extra(name): option for option, name in found.items() if name}


def _of_an_extra(name: str) -> str:
    top = name.partition(".")[0]
    return top if top in _EXTRAS else name


def extras(recipe: Recipe) -> tuple[Extra, ...]:
    """Extras of setup that the recipe requires."""
    return tuple(_EXTRAS[name] for name in required_modules(recipe) if name in _EXTRAS)


def require(installed: Environment, recipe: Recipe) -> None:
    """SetupError listing everything that the recipe imports and that is missing."""
    of_extras = missing_problem(installed, extras(recipe), "run")
    others = {name: option for name, option in required_modules(recipe).items() if name not in _EXTRAS}
    found = [] if of_extras is None else [of_extras]
    for name, option in others.items():
        if not installed.has_module(name):
            message = f"sd-scripts has no module {name}, which {option} asks for"
            found.append(Problem(message, _instead(installed, name), ways=(_without(recipe, option),)))
    found += [] if found else _missing_classes(installed, recipe)
    if found:
        raise SetupError(found)


def _missing_classes(installed: Environment, recipe: Recipe) -> list[Problem]:
    """Classes that options name, of modules that are there and don't have them: an older or newer release has."""
    schedule = str(recipe.get("lr_scheduler_type") or "")
    named = {
        "optimizer_type": optimizer.class_path(recipe),
        "lr_scheduler_type": schedule if "." in schedule else schedule and f"torch.optim.lr_scheduler.{schedule}",
    }
    found = []
    for option, path in named.items():
        module, _, name = path.rpartition(".")
        if module and not installed.mentions(module, name):
            version = installed.lock.packages.get(module.partition(".")[0].replace("_", "-"))
            release = f" {version}" if version else ""
            message = f"{module}{release} has no {name}, which {option} asks for"
            found.append(Problem(message, options=(option,), ways=(_without(recipe, option),)))
    return found


def _instead(installed: Environment, name: str) -> str | None:
    package = name.partition(".")[0]
    if files.is_folder(installed.checkout / package):
        there = [f"{package}.{path.stem}" for path in sorted((installed.checkout / package).glob("*.py"))]
        return formatting.suggestion(name, there)
    return f"or uv pip install -p {formatting.shell_word(installed.python)} {package}"


def _without(recipe: Recipe, option: str) -> WayOut:
    """What is always there instead. The usual optimizer can't use the rate 1 of those that find their own."""
    usual = {"optimizer_type": "AdamW8bit", "network_module": "networks.lora"}.get(option, "null")
    rate = "1e-5" if recipe.kind is Kind.DREAMBOOTH else "1e-4"
    is_high = option == "optimizer_type" and (recipe.number("learning_rate") or 0) >= _HIGH_RATE
    return WayOut((f"{option}={usual}", *([f"learning_rate={rate}"] if is_high else [])))


def require_extras(installed: Environment, wanted: Collection[Extra], what: str) -> None:
    """SetupError with the command that installs the missing extras along with the present ones."""
    problem = missing_problem(installed, wanted, what)
    if problem is not None:
        raise SetupError(problem)


def missing_problem(installed: Environment, wanted: Collection[Extra], what: str) -> Problem | None:
    """The missing extras as a problem. None if all are installed."""
    missing = [extra for extra in wanted if not installed.has(extra)]
    if not missing:
        return None
    whole = sorted({*installed.lock.request.extras, *missing})
    ways = (WayOut(("xformers=null", "sdpa=true")),) if missing == [Extra.XFORMERS] else ()
    names = " and ".join(_NAMES.get(extra, extra.value) for extra in missing)
    return Problem(
        f"{names} is not installed, and this {what} needs it",
        f"run `sdxl-train setup {' '.join(f'--extra {extra.value}' for extra in whole)}`",
        ways=ways,
    )
