"""How many tokens a caption takes by the rules of CLIP, whose vocabulary a library brings; else by an estimate.

sd-scripts reads 75 of them, or what `max_token_length` says, and cuts off the rest without a word
(library/strategy_base.py: _get_input_ids).
"""

from __future__ import annotations

import re
from collections.abc import Callable

USUAL_LENGTH = 75
"""Tokens that are read where `max_token_length` is not given."""
LENGTHS = (75, 150, 225)
"""All that `max_token_length` knows."""
_WORDS = re.compile(r"[^\W\d_]+|\d|[^\s\w]+|_+")
_LETTERS = 6
"""Of an English word that a token holds, about; of another script's letters it holds one."""

Count = Callable[[str], int]


def counter() -> tuple[Count, bool]:
    """Count by CLIP's own rules, and whether it is an estimate. Getting ready takes a tenth of a second."""
    try:
        from instant_clip_tokenizer import Tokenizer  # noqa: PLC0415 - not built for every machine
    except ImportError:
        return estimate, True
    tokenizer = Tokenizer()
    return (lambda text: len(tokenizer.encode(text))), False


def estimate(text: str) -> int:
    """A little too many rather than too few."""
    return sum(_of(word) for word in _WORDS.findall(text))


def _of(word: str) -> int:
    if not word.isascii():
        return len(word)
    return -(-len(word) // _LETTERS) if word.isalpha() else -(-len(word) // 2)
