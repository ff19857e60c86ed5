"""Read one caption file as sd-scripts does: UTF-8, the first line alone (library/train_util.py: read_caption)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import tokens
from sdxl_train_cli.dataset.file_facts import Caption, FileFault, SurveyedPicture
from sdxl_train_cli.dataset.tokens import Count

LARGEST = 1 << 20
"""Size limit in bytes. A larger file is not a caption."""
_LONGEST_COUNTED = 10_000
"""Character limit for token counting: the tokenizer is quadratic in the length of a single word."""
_LINE_END = re.compile(r"\r\n|\r|\n")


def read(path: Path, count: Count, *, is_estimate: bool = False) -> Caption:
    """Read a caption and count its tokens. Errors are reported in the result."""
    try:
        content = files.read_bytes(path, LARGEST)
    except OSError as error:
        return Caption(path, "", 0, None, error.strerror or str(error), fault=FileFault.UNREADABLE)
    except ValueError:
        return Caption(path, "", 0, None, "it is larger than 1 MB", fault=FileFault.NO_CAPTION)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without a BOM would otherwise pass as UTF-8
        return Caption(path, "", 0, None, "it is not UTF-8", fault=FileFault.NOT_UTF8)
    return from_text(path, text, count, is_estimate=is_estimate)


def from_text(path: Path, text: str, count: Count, *, is_estimate: bool = False) -> Caption:
    """Describe a caption's text. `path` is where the user would look for it."""
    lines = _LINE_END.split(text)
    first = lines[0].strip()
    if len(first) > _LONGEST_COUNTED:
        count, is_estimate = tokens.estimate, True
    return Caption(path, first, sum(1 for line in lines if line.strip()), count(first), None, is_estimate)


def token_counts(seen: Sequence[SurveyedPicture]) -> Mapping[Path, int]:
    """Tokens of each caption as trained, including the prefix. Only pictures whose caption was read."""
    prefixes = {each.subset.caption_prefix for each in seen if each.subset.caption_prefix}
    count = tokens.counter()[0] if prefixes else tokens.estimate
    more = {prefix: count(prefix) for prefix in prefixes}
    return {
        each.facts.path: each.caption.tokens + more.get(each.subset.caption_prefix or "", 0)
        for each in seen
        if each.caption is not None and each.caption.tokens is not None
    }
