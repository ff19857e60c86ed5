"""Token counts of captions by CLIP's rules, using a library's vocabulary if installed, otherwise estimated.

sd-scripts reads 75 tokens, or what `max_token_length` says, and silently cuts off the rest (library/strategy_base.py:
_get_input_ids).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sdxl_train_cli.sdscripts import clip_words

USUAL_LENGTH = 75
"""Tokens read if `max_token_length` is not set."""
_MARKS = re.compile(r"<\|(?:start|end)oftext\|>")
"""Characters that are one token each, anywhere."""
_WORDS = re.compile(r"[^\W\d_]+|\d|[^\s\w]+|_+")
_USUAL_WORD, _PART = 8, 5
"""Letters of an English word that is one token, and of each token of a longer word."""

Count = Callable[[str], int]


def counter() -> tuple[Count, bool]:
    """Return a token counter, and whether it estimates. Loading takes a tenth of a second or two."""
    encode = clip_words.encoder()
    if encode is None:
        return estimate, True
    from ftfy import fix_text  # noqa: PLC0415 - as sd-scripts' tokenizer does: curly quotes, mojibake, entities

    def count(text: str) -> int:
        first, *others = _MARKS.split(text)
        return sum(len(encode(_clean(fix_text(part)))) for part in (first, *others)) + len(others)

    return count, False


def _clean(text: str) -> str:
    return " ".join(text.split()).lower()


def estimate(text: str) -> int:
    """Approximate token count without the vocabulary."""
    return sum(_of(word) for word in _WORDS.findall(text))


def _of(word: str) -> int:
    if not word.isascii():
        return -(-len(word.encode("utf-8", "replace")) // 2)
    if word.isalpha():
        return 1 if len(word) <= _USUAL_WORD else -(-len(word) // _PART)
    return -(-len(word) // 2)
