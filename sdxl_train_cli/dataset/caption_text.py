"""Normalise caption files from any editor to one line of text, without invisible characters."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from sdxl_train_cli.errors import UsageError

CODE_PAGES = ("cp1251", "cp1252", "cp1250", "cp932", "gb18030", "big5", "cp949", "koi8_r", "cp866")
"""Code pages of captions from older editors: Cyrillic, Western and Central European, Japanese, Chinese, Korean."""
_WINDOWS = ("cp1251", "cp1252", "cp1250")
"""The most common code pages. One of these may be chosen by elimination even without recognisable words."""
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_UNSEEN = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b\u2060\ufeff]")
"""Control characters and zero-width spaces, which CLIP would treat as words."""


def decode(content: bytes, code_page: str | None) -> tuple[str, str] | None:
    """Return the text and its encoding's name, using `code_page` if it is not Unicode. None if it can't be decoded."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _by(content, encoding)
    if b"\0" in content:  # UTF-16 without a BOM: in Latin text, one of the two bytes is zero
        return _by(content, "utf-16-le" if content[1::2].count(0) >= content[::2].count(0) else "utf-16-be")
    return _by(content, "utf-8") or (_by(content, code_page) if code_page else None)


def detect_code_page(contents: Sequence[bytes]) -> str | None:
    """The single code page of all non-Unicode captions, or None if it is ambiguous.

    It is certain if only one reading consists of words of some language, or if all readings are equal.
    """
    from charset_normalizer import from_bytes  # noqa: PLC0415 - only an undecodable caption pays for it

    content = b"\n".join(contents)
    found = from_bytes(content, cp_isolation=list(CODE_PAGES))
    readings = sorted(found, key=lambda one: one.coherence, reverse=True)
    others = [one for one in readings[1:] if str(one) != str(readings[0])]
    if not readings or (others and others[0].coherence == readings[0].coherence):
        return None
    if not readings[0].coherence and len({content.decode(page, "replace") for page in _WINDOWS}) > 1:
        return None
    return str(readings[0].encoding)


def clean(text: str) -> str:
    """Join all lines into one trimmed caption: sd-scripts trains on the first line only."""
    lines = (" ".join(_UNSEEN.sub("", line).split()) for line in text.splitlines())
    joined = ""
    for line in filter(None, lines):
        gap = "" if not joined else " " if joined[-1] in ",.;:!?" else ", "
        joined += gap + line
    return joined


def parse_trigger(typed: str | None) -> str | None:
    """Return the trigger in the form that a caption can hold. UsageError if there is no such form."""
    if typed is not None and (not typed.strip() or not typed.isprintable()):
        raise UsageError("--trigger is empty or has several lines", 'give it a word: --trigger "ohwx woman"')
    return typed.strip() if typed else None


def has_trigger(caption: str, trigger: str) -> bool:
    """Whether the trigger stands in the caption as words of its own: `sks` does not stand in `desks`."""
    return re.search(rf"(?<![^\W_]){re.escape(trigger)}(?![^\W_])", caption, re.IGNORECASE) is not None


def put_trigger_first(caption: str, trigger: str) -> str:
    """The caption with the trigger in front. A tag equal to the trigger is moved there."""
    if re.match(rf"{re.escape(trigger)}(?!\w)", caption, re.IGNORECASE):
        return caption
    tags = [tag.strip() for tag in caption.split(",")]
    others = [tag for tag in tags if tag.casefold() != trigger.casefold()]
    rest = ", ".join(filter(None, others)) if len(others) < len(tags) else caption
    return f"{trigger}, {rest}" if rest else trigger


def _by(content: bytes, encoding: str) -> tuple[str, str] | None:
    try:
        return content.decode(encoding).removeprefix("\ufeff"), encoding
    except (UnicodeDecodeError, LookupError):
        return None
