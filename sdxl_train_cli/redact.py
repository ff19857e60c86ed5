"""Keep secrets out of everything that is stored or shown: passwords in URLs, and options that are keys."""

from __future__ import annotations

import re

from sdxl_train_cli.recipe import Recipe, Setting

MASK = "***"
"""Replaces a secret."""
KEYS = frozenset({"wandb_api_key", "huggingface_token"})
"""sd-scripts options that are secrets. No run accepts them (rules.value_rules), but an option file may contain them."""

_USER = re.compile(r"([a-z0-9+.-]{0,12})://([^\s/?#]*@)", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|passw|credential|signature|api_?key)[\w.-]*|key|sig|auth|pass|pwd)=)[^\s&;#'\"<>]+",
    re.IGNORECASE,
)


def text(words: str) -> str:
    """The text without credentials: users and passwords of URLs, and keys in their queries.

    The user of an ssh address stays: it is no secret, and the address would not work without it.
    """
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(_without_user, words))


def is_doubtful(address: str) -> bool:
    """Whether an @ appears where no user name ends: a password with an unescaped /, # or ? may precede it."""
    is_remote = "://" in address and not address.lower().startswith("file:")
    return is_remote and "@" in _USER.sub("", address)


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match[1], match[2]
    if scheme.lower().endswith("ssh"):
        return f"{scheme}://{user[:-1].partition(':')[0]}@"
    return f"{scheme}://"


def masked(recipe: Recipe) -> Recipe:
    """The recipe for display. It shows that a key is set, but not its value."""
    keys = {name: setting for name, setting in recipe.settings.items() if name in KEYS}
    return recipe.replaced({name: Setting(value=MASK, origin=setting.origin) for name, setting in keys.items()})
