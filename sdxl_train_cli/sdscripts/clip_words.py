"""CLIP's vocabulary, which a library brings along, if it is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

_TOKENS = 49_406
"""Without the two marks of a text's start and end."""


def encoder() -> Callable[[str], list[int]] | None:
    """What turns a text in small letters into CLIP's tokens. None where the library is missing."""
    tokenizer = _tokenizer()
    return None if tokenizer is None else tokenizer.encode


def knows(word: str) -> bool:
    """Whether CLIP's vocabulary has this as an entry of its own, so that no new one can be added under its name.

    Upstream asks for the entry itself, as it stands within or at the beginning of a word: `emb` is one, `sks`, which
    stands at the end of words alone, is none. False for what is not plain ASCII, and where the library is missing.
    """
    return word.isascii() and word in _entries()


def count(words: str) -> int | None:
    """How many entries these words take. None where the library is missing."""
    encode = encoder()
    return None if encode is None else len(encode(words.lower()))


@cache
def _entries() -> frozenset[str]:
    tokenizer = _tokenizer()
    return (
        frozenset() if tokenizer is None else frozenset(map(tokenizer.decode, ([number] for number in range(_TOKENS))))
    )


def _tokenizer() -> Any:  # noqa: ANN401 - the library has no types
    """Loading takes a tenth of a second or two."""
    try:
        from instant_clip_tokenizer import Tokenizer  # noqa: PLC0415 - not available for every platform
    except ImportError:
        return None
    return Tokenizer()
