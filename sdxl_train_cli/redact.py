"""Secrets stay out of all that is kept or shown: passwords in addresses, and options that are keys."""

from __future__ import annotations

import re

from sdxl_train_cli.recipe import Recipe, Setting

MASK = "***"
"""Stands where a secret was."""
KEYS = frozenset({"wandb_api_key", "huggingface_token"})
"""sd-scripts' options that are secrets. No run takes them (rules.value_rules), but a file of options may hold them."""

_USER = re.compile(r"([a-z0-9+.-]{0,12})://([^\s/?#]*@)", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|passw|credential|signature|api_?key)[\w.-]*|key|sig|auth|pass|pwd)=)[^\s&;#'\"<>]+",
    re.IGNORECASE,
)


def text(words: str) -> str:
    """The same without what lets someone in: users and passwords of addresses, and keys in their queries.

    A user of ssh is no secret, and the address would be another one without it.
    """
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(_without_user, words))


def is_doubtful(address: str) -> bool:
    """Whether an @ stands where no user's name ends: before it may be a password with a bare /, # or ?."""
    is_remote = "://" in address and not address.lower().startswith("file:")
    return is_remote and "@" in _USER.sub("", address)


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match[1], match[2]
    if scheme.lower().endswith("ssh"):
        return f"{scheme}://{user[:-1].partition(':')[0]}@"
    return f"{scheme}://"


def masked(recipe: Recipe) -> Recipe:
    """The recipe as it may be shown: that there is a key, not which."""
    keys = {name: setting for name, setting in recipe.settings.items() if name in KEYS}
    return recipe.replaced({name: Setting(value=MASK, origin=setting.origin) for name, setting in keys.items()})
