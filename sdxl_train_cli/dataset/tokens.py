"""How many tokens a caption takes by the rules of CLIP, whose vocabulary a library brings; else by an estimate.

sd-scripts reads 75 of them, or what `max_token_length` says, and cuts off the rest without a word
(library/strategy_base.py: _get_input_ids).
"""

from __future__ import annotations

import re
from collections.abc import Callable

USUAL_LENGTH = 75
"""Tokens that are read where `max_token_length` is not given."""
_MARKS = re.compile(r"<\|(?:start|end)oftext\|>")
"""Each is one token, wherever it stands."""
_WORDS = re.compile(r"[^\W\d_]+|\d|[^\s\w]+|_+")
_USUAL_WORD, _PART = 8, 5
"""Letters of an English word that is one token, and of a token of a longer one."""

Count = Callable[[str], int]


def counter() -> tuple[Count, bool]:
    """Count by CLIP's own rules, and whether it is an estimate. Getting ready takes a tenth of a second or two."""
    try:
        from instant_clip_tokenizer import Tokenizer  # noqa: PLC0415 - not built for every machine
    except ImportError:
        return estimate, True
    from ftfy import fix_text  # noqa: PLC0415 - as sd-scripts' tokenizer does: curly quotes, mojibake, entities

    encode = Tokenizer().encode

    def count(text: str) -> int:
        first, *others = _MARKS.split(text)
        return sum(len(encode(_clean(fix_text(part)))) for part in (first, *others)) + len(others)

    return count, False


def _clean(text: str) -> str:
    return " ".join(text.split()).lower()


def estimate(text: str) -> int:
    """About as many, where the vocabulary is not at hand."""
    return sum(_of(word) for word in _WORDS.findall(text))


def _of(word: str) -> int:
    if not word.isascii():
        return -(-len(word.encode("utf-8", "replace")) // 2)
    if word.isalpha():
        return 1 if len(word) <= _USUAL_WORD else -(-len(word) // _PART)
    return -(-len(word) // 2)
