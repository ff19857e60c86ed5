"""Words that CLIP knows already, by the vocabulary that a library brings along, if it is installed."""

from __future__ import annotations

from functools import cache

_TOKENS = 49_406
"""Without the two marks of a text's start and end."""


def knows(word: str) -> bool:
    """Whether CLIP's vocabulary has this as an entry of its own, so that no new one can be added under its name.

    Upstream asks for the entry itself, as it stands within or at the beginning of a word: `emb` is one, `sks`, which
    stands at the end of words alone, is none. False for what is not plain ASCII, and where the library is missing.
    """
    return word.isascii() and word in _entries()


def count(words: str) -> int | None:
    """How many entries these words take. None where the library is missing."""
    try:
        from instant_clip_tokenizer import Tokenizer  # noqa: PLC0415 - not available for every platform
    except ImportError:
        return None
    return len(Tokenizer().encode(words.lower()))


@cache
def _entries() -> frozenset[str]:
    try:
        from instant_clip_tokenizer import Tokenizer  # noqa: PLC0415 - as above
    except ImportError:
        return frozenset()
    decode = Tokenizer().decode
    return frozenset(decode([number]) for number in range(_TOKENS))
