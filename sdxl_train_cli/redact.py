"""Secrets stay out of all that is kept or shown: passwords in addresses, and options that are keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sdxl_train_cli.recipe import Recipe, Setting

MASK = "***"
"""Stands where a secret was."""
VARIABLES: Mapping[str, str] = MappingProxyType({"wandb_api_key": "WANDB_API_KEY", "huggingface_token": "HF_TOKEN"})
"""sd-scripts' options that are keys, and the variables that wandb and huggingface_hub read in their place.

A command line is seen by every user of the machine, and accelerate prints it into the log where a run fails.
"""

_USER = re.compile(r"([a-z0-9+.-]{0,12})://([^\s/?#'\"<>]*@)", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|passw|credential|signature|api_?key)[\w.-]*|key|sig|auth|pass|pwd)=)[^\s&;#'\"<>]+",
    re.IGNORECASE,
)


def text(words: str) -> str:
    """The same without what lets someone in: users and passwords of addresses, and keys in their queries.

    A user of ssh is no secret, and the address would be another one without it.
    """
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(_without_user, words))


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match[1], match[2]
    if scheme.lower().endswith("ssh"):
        return f"{scheme}://{user[:-1].partition(':')[0]}@"
    return f"{scheme}://"


def variables(recipe: Recipe) -> dict[str, str]:
    """The variables by which a recipe's keys reach the trainer."""
    chosen = {VARIABLES[name]: str(setting.value) for name, setting in recipe.settings.items() if name in VARIABLES}
    return {name: value for name, value in chosen.items() if value != MASK}


def masked(recipe: Recipe) -> Recipe:
    """The recipe as a record may keep it: that there was a key, not which."""
    keys = {name: setting for name, setting in recipe.settings.items() if name in VARIABLES}
    return recipe.replaced({name: Setting(value=MASK, origin=setting.origin) for name, setting in keys.items()})


def argv(words: Sequence[str]) -> tuple[str, ...]:
    """A command line as it may be kept or shown; an older sdxl-train gave keys in it."""
    flags = {f"--{name}" for name in VARIABLES}
    kept = list[str]()
    for before, word in zip(("", *words), words, strict=False):
        flag, given, _ = word.partition("=")
        kept.append(MASK if before in flags else f"{flag}={MASK}" if flag in flags and given else word)
    return tuple(kept)


def notes(recipe: Recipe) -> list[str]:
    """What has become of a recipe's keys, a line each."""
    return [
        f"{name} is not kept: set {VARIABLES[name]} before you type this, unless wandb or the hub know you already"
        if setting.value == MASK
        else f"{name} goes to the trainer as the variable {VARIABLES[name]}, and no record keeps it"
        for name, setting in recipe.settings.items()
        if name in VARIABLES
    ]
